package mock

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/passthrough"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording"
)

// Options say how a Mock answers. Policy, Authority and Log must be set.
type Options struct {
	// Listen are the addresses of the main port, which serves all clients. Maps are further ports,
	// each of which answers as one server; see package front.
	Listen []string
	Maps   []front.Map
	// Authority issues the certificates of the mock's TLS servers.
	Authority *ca.Authority
	// Policy says how to answer a request whose recorded answers have all been given.
	Policy order.Policy
	// AllowCut serves answers that were recorded only in part. Otherwise they are misses.
	AllowCut bool
	// RefreshDates moves Date, Expires, Last-Modified and the times of cookies forward by the time
	// since the recording.
	RefreshDates bool
	// Latency says which parts of the recorded time the mock reproduces.
	Latency Latency
	// Faults are the initial fault rules; [Mock.SetFaults] replaces them. If nil, there are none.
	Faults *fault.Set
	// Passthrough forwards misses to listed hosts. If nil, no host is listed.
	Passthrough *passthrough.Passthrough
	// Sink receives an exchange for each request, tagged with the verdict. If nil, nothing is recorded.
	Sink recording.Sink
	// Explain receives the explanation of how each request was judged. If nil, none is written.
	Explain io.Writer
	// Grace is how long requests in progress may continue when the Mock ends.
	Grace time.Duration
	// Log receives misses and faults as they happen.
	Log *slog.Logger
}

// Mock answers clients. New creates it, and Serve runs it.
type Mock struct {
	Options
	lib   *Library
	front *front.Front

	now        atomic.Pointer[state]
	changing   sync.Mutex // held while now or its fault rules change
	asks       sync.Pool
	explaining sync.Mutex
	active     sync.WaitGroup
	end        context.Context // ends with Serve
	ended      func()
}

// New creates a mock and binds its ports. The caller must call Serve.
func New(ctx context.Context, lib *Library, o Options) (*Mock, error) {
	m := &Mock{Options: o, lib: lib}
	m.now.Store(m.newState(o.Faults, 0))
	m.end, m.ended = context.WithCancel(context.WithoutCancel(ctx))
	m.asks.New = func() any { return new(ask) }
	var err error
	m.front, err = front.Listen(ctx, front.Config{
		Listen: o.Listen, Maps: o.Maps, Authority: o.Authority, Log: o.Log,
		HTTP: http.HandlerFunc(m.serveHTTP), Stream: m.serveStream, Expect: lib.expect, Admit: m.admit,
		Distrusted: func(name string, err error) {
			m.now.Load().distrusted.Add(1)
			o.Log.Warn("a client ended the TLS handshake: it probably does not trust the CA of this run", "host", name, "error", err)
		},
	})
	if err != nil {
		m.ended()
		return nil, err
	}
	return m, nil
}

// Addr returns the address of the main port, or nil if there is none.
func (m *Mock) Addr() *net.TCPAddr { return m.front.Addr() }

// MapAddr returns the address of Options.Maps[i].
func (m *Mock) MapAddr(i int) *net.TCPAddr { return m.front.MapAddr(i) }

// Serve serves until ctx ends. Requests in progress may then continue for Options.Grace. The
// receipt is complete when Serve returns.
func (m *Mock) Serve(ctx context.Context) {
	m.front.Serve(ctx, m.Grace)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.active.Wait()
	}()
	select {
	case <-done:
	case <-time.After(m.Grace):
	}
	m.ended()
	<-done
	m.Passthrough.Close()
}

// admit rejects connections that a fault rule refuses.
func (m *Mock) admit(o front.Origin) error {
	s := m.now.Load()
	e := s.faults.current().Refuses(tunnelTarget(o))
	if !e.Injects() {
		return nil
	}
	s.inject(e, tunnelTarget(o), recording.UUID{})
	return errors.New("refused by a fault rule")
}

// tunnelTarget returns what fault rules match for a connection, or "" if the client named no host.
func tunnelTarget(o front.Origin) string {
	if o.Host == "" {
		return ""
	}
	return "CONNECT " + o.Address()
}

// ask is one request of a client.
type ask struct {
	*Mock
	*state // the state when the request arrived
	w      http.ResponseWriter
	r      *http.Request
	conn   *front.Conn

	scheme, host string // host has the port if the client named one
	path         string
	id           order.Identity
	began        time.Time

	exchange recording.Exchange
	http     recording.HTTP
	body     []byte
	buf      tape.Buffer
	answer   *tape.Answer
	effect   fault.Effect
	plain    bool // the body is sent as stored on the tape
	out      outcome
}

// outcome is the result of a request, for its record.
type outcome struct {
	verdict Verdict
	entry   match.Entry // of a hit
	masked  bool
	status  int
	header  http.Header
	body    []byte // at most maxKept
	size    int64
	begun   time.Time
	said    *recording.Conversation
	why     string
}

