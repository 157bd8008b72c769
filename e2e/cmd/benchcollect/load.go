package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Protocols of the pods.
const (
	http1 = "HTTP/1.1"
	h2c   = "h2c"
)

// load describes what pods send to one server.
type load struct {
	address, token string
	protocol       string // "": half of the pods speak each
	segments       int    // of all pods together
	stored, busy   atomic.Int64
	reached        func(stored int64)
}

// send makes all pods send their segments, and returns when all are stored.
func (l *load) send(ctx context.Context, s *segment, pods int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for pod := range pods {
		all.Go(func() {
			if err := l.pod(ctx, s, pod, l.segments/pods); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// pod sends the segments of one pod, over one connection.
func (l *load) pod(ctx context.Context, s *segment, pod, segments int) error {
	protocol := cmp.Or(l.protocol, [...]string{http1, h2c}[pod%2])
	t := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1, DisableCompression: true, ExpectContinueTimeout: time.Second}
	t.Protocols.SetHTTP1(protocol == http1)
	t.Protocols.SetUnencryptedHTTP2(protocol == h2c)
	defer t.CloseIdleConnections()
	for number := range segments {
		for pause := time.Second; ; pause = min(2*pause, time.Minute) {
			isBusy, err := l.put(ctx, t, s, s.key(pod, number))
			if err != nil {
				return err
			}
			if !isBusy {
				break
			}
			l.busy.Add(1)
			select {
			case <-time.After(pause/2 + rand.N(pause/2)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		l.reached(l.stored.Add(1))
	}
	return nil
}

// put makes one attempt, like a sidecar.
func (l *load) put(ctx context.Context, t *http.Transport, s *segment, key string) (isBusy bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+l.address+contract.SegmentsPath+key, bytes.NewReader(s.bytes))
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	req.Header.Set("Content-Type", contract.SegmentType)
	req.Header.Set("Expect", "100-continue")
	req.Header.Set(contract.HeaderContract, strconv.Itoa(contract.Version))
	req.Header.Set(contract.HeaderDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(s.digest[:])+":")
	res, err := t.RoundTrip(req)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	switch {
	case err != nil:
		return false, err
	case res.StatusCode == http.StatusServiceUnavailable:
		return true, nil
	case res.StatusCode != http.StatusCreated:
		return false, fmt.Errorf("the server answers %s %.300s", res.Status, text)
	}
	return false, nil
}
