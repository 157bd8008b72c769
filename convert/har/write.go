package har

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// Members beside those of HAR.
const (
	// ownMember has what an entry can't say of an exchange: its RRPair without fields, and
	// with those bodies alone that are compressed.
	ownMember = "_rrpair"
	// extraMember is, in an exchange, what it can't say of an entry.
	extraMember = "har"
)

// Writer writes a log, one entry after the other. It isn't safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	n   int
	buf []byte
}

// NewWriter begins a log. version is the program's.
func NewWriter(w io.Writer, version string) *Writer {
	b := bufio.NewWriterSize(w, 64<<10)
	head := append([]byte(`{"log":{"version":"1.2","creator":{"name":"tapedeck","version":`), recording.AppendString(nil, version)...)
	_, _ = b.Write(append(head, `},"pages":[],"entries":[`...)) // Close has the error
	return &Writer{w: b}
}

// Write adds an exchange. One that no entry can be made of is a [recording.LeftOutError].
func (w *Writer) Write(e *recording.Exchange) (recording.LossList, error) {
	address := web.URL(e)
	if address == "" {
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: "no request of HTTP with a URL"}
	}
	w.buf = append(w.buf[:0], "\n"...)
	if w.n > 0 {
		w.buf = append(w.buf[:0], ",\n"...)
	}
	w.n++
	w.buf = entry(e, address).append(w.buf)
	_, err := w.w.Write(w.buf)
	return nil, err
}

// Close ends the log. It doesn't close what it writes to.
func (w *Writer) Close() error {
	_, _ = w.w.WriteString("\n]}}\n")
	return w.w.Flush()
}

// object is a JSON object that is being made.
type object []recording.Member

func (o *object) set(name string, value []byte) {
	for i := range *o {
		if (*o)[i].Name == name {
			(*o)[i].Value = value
			return
		}
	}
	*o = append(*o, recording.Member{Name: name, Value: value})
}

func (o *object) text(name, value string) { o.set(name, recording.AppendString(nil, value)) }
func (o *object) number(name string, n int64) {
	o.set(name, strconv.AppendInt(nil, n, 10))
}

// millis sets a time in milliseconds, -1 if it is not known.
func (o *object) millis(name string, d time.Duration) {
	if d < 0 {
		o.number(name, -1)
		return
	}
	o.set(name, strconv.AppendFloat(nil, float64(d.Nanoseconds())/1e6, 'f', -1, 64))
}

func (o object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(recording.AppendString(dst, m.Name), ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}')
}

// array makes a JSON array of objects.
func array(all []object) []byte {
	dst := []byte{'['}
	for i, o := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = o.append(dst)
	}
	return append(dst, ']')
}

// entry is an exchange as an entry.
func entry(e *recording.Exchange, address string) object {
	var o object
	o.text("startedDateTime", e.TS.UTC().Format(time.RFC3339Nano))
	timings, all := phases(e)
	o.millis("time", all)
	req, inReq := request(e, address)
	res, inRes := response(e)
	o = append(o, recording.Member{Name: "request"}, recording.Member{Name: "response"})
	o.set("cache", []byte("{}"))
	o.set("timings", timings.append(nil))
	if n := e.NetInfo; n != nil && n.Upstream.IPAddress != "" {
		o.text("serverIPAddress", n.Upstream.IPAddress)
	}
	if e.WebSocket != nil {
		o.text("_resourceType", "websocket")
		o.set("_webSocketMessages", frames(e))
	}
	extra(e, &o, &req, &res)
	o.set("request", req.append(nil))
	o.set("response", res.append(nil))
	o.set(ownMember, rest(e, inReq, inRes))
	return o
}

// phases are the timings, and their sum.
func phases(e *recording.Exchange) (o object, all time.Duration) {
	all = e.End()
	sent, _ := e.RequestEnd()
	answered, ok := e.ResponseStart()
	sent = min(max(sent, 0), all)
	if answered = min(max(answered, sent), all); !ok {
		answered = all
	}
	for _, name := range []string{"blocked", "dns", "connect", "ssl"} {
		o.number(name, -1)
	}
	o.millis("send", sent)
	o.millis("wait", answered-sent)
	o.millis("receive", all-answered)
	return o, all
}

// shown is a body as an entry has it.
type shown struct {
	text, encoding string
	size           int // of what is shown
	exact          bool
}

