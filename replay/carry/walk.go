package carry

import (
	"net/textproto"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

const (
	// maxBody bounds the bytes of a body that are searched.
	maxBody = 16 << 20
	// maxDepth bounds how deep documents, and strings within strings, are searched.
	maxDepth = 100
	// maxTexts bounds the strings, parameters and elements of a message that are searched.
	maxTexts = 20_000
	// maxValue is the length of the longest value that is carried. It is large, because the state
	// of a page can be long.
	maxValue = 256 << 10
	// maxHeader is the length of the longest header that is searched.
	maxHeader = 16 << 10
)

// slotKind says where a visited string is.
type slotKind uint8

const (
	inLeaf    slotKind = iota // a string in JSON, XML, a form or a query
	inNumber                  // a number in JSON
	inSegment                 // a segment of a path
	inHeader                  // the value of a header
	inCookie                  // the value of a cookie
)

// walker visits the strings of a message with their places, and can change them. It copies the rest
// unchanged. If a string contains others, such as a URL in JSON, it visits those. It can be reused,
// and is not safe for concurrent use.
type walker struct {
	places *places
	// visit gets a decoded string, and returns the string to write in its place.
	visit func(text string) string

	path     []placeStep
	ids      []placeID // places of the prefixes of path, as far as they were looked up
	kind     slotKind
	previous string // when visiting a segment of a path, the segment before it
	texts    int
	depth    int
	decoder  coding.Decoder
	buffer   []byte
}

// push goes one step down, and pop goes back up.
func (w *walker) push(s placeStep) { w.path = append(w.path, s) }

func (w *walker) pop() {
	w.path = w.path[:len(w.path)-1]
	w.ids = w.ids[:min(len(w.ids), len(w.path))]
}

// at calls walk one step further down.
func (w *walker) at(name string, walk func()) {
	w.push(placeStep{name: name})
	walk()
	w.pop()
}

// place returns the current place. With add, it adds the place to the tree if it is missing.
func (w *walker) place(add bool) placeID {
	for i := len(w.ids); i < len(w.path); i++ {
		parent := none
		if i > 0 {
			parent = w.ids[i-1]
		}
		id := w.places.find(parent, w.path[i])
		if id == none && add {
			id = w.places.add(parent, w.path[i])
		}
		if id == none {
			return none
		}
		w.ids = append(w.ids, id)
	}
	return w.ids[len(w.ids)-1]
}

// name returns the name of the innermost member at the current place.
func (w *walker) name() string {
	for i := len(w.path) - 1; i >= 0; i-- {
		if w.path[i].kind == member {
			return w.path[i].name
		}
	}
	return ""
}

// text visits a string in a slot of this kind.
func (w *walker) text(kind slotKind, text string) string {
	if w.texts++; w.texts > maxTexts || text == "" {
		return text
	}
	w.kind = kind
	return w.visit(text)
}

// leaf visits a string that may itself be a document or a URL.
func (w *walker) leaf(text string) string {
	if w.depth >= maxDepth {
		return text
	}
	w.depth++
	defer func() { w.depth-- }()
	switch {
	case text == "":
		return text
	case (text[0] == '{' || text[0] == '[') && len(text) > 2:
		return w.json(text)
	case isURL(text):
		return w.url(text)
	}
	return w.text(inLeaf, text)
}

// request visits a request. Without body, it skips the body and the messages.
func (w *walker) request(e *recording.Exchange, body bool) {
	h := e.HTTP
	if h == nil {
		return
	}
	w.begin("req")
	target := h.Req.URI
	if target == "" {
		target = h.Req.URL
	}
	if with := w.url(target); with != target {
		path, _, _ := strings.Cut(with, "?")
		if path, _, _ = strings.Cut(path, "#"); e.Location == h.Req.URL {
			e.Location = pathOf(path)
		}
		if h.Req.URI != "" {
			h.Req.URI = with
		}
		h.Req.URL = pathOf(path)
	}
	w.at("header", func() { w.headers(h.Req.Headers) })
	w.cookies(h.Req.Headers)
	if !body {
		return
	}
	defer w.messages(e, recording.Client)
	if len(h.Req.Body) == 0 {
		return
	}
	half := e.Request()
	text, err := w.bodyOf(half)
	if err != nil { // the whole target can't be stored
		return
	}
	w.push(placeStep{name: "body"})
	if with := w.body(text, half.Headers.Get("Content-Type")); with != text {
		setBody(e, half, with)
	}
	w.pop()
}

// pathOf returns the path of a target, which may have a host.
func pathOf(target string) string { return target[pathStart(target):] }

// response visits a response.
func (w *walker) response(e *recording.Exchange) {
	h := e.HTTP
	if h == nil || h.Res.StatusCode == 0 {
		return
	}
	w.begin("res")
	w.at("header", func() { w.headers(h.Res.Headers) })
	w.setCookies(h.Res.Headers)
	defer w.messages(e, recording.Server)
	if len(h.Res.Body) == 0 {
		return
	}
	half := e.Response()
	text, _ := w.bodyOf(half)
	w.at("body", func() { w.body(text, half.Headers.Get("Content-Type")) })
}

func (w *walker) begin(side string) {
	w.path, w.ids, w.texts, w.depth = append(w.path[:0], placeStep{name: side}), w.ids[:0], 0, 0
}

// bodyOf returns the body without its codings, as far as it is readable.
func (w *walker) bodyOf(half recording.Half) (text string, err error) {
	w.buffer, err = half.Decode(&w.decoder, w.buffer[:0], maxBody)
	return string(w.buffer), err
}

// silent are headers that describe the message, its hops or the client. They carry no values.
var silent = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`Accept Accept-Charset Accept-Encoding Accept-Language Accept-Patch Accept-Post Accept-Ranges Access-Control-Allow-Credentials
		Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Expose-Headers Access-Control-Max-Age
		Access-Control-Request-Headers Access-Control-Request-Method Age Allow Alt-Svc B3 Baggage Cache-Control Clear-Site-Data Connection Content-Disposition
		Content-Encoding Content-Language Content-Length Content-Range Content-Security-Policy Content-Type Cookie Cross-Origin-Opener-Policy
		Cross-Origin-Resource-Policy Date Expect Expires Forwarded From Grpc-Timeout Host Keep-Alive Max-Forwards Nel Origin P3p Permissions-Policy Pragma
		Priority Proxy-Connection Range Referrer-Policy Report-To Retry-After Server Server-Timing Set-Cookie Strict-Transport-Security Te Timing-Allow-Origin
		Traceparent Tracestate Trailer Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Vary Via Www-Authenticate X-B3-Parentspanid X-B3-Sampled
		X-B3-Spanid X-B3-Traceid X-Content-Type-Options X-Dns-Prefetch-Control X-Envoy-Attempt-Count X-Envoy-Decorator-Operation X-Envoy-Expected-Rq-Timeout-Ms
		X-Envoy-Peer-Metadata X-Envoy-Peer-Metadata-Id X-Envoy-Upstream-Service-Time X-Forwarded-Client-Cert X-Forwarded-For X-Forwarded-Host X-Forwarded-Port
		X-Forwarded-Proto X-Frame-Options X-Powered-By X-Real-Ip X-Request-Id X-Requested-With X-Runtime X-Xss-Protection`) {
		m[name] = true
	}
	return m
}()

