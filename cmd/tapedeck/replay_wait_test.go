package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

// agent answers as Istio's agent does. It is ready at the third request.
type agent struct{ ready, quits atomic.Int32 }

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /healthz/ready":
		if a.ready.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case "POST /quitquitquit":
		a.quits.Add(1)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestEnvoyIsAwaitedAndEnded(t *testing.T) {
	t.Parallel()
	nobody := reservedPort(t)
	say := func(string, ...any) {}
	for _, c := range []struct {
		mode  string
		there bool
		seen  bool
		err   string
	}{
		{envoyNone, true, false, ""},
		{envoyAuto, true, true, ""},
		{envoyAuto, false, false, ""},
		{envoyWait, true, true, ""},
		{envoyWait, false, true, "--envoy: Envoy is not ready"},
	} {
		a := &agent{}
		s := httptest.NewServer(a)
		e := &envoy{ready: s.Listener.Addr().String(), quit: s.Listener.Addr().String(), client: directClient()}
		if !c.there {
			e.ready = nobody
		}
		patience := time.Minute
		if c.err != "" {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := e.await(ctx, c.mode, say); err != nil && c.err == "" || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s, there: %v: %v", c.mode, c.there, err)
		}
		if c.seen && c.there && a.ready.Load() != 3 {
			t.Errorf("%s: it was asked %d times", c.mode, a.ready.Load())
		}
		cancel()
		if err := e.end(ctx, c.mode); err != nil || (a.quits.Load() > 0) != c.seen {
			t.Errorf("%s, there: %v: ended %d times, %v", c.mode, c.there, a.quits.Load(), err)
		}
		// A wrong flag fails before the command waits for Envoy, and the pod must end all the
		// same.
		hasty := &envoy{ready: e.ready, quit: e.quit, client: e.client}
		if err := hasty.end(ctx, c.mode); err != nil || a.quits.Load() != map[bool]int32{true: 1}[c.seen]+map[bool]int32{true: 1}[c.mode != envoyNone] {
			t.Errorf("%s: ended %d times, %v", c.mode, a.quits.Load(), err)
		}
		s.Close()
	}
}

// closingFirst closes the first connection, like the port of a target that is about to start.
type closingFirst struct {
	net.Listener
	closed bool
}

func (l *closingFirst) Accept() (net.Conn, error) {
	if !l.closed {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn.Close()
		l.closed = true
	}
	return l.Listener.Accept()
}

// The replay asks the target in the version of the first request, until it answers with any status
// that does not come from a gateway.
func TestTheTargetIsAwaited(t *testing.T) {
	t.Parallel()
	file, requests := visits(t, 1)
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := &cart{valid: map[string]bool{}}
		busy := atomic.Int32{}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := int(busy.Add(1)); n <= 3 { // as a gateway does for a workload that does not listen yet
				w.WriteHeader(501 + n)
				return
			}
			c.ServeHTTP(w, r)
		})
		s := httptest.NewUnstartedServer(h2c.NewHandler(handler, &http2.Server{}))
		s.Listener = &closingFirst{Listener: s.Listener}
		s.Start()
		scheme := map[string]string{"HTTP/1.1": "http://", "HTTP/2.0": "h2c://"}[version]
		codes, _, stderr := shards(1, file, "--target", scheme+s.Listener.Addr().String(), "--wait-for-target", "--progress-timeout", "1m", "--no-compare", "--output", "none")
		if codes[0] != 0 || c.count(version) != requests+1 || !strings.HasPrefix(c.got[0], version+" OPTIONS /") {
			t.Errorf("%s: exit code %d, %q, %s", version, codes[0], c.got, stderr)
		}
		s.Close()
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer gateway.Close()
	codes, _, stderr := shards(1, file, "--target", gateway.URL, "--wait-for-target", "--progress-timeout", "1500ms")
	if codes[0] != codeCannotRun || !strings.Contains(stderr[0], "it answers OPTIONS / with 502") {
		t.Errorf("a gateway: exit code %d, %s", codes[0], stderr)
	}
	codes, _, stderr = shards(1, file, "--target", "http://127.0.0.1:1", "--wait-for-target", "--progress-timeout", "1s")
	if codes[0] != codeCannotRun || !strings.Contains(stderr[0], "--wait-for-target: the target is not ready") {
		t.Errorf("nobody: exit code %d, %s", codes[0], stderr)
	}
}