// show makes a text of a body: without its codings, and as base64 where it is none.
func show(h recording.Half) shown {
	body, exact := h.Body, true
	if len(body) > 0 && len(h.Codings()) > 0 && !h.Decoded() {
		if plain, err := h.Decode(nil, nil, web.MaxBody); err == nil {
			body, exact = plain, false
		}
	}
	if utf8.Valid(body) {
		return shown{string(body), "", len(body), exact}
	}
	return shown{base64.StdEncoding.EncodeToString(body), "base64", len(body), exact}
}

// fields are those of a message.
func fields(h recording.Headers) []byte {
	all := make([]object, len(h))
	for i := range h {
		all[i].text("name", h[i].Name)
		all[i].text("value", h[i].Value)
	}
	return array(all)
}

func pairs(all []pair) []byte {
	out := make([]object, len(all))
	for i, p := range all {
		out[i].text("name", p.name)
		out[i].text("value", p.value)
	}
	return array(out)
}

// version is HTTP's, as HAR has it.
func version(e *recording.Exchange) string {
	return "HTTP/" + cmp.Or(e.HTTP.Req.Version, "1.1")
}

// request is the request, and whether its body is exactly in it.
func request(e *recording.Exchange, address string) (o object, exact bool) {
	q := &e.HTTP.Req
	h := e.Request()
	o.text("method", cmp.Or(q.Method, "GET"))
	o.text("url", address)
	o.text("httpVersion", version(e))
	o.set("cookies", pairs(requestCookies(q.Headers)))
	o.set("headers", fields(q.Headers))
	_, query, _ := strings.Cut(address, "?")
	o.set("queryString", pairs(queryOf(query)))
	body := show(h)
	if len(q.Body) > 0 {
		var post object
		post.text("mimeType", q.Headers.Get("Content-Type"))
		post.set("params", params(q.Headers.Get("Content-Type"), body))
		post.text("text", body.text)
		if body.encoding != "" {
			post.text("_encoding", body.encoding)
		}
		o.set("postData", post.append(nil))
	}
	o.number("headersSize", -1)
	o.number("bodySize", size(h))
	return o, body.exact
}

// params are those of a form, which Firefox and other readers show.
func params(kind string, body shown) []byte {
	if name, _, _ := mime.ParseMediaType(kind); name == "application/x-www-form-urlencoded" && body.encoding == "" {
		return pairs(queryOf(strings.TrimSpace(body.text)))
	}
	return []byte("[]")
}

// size is how many bytes a body had on the wire, -1 if that is not known.
func size(h recording.Half) int64 {
	if h.Decoded() {
		return -1
	}
	return h.Size()
}

// response is the answer, and whether its body is exactly in it. Without an answer its status
// is 0, as browsers have it.
func response(e *recording.Exchange) (o object, exact bool) {
	s := &e.HTTP.Res
	h := e.Response()
	_, reason, _ := strings.Cut(s.StatusMessage, " ")
	o.number("status", int64(s.StatusCode))
	o.text("statusText", reason)
	o.text("httpVersion", version(e))
	o.set("cookies", setCookies(s.Headers))
	o.set("headers", fields(s.Headers))
	body := show(h)
	var content object
	content.number("size", int64(body.size))
	if n := int64(body.size) - int64(len(s.Body)); !body.exact && n != 0 {
		content.number("compression", n)
	}
	content.text("mimeType", cmp.Or(s.ContentType, s.Headers.Get("Content-Type"), "x-unknown"))
	if len(s.Body) > 0 {
		content.text("text", body.text)
	}
	if body.encoding != "" {
		content.text("encoding", body.encoding)
	}
	o.set("content", content.append(nil))
	o.text("redirectURL", s.Headers.Get("Location"))
	o.number("headersSize", -1)
	o.number("bodySize", size(h))
	if s.StatusCode == 0 {
		o.number("bodySize", -1)
	}
	return o, body.exact
}

// rest is the record without what the entry has of it.
func rest(e *recording.Exchange, inReq, inRes bool) []byte {
	own := *e
	http := *e.HTTP
	own.HTTP = &http
	http.Req.Headers, http.Res.Headers = nil, nil
	if inReq {
		http.Req.Body = nil
	}
	if inRes {
		http.Res.Body = nil
	}
	return own.AppendJSON(nil)
}

