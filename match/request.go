package match

import (
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// Request has the compared parts of a request, recorded or live, of any protocol.
// [Matcher.Request] makes it. Don't change it.
type Request struct {
	// TS is the time of the exchange: the recorded time, or now.
	TS time.Time
	// Protocol is http, grpc, websocket or tcp.
	Protocol string
	// Method is the HTTP method as it was sent. Host is in lower case and has no port. Port is the
	// scheme's default if the request names none. Path has the unescaped segments.
	Method, Host string
	Port         string
	Path         []string

	e        *recording.Exchange
	body     []byte       // decoded
	format   canon.Format // of the body
	params   canon.Params
	cut      bool
	reads    bool   // the operation only reads
	variant  uint64 // distinguishes operations that share an endpoint
	endpoint key
	exact    key // key of all parts except the port
	port     key // of the port
	// validator is the key of a condition such as If-None-Match; zero if the request has none.
	validator key
	// whole is the part of the key that comes from the body.
	whole key
	k     keyer
	scope rules.Scope
}

const (
	// maxBody bounds a decoded body. A larger one is compared as it was sent.
	maxBody = 16 << 20
	// maxSegments bounds the segments of a path that are compared separately.
	maxSegments = 256
)

// selecting lists the headers that are compared without a rule, because they select the requested
// resource, as the path does.
var selecting = []struct{ name, lower string }{
	{"Range", "range"}, {"X-Amz-Target", "x-amz-target"}, {"Soapaction", "soapaction"}, {"X-Http-Method-Override", "x-http-method-override"},
}

// Selecting returns the names of the headers that are compared without a rule.
func Selecting() (names []string) {
	for _, s := range selecting {
		names = append(names, s.name)
	}
	return names
}

// Request returns the compared parts of an exchange. It redacts the exchange in place, and the
// result refers to it.
func (m *Matcher) Request(e *recording.Exchange) *Request {
	r := m.requests.Get().(*Request)
	m.read(r, e)
	return r
}

// Release returns the request's memory to the matcher. Calling it is optional. The request must not
// be used afterwards.
func (m *Matcher) Release(r *Request) {
	if cap(r.body) <= maxKept && cap(r.k.leaves) <= maxLeaves/8 {
		r.e = nil
		m.requests.Put(r)
	}
}

// maxKept bounds a buffer for bodies that is kept for reuse.
const maxKept = 1 << 20

// read fills r in from an exchange, and reuses the memory of r.
func (m *Matcher) read(r *Request, e *recording.Exchange) {
	if m.redact != nil {
		m.redact(e)
	}
	*r = Request{TS: e.TS, e: e, k: r.k, scope: r.scope, Path: r.Path[:0], body: r.body[:0]}
	k := &r.k
	k.secret = m.secret
	k.reset(e.TS)
	r.head(e)
	r.scope.Reset(m.rules, r.Method, r.Host, "/"+strings.Join(r.Path, "/"), false)
	if p := r.scope.First(rules.Host); p != nil && p.Action != rules.Require {
		k.fired = append(k.fired, p)
		r.Host = ""
	}
	r.port = k.part("port", r.Port)
	if p := r.scope.First(rules.Port); p != nil && p.Action != rules.Require {
		k.fired = append(k.fired, p)
		r.port = key{}
	}
	k.sum = k.part("head", r.Protocol, r.Method, r.Host, r.fixedPort())
	r.path()
	r.headers(e)
	if r.Protocol != recording.TCP {
		r.query(e)
	}
	before := k.sum
	r.content(m, e)
	r.whole = k.sum.minus(before)
	r.exact = k.sum
	r.operation()
}

// head finds the host, port and path of the request.
func (r *Request) head(e *recording.Exchange) {
	r.Protocol = "http"
	switch {
	case e.TCP != nil || e.HTTP == nil:
		r.Protocol = recording.TCP
		r.Method = e.L7Protocol
		r.Host, r.Port = splitHost(e.NetworkAddress)
		return
	case e.GRPC != nil || isGRPC(e.HTTP.Req.Headers):
		r.Protocol = recording.GRPC
	case e.WebSocket != nil || isUpgrade(e.HTTP.Req.Headers):
		r.Protocol = recording.WebSocket
	}
	req := &e.HTTP.Req
	r.Method = req.Method
	host, path := req.Host, req.URL
	if host == "" {
		host = e.NetworkAddress
	}
	if _, rest, ok := strings.Cut(req.URI, "://"); ok { // absolute form
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
		if host == "" {
			host = rest
		}
	}
	if path == "" {
		path, _, _ = strings.Cut(req.URI, "?")
	}
	if _, rest, ok := strings.Cut(path, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	}
	if r.Host, r.Port = splitHost(host); r.Port == "" {
		r.Port = usualPort(e)
	}
	for s := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if len(r.Path) == maxSegments {
			r.Path[maxSegments-1] += "/" + s
			continue
		}
		if strings.IndexByte(s, '%') >= 0 {
			if u, err := url.PathUnescape(s); err == nil {
				s = u
			}
		}
		r.Path = append(r.Path, s)
	}
}