func (m *Mock) serveHTTP(w http.ResponseWriter, r *http.Request) {
	m.active.Add(1)
	defer m.active.Done()
	q := m.asks.Get().(*ask)
	defer q.release()
	q.begin(m, w, r)
	switch {
	case r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		q.socket()
	case isGRPC(r.Header.Get("Content-Type")):
		q.call()
	default:
		q.serve()
	}
}

func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// begin turns the request into an exchange, because exchanges are compared.
func (q *ask) begin(m *Mock, w http.ResponseWriter, r *http.Request) {
	q.Mock, q.state, q.w, q.r, q.conn, q.began = m, m.now.Load(), w, r, front.ConnOf(r.Context()), time.Now()
	q.scheme, q.host, q.path = "http", r.Host, r.URL.Path
	if r.URL.IsAbs() {
		q.scheme, q.host = r.URL.Scheme, r.URL.Host
	} else if q.conn.TLS {
		q.scheme = "https"
	}
	if q.conn.Via == front.Mapped || q.host == "" { // a mapped port is one server, whatever host the client names
		q.host = q.conn.Address()
	}
	e := &q.exchange
	headers := q.http.Req.Headers[:0]
	for name, values := range r.Header {
		for _, v := range values {
			headers = append(headers, recording.Header{Name: name, Value: v})
		}
	}
	uri, path := r.RequestURI, r.URL.EscapedPath()
	if r.URL.IsAbs() {
		if uri = path; r.URL.RawQuery != "" || r.URL.ForceQuery {
			uri += "?" + r.URL.RawQuery
		}
	}
	q.http = recording.HTTP{Req: recording.HTTPRequest{URL: path, URI: uri, Version: versions[min(r.ProtoMajor, 2)], Method: r.Method, Host: q.host, Headers: headers}}
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		q.http.Req.Version = "1.0"
	}
	*e = recording.Exchange{
		MsgType: recording.MsgType, TS: q.began, Direction: recording.Out, L7Protocol: q.scheme, IsTLS: q.conn.TLS, ALPN: q.conn.ALPN,
		NetworkAddress: q.address(), Command: r.Method, Location: path, HTTP: &q.http, Tags: e.Tags[:0],
	}
	var conn uint64
	if r.ProtoMajor == 1 {
		conn = q.conn.ID
	}
	q.id = order.Identify(headers, conn)
}

var versions = [...]string{"", "1.1", "2.0"}

// address returns the address of the server that the client asked for.
func (q *ask) address() string {
	if q.conn.Host != "" {
		return q.conn.Address()
	}
	if _, _, err := net.SplitHostPort(q.host); err == nil {
		return q.host
	}
	port := "80"
	if q.scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(q.host, "[]"), port)
}

// release returns the ask to the pool.
func (q *ask) release() {
	headers, tags, body, buf := q.http.Req.Headers[:0], q.exchange.Tags[:0], q.body[:0], q.buf
	clear(headers[:cap(headers)])
	if cap(body) > maxBuffer {
		body = nil
	}
	m := q.Mock
	*q = ask{body: body, buf: buf}
	q.http.Req.Headers, q.exchange.Tags = headers, tags
	m.asks.Put(q)
}

const (
	// maxBuffer is the largest body buffer that is kept for reuse.
	maxBuffer = 256 << 10
	// maxRequest bounds a request's body. No recording has larger ones.
	maxRequest = 64 << 20
	// maxKept bounds the part of a body that is recorded.
	maxKept = 1 << 20
)

var errLarge = fmt.Errorf("the request's body is larger than %d bytes, which no recording has", maxRequest)

// readBody reads the request's body.
func (q *ask) readBody() error {
	b := q.body[:0]
	if n := q.r.ContentLength; n > int64(cap(b)) && n <= maxRequest {
		b = make([]byte, 0, n+1)
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := q.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxRequest:
			return errLarge
		case err == io.EOF:
			q.body = b
			return nil
		case err != nil:
			return err
		}
	}
}

// serve answers an HTTP request.
func (q *ask) serve() {
	if q.r.Body != nil && q.r.Body != http.NoBody {
		switch err := q.readBody(); {
		case errors.Is(err, errLarge):
			q.miss(reason{code: "too_large", text: err.Error()}, nil, match.Result{})
			return
		case err != nil: // the client is gone
			q.unfinished.Add(1)
			panic(http.ErrAbortHandler)
		}
		if q.http.Req.Body = q.body; q.Passthrough != nil { // the forwarded body must not be redacted
			q.http.Req.Body = bytes.Clone(q.body)
		}
	}
	for name, values := range q.r.Trailer {
		for _, v := range values {
			q.http.Req.Headers = append(q.http.Req.Headers, recording.Header{Name: name, Value: v})
		}
	}
	live := q.lib.matcher.Request(&q.exchange)
	defer q.lib.matcher.Release(live)
	found := q.lookup(live)
	why := q.choose(found)
	if why.code == "" {
		why = q.load(tape.HTTP)
	}
	if why.code != "" {
		q.otherwise(why, live, found)
		return
	}
	q.decide()
	q.say(q.stands(live, found))
}

