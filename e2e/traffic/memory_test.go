package traffic

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

	"github.com/tapedeck/tapedeck/contract"
)

// load is one kind of traffic. It reports failures.
type load struct {
	name string
	run  func(l *loaded) error
	// tls means that the load is outbound, and that the sidecar intercepts its TLS.
	tls bool
	// inMemory means that the sink is a directory in memory.
	inMemory bool
}

// loaded has what a load needs: the servers, and clients that reach them through the sidecar.
type loaded struct {
	t        *testing.T
	app      string // address of the sidecar for the application
	server   string // the server that speaks TLS
	upstream *tls.Config
}

// In a container as small as a render allows, no traffic gets the sidecar killed,
// and no request fails. The memory that the kernel counts, including sockets, stays
// within the limit. Version 2 of cgroups kills a process whose total exceeds the
// limit, version 1 doesn't.
func TestNoLoadExceedsTheLimit(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes several times the memory")
	}
	loads := []load{
		{name: "50 connections and large responses", run: largeResponses},
		{name: "1,000 keep-alive connections", run: manyConnections},
		{name: "uploads to a slow application and downloads to slow clients", run: slowEnds},
		{name: "new connections and HTTP/2 streams", run: newConnections},
		{name: "TLS that is looked into", run: throughTLS, tls: true},
		{name: "a recording in memory", run: incompressible, inMemory: true},
	}
	for _, limit := range []int64{64 << 20, 128 << 20} {
		for _, l := range loads {
			t.Run(fmt.Sprintf("%dMi/%s", limit>>20, l.name), func(t *testing.T) {
				descriptors(t, 1<<14)
				c := contained(t, limit)
				a := newAuthority(t)
				app := httptest.NewServer(h2c.NewHandler(http.HandlerFunc(sized), &http2.Server{MaxConcurrentStreams: 1000}))
				defer app.Close()
				server := httptest.NewUnstartedServer(http.HandlerFunc(sized))
				server.TLS = a.server("http/1.1")
				server.StartTLS()
				defer server.Close()
				_, port, _ := net.SplitHostPort(app.Listener.Addr().String())
				env := []string{contract.EnvReverseProxyPort + "=" + port, contract.EnvLogLevel + "=warn"}
				if l.tls {
					env = append(env, a.intercepting()...)
				}
				if l.inMemory {
					env = append(env, contract.EnvSink+"=file://"+inMemory(t))
				}
				s := startIn(t, c, env...)
				s.lossy = true
				config := &tls.Config{ServerName: serverName}
				if l.tls {
					config.RootCAs = pool(t, s.bundle())
				}
				stop := c.watch()
				err := l.run(&loaded{t: t, app: "http://" + inPort, server: "https://" + server.Listener.Addr().String(), upstream: config})
				most, parts := stop()
				t.Logf("at most %d MiB of %d: %s", most>>20, limit>>20, parts)
				if err != nil {
					t.Error(err)
				}
				if n := c.killed(); n > 0 {
					t.Fatalf("the kernel killed the sidecar")
				}
				if most > limit {
					t.Errorf("%d bytes were held, of %d: %s", most, limit, parts)
				}
				for name, value := range s.metrics() {
					if value > 0 && strings.Contains(name, "_dropped_total") {
						t.Logf("%s %v", name, value)
					}
				}
				s.stop()
			})
		}
	}
}

// startIn starts a sidecar in a container, without tees, because they would keep everything that
// passes.
func startIn(t *testing.T, c *container, env ...string) *sidecar {
	t.Helper()
	return startAs(t, "", c.enter, append(env, contract.EnvMemory+"="+strconv.FormatInt(c.limit/2, 10))...)
}

// sized reads the body at the speed in the query, and then answers with the number of bytes in the
// query.
func sized(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	size, _ := strconv.Atoi(query.Get("size"))
	got, err := slurp(r.Body, query.Get("slow") != "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Body-Length", strconv.FormatInt(got, 10))
	w.Header().Set("Content-Length", strconv.Itoa(size))
	if query.Get("random") != "" {
		p := make([]byte, size)
		_, _ = rand.Read(p)
		_, _ = w.Write(p)
		return
	}
	for size > 0 {
		n, err := w.Write(filler[:min(size, len(filler))])
		if err != nil {
			return
		}
		size -= n
	}
}

var filler = bytes.Repeat([]byte("{\"name\": \"of a thing\", \"price\": 4.25}\n"), 2<<10)

