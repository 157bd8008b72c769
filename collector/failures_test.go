package collector_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// odd is a store whose Put is defined by the test.
type odd struct {
	store.Store
	put func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error
}

func (o odd) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if !strings.HasPrefix(key, "cluster=") {
		return o.Store.Put(ctx, key, body)
	}
	return o.put(ctx, o.Store, key, body)
}

func putting(put func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error) func(*collector.Options, *collector.Ports) {
	return func(o *collector.Options, _ *collector.Ports) { o.Store = odd{o.Store, put} }
}

func TestOfManyUploadsOfOneSegmentOneIsStored(t *testing.T) {
	r := start(t)
	u := segment(t, lines(exchange(1), counters()))
	var created, ok atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch a, err := r.try(u, r.client); {
			case err == nil && a.status == http.StatusCreated:
				created.Add(1)
			case err == nil && a.status == http.StatusOK:
				ok.Add(1)
			default:
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 || ok.Load() != 99 {
		t.Errorf("stored by %d, there for %d", created.Load(), ok.Load())
	}
}

func TestWhatTheStoreSays(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"an error":     {errors.New("secret host is down"), contract.RefusedStore},
		"no room":      {fmt.Errorf("put x: %w", store.ErrFull), contract.RefusedFull},
		"a full disk":  {fmt.Errorf("put x: %w", syscall.ENOSPC), contract.RefusedFull},
		"a late error": {context.DeadlineExceeded, contract.RefusedStore},
	} {
		t.Run(name, func(t *testing.T) {
			fails := true
			r := start(t, putting(func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error {
				if fails {
					return c.err
				}
				return s.Put(ctx, key, body)
			}))
			u := segment(t, lines(exchange(1), counters()))
			row, _ := contract.RefusalOf(c.code)
			if a := r.send(t, u); a.code != c.code || a.status != row.Status || strings.Contains(a.detail, "secret") {
				t.Errorf("%+v", a)
			}
			if !strings.Contains(r.log.String(), c.err.Error()) {
				t.Errorf("the log: %s", r.log)
			}
			fails = false
			if a := r.send(t, u); a.status != http.StatusCreated {
				t.Errorf("when it works again: %+v", a)
			}
		})
	}
}

// The sidecar sends a segment again if the collector is killed between storing it and answering.
func TestAnAnswerThatIsLost(t *testing.T) {
	killed := false
	r := start(t, putting(func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error {
		err := s.Put(ctx, key, body)
		if !killed {
			killed = true
			panic(http.ErrAbortHandler)
		}
		return err
	}))
	u := segment(t, lines(exchange(1), counters()))
	u.change = func(req *http.Request) { req.GetBody = nil } // so that the client does not try again
	if a, err := r.try(u, r.client); err == nil {
		t.Fatalf("%+v", a)
	}
	if a := r.send(t, u); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if keys := r.keys(t); len(keys) != 1 {
		t.Errorf("stored: %q", keys)
	}
}

// A segment is stored even if its client leaves meanwhile.
func TestAClientThatLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	left, done := make(chan struct{}), make(chan error, 1)
	r := start(t, putting(func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error {
		leave()
		<-left
		err := s.Put(ctx, key, body)
		done <- err
		return err
	}))
	u := segment(t, lines(exchange(1), counters()))
	if resp, err := r.client.Do(u.request(ctx, r.write)); err == nil {
		resp.Body.Close()
		t.Fatal(resp.Status)
	}
	close(left)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(r.stored(t, u)) != len(u.body) {
		t.Error("a part is stored")
	}
}

func TestOtherBytesUnderAKeyAreRefused(t *testing.T) {
	r := start(t)
	u := segment(t, lines(exchange(1), counters()))
	// The object has the key of the upload, as if both digests began with the same digits.
	if err := store.Dir(r.dir).Put(t.Context(), u.key.String(), strings.NewReader("other")); err != nil {
		t.Fatal(err)
	}
	if a := r.send(t, u); a.code != contract.RefusedOtherBytes || a.status != http.StatusConflict {
		t.Errorf("%+v", a)
	}
}

// A segment that is contained in a large one is not stored again.
func TestWhatWasCompactedIsNotStoredAgain(t *testing.T) {
	u := segment(t, lines(exchange(1), counters()))
	now := shop()
	now.Began = time.Now()
	fresh := of(now, u.body)
	for name, c := range map[string]struct {
		answer bool
		err    error
		upload *upload
		status int
		stored int
	}{
		"there":               {true, nil, u, http.StatusOK, 0},
		"not there":           {false, nil, u, http.StatusCreated, 1},
		"unknown":             {false, errors.New("down"), u, http.StatusBadGateway, 0},
		"of the current hour": {true, nil, fresh, http.StatusCreated, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(o *collector.Options, _ *collector.Ports) {
				o.Compacted = func(_ context.Context, key recording.SegmentKey) (bool, error) {
					if key != u.key {
						t.Errorf("asked about %s", key)
					}
					return c.answer, c.err
				}
			})
			if a := r.send(t, c.upload); a.status != c.status {
				t.Errorf("%+v", a)
			}
			if keys := r.keys(t); len(keys) != c.stored {
				t.Errorf("stored: %q", keys)
			}
		})
	}
}

// On SIGTERM, a running upload is finished, /healthz fails, and no further upload is accepted.
func TestDraining(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	r := start(t, putting(func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error {
		close(entered)
		<-goOn
		return s.Put(ctx, key, body)
	}))
	u := segment(t, lines(exchange(1), counters()))
	if resp, err := r.client.Get(r.admin + "/healthz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	sent := make(chan answer, 1)
	go func() {
		a, err := r.try(u, r.client)
		if err != nil {
			t.Error(err)
		}
		sent <- a
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	for {
		resp, err := r.client.Get(r.admin + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	close(goOn)
	if a := <-sent; a.status != http.StatusCreated {
		t.Errorf("%+v", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := r.try(u, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}); err == nil {
		t.Error("somebody came in")
	}
}

func TestAnUploadThatOutlastsTheDrain(t *testing.T) {
	entered, goOn, stored := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := start(t, putting(func(ctx context.Context, s store.Store, key string, body io.ReadSeeker) error {
		close(entered)
		<-goOn
		defer close(stored)
		return s.Put(ctx, key, body)
	}), func(o *collector.Options, _ *collector.Ports) { o.Drain = 1 })
	u := segment(t, lines(exchange(1), counters()))
	u.change = func(req *http.Request) { req.GetBody = nil }
	failed := make(chan error, 1)
	go func() {
		_, err := r.try(u, r.client)
		failed <- err
	}()
	<-entered
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("ended with %v", err)
	}
	r.stop = func() error { return nil } // its result has been checked
	close(goOn)
	if err := <-failed; err == nil {
		t.Error("the upload was answered")
	}
	<-stored
}