// joinPath joins the segments of a path, escaped as in a URL.
func joinPath(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		if strings.ContainsAny(s, "/?#% ") {
			s = url.PathEscape(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// splitHost splits a host and its port, if it has one.
func splitHost(address string) (host, port string) {
	host = address
	if i := strings.LastIndexByte(address, ':'); i >= 0 && (strings.IndexByte(address, ':') == i || strings.HasPrefix(address, "[") && address[i-1] == ']') {
		host, port = address[:i], address[i+1:]
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), ".")), port
}

// usualPort returns the default port of an exchange's scheme.
func usualPort(e *recording.Exchange) string {
	if e.IsTLS || strings.EqualFold(e.L7Protocol, "https") || strings.HasPrefix(e.HTTP.Req.URI, "https://") {
		return "443"
	}
	return "80"
}

// address returns the host, and the port unless it is a scheme's default.
func (r *Request) address() string {
	if r.Port == "" || r.Protocol != recording.TCP && (r.Port == "80" || r.Port == "443") {
		return r.Host
	}
	return net.JoinHostPort(r.Host, r.Port)
}

func isGRPC(h recording.Headers) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "application/grpc") && !strings.HasPrefix(h.Get("Content-Type"), "application/grpc-web")
}

func isUpgrade(h recording.Headers) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket")
}

// path adds the path's segments, and finds the endpoint: the path without the segments that look
// like values.
func (r *Request) path() {
	k := &r.k
	decides := make([]*rules.Place, 0, 32)
	decides = append(decides, make([]*rules.Place, len(r.Path))...)
	if len(r.scope.Of(rules.Path)) > 0 {
		r.scope.Segments(r.Path, decides)
	}
	template := append(make([]byte, 0, 256), "endpoint"...)
	for _, s := range []string{r.Protocol, r.Method, r.Host, r.fixedPort()} {
		template = append(append(template, 0), s...)
	}
	k.begin("path", "path")
	k.tracker.Reset(&r.scope)
	root := k.levels[0]
	k.inPath = true
	name := ""
	for i, s := range r.Path {
		level := root
		b := append(k.buf[:0], "segment"...)
		b = append(b, byte(i))
		level.path, level.wild, level.band = k.secret.of(b), k.secret.short(b), uint32(i)
		k.buf = b[:0]
		k.names = append(k.names[:0], name...)
		level.name = span{0, len(name)}
		if l := k.leaf(&level, canon.Text, []byte(s), decides[i]); l != nil {
			l.name = k.keep([]byte("path:" + r.template(i)))
		}
		template = append(template, '/')
		if decides[i] != nil && decides[i].Action != rules.Require || isVariable(s) {
			template = append(template, 0)
		} else {
			template = append(template, s...)
			name = s
		}
	}
	k.inPath = false
	r.endpoint = k.secret.of(template)
}

// fixedPort returns the port if nothing else identifies the service.
func (r *Request) fixedPort() string {
	if r.Protocol == recording.TCP {
		return r.Port
	}
	return ""
}

// Endpoint returns the name of the request's endpoint: the method, the host, and the path with a
// star for each segment that looks like a value. Requests are grouped by it.
func (r *Request) Endpoint() string {
	t := r.endpointText()
	switch {
	case r.Protocol == recording.TCP:
		return "tcp " + net.JoinHostPort(r.Host, r.Port)
	case r.Protocol == "http":
		return t.method + " " + t.host + t.path
	}
	return t.protocol + " " + t.host + t.path
}

// template returns the path with a star for segment i, as rules write it.
func (r *Request) template(i int) string {
	var b strings.Builder
	for j, s := range r.Path {
		if j == i {
			s = "*"
		}
		b.WriteString(joinPath([]string{s}))
		if b.Len() > maxPlace {
			break
		}
	}
	return b.String()
}

