package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

const (
	host    = "items.shop"
	clients = 32
)

// target returns the target of the i-th request, and body its answer of 221 bytes.
func target(i int) string { return "/api/v1/items/" + strconv.Itoa(i) + "?currency=EUR" }

func body(i int) string {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	return fmt.Sprintf(`{"id":%07d,"sku":"%016x","session":"%016x%016x","name":"a thing of some length","tags":["one","two","three"],"price":{"units":19,"nanos":990000000},"stock":42,"etag":"%016x"}`,
		i, r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
}

// record writes a recording of n exchanges.
func record(dir string, n int) error {
	segments, err := spool.NewSegments(spool.Dir(dir), spool.SegmentOptions{Cluster: "prod", Namespace: "shop", Workload: "cart", Pod: "cart-7d4b9-x2x"})
	if err != nil {
		return err
	}
	const batch = 100
	start := time.Now().Add(-time.Duration(n) * time.Millisecond)
	var lines []byte
	for i := range n {
		e := recording.Exchange{
			MsgType: recording.MsgType, TS: start.Add(time.Duration(i) * time.Millisecond), Duration: 1, Direction: recording.Out, L7Protocol: recording.HTTP1,
			Cluster: "prod", Namespace: "shop", Service: "cart", NetworkAddress: host + ":80", Command: "GET", Location: "/api/v1/items/" + strconv.Itoa(i), Status: "200",
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "GET", URL: "/api/v1/items/" + strconv.Itoa(i), URI: target(i), Version: "1.1", Host: host,
					Headers: recording.Headers{{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "cart/1.0"}, {Name: "X-Request-Id", Value: fmt.Sprintf("%016x", rand.Uint64())}}},
				Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", ContentType: "application/json", Body: []byte(body(i)),
					Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Length", Value: strconv.Itoa(len(body(i)))}, {Name: "Date", Value: "Sun, 22 Nov 2026 20:15:00 GMT"}}},
			},
		}
		binary.BigEndian.PutUint64(e.UUID[:], uint64(i)+1)
		lines = append(e.AppendJSON(lines), '\n')
		if (i+1)%batch == 0 || i == n-1 {
			if _, err := segments.WriteLines(lines, i%batch+1); err != nil {
				return err
			}
			lines = lines[:0]
		}
	}
	_, err = segments.Close()
	return err
}

// flows writes the same recording as flows of mitmproxy, with mitmproxy's own library.
//
//go:embed flows.py
var flows string

func recordFlows(ctx context.Context, file string, n int) error {
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", flows, file, host)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	for i := range n {
		if _, err = fmt.Fprintf(in, "%s\t%s\n", target(i), body(i)); err != nil {
			break
		}
	}
	return errors.Join(err, in.Close(), cmd.Wait())
}

// ask sends requests for exchanges that are as far apart as possible, and returns an error
// if an answer isn't what right returns.
func ask(ctx context.Context, address string, requests, exchanges int, right func(i int) string) error {
	t := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	defer t.CloseIdleConnections()
	step := exchanges / requests
	errs := make([]error, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := c; i < requests && errs[c] == nil; i += clients {
				errs[c] = get(ctx, t, "http://"+address+target(i*step), right(i*step))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func get(ctx context.Context, t *http.Transport, url, want string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Host = host
	r.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"cart/1.0"}}
	res, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || string(got) != want) {
		err = fmt.Errorf("get %s: %s %.300q, want %q", url, res.Status, got, want)
	}
	return err
}