// inURL lists the headers whose values are URLs.
var inURL = map[string]bool{"Location": true, "Content-Location": true, "Referer": true, "X-Next-Page": true}

// headers visits all headers that are not silent.
func (w *walker) headers(all recording.Headers) {
	for i := range all {
		h := &all[i]
		name := h.Name
		if silent[name] || h.Value == "" || len(h.Value) > maxHeader {
			continue
		}
		if canonical := textproto.CanonicalMIMEHeaderKey(name); canonical != name {
			if name = canonical; silent[name] {
				continue
			}
		}
		w.push(placeStep{name: name, n: earlier(all, i)})
		switch {
		case inURL[name]:
			h.Value = w.url(h.Value)
		case name == "Link":
			h.Value = w.linked(h.Value)
		case (h.Value[0] == '{' || h.Value[0] == '[') || isURL(h.Value):
			h.Value = w.leaf(h.Value)
		default:
			h.Value = w.text(inHeader, h.Value)
		}
		w.pop()
	}
}

// earlier returns the number of headers before one that have the same name.
func earlier(all recording.Headers, i int) (n int32) {
	for j := range i {
		if all[j].Name == all[i].Name {
			n++
		}
	}
	return n
}

// linked visits the URLs of a header Link: <url>; rel="next", <url>; rel="last". The name of each
// place is the URL's rel.
func (w *walker) linked(value string) string {
	p := splice{src: value}
	for i := 0; i < len(value); {
		from := strings.IndexByte(value[i:], '<')
		if from < 0 {
			break
		}
		from += i + 1
		to := strings.IndexByte(value[from:], '>')
		if to < 0 {
			break
		}
		to += from
		rel := "link"
		if _, rest, ok := strings.Cut(value[to:], "rel="); ok {
			if rest = strings.TrimPrefix(rest, `"`); rest != "" {
				rel = rest[:max(1, endOf(rest, `";, `))]
			}
		}
		w.push(placeStep{name: rel})
		p.put(from, to, w.url(value[from:to]))
		w.pop()
		i = to
	}
	return p.done()
}

