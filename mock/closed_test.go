package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/passthrough"
	"github.com/tapedeck/tapedeck/recording"
)

// Only one package can connect to another host or look up its name.
func TestOnlyPassthroughDials(t *testing.T) {
	dialers := map[string][]string{
		"net":                        {"Dial", "DialTimeout", "DialTCP", "DialIP", "DialUDP", "DialUnix", "Dialer", "DefaultResolver", "Resolver", "LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupPort", "LookupSRV", "LookupTXT", "LookupMX", "LookupNS", "ResolveTCPAddr", "ResolveIPAddr", "ResolveUDPAddr"},
		"net/http":                   {"Get", "Post", "PostForm", "Head", "Client", "DefaultClient", "Transport", "DefaultTransport"},
		"crypto/tls":                 {"Dial", "DialWithDialer", "Dialer"},
		"github.com/coder/websocket": {"Dial"},
	}
	banned := []string{"net/rpc", "net/smtp", "os/exec", "golang.org/x/net/proxy", "google.golang.org/grpc", "github.com/tapedeck/tapedeck/proxy/upstream", "net/http/httputil"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Dir(path) == "passthrough" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		names := map[string]string{}
		for _, i := range file.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			names[p[strings.LastIndexByte(p, '/')+1:]] = p
			if i.Name != nil {
				names[i.Name.Name] = p
			}
			if slices.Contains(banned, p) {
				t.Errorf("%s imports %s", path, p)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := s.X.(*ast.Ident); ok && slices.Contains(dialers[names[of.Name]], s.Sel.Name) {
					t.Errorf("%s uses %s.%s", path, of.Name, s.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// trap is a server that must not be connected to.
func trap(t *testing.T) (address string, calls *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), calls
}

// mitmproxy #8363: no traffic reaches the server once the last answer is consumed. None reaches it
// for an unknown host or protocol, with a damaged recording, or for any other request.
func TestNothingGoesUpstream(t *testing.T) {
	address, calls := trap(t)
	m := start(t, []*recording.Exchange{exchange(0, "GET", "http://"+address+"/a", "", 200, "a"), exchange(1, "GET", "http://"+address+"/b", "", 200, "b")}, func(o *Options) { o.Policy = order.Miss })
	c := m.client()
	ask := func(path string, want int) {
		t.Helper()
		if a := fetch(t, c, "GET", "http://"+address+path, ""); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	ask("/a", 200)
	ask("/a", 501) // exhausted
	ask("/c", 501) // unknown
	if _, err := c.Get("https://" + address + "/a"); err != nil {
		t.Error(err)
	}
	for _, say := range []string{"*1\r\n$4\r\nPING\r\n", "\x16\x03\x01nonsense", "\x00", "SSH-2.0-x\r\n"} {
		conn := m.tunnel(address)
		io.WriteString(conn, say)
		conn.(*buffered).CloseWrite()
		io.ReadAll(conn)
	}
	ws := "GET http://" + address + "/ws HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	conn := m.dial()
	io.WriteString(conn, ws)
	conn.Read(make([]byte, 1<<10))
	if _, status := invoke(t, m.client(func(tr *http.Transport) {
		tr.Proxy, tr.Protocols = nil, new(http.Protocols)
		tr.Protocols.SetUnencryptedHTTP2(true)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return m.dial(), nil }
	}), "http://"+address+"/t.T/None", false, "x"); !strings.HasPrefix(status, "13") {
		t.Errorf("gRPC: %s", status)
	}
	m.lib.tape.Close() // the store is gone
	ask("/b", 501)
	m.stop()
	r := m.Receipt()
	if calls.Load() != 0 || r.Escaped != 0 || r.Served != 1 || r.Missed < 9 {
		t.Errorf("%d connections reached the server; receipt %s", calls.Load(), &r)
	}
	if last := r.Misses[len(r.Misses)-1]; last.Code != "damaged" {
		t.Errorf("%+v", last)
	}
}

func newPassthrough(t *testing.T, hosts ...string) *passthrough.Passthrough {
	t.Helper()
	p, err := passthrough.New(hosts, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A listed host is reached if the recording has no answer. No other host is.
func TestListedHostsPass(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "real %s %s %s", r.Method, r.Host, body)
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "17")
	}))
	defer server.Close()
	listed := server.Listener.Addr().String()
	address, calls := trap(t)
	sink := new(memory)
	m := start(t, []*recording.Exchange{exchange(0, "GET", server.URL+"/a", "", 200, "recorded")}, func(o *Options) {
		o.Passthrough, o.Sink = newPassthrough(t, listed, "*.example.com"), sink
	})
	c := m.client()
	if a := fetch(t, c, "GET", server.URL+"/a", ""); a.body != "recorded" {
		t.Errorf("%s", a.body)
	}
	if a := fetch(t, c, "POST", server.URL+"/b", "body"); a.status != 200 || a.body != "real POST "+listed+" body" || a.trailer.Get("X-Sum") != "17" {
		t.Errorf("%+v", a)
	}
	if a := fetch(t, c, "GET", "http://"+address+"/", ""); a.status != 501 {
		t.Errorf("%+v", a)
	}
	m.stop()
	if r := m.Receipt(); r.Served != 1 || r.Passthrough != 1 || r.Missed != 1 || r.Escaped != 0 || calls.Load() != 0 {
		t.Errorf("receipt %s", &r)
	}
	var tags []string
	for _, e := range sink.exchanges() {
		tags = append(tags, e.Tags.Get(recording.TagMatch)+" "+e.Location+" "+string(e.HTTP.Res.Body[:4]))
	}
	if want := []string{"HIT /a reco", "PASSTHROUGH /b real", "MISS / tape"}; !slices.Equal(tags, want) {
		t.Errorf("recorded %q", tags)
	}
	if ref := sink.exchanges()[0].Tags.Get(recording.TagRefUUID); ref != exchange(0, "GET", server.URL, "", 200, "").UUID.String() {
		t.Errorf("refUuid %s", ref)
	}
}

func TestListedStreamsPass(t *testing.T) {
	l := lineServer(t, "")
	address := l.Addr().String()
	m := start(t, []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, "a")}, func(o *Options) { o.Passthrough = newPassthrough(t, address) })
	if got, err := converse(t, m.tunnel(address), 0, "hello\x00", "you\x00"); err != nil || got != "HELLO\x00YOU\x00" {
		t.Errorf("%q, %v", got, err)
	}
	m.stop()
	if r := m.Receipt(); r.Passthrough != 1 || r.Missed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

