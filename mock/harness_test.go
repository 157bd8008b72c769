package mock

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read/readtest"
	"github.com/tapedeck/tapedeck/sidecar"
)

func TestMain(m *testing.M) {
	// A test that looks up a name fails: the mock has to answer for every host but loopback.
	fakedns.Replace(func(_ context.Context, _, address string) (net.Conn, error) {
		fmt.Fprintf(os.Stderr, "a name is looked up, at %s\n", address)
		os.Exit(1)
		return nil, nil
	})
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// world is a proxy that clients use: first the recording sidecar, then the mock.
type world struct {
	t     *testing.T
	addr  string
	roots *x509.CertPool
	// through makes a transport use the proxy, and open opens a tunnel. If nil, the usual ways of
	// HTTP are used.
	through func(*http.Transport)
	open    func(address string) net.Conn
}

// client returns an HTTP client that uses the proxy.
func (w *world) client(change ...func(*http.Transport)) *http.Client {
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}),
		TLSClientConfig: &tls.Config{RootCAs: w.roots}, ForceAttemptHTTP2: true, DisableCompression: true,
	}
	if w.through != nil {
		w.through(tr)
	}
	for _, c := range change {
		c(tr)
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
}

// dial connects to the proxy.
func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// tunnel opens a tunnel through the proxy.
func (w *world) tunnel(address string) net.Conn {
	w.t.Helper()
	if w.open != nil {
		return w.open(address)
	}
	c := w.dial()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address)
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("CONNECT: %v, %v", res, err)
	}
	return &buffered{c, in}
}

type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }
func (b *buffered) CloseWrite() error          { return b.Conn.(*net.TCPConn).CloseWrite() }

// record runs clients through the sidecar and returns what it recorded.
func record(t *testing.T, servers []*httptest.Server, run func(w *world), change ...func(*sidecar.Config)) []*recording.Exchange {
	t.Helper()
	var roots []*x509.Certificate
	for _, s := range servers {
		if s.Certificate() != nil {
			roots = append(roots, s.Certificate())
		}
	}
	w, dir, stop := besides(t, newAuthority(t), roots, change...)
	run(w)
	stop()
	return readtest.All(t, dir)
}