// extra puts into the entry what another one had that the exchange was read from.
func extra(e *recording.Exchange, entry, req, res *object) {
	at := slices.IndexFunc(e.Extra, func(m recording.Member) bool { return m.Name == extraMember })
	if at < 0 {
		return
	}
	add := func(to *object, may ...string) func(name string, value []byte) error {
		return func(name string, value []byte) error {
			known := slices.ContainsFunc(*to, func(m recording.Member) bool { return m.Name == name })
			if name != ownMember && (!known || slices.Contains(may, name) && sameKind(name, value)) {
				to.set(name, value)
			}
			return nil
		}
	}
	top := add(entry, "time", "timings", "cache")
	_ = recording.EachMember(e.Extra[at].Value, recording.MaxMembers, func(name string, value []byte) error { // what is none, adds nothing
		switch name {
		case "pageref": // there are no pages
			return nil
		case "request":
			return recording.EachMember(value, recording.MaxMembers, add(req, "headersSize", "bodySize"))
		case "response":
			return recording.EachMember(value, recording.MaxMembers, add(res, "headersSize", "bodySize", "httpVersion", "redirectURL", "statusText"))
		}
		return top(name, value)
	})
}

// sameKind tells whether a value is of the type that HAR wants.
func sameKind(name string, value []byte) bool {
	var to any
	switch name {
	case "time", "headersSize", "bodySize":
		to = new(float64)
	case "timings":
		var t struct {
			Send, Wait, Receive        *float64
			Blocked, DNS, Connect, SSL float64
		}
		return json.Unmarshal(value, &t) == nil && t.Send != nil && t.Wait != nil && t.Receive != nil
	case "cache":
		return bytes.HasPrefix(value, []byte("{"))
	default:
		to = new(string)
	}
	return json.Unmarshal(value, to) == nil
}

// frames are the messages of a WebSocket, as Chromium has them.
func frames(e *recording.Exchange) []byte {
	var all []object
	for _, m := range e.WebSocket.Messages {
		var o object
		o.text("type", map[string]string{recording.Client: "send", recording.Server: "receive"}[m.From])
		at := float64(e.TS.UnixMicro()+m.At) / 1e6
		o.set("time", strconv.AppendFloat(nil, at, 'f', -1, 64))
		op := 1
		for number, name := range opcodes {
			if name == m.Type {
				op = int(number)
			}
		}
		if op == 1 && !utf8.Valid(m.Data) { // a fragment may end within a character
			op = 2
		}
		o.number("opcode", int64(op))
		if op == 1 {
			o.text("data", string(m.Data))
		} else {
			o.text("data", base64.StdEncoding.EncodeToString(m.Data))
		}
		all = append(all, o)
	}
	return array(all)
}

// requestCookies are those that a client sent.
func requestCookies(h recording.Headers) (all []pair) {
	for line := range h.Values("Cookie") {
		for one := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(one), "="); ok {
				all = append(all, pair{name, value})
			}
		}
	}
	return all
}

// responseCookies are the names and values of those that a server set.
func responseCookies(h recording.Headers) (all []pair) {
	for line := range h.Values("Set-Cookie") {
		for line := range strings.SplitSeq(line, "\n") { // as Chromium joins several
			first, _, _ := strings.Cut(line, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
			all = append(all, pair{name, value})
		}
	}
	return all
}

// setCookies are the cookies of an answer.
func setCookies(h recording.Headers) []byte {
	var all []object
	for line := range h.Values("Set-Cookie") {
		first, attributes, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
		var o object
		o.text("name", name)
		o.text("value", value)
		for one := range strings.SplitSeq(attributes, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
			switch strings.ToLower(name) {
			case "path", "domain":
				o.text(strings.ToLower(name), value)
			case "expires":
				if t, err := time.Parse(time.RFC1123, strings.ReplaceAll(value, "-", " ")); err == nil {
					o.text("expires", t.UTC().Format(time.RFC3339))
				}
			case "httponly":
				o.set("httpOnly", []byte("true"))
			case "secure":
				o.set("secure", []byte("true"))
			case "samesite":
				o.text("sameSite", value)
			}
		}
		all = append(all, o)
	}
	return array(all)
}

// queryOf are the parameters of a query, decoded where that is possible.
func queryOf(query string) (all []pair) {
	if query == "" {
		return nil
	}
	plain := func(text string) string {
		if s, err := url.QueryUnescape(text); err == nil {
			return s
		}
		return text
	}
	for one := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(one, "=")
		all = append(all, pair{plain(name), plain(value)})
	}
	return all
}