func TestListedWebSocketsAndCallsPass(t *testing.T) {
	server := httptest.NewServer(chat(false))
	defer server.Close()
	m := start(t, []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, "a")}, func(o *Options) { o.Passthrough = newPassthrough(t, server.Listener.Addr().String()) })
	if got, err := talk(&m.world, server, "a", false, "hello"); err != nil || got[3] != "you say, you say: hello" {
		t.Errorf("%q, %v", got, err)
	}
	plain := httptest.NewUnstartedServer(nil)
	calls := rpc(t)
	defer calls.Close()
	plain.Config.Handler, plain.Config.Protocols = calls.Config.Handler, new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	m = start(t, []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, "a")}, func(o *Options) { o.Passthrough = newPassthrough(t, plain.Listener.Addr().String()) })
	c := m.client(func(tr *http.Transport) {
		tr.Proxy, tr.Protocols = nil, new(http.Protocols)
		tr.Protocols.SetUnencryptedHTTP2(true)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return m.dial(), nil }
	})
	if got, status := invoke(t, c, plain.URL+"/t.T/Chat", true, "x", "y"); !slices.Equal(got, []string{"re x", "re y"}) || status != "0 cost 7" {
		t.Errorf("%q %s", got, status)
	}
}

func TestHostsForPassthrough(t *testing.T) {
	p := newPassthrough(t, "api.example.com", "db.example.com:5432", "*.Internal")
	for address, want := range map[string]bool{
		"api.example.com:443": true, "API.example.com.:80": true, "api.example.com": true, "x.api.example.com:443": false,
		"db.example.com:5432": true, "db.example.com:5433": false, "a.b.internal:1": true, "internal:1": false, "notinternal:1": false, "": false,
	} {
		if got := p.Lists(address); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	for _, host := range []string{"", "*", "*.*", "http://a", "a b", "u@a"} {
		if _, err := passthrough.New([]string{host}, nil, slog.Default()); err == nil {
			t.Errorf("%q is taken", host)
		}
	}
	if _, err := p.Dial(t.Context(), "tcp", "other.example.com:443"); !errors.Is(err, passthrough.ErrNotListed) || p.Escaped() != 1 {
		t.Errorf("%v, %d escaped", err, p.Escaped())
	}
}

func failing(t *testing.T, rules ...string) func(*Options) {
	s, err := fault.New(1, rules)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Faults = s }
}