// slurp counts the bytes of a body. If it is slow, it pauses before the first byte until the
// sender has filled all buffers in between.
func slurp(r io.Reader, slow bool) (n int64, err error) {
	if !slow {
		return io.Copy(io.Discard, r)
	}
	time.Sleep(500 * time.Millisecond)
	buf := make([]byte, 64<<10)
	for {
		m, err := r.Read(buf)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// question is one request of a load.
type question struct {
	url    string
	upload int
	size   int
	slow   bool // the client reads slowly
}

func (q question) ask(ctx context.Context, client *http.Client) error {
	method, body := http.MethodGet, io.Reader(nil)
	if q.upload > 0 {
		method, body = http.MethodPost, io.LimitReader(&endless{}, int64(q.upload))
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s&size=%d", q.url, q.size), body)
	if err != nil {
		return err
	}
	if q.upload > 0 {
		req.ContentLength = int64(q.upload)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := slurp(resp.Body, q.slow)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(q.size) || resp.Header.Get("Body-Length") != strconv.Itoa(q.upload)) {
		err = fmt.Errorf("%s, %d bytes of %d, the application got %s of %d", resp.Status, n, q.size, resp.Header.Get("Body-Length"), q.upload)
	}
	return err
}

// endless is filler text without an end.
type endless struct{ at int }

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, filler[e.at:])
	e.at = (e.at + n) % len(filler)
	return n, nil
}

// askAll makes each of the clients send a number of requests. It reports how many failed, and the
// first error. Each client has a separate connection.
func (l *loaded) askAll(clients, times int, transport func() http.RoundTripper, q func(i int) question) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), 90*time.Second)
	defer cancel()
	var failed atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			tr := transport()
			client := &http.Client{Transport: tr}
			defer client.CloseIdleConnections()
			for range times {
				if err := q(i).ask(ctx, client); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d requests failed, the first: %w", n, clients*times, *first.Load())
	}
	return nil
}

// own returns a transport that shares no connections with others.
func own() http.RoundTripper { return &http.Transport{MaxConnsPerHost: 1, DisableCompression: true} }

func largeResponses(l *loaded) error {
	return l.askAll(50, 20, own, func(int) question { return question{url: l.app + "/?", size: 1 << 20} })
}

func manyConnections(l *loaded) error {
	return l.askAll(1000, 10, own, func(int) question { return question{url: l.app + "/?", size: 200} })
}

func incompressible(l *loaded) error {
	return l.askAll(20, 100, own, func(int) question { return question{url: l.app + "/?random=1", size: 300 << 10} })
}

// inMemory returns a directory in memory.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tapedeck-traffic-")
	if err != nil {
		t.Skipf("no directory in memory: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func slowEnds(l *loaded) error {
	return l.askAll(200, 1, own, func(i int) question {
		if i%2 == 0 {
			return question{url: l.app + "/?slow=1", upload: 4 << 20}
		}
		return question{url: l.app + "/?", size: 4 << 20, slow: true}
	})
}

func newConnections(l *loaded) error {
	once := func() http.RoundTripper { return &http.Transport{DisableKeepAlives: true} }
	streams := func() http.RoundTripper {
		return &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
	}
	var wg sync.WaitGroup
	var errs [2]error
	wg.Go(func() {
		errs[0] = l.askAll(50, 60, once, func(int) question { return question{url: l.app + "/?", upload: 1, size: 10 << 10} })
	})
	wg.Go(func() {
		shared := streams() // 400 streams at once on one connection
		errs[1] = l.askAll(400, 5, func() http.RoundTripper { return shared }, func(int) question {
			return question{url: l.app + "/?", upload: 50 << 10, size: 50 << 10}
		})
	})
	wg.Wait()
	return errors.Join(errs[:]...)
}

func throughTLS(l *loaded) error {
	proxy := &url.URL{Scheme: "http", Host: outPort}
	transport := func() http.RoundTripper {
		return &http.Transport{MaxConnsPerHost: 1, Proxy: http.ProxyURL(proxy), TLSClientConfig: l.upstream, DisableCompression: true}
	}
	if err := l.askAll(300, 2, transport, func(int) question { return question{url: l.server + "/?", size: 10 << 10} }); err != nil {
		return err
	}
	return l.askAll(50, 10, transport, func(int) question { return question{url: l.server + "/?", upload: 100 << 10, size: 1 << 20} })
}

// A sidecar without traffic costs its pod little memory. Starts differ by half a MiB, depending on
// the memory layout of the runtime, so the median of several processes counts. The part that a
// process maps from its file grows with the linked packages, and its private part with the work at
// the start.
func TestIdleSidecarIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes several times the memory")
	}
	const most = 14 << 20
	mib := func(n int) float64 { return float64(n) / (1 << 20) }
	var all []int
	for range 5 {
		s := start(t, "127.0.0.1:1") // it is healthy
		pid := s.cmd.Process.Pid
		all = append(all, procStatus(t, pid, "VmRSS:"))
		t.Logf("%.2f MiB are resident: %.2f from the file, %.2f private", mib(all[len(all)-1]),
			mib(procStatus(t, pid, "RssFile:")), mib(procStatus(t, pid, "RssAnon:")))
		s.stop()
	}
	slices.Sort(all)
	if median := all[len(all)/2]; median > most {
		t.Errorf("%.2f MiB are resident in the median, at most %.2f are allowed", mib(median), mib(most))
	}
}