// isVariable reports whether a segment of a path looks like a value and not like a name. Only the
// segment's text matters.
func isVariable(s string) bool {
	if s == "" {
		return false
	}
	digits, hex := 0, true
	for i := range len(s) {
		c := s[i]
		if '0' <= c && c <= '9' {
			digits++
		} else if c|0x20 < 'a' || c|0x20 > 'f' {
			hex = false
		}
	}
	switch {
	case digits == len(s), hex && digits > 0 && len(s) >= 8, strings.IndexByte(s, '@') > 0:
		return true
	}
	v, _, _ := class.Find([]byte(s), nil, time.Time{})
	return digits > 0 && v.Class != class.None
}

// headers adds the selecting headers and those that rules require.
func (r *Request) headers(e *recording.Exchange) {
	if e.HTTP == nil {
		return
	}
	k, h := &r.k, e.HTTP.Req.Headers
	for _, s := range selecting {
		v := h.Get(s.name)
		if v == "" {
			continue
		}
		if p := r.scope.Header(s.lower); p != nil && p.Action == rules.Ignore {
			k.fired = append(k.fired, p)
			continue
		}
		k.sum = k.sum.plus(k.part("header", s.lower, strings.Trim(v, `"`)))
	}
	for _, p := range r.scope.Of(rules.Header) {
		if p.Action != rules.Require {
			continue
		}
		k.fired = append(k.fired, p)
		for v := range h.Values(p.HeaderName()) {
			k.sum = k.sum.plus(k.part("header", p.HeaderName(), v))
		}
	}
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since"} {
		if v := h.Get(name); v != "" {
			if name == "If-Modified-Since" {
				v = ""
			}
			r.validator = k.part("condition", name, v)
			break
		}
	}
}

func (r *Request) query(e *recording.Exchange) {
	query := rawQuery(e)
	if query == "" {
		return
	}
	r.k.begin("query", "query:")
	r.k.tracker.Reset(&r.scope, rules.Query)
	canon.WalkQuery(query, &r.k)
}

func rawQuery(e *recording.Exchange) string {
	uri := e.HTTP.Req.URI
	if uri == "" {
		uri = e.HTTP.Req.URL
	}
	_, query, _ := strings.Cut(uri, "?")
	query, _, _ = strings.Cut(query, "#")
	return query
}

// content adds the body, or the opening of a conversation.
func (r *Request) content(m *Matcher, e *recording.Exchange) {
	switch {
	case r.Protocol == recording.WebSocket:
		return // the handshake is the opening
	case r.Protocol == recording.TCP:
		r.body = appendOpening(r.body, e.TCP)
		r.format = canon.Raw
	case e.GRPC != nil:
		first, ok := firstMessage(e.GRPC)
		if !ok {
			r.k.sum = r.k.sum.plus(r.k.part("opening", "none"))
			return
		}
		if first.Size > int64(len(first.Data)) {
			r.cut = true
			r.body = append(r.body, first.Data...)
			r.k.sum = r.k.sum.plus(cutKey(m.secret, r.body, first.Size))
			return
		}
		r.body, r.format, r.params = m.message(r.body, e, first)
		if len(r.body) == 0 {
			r.k.sum = r.k.sum.plus(r.k.part("opening", "empty"))
			return
		}
	default:
		half := e.Request()
		if half.Cut() {
			r.cut = true
			r.body = append(r.body, half.Body...)
			r.k.sum = r.k.sum.plus(cutKey(m.secret, r.body, half.Size()))
			return
		}
		if len(half.Body) == 0 {
			return
		}
		decoder := m.decoders.Get().(*coding.Decoder)
		body, err := half.Decode(decoder, r.body, maxBody)
		m.decoders.Put(decoder)
		contentType := half.Headers.Get("Content-Type")
		if err != nil {
			body, contentType = append(body[:0], half.Body...), "application/x-undecoded"
		}
		r.body = body
		r.format, r.params = canon.Detect(contentType, body)
	}
	r.walk()
}

// cutKey returns the key of a body that was recorded only in part.
func cutKey(s secret, beginning []byte, size int64) key {
	b := binary.LittleEndian.AppendUint64([]byte("cut"), uint64(size))
	return s.of(append(b, beginning...))
}

// walk reads the body. If the body isn't of its declared type, walk reads it as bytes.
func (r *Request) walk() {
	k := &r.k
	if len(r.body) == 0 {
		return
	}
	before := k.mark()
	k.begin(r.format.String(), rootPlace(r.format))
	k.tracker.Reset(&r.scope, rules.Body, rules.Form)
	if r.format.Walk(r.body, r.params, k) == nil {
		return
	}
	k.rewind(before)
	r.format = canon.Raw
	k.begin(r.format.String(), rootPlace(r.format))
	k.tracker.Reset(&r.scope, rules.Body)
	r.format.Walk(r.body, r.params, k)
}
