// Command benchcollect measures `tapedeck collect` beside a plain copy: a program that only
// stores the same segments, in the same kind of directory, by the same durable steps.
//
//	pods, each with a connection ─ segments ─▶ tapedeck collect ─▶ directory
//	                               segments ─▶ copy ─────────────▶ directory
//
// It prints the processor time for each MB of segments, user and system, and the most memory
// that was resident. The pods run in this process, whose time does not count.
//
//	usage: benchcollect [-pods n] [-segments n] [-exchanges n] TAPEDECK
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/e2e/internal/figures"
	"github.com/tapedeck/tapedeck/e2e/internal/machine"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// key is the collector's.
const key = "0123456789abcdef0123456789abcdef"

// size of a run.
type size struct{ pods, segments, exchanges int }

func main() {
	var s size
	flag.IntVar(&s.pods, "pods", 1000, "pods that send at the same time")
	flag.IntVar(&s.segments, "segments", 10_000, "segments that they send, all together")
	flag.IntVar(&s.exchanges, "exchanges", 300, "exchanges in each")
	copies := flag.Bool("copy", false, "be the plain copy, of the segment in the file to the directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *copies && flag.NArg() == 2:
		err = plainCopy(ctx, flag.Arg(0), flag.Arg(1), s)
	case flag.NArg() != 1 || s.pods < 1 || s.segments < s.pods || s.exchanges < 1:
		err = errors.New("usage: benchcollect [-pods n] [-segments n] [-exchanges n] TAPEDECK; at least one segment for each pod")
	default:
		err = bench(ctx, flag.Arg(0), s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchcollect:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, tapedeck string, s size) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchcollect-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	segment, raw, err := makeSegment(s.exchanges)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"segment": segment, "key": []byte(key)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n%s segments from %s pods; each has %d exchanges, %s bytes, %s when decompressed; %d bytes for each exchange, %d when decompressed\n\n",
		machine.Describe(), figures.Thousands(s.segments), figures.Thousands(s.pods), s.exchanges, figures.Thousands(len(segment)), figures.Thousands(raw), len(segment)/s.exchanges, raw/s.exchanges)

	args := []string{"-copy", "-pods", strconv.Itoa(s.pods), "-segments", strconv.Itoa(s.segments), filepath.Join(dir, "segment"), filepath.Join(dir, "copied")}
	copied := exec.CommandContext(ctx, self, args...)
	copied.Stderr = os.Stderr
	began := time.Now()
	if err := copied.Run(); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	plain := costOf(copied, time.Since(began))
	collected, retries, err := collect(ctx, tapedeck, dir, segment, s)
	if err != nil {
		return err
	}
	if err := same(ctx, filepath.Join(dir, "collected"), s.segments); err != nil {
		return err
	}
	mb := float64(len(segment)) * float64(s.segments) / 1e6
	fmt.Print("| | processor time for each MB | ratio | for each segment | it took | memory at most |\n|---|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		cost
	}{{"a plain copy", plain}, {"`tapedeck collect`", collected}} {
		fmt.Printf("| %s | %.1f ms | %.2f | %.2f ms | %.1f s | %d MiB |\n", row.name, row.cpu.Seconds()*1e3/mb, row.cpu.Seconds()/plain.cpu.Seconds(), row.cpu.Seconds()*1e3/float64(s.segments), row.took.Seconds(), row.memory>>20)
	}
	fmt.Printf("\n%d attempts were told that the collector is busy.\n", retries)
	return nil
}

// cost is what a process took.
type cost struct {
	cpu, took time.Duration
	memory    int64 // bytes
}

func costOf(cmd *exec.Cmd, took time.Duration) cost {
	c := cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), took: took}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.memory = u.Maxrss << 10 // Linux counts in KiB
	}
	return c
}