// The client sees each fault, the mock records it, and faults occur at an exact rate.
func TestFaultsAreInjected(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	all := []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, body, "Content-Type", "text/plain")}
	for rule, check := range map[string]func(a answer, err error, took time.Duration) bool{
		"/a:delay=100ms": func(a answer, err error, took time.Duration) bool {
			return a.body == body && took >= 100*time.Millisecond
		},
		"/a:status=503": func(a answer, err error, _ time.Duration) bool {
			return a.status == 503 && a.body == "" && a.header.Get("Content-Length") == "0"
		},
		"/a:header=Retry-After:7": func(a answer, err error, _ time.Duration) bool {
			return a.header.Get("Retry-After") == "7" && a.body == body
		},
		"/a:connection=refuse": func(_ answer, err error, _ time.Duration) bool { return errors.Is(err, syscall.ECONNRESET) },
		"/a:connection=reset":  func(_ answer, err error, _ time.Duration) bool { return errors.Is(err, syscall.ECONNRESET) },
		"/a:connection=stall":  func(_ answer, err error, _ time.Duration) bool { return errors.Is(err, context.DeadlineExceeded) },
		"/a:connection=drop": func(a answer, err error, _ time.Duration) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && a.status == 200 && a.body == body[:len(body)/2]
		},
		"/a:body=truncate:10": func(a answer, err error, _ time.Duration) bool {
			return err == nil && a.body == body[:10] && a.header.Get("Content-Length") == "10"
		},
		"/a:body=truncate": func(a answer, err error, _ time.Duration) bool { return err == nil && a.body == body[:len(body)/2] },
		"/a:body=corrupt": func(a answer, err error, _ time.Duration) bool {
			return err == nil && a.body != body && len(a.body) == len(body)
		},
		"/a:throttle=50000": func(a answer, err error, took time.Duration) bool {
			return a.body == body && took > 150*time.Millisecond
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			sink := new(memory)
			m := start(t, all, failing(t, rule), func(o *Options) { o.Sink = sink })
			ctx := t.Context()
			if strings.Contains(rule, "stall") {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			begin := time.Now()
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://dep.example/a", nil)
			var a answer
			res, err := m.client().Do(r)
			if err == nil {
				var p []byte
				p, err = io.ReadAll(res.Body)
				a = answer{res.StatusCode, res.Header, string(p), nil}
				res.Body.Close()
			}
			if !check(a, err, time.Since(begin)) {
				t.Errorf("%d %v %.50q, %v", a.status, a.header, a.body, err)
			}
			m.stop()
			if r := m.Receipt(); len(r.Faults) != 1 || r.Faults[0] != (fault.Count{Rule: rule, Matched: 1, Fired: 1}) {
				t.Errorf("receipt %+v", r.Faults)
			}
			if got := sink.exchanges(); len(got) != 1 || got[0].Tags.Get(recording.TagFault) != rule {
				t.Errorf("recorded %v", got)
			}
		})
	}
}

func TestFaultsComeAtTheirRate(t *testing.T) {
	m := start(t, []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, "a")}, failing(t, "GET http://dep.example/a:rate=3/10,status=503", "/never:status=500"))
	c := m.client()
	failed := 0
	for range 50 {
		if fetch(t, c, "GET", "http://dep.example/a", "").status == 503 {
			failed++
		}
	}
	if failed != 15 {
		t.Errorf("%d of 50 failed", failed)
	}
	if r := m.Receipt(); !slices.Equal(r.UnfiredFaults(), []string{"/never:status=500"}) || len(r.Injected) != 15 || r.Injected[0].RefUUID == "" {
		t.Errorf("receipt %+v", r)
	}
	// toxiproxy #148: rules can change while the mock runs, and the counts of earlier faults are
	// kept.
	other, err := fault.New(1, []string{"/a:status=504"})
	if err != nil {
		t.Fatal(err)
	}
	m.SetFaults(other)
	if a := fetch(t, c, "GET", "http://dep.example/a", ""); a.status != 504 {
		t.Errorf("%d", a.status)
	}
	m.SetFaults(nil)
	if a := fetch(t, c, "GET", "http://dep.example/a", ""); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	if r := m.Receipt(); len(r.Faults) != 3 || r.Faults[0].Fired != 15 || r.Faults[2].Fired != 1 {
		t.Errorf("receipt %+v", r.Faults)
	}
}

func TestFaultsOfConnectionsCallsAndStreams(t *testing.T) {
	server := rpc(t)
	l := lineServer(t, "")
	calls := record(t, []*httptest.Server{server}, func(w *world) {
		invoke(t, w.client(), server.URL+"/t.T/Unary", false, "a")
		converse(t, w.tunnel(l.Addr().String()), 0, "hello\x00")
	})
	server.Close()
	m := start(t, calls, failing(t, "/t.T/Unary:status=UNAVAILABLE"))
	if heard, status := invoke(t, m.client(), server.URL+"/t.T/Unary", false, "a"); len(heard) > 0 || !strings.HasPrefix(status, "14") {
		t.Errorf("%q %s", heard, status)
	}
	m = start(t, calls, failing(t, "^CONNECT "+l.Addr().String()+":connection=refuse"))
	conn := m.dial()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", l.Addr())
	p := make([]byte, 1<<10)
	if n, _ := conn.Read(p); !bytes.HasPrefix(p[:n], []byte("HTTP/1.1 502")) {
		t.Errorf("%q", p[:n])
	}
	m = start(t, calls, failing(t, "^STREAM tcp://"+l.Addr().String()+":connection=reset"))
	if got, err := converse(t, m.tunnel(l.Addr().String()), 0, "hello\x00"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", got, err)
	}
}
