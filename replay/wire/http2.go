package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/contract"
)

// transport returns the HTTP/2 transport to the target.
func (c *Client) transport() *http2.Transport {
	return &http2.Transport{
		AllowHTTP:          true,
		DisableCompression: true,
		MaxHeaderListSize:  maxHead,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			var config *tls.Config
			if c.secure {
				config = c.tls2or1
			}
			if c.secure && c.http2 {
				config = c.tls2
			}
			conn, err := c.dial(ctx, config)
			if err != nil {
				return nil, err
			}
			if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != "h2" {
				_ = conn.Close()
				return nil, errHTTP1
			}
			return c.streams.add(conn), nil
		},
	}
}

// connSet keeps track of the HTTP/2 connections, so that all of them can be closed. The transport
// closes only idle ones, and a connection is busy while the transport waits for the target to
// confirm the end of a stream.
type connSet struct {
	mu  sync.Mutex
	all map[*member]bool
	// known is nil if the target agreed to HTTP/2. Otherwise it is closed when the target has
	// answered, or has closed the connection. refused then means that the answer was not HTTP/2.
	known   chan struct{}
	once    sync.Once
	refused atomic.Bool
}

// cause returns why a request failed. The transport may have failed to write before it read
// that the target does not speak HTTP/2.
func (s *connSet) cause(ctx context.Context, err error) error {
	var known *Error
	if s.known == nil || errors.As(err, &known) { // for example, there is no connection
		return err
	}
	select {
	case <-s.known:
	case <-ctx.Done():
	}
	if s.refused.Load() {
		return errHTTP1
	}
	return err
}

func (s *connSet) know(refused bool) {
	if refused {
		s.refused.Store(true)
	}
	s.once.Do(func() { close(s.known) })
}

type member struct {
	net.Conn
	of *connSet
	// read counts the first bytes from a target that has not agreed to HTTP/2, up to the byte that
	// shows whether the target speaks it. It is -1 if the target does.
	read int
}

// settings is the type of the first frame that a server sends (RFC 9113, section 3.4). The byte
// at typeAt of a frame is its type.
const settings, typeAt = 4, 3

// Read implements net.Conn.
func (m *member) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if m.read < 0 {
		return n, err
	}
	at := typeAt - m.read
	switch m.read += n; {
	case at < n && p[at] != settings:
		m.of.know(true)
		return 0, errHTTP1
	case at < n:
		m.read = -1
		m.of.know(false)
	case err != nil:
		m.of.know(false)
	}
	return n, err
}

func (s *connSet) add(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*member]bool{}
	}
	m := &member{conn, s, -1}
	if s.known != nil {
		m.read = 0
	}
	s.all[m] = true
	return m
}

// Close implements net.Conn.
func (m *member) Close() error {
	m.of.mu.Lock()
	delete(m.of.all, m)
	m.of.mu.Unlock()
	return m.Conn.Close()
}

func (s *connSet) close() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.all))
	s.mu.Unlock()
	for _, m := range all {
		_ = m.Close()
	}
}

// errHTTP1 means that the target speaks only HTTP/1.
var errHTTP1 = fail(Protocol, "the target does not speak HTTP/2: it did not agree to h2 in the TLS handshake, or answers without TLS in HTTP/1")

// stream sends a request over HTTP/2.
func (c *Client) stream(ctx context.Context, f *form, into *Result) error {
	if c.http1.Load() {
		return c.exchange(ctx, f, into)
	}
	w := c.watch(ctx, f)
	defer w.end()
	req := c.request(w.ctx, f)
	req.ContentLength = int64(len(f.body))
	if f.has(chunked) {
		req.ContentLength = -1
	}
	if len(f.body) > 0 || f.has(chunked) {
		body := &upload{rest: f.body, watch: w}
		defer body.stop()
		req.Body = body
	}
	into.Sent = time.Now()
	resp, err := c.h2.RoundTrip(req)
	if err != nil {
		err = c.streams.cause(w.ctx, err)
	}
	if errors.Is(err, errHTTP1) && !c.http2 {
		c.http1.Store(true)
		return c.exchange(ctx, f, into)
	}
	if err != nil {
		return w.cause(err)
	}
	defer w.closes(resp.Body)()
	into.BytesOut = int64(len(f.body))
	if err := into.head(resp); err != nil {
		return err
	}
	w.moved()
	if err := c.receive(resp, f, into, w); err != nil {
		return err
	}
	return into.tail(resp)
}

// receive reads the body of an answer.
func (c *Client) receive(resp *http.Response, f *form, into *Result, w *watch) error {
	for {
		if err := into.enough(f); err != nil {
			return err
		}
		into.grow()
		at := len(into.body)
		n, err := resp.Body.Read(into.body[at:cap(into.body)])
		if n > 0 {
			w.moved()
			into.flows(time.Now())
			into.keep(into.body[at:at+n], c.o.MaxBody)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return w.cause(err)
		}
	}
}