// lookup looks up a request, and writes how it was judged to Explain.
func (q *ask) lookup(live *match.Request) match.Result {
	found := q.lib.index.Lookup(live, &q.bindings)
	if q.Explain != nil {
		var b bytes.Buffer
		_ = q.lib.index.Explain(live, found, q.lib.request).Text(&b) // a Builder never fails
		b.WriteByte('\n')
		q.explaining.Lock()
		defer q.explaining.Unlock()
		_, _ = q.Explain.Write(b.Bytes())
	}
	return found
}

// reason says why a request gets no recorded answer.
type reason struct{ code, text string }

// choose chooses one of the answers that were found.
func (q *ask) choose(found match.Result) reason {
	if found.How == match.None {
		return reason{"no_match", "no recorded request is the same"}
	}
	entry, ok := order.Choose(q.chooser, found.Sequence, found.Entries, q.id)
	if !ok {
		return reason{"exhausted", fmt.Sprintf("all %d recorded answers to this request have been given, and the policy for repeated ones is %s", len(found.Entries), order.Miss)}
	}
	q.out.entry, q.out.masked = entry, found.How == match.Masked
	return reason{}
}

// load reads the chosen answer. It must be of the given kind.
func (q *ask) load(kind tape.Kind) reason {
	a, err := q.lib.tape.Read(q.lib.entries[q.lib.index.Ref(q.out.entry)].offset, &q.buf)
	switch {
	case err != nil:
		return reason{"damaged", err.Error()}
	case a.Lacks != "" && a.Status == 0 && a.Kind != tape.TCP:
		return reason{"no_answer", a.Lacks}
	case a.Lacks != "" && !q.AllowCut:
		return reason{"not_whole", a.Lacks}
	case a.Kind != kind:
		return reason{"other_protocol", "the recorded exchange uses another protocol"}
	}
	q.answer = a
	return reason{}
}

// decide applies the fault rules to the answer.
func (q *ask) decide() {
	set := q.faults.current()
	if set == nil {
		return
	}
	q.effect = set.Next(q.target(), tunnelTarget(q.conn.Origin))
	if q.effect.Injects() {
		q.inject(q.effect, q.target(), q.answer.UUID)
	}
}

// target returns what fault rules match for the request.
func (q *ask) target() string {
	if q.exchange.HTTP == nil {
		return "STREAM tcp://" + q.exchange.NetworkAddress
	}
	return q.exchange.Command + " " + q.scheme + "://" + q.host + q.path
}

// otherwise handles a request without a recorded answer: it forwards the request if its host
// is listed, and answers with a miss if not.
func (q *ask) otherwise(why reason, live *match.Request, found match.Result) {
	if q.Passthrough.Lists(q.address()) {
		q.pass(why)
		return
	}
	q.miss(why, live, found)
}

// stands returns a replacer that writes this request's live values where an answer repeats the
// recorded ones.
func (q *ask) stands(live *match.Request, found match.Result) replacer {
	var pairs []pair
	for _, h := range q.answer.Echoes {
		if v := q.r.Header.Get(h.Name); v != "" && v != h.Value {
			pairs = append(pairs, pair{h.Value, v})
		}
	}
	if found.How == match.Bound || found.How == match.Masked {
		if recorded, err := q.lib.request(q.lib.index.Ref(q.out.entry)); err == nil {
			view := q.lib.matcher.Request(recorded)
			for _, b := range q.lib.matcher.Bind(view, live) {
				pairs = append(pairs, pair{b.Recorded, b.Live})
				q.bindings.set(b.Live, b.Recorded)
			}
			q.lib.matcher.Release(view)
		}
	}
	return newReplacer(pairs)
}

// finish counts and records the request.
func (q *ask) finish(v Verdict) {
	q.out.verdict = v
	q.tally.add(cmp.Or(q.host, q.exchange.NetworkAddress), q.path, v, q.out.masked)
	if q.Sink != nil {
		q.record()
	}
}

// bindings maps live values to the recorded values that they replace. All callers share it; two
// callers are unlikely to have the same value.
type bindings struct {
	mu         sync.RWMutex
	young, old map[string]string
}

// maxBindings bounds each of two generations.
const maxBindings = 100_000

// Recorded implements match.Bindings.
func (b *bindings) Recorded(live string) (string, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if v, ok := b.young[live]; ok {
		return v, true
	}
	v, ok := b.old[live]
	return v, ok
}

func (b *bindings) set(live, recorded string) {
	if live == recorded || len(live) < minReplaced {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.young == nil || len(b.young) >= maxBindings {
		b.old, b.young = b.young, map[string]string{}
	}
	b.young[strings.Clone(live)] = strings.Clone(recorded)
}