// endOf returns the index of the first of the characters, or the length of the text.
func endOf(s, of string) int {
	if n := strings.IndexAny(s, of); n >= 0 {
		return n
	}
	return len(s)
}

// cookies visits the cookies of a request.
func (w *walker) cookies(all recording.Headers) {
	for i := range all {
		h := &all[i]
		if !strings.EqualFold(h.Name, "Cookie") || len(h.Value) > maxBody {
			continue
		}
		w.push(placeStep{name: "cookie"})
		p := splice{src: h.Value}
		for from := 0; from < len(h.Value); {
			to := from + endOf(h.Value[from:], ";")
			w.cookie(&p, from, to)
			from = to + 1
		}
		h.Value = p.done()
		w.pop()
	}
}

// setCookies visits the cookies that a response sets.
func (w *walker) setCookies(all recording.Headers) {
	for i := range all {
		h := &all[i]
		if !strings.EqualFold(h.Name, "Set-Cookie") {
			continue
		}
		w.push(placeStep{name: "cookie"})
		w.cookie(&splice{src: h.Value}, 0, endOf(h.Value, ";"))
		w.pop()
	}
}

// cookie visits the value of a cookie, name=value.
func (w *walker) cookie(p *splice, from, to int) {
	equals := strings.IndexByte(p.src[from:to], '=')
	if equals < 0 {
		return
	}
	name := strings.TrimSpace(p.src[from : from+equals])
	begin, value := from+equals+1, p.src[from+equals+1:to]
	if text := strings.TrimSpace(value); text != value {
		begin += strings.Index(value, text)
		value = text
	}
	w.push(placeStep{name: name})
	p.put(begin, begin+len(value), w.text(inCookie, value))
	w.pop()
}

// splice copies a string and replaces parts of it, from the beginning to the end.
type splice struct {
	src  string
	out  []byte
	from int // src[:from] is copied
}

// put replaces src[from:to] with another string.
func (p *splice) put(from, to int, with string) {
	if with == p.src[from:to] {
		return
	}
	p.out = append(append(p.out, p.src[p.from:from]...), with...)
	p.from = to
}

func (p *splice) done() string {
	if p.from == 0 {
		return p.src
	}
	return string(append(p.out, p.src[p.from:]...))
}