// besides starts a sidecar that trusts these roots and records into a directory. stop ends it; so
// does the end of the test.
func besides(t *testing.T, authority *ca.Authority, roots []*x509.Certificate, change ...func(*sidecar.Config)) (w *world, dir string, stop func()) {
	t.Helper()
	dir = t.TempDir()
	var upstream bytes.Buffer
	for _, root := range roots {
		pem.Encode(&upstream, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	}
	cfg, err := sidecar.FromEnv(func(name string) string {
		return map[string]string{"PROXY_TYPE": "forward", "TAPEDECK_SINK": "file://" + dir, "TLS_CERT_DIR": dir, "APP_LABEL": "app", "TAPEDECK_OPAQUE_BYTES": "true", "TAPEDECK_DRAIN": "2s"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.OutPort, cfg.AdminPort, cfg.TLSOut, cfg.Authority = 0, 0, true, authority
	if upstream.Len() > 0 {
		cfg.UpstreamCA = filepath.Join(dir, "upstream.pem")
		if err := os.WriteFile(cfg.UpstreamCA, upstream.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range change {
		c(&cfg)
	}
	listening := make(chan *proxy.Proxy, 1)
	cfg.Listening = func(p *proxy.Proxy) { listening <- p }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	go func() { done <- sidecar.Run(ctx, cfg, "test", slog.New(slog.DiscardHandler)) }()
	var p *proxy.Proxy
	select {
	case p = <-listening:
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w = &world{t: t, addr: p.OutAddr().String(), roots: x509.NewCertPool()}
	w.roots.AddCert(authority.Certificate())
	return w, dir, stop
}

func newAuthority(t testing.TB) *ca.Authority {
	t.Helper()
	cert, key, err := ca.Generate("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.New(pair)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mocked is a mock that serves.
type mocked struct {
	world
	*Mock
	sink *memory
	log  *logbuffer.Buffer
	stop func()
}

// start serves a recording.
func start(t *testing.T, exchanges []*recording.Exchange, change ...func(*Options)) *mocked {
	t.Helper()
	return startWith(t, exchanges, match.Options{}, change...)
}

func startWith(t *testing.T, exchanges []*recording.Exchange, mo match.Options, change ...func(*Options)) *mocked {
	t.Helper()
	return startLoaded(t, exchanges, mo, LoadOptions{}, change...)
}

// startForeign serves a recording that was redacted under an unknown key.
func startForeign(t *testing.T, exchanges []*recording.Exchange) *mocked {
	t.Helper()
	return startLoaded(t, exchanges, match.Options{}, LoadOptions{Foreign: func(*recording.Exchange) bool { return true }})
}

func startLoaded(t *testing.T, exchanges []*recording.Exchange, mo match.Options, lo LoadOptions, change ...func(*Options)) *mocked {
	t.Helper()
	matcher, err := match.New(mo)
	if err != nil {
		t.Fatal(err)
	}
	lo.Matcher, lo.Dir = matcher, t.TempDir()
	lib, err := Load(t.Context(), each(exchanges), lo)
	if err != nil {
		t.Fatal(err)
	}
	m := &mocked{log: new(logbuffer.Buffer)}
	o := Options{Listen: []string{"127.0.0.1:0"}, Authority: newAuthority(t), Policy: order.Last, Grace: time.Second, Log: slog.New(slog.NewTextHandler(m.log, nil))}
	for _, c := range change {
		c(&o)
	}
	if s, ok := o.Sink.(*memory); ok {
		m.sink = s
	}
	if m.Mock, err = New(t.Context(), lib, o); err != nil {
		t.Fatal(err)
	}
	m.world = world{t: t, addr: m.Addr().String(), roots: x509.NewCertPool()}
	m.roots.AddCert(o.Authority.Certificate())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Serve(ctx)
	}()
	m.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		lib.Close()
	})
	t.Cleanup(m.stop)
	return m
}

func each(exchanges []*recording.Exchange) iter.Seq2[*recording.Exchange, error] {
	return func(yield func(*recording.Exchange, error) bool) {
		for _, e := range exchanges {
			c := clone(e)
			if !yield(c, nil) {
				return
			}
		}
	}
}

// clone copies an exchange, which a library may change.
func clone(e *recording.Exchange) *recording.Exchange {
	var d recording.Decoder
	c := new(recording.Exchange)
	if err := d.Decode(e.AppendJSON(nil), c); err != nil {
		panic(err)
	}
	return c
}

// memory is a sink that keeps exchanges.
type memory struct {
	mu  sync.Mutex
	all []*recording.Exchange
}

func (m *memory) Write(e *recording.Exchange) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, clone(e))
	return nil
}
func (m *memory) Flush(context.Context) error { return nil }
func (m *memory) Close(context.Context) error { return nil }

func (m *memory) exchanges() []*recording.Exchange {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// answer is what a client sees of a response.
type answer struct {
	status  int
	header  http.Header
	body    string
	trailer http.Header
}

// fetch sends a request and reads all of the answer.
func fetch(t *testing.T, c *http.Client, method, url, body string, headers ...string) answer {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	p, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{res.StatusCode, res.Header, string(p), res.Trailer}
}

// exchange returns a recorded HTTP exchange. headers are the names and values of the answer's headers.
func exchange(at time.Duration, method, url, request string, status int, body string, headers ...string) *recording.Exchange {
	u, err := http.NewRequest(method, url, nil)
	if err != nil {
		panic(err)
	}
	protocol, port := recording.HTTP1, "80"
	if u.URL.Scheme == "https" {
		protocol, port = recording.HTTPS, "443"
	}
	address := u.URL.Host
	if !strings.Contains(address, ":") {
		address += ":" + port
	}
	e := &recording.Exchange{
		MsgType: recording.MsgType, TS: begun.Add(at), Direction: recording.Out, L7Protocol: protocol, UUID: recording.UUID{1, byte(at / time.Millisecond), byte(at / time.Second)},
		NetworkAddress: address, Command: method, Location: u.URL.Path, Status: fmt.Sprint(status), Duration: 1,
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: method, URL: u.URL.Path, URI: u.URL.RequestURI(), Host: u.URL.Host, Version: "1.1", Body: []byte(request), Headers: recording.Headers{{Name: "Accept", Value: "*/*"}}},
			Res: recording.HTTPResponse{StatusCode: status, StatusMessage: fmt.Sprint(status), Body: []byte(body)},
		},
	}
	if strings.HasPrefix(request, "{") {
		e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "Content-Type", Value: "application/json"})
	}
	for i := 0; i+1 < len(headers); i += 2 {
		e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: headers[i], Value: headers[i+1]})
	}
	if e.HTTP.Res.Headers.Get("Transfer-Encoding") == "" && status != 204 && status != 304 {
		e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: "Content-Length", Value: fmt.Sprint(len(body))})
	}
	return e
}

// begun is when exchanges were recorded.
var begun = time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)