// makeSegment makes a segment of requests with JSON bodies, compressed as the sidecar does.
func makeSegment(exchanges int) (segment []byte, raw int, err error) {
	random := rand.New(rand.NewPCG(1, 2))
	hour := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	var text []byte
	for i := range exchanges {
		var body bytes.Buffer
		for range 1 + random.IntN(40) {
			fmt.Fprintf(&body, `{"sku":"A-%06d","price":%d.%02d,"stock":%t},`, random.IntN(1e6), random.IntN(1000), random.IntN(100), random.IntN(2) == 0)
		}
		path := fmt.Sprintf("/cart/%d", i)
		e := recording.Exchange{
			MsgType: recording.MsgType, UUID: recording.UUID{byte(i), byte(i >> 8), 1}, TS: hour.Add(time.Duration(i) * time.Millisecond), Direction: recording.In, L7Protocol: recording.HTTP1,
			Cluster: "c1", Namespace: "shop", Service: "cart", Command: "GET", Location: path, Status: "200", NetworkAddress: "cart:80",
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "GET", Host: "cart", URL: path, Headers: recording.Headers{
					{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "okhttp/4.12.0"},
					{Name: "Traceparent", Value: fmt.Sprintf("00-%016x%016x-%016x-01", random.Uint64(), random.Uint64(), random.Uint64())}}},
				Res: recording.HTTPResponse{StatusCode: 200, ContentType: "application/json", Body: body.Bytes(), Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}}},
			},
			NetInfo: &recording.NetInfo{ID: "1", StartTime: hour},
		}
		text = append(e.AppendJSON(text), '\n')
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(128<<10))
	if err != nil {
		return nil, 0, err
	}
	defer z.Close()
	return z.EncodeAll(text, nil), len(text), nil
}

// keyOf is the key of one of the segments, of which every pod sends the same number.
func keyOf(n int, s size, digest string) string {
	began := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC).Add(time.Duration(n/s.pods) * time.Second)
	return recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, Began: began, Pod: fmt.Sprintf("cart-%d", n%s.pods), Number: n / s.pods, Digest: digest}.String()
}

func digestOf(segment []byte) (sum [sha256.Size]byte, digits string) {
	sum = sha256.Sum256(segment)
	return sum, hex.EncodeToString(sum[:])[:recording.DigestDigits]
}

// plainCopy stores the segment under every key.
func plainCopy(ctx context.Context, from, to string, s size) error {
	segment, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	_, digits := digestOf(segment)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n := range s.segments {
		group.Go(func() error {
			return store.Dir(to).Put(ctx, keyOf(n, s, digits), bytes.NewReader(segment))
		})
	}
	return group.Wait()
}

// collect has the pods send to a collector.
func collect(ctx context.Context, tapedeck, dir string, segment []byte, s size) (c cost, retries int, err error) {
	cmd := exec.CommandContext(ctx, tapedeck, "collect", filepath.Join(dir, "collected"), "--key-file", filepath.Join(dir, "key"), "--listen", "0", "--read", "", "--admin", "0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StderrPipe()
	if err != nil {
		return c, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return c, 0, err
	}
	said := bufio.NewReader(out)
	first, err := said.ReadString('\n')
	address, ok := strings.CutPrefix(first, "tapedeck: takes segments on ")
	if err != nil || !ok {
		return c, 0, fmt.Errorf("the collector says %q", first)
	}
	address, _, _ = strings.Cut(address, " ")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, said)
	}()
	sum, digits := digestOf(segment)
	header := http.Header{
		"Authorization":         {"Bearer " + contract.CollectorToken([]byte(key), "c1", "shop")},
		"Content-Type":          {contract.SegmentType},
		contract.HeaderContract: {strconv.Itoa(contract.Version)},
		contract.HeaderDigest:   {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
	}
	var mu sync.Mutex
	group, sending := errgroup.WithContext(ctx)
	for pod := range s.pods {
		group.Go(func() error {
			transport := &http.Transport{} // a connection of its own
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for n := pod; n < s.segments; n += s.pods {
				busy, err := send(sending, client, "http://"+address+contract.SegmentsPath+keyOf(n, s, digits), header, segment)
				if err != nil {
					return err
				}
				mu.Lock()
				retries += busy
				mu.Unlock()
			}
			return nil
		})
	}
	err = group.Wait()
	c.took = time.Since(began)
	err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	<-drained
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	return costOf(cmd, c.took), retries, err
}

// send sends a segment until it is taken.
func send(ctx context.Context, client *http.Client, url string, header http.Header, segment []byte) (busy int, err error) {
	for ; ; busy++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(segment))
		if err != nil {
			return busy, err
		}
		req.Header = header
		resp, err := client.Do(req)
		if err != nil {
			return busy, err
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusCreated:
			return busy, nil
		case http.StatusServiceUnavailable:
			select {
			case <-time.After(time.Second + rand.N(time.Second)):
			case <-ctx.Done():
				return busy, ctx.Err()
			}
		default:
			return busy, fmt.Errorf("%s: %s", resp.Status, text)
		}
	}
}

// same fails unless so many segments are stored.
func same(ctx context.Context, dir string, want int) error {
	n := 0
	for _, err := range store.Dir(dir).List(ctx, "cluster=") {
		if err != nil {
			return err
		}
		n++
	}
	if n != want {
		return fmt.Errorf("%d segments are stored, want %d", n, want)
	}
	return nil
}