// request returns the transport's form of a request.
func (c *Client) request(ctx context.Context, f *form) *http.Request {
	head := string(f.head) // one copy, which contains all names and values
	line, fields, _ := strings.Cut(head, "\r\n")
	method, target, _ := strings.Cut(line, " ")
	target = target[:strings.LastIndexByte(target, ' ')]
	req := c.blank.WithContext(ctx)
	req.Method, req.Host = method, c.host
	req.URL = &url.URL{Scheme: "http", Host: c.address}
	if c.secure {
		req.URL.Scheme = "https"
	}
	if f.host.n > 0 && !c.o.RewriteHost {
		req.Host = head[f.host.at:f.host.end()]
	}
	if f.authority.n > 0 { // HTTP/2 has only the path here
		target = target[f.authority.end()-len(method)-1:]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	req.URL.Opaque = target
	if strings.HasPrefix(target, "//") { // otherwise the path would be read as a host
		req.URL.Opaque = "//" + req.Host + target
	}
	req.Header = headerOf(fields)
	for _, list := range req.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			delete(req.Header, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	for _, name := range [...]string{"Connection", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(req.Header, name)
	}
	if !hasToken(strings.Join(req.Header["Te"], ","), "trailers") {
		delete(req.Header, "Te")
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = nil // otherwise the transport would add one
	}
	if c.run != nil {
		req.Header[contract.HeaderReplay] = c.run
	}
	if len(f.trailers) > 0 {
		req.Trailer = headerOf(string(f.trailers))
	}
	return req
}

// headerOf reads fields that Append wrote.
func headerOf(text string) http.Header {
	n := strings.Count(text, "\n")
	h := make(http.Header, n+2)
	values := make([]string, 0, n) // one allocation for all
	for text != "" {
		line, rest, _ := strings.Cut(text, "\r\n")
		name, value, _ := strings.Cut(line, ": ")
		text = rest
		if have := h[name]; have != nil {
			h[name] = append(have, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	return h
}

// head records the head of an HTTP/2 answer. Fields are sorted by name, because the transport does
// not keep the order of different names.
func (r *Result) head(resp *http.Response) error {
	r.FirstByte = time.Now()
	res := &r.http.Res
	res.StatusCode, res.StatusMessage = resp.StatusCode, strings.TrimSpace(resp.Status)
	res.ContentType = resp.Header.Get("Content-Type")
	r.http2, r.Live.ALPN = true, "h2"
	return r.header(resp.Header)
}

// tail records the trailers.
func (r *Result) tail(resp *http.Response) error {
	first := len(r.http.Res.Headers)
	if err := r.header(resp.Trailer); err != nil {
		return err
	}
	r.trailers(first)
	return nil
}

func (r *Result) header(h http.Header) error {
	names := r.names[:0]
	for name := range h {
		names = append(names, name)
	}
	r.names = names
	slices.Sort(names)
	for _, name := range names {
		for _, v := range h[name] {
			if err := r.field(name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch ends a request that makes no progress.
type watch struct {
	ctx            context.Context
	parent         context.Context
	cancel         context.CancelCauseFunc
	timer          *time.Timer
	limit, silence time.Duration
	last           time.Time    // the deadline of the request
	giveUp         *time.Timer  // ends the request when the recorded client gave up; may be nil
	due            atomic.Int64 // no progress is expected before this time, in nanoseconds of Unix time
}

// watch starts to watch a request.
func (c *Client) watch(ctx context.Context, f *form) *watch {
	w := &watch{parent: ctx, limit: c.o.Timeout, silence: f.silence, last: c.end(f)}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(w.limit, func() {
		if !time.Now().Before(w.last) {
			w.cancel(c.tooLong())
			return
		}
		w.cancel(fail(Timeout, "no byte was sent or received for %v", w.limit))
	})
	return w
}

// moved reports progress. After the first call, the limit also allows for the pauses of the
// recorded answer.
func (w *watch) moved() {
	next := w.limit + w.silence + max(0, time.Until(time.Unix(0, w.due.Load())))
	w.timer.Reset(min(next, time.Until(w.last)))
}

// until says that no progress is expected before t.
func (w *watch) until(t time.Time) {
	w.due.Store(t.UnixNano())
	w.moved()
}

// closes closes an answer's body when the request ends, and returns a function that does it earlier. Without
// it, the transport would not notice the end while it waits for a window to send the request's body.
func (w *watch) closes(body io.Closer) (now func()) {
	stop := context.AfterFunc(w.ctx, func() { _ = body.Close() })
	return func() {
		if stop() {
			_ = body.Close()
		}
	}
}

func (w *watch) end() {
	w.timer.Stop()
	if w.giveUp != nil {
		w.giveUp.Stop()
	}
	w.cancel(nil)
}

// cause returns why a request failed, given an error of the transport.
func (w *watch) cause(err error) error {
	var (
		known  *Error
		stream http2.StreamError
		goAway http2.GoAwayError
	)
	switch {
	case w.parent.Err() != nil:
		return &Error{Canceled, context.Cause(w.parent)}
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case errors.As(err, &known):
		return known
	case errors.As(err, &stream), errors.As(err, &goAway):
		return &Error{Reset, err}
	}
	return err
}

// upload is the body of a request. The transport may still read it for a while after the answer has
// ended.
type upload struct {
	mu    sync.Mutex
	rest  []byte
	watch *watch
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := copy(p, u.rest)
	if u.rest = u.rest[n:]; len(u.rest) == 0 {
		return n, io.EOF
	}
	u.watch.moved()
	return n, nil
}

// Close implements io.Closer.
func (u *upload) Close() error { return nil }

// stop ends the body, because the caller will reuse its memory.
func (u *upload) stop() {
	u.mu.Lock()
	u.rest = nil
	u.mu.Unlock()
}
