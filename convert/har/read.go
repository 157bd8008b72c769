package har

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// Limits of an entry.
const (
	maxEntries = 100_000_000 // so that its number fits into what is said of it
	// maxDepth is how deep the JSON of a member may be nested that is kept as it is.
	maxDepth = 100
	// maxMillis is the longest time that is believed: a year.
	maxMillis = 366 * 24 * 3600 * 1000
)

// Reader reads the entries of one log, one after the other. It holds one in memory. It isn't
// safe for concurrent use.
type Reader struct {
	in      *budget
	json    *json.Decoder
	state   state
	nested  int  // objects around the one that the log is in
	log     bool // was found
	n       int  // of the entry, from 1
	source  string
	pending recording.LossList // of the log
}

type state int

const (
	before  state = iota // the log
	members              // of the log
	entries
	ended
)

// NewReader returns a reader of a log.
func NewReader(r io.Reader) *Reader {
	in := &budget{r: r}
	return &Reader{in: in, json: json.NewDecoder(in)}
}

// budget bounds how much is read for one value: a decoder holds all of it.
type budget struct {
	r     io.Reader
	left  int64
	began bool
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if bom := []byte("\ufeff"); !b.began && n >= len(bom) && bytes.HasPrefix(p[:n], bom) {
		n = copy(p, p[len(bom):n])
	}
	b.began = b.began || n > 0
	return n, err
}

var errLong = fmt.Errorf("more than %d MiB without an end", recording.MaxLine>>20)

func (r *Reader) token() (json.Token, error) {
	r.in.left = recording.MaxLine
	return r.json.Token()
}

func (r *Reader) value() (raw json.RawMessage, err error) {
	r.in.left = recording.MaxLine
	err = r.json.Decode(&raw)
	return raw, err
}

// Next reads the next entry into e, overwriting all of it, and names what of it could not be
// kept. At the end it returns [io.EOF], or [recording.ErrTorn]. After a
// [recording.LineError] and a [recording.LeftOutError], reading can go on.
func (r *Reader) Next(e *recording.Exchange) (recording.LossList, error) {
	for {
		if r.state == entries && r.json.More() {
			return r.entry(e)
		}
		if r.state == ended {
			return nil, io.EOF
		}
		was := r.state
		if err := r.step(); err != nil {
			r.state = ended
			if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, recording.ErrTorn
			}
			return nil, &recording.LineError{Err: fmt.Errorf("behind entry %d: %w", r.n, err)}
		}
		if was != ended && r.state == ended && len(r.pending) > 0 { // no entry is left that would say it
			return nil, &recording.LeftOutError{Where: "log", What: strings.Join(r.pending, ", ")}
		}
	}
}

// step goes on where no entry comes next.
func (r *Reader) step() error {
	t, err := r.token()
	if err != nil {
		return err
	}
	switch r.state {
	case entries: // the end of the array
		r.state = members
	case before:
		return r.outside(t)
	case members:
		name, ok := t.(string)
		if !ok { // the end of the log
			r.state = before
			return nil
		}
		if name == "entries" {
			if t, err = r.token(); err == nil && t != json.Delim('[') {
				err = fmt.Errorf("log.entries is %v, want an array", t)
			}
			r.state = entries
			return err
		}
		raw, err := r.value()
		if err != nil {
			return err
		}
		r.member(name, raw)
	}
	return nil
}

// outside reads what is around the log: it may stand one object deeper, as some extractors
// have it.
func (r *Reader) outside(t json.Token) error {
	switch t {
	case json.Delim('{'):
		r.nested++
		return nil
	case json.Delim('}'):
		if r.nested--; r.nested == 0 {
			r.state = ended
			if !r.log {
				return errors.New("no member log: want a HAR")
			}
		}
		return nil
	}
	name, ok := t.(string)
	if !ok || r.nested == 0 {
		return fmt.Errorf("found %v, want a HAR: an object with the member log", t)
	}
	if name == "log" {
		t, err := r.token()
		if err == nil && t != json.Delim('{') {
			err = fmt.Errorf("log is %v, want an object", t)
		}
		r.log, r.state = true, members
		return err
	}
	if r.nested == 1 && !r.log {
		raw, err := r.peekObject()
		if raw == nil {
			return err
		}
	}
	_, err := r.value()
	if err == nil {
		r.pending.Add(name, "not kept")
	}
	return err
}

// peekObject enters the object that comes next. What is none is read, and not kept.
func (r *Reader) peekObject() (raw json.RawMessage, err error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		r.nested++
		return nil, nil
	case json.Delim('['):
		for r.json.More() {
			if _, err := r.value(); err != nil {
				return nil, err
			}
		}
		_, err = r.token()
	}
	return nil, err
}

// member takes a member of the log.
func (r *Reader) member(name string, raw []byte) {
	switch name {
	case "version":
	case "creator":
		var c struct{ Name, Version any }
		if json.Unmarshal(raw, &c) == nil {
			text, _ := c.Name.(string)
			r.source = strings.ToValidUTF8(text[:min(len(text), 100)], "")
		}
	case "browser": // nearly always the creator
	default:
		if s := string(bytes.TrimSpace(raw)); s != "[]" && s != "null" && s != `""` {
			r.pending.Add("log."+name, "not kept")
		}
	}
}

// entry reads the next entry.
func (r *Reader) entry(e *recording.Exchange) (recording.LossList, error) {
	if r.n++; r.n > maxEntries {
		r.state = ended
		return nil, &recording.LineError{Err: fmt.Errorf("more than %d entries", maxEntries)}
	}
	raw, err := r.value()
	if err != nil {
		r.state = ended
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			return nil, recording.ErrTorn
		}
		return nil, &recording.LineError{Err: err}
	}
	p := &parser{e: e, source: r.source}
	p.losses, r.pending = r.pending, nil
	if err := p.entry(raw, r.n); err != nil {
		return nil, &recording.LineError{Err: fmt.Errorf("entry %d: %w", r.n, err)}
	}
	return p.losses, nil
}

// parser reads one entry.
type parser struct {
	e      *recording.Exchange
	source string
	losses recording.LossList
	own    *recording.Exchange // of the member _rrpair

	reqMime, resMime     string
	reqText, resText     *string
	reqCoded, resCoded   string // encoding
	resSize              float64
	cookies, setCookies  []pair
	query                []pair
	reqVersion, resValue string
	redirect             string
	time                 float64
	timings              map[string]float64
	kept                 []recording.Member // of the entry
	keptReq, keptRes     []recording.Member
	webSocket            json.RawMessage
	method, url          string
	statusText           string
	status               float64
	params               []recording.Member
}

type pair struct{ name, value string }

// object reads the members of an object by their names, and returns the others. A field that
// is nil is known, and follows from the rest.
func (p *parser) object(path string, raw []byte, fields map[string]func(raw []byte) error) ([]recording.Member, error) {
	var others []recording.Member
	seen := map[string]bool{}
	err := recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		at := name
		if path != "" {
			at = path + "." + name
		}
		if seen[name] {
			p.losses.Add(at, "stands more than once; the last one is kept")
			others = slices.DeleteFunc(others, func(m recording.Member) bool { return m.Name == name })
		}
		seen[name] = true
		f, known := fields[name]
		switch {
		case !known:
			if v := p.keep(at, value); v != nil {
				others = append(others, recording.Member{Name: name, Value: v})
			}
		case f != nil && string(value) != "null":
			if err := f(value); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		return nil
	})
	if err != nil && path != "" && !strings.HasPrefix(err.Error(), path) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return others, err
}

// keep returns a value as it is kept: without white space, and no deeper than records are
// read.
func (p *parser) keep(path string, raw []byte) json.RawMessage {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	if most > maxDepth {
		p.losses.Add(path, fmt.Sprintf("nested more than %d deep, not kept", maxDepth))
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return nil
	}
	if !utf8.Valid(b.Bytes()) {
		p.losses.Add(path, "is no UTF-8; U+FFFD stands for what is none")
		return bytes.ToValidUTF8(b.Bytes(), []byte("\ufffd"))
	}
	return b.Bytes()
}

// text reads a string into to.
func (p *parser) text(path string, to *string) func([]byte) error {
	return func(raw []byte) error {
		if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) { // as most are
			*to = string(raw[1 : n-1])
			return nil
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return fmt.Errorf("found %.40s, want a text", raw)
		}
		if strings.ContainsRune(*to, utf8.RuneError) && !utf8.Valid(raw) {
			p.losses.Add(path, "is no UTF-8; U+FFFD stands for what is none")
		}
		return nil
	}
}

// number reads a number; what is none, or beyond all reason, is a loss.
func (p *parser) number(path string, to *float64) func([]byte) error {
	return func(raw []byte) error {
		v, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
		if err != nil || math.IsNaN(v) || v > maxMillis*1e6 || v < -1e15 {
			p.losses.Add(path, fmt.Sprintf("%.40s is no number that makes sense, not kept", raw))
			return nil
		}
		*to = v
		return nil
	}
}

// pairs reads a list of names and values.
func (p *parser) pairs(path string, most int, to *[]pair) func([]byte) error {
	return func(raw []byte) error {
		*to = nil
		return recording.EachElement(raw, most, func(raw []byte) error {
			one, err := p.pair(path+"[]", raw)
			*to = append(*to, one)
			return err
		})
	}
}

// pair reads a name and its value. There are so many that it does without tables.
func (p *parser) pair(path string, raw []byte) (one pair, err error) {
	var seen [2]bool
	err = recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		to, at := &one.value, 1
		switch name {
		case "name":
			to, at = &one.name, 0
		case "value":
		case "path", "domain", "expires", "httpOnly", "secure", "sameSite", "fileName", "contentType": // follow from the fields
			return nil
		default:
			if name != "comment" || string(value) != `""` {
				p.losses.Add(path+"."+name, "not kept")
			}
			return nil
		}
		if seen[at] {
			p.losses.Add(path+"."+name, "stands more than once; the last one is kept")
		}
		seen[at] = true
		if string(value) == "null" {
			return nil
		}
		return p.text(path+"."+name, to)(value)
	})
	return one, err
}

func (p *parser) entry(raw []byte, n int) error {
	*p.e = recording.Exchange{MsgType: recording.MsgType, HTTP: new(recording.HTTP)}
	e := p.e
	started, address := "", ""
	p.time, p.timings = -1, map[string]float64{}
	hasRequest := false
	kept, err := p.object("", raw, map[string]func([]byte) error{
		"startedDateTime": p.text("startedDateTime", &started),
		"request":         func(raw []byte) error { hasRequest = true; return p.request(raw) },
		"response":        p.response,
		"serverIPAddress": p.text("serverIPAddress", &address),
		"_webSocketMessages": func(raw []byte) error {
			p.webSocket = raw
			return nil
		},
		ownMember: p.rrpair,
	})
	if err != nil {
		return err
	}
	if !hasRequest {
		return errors.New("no member request: want an entry of a HAR")
	}
	p.kept = kept
	for _, m := range kept {
		switch m.Name {
		case "time":
			_ = p.number("time", &p.time)(m.Value)
		case "timings":
			_ = recording.EachMember(m.Value, recording.MaxMembers, func(name string, raw []byte) error {
				if name[:min(len(name), 1)] == "_" || name == "comment" {
					return nil
				}
				v := -1.0
				err := p.number("timings."+name, &v)(raw)
				p.timings[name] = v
				return err
			})
		}
	}
	ts, err := time.Parse(time.RFC3339Nano, started)
	if year := ts.UTC().Year(); err != nil || year < 1 || year > 9999 {
		return fmt.Errorf("startedDateTime is %.60q, want a time such as 2026-11-22T20:15:00.123Z", started)
	}
	e.TS = ts.UTC()
	scheme, userinfo, host, target, ok := web.SplitURL(p.url)
	if !ok {
		return fmt.Errorf("request.url is %.60q, want a whole URL", p.url)
	}
	if userinfo != "" {
		p.losses.Add("request.url", "user and password are not kept")
	}
	version := httpVersion(p.reqVersion)
	if version == "" && p.reqVersion != "" && p.reqVersion != "unknown" {
		p.losses.Add("request.httpVersion", fmt.Sprintf("%.20q is not known, not kept", p.reqVersion))
	}
	e.HTTP.Req.Version = cmp.Or(version, httpVersion(p.resValue))
	if e.HTTP.Req.Version != httpVersion(p.resValue) && p.resValue != "" && p.resValue != "unknown" {
		p.keptRes = append(p.keptRes, recording.Member{Name: "httpVersion", Value: recording.AppendString(nil, p.resValue)})
	}
	if p.method == "" {
		return errors.New("request.method is missing")
	}
	web.SetRequest(e, p.method, scheme, host, target)
	if own := e.HTTP.Req.Headers.Get("Host"); own != "" {
		e.HTTP.Req.Host = own
	}
	e.UUID = web.UUID([]byte("har"), []byte(strconv.Itoa(n)), raw)
	e.Direction = recording.In
	e.Tags.Set(recording.TagSource, cmp.Or(p.source, "har"))
	p.answer()
	p.bodies()
	p.times()
	if p.webSocket != nil {
		if err := p.messages(); err != nil {
			return fmt.Errorf("_webSocketMessages: %w", err)
		}
	}
	if address = strings.Trim(address, "[]"); address != "" {
		e.NetInfo = &recording.NetInfo{StartTime: e.TS, Upstream: recording.Endpoint{IPAddress: address}}
		if _, port, err := net.SplitHostPort(e.NetworkAddress); err == nil {
			e.NetInfo.Upstream.Port, _ = strconv.Atoi(port)
		}
		if net.ParseIP(address) == nil {
			p.losses.Add("serverIPAddress", fmt.Sprintf("%.60q is no address, not kept", address))
			e.NetInfo = nil
		}
	}
	p.derived()
	p.extra()
	if p.own != nil {
		p.merge()
	}
	return nil
}

func httpVersion(text string) string {
	switch strings.ToLower(text) {
	case "http/1.0":
		return "1.0"
	case "http/1.1":
		return "1.1"
	case "http/2", "http/2.0", "h2":
		return "2.0"
	case "http/3", "http/3.0", "h3", "h3-29":
		return "3.0"
	}
	return ""
}

func (p *parser) request(raw []byte) (err error) {
	var headers []pair
	p.keptReq, err = p.object("request", raw, map[string]func([]byte) error{
		"method":      p.text("request.method", &p.method),
		"url":         p.text("request.url", &p.url),
		"httpVersion": p.text("request.httpVersion", &p.reqVersion),
		"headers":     p.pairs("request.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("request.cookies", recording.MaxHeaders, &p.cookies),
		"queryString": p.pairs("request.queryString", 100_000, &p.query),
		"postData": func(raw []byte) error {
			others, err := p.object("request.postData", raw, map[string]func([]byte) error{
				"mimeType": p.text("request.postData.mimeType", &p.reqMime),
				"text": func(raw []byte) error {
					p.reqText = new(string)
					return p.text("request.postData.text", p.reqText)(raw)
				},
				"encoding":  p.text("request.postData.encoding", &p.reqCoded),
				"_encoding": p.text("request.postData._encoding", &p.reqCoded),
			})
			p.params = others
			return err
		},
	})
	p.e.HTTP.Req.Headers = p.headers("request.headers", headers)
	return err
}

func (p *parser) response(raw []byte) (err error) {
	var headers []pair
	p.keptRes, err = p.object("response", raw, map[string]func([]byte) error{
		"status":      p.number("response.status", &p.status),
		"statusText":  p.text("response.statusText", &p.statusText),
		"httpVersion": p.text("response.httpVersion", &p.resValue),
		"headers":     p.pairs("response.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("response.cookies", recording.MaxHeaders, &p.setCookies),
		"redirectURL": p.text("response.redirectURL", &p.redirect),
		"content": func(raw []byte) error {
			others, err := p.object("response.content", raw, map[string]func([]byte) error{
				"mimeType":    p.text("response.content.mimeType", &p.resMime),
				"size":        p.number("response.content.size", &p.resSize),
				"compression": nil,
				"encoding":    p.text("response.content.encoding", &p.resCoded),
				"text": func(raw []byte) error {
					p.resText = new(string)
					return p.text("response.content.text", p.resText)(raw)
				},
			})
			for _, o := range others {
				if string(o.Value) != `""` {
					p.losses.Add("response.content."+o.Name, "not kept")
				}
			}
			return err
		},
	})
	p.e.HTTP.Res.Headers = p.headers("response.headers", headers)
	return err
}

// headers takes the fields but for HTTP/2's own, which say again what other members do.
func (p *parser) headers(path string, all []pair) (h recording.Headers) {
	for _, one := range all {
		switch one.name {
		case ":method", ":path", ":scheme", ":authority", ":status", ":protocol":
			if one.name == ":authority" && path == "request.headers" {
				p.e.HTTP.Req.Host = one.value
			}
			continue
		case "":
			p.losses.Add(path, "a field without a name, not kept")
			continue
		}
		h = append(h, recording.Header{Name: web.Name(one.name), Value: one.value})
	}
	return h
}

// answer fills in what is known of the answer. Status 0 is none.
func (p *parser) answer() {
	e, s := p.e, &p.e.HTTP.Res
	code := int(p.status)
	if float64(code) != p.status || code < 0 || code > 999 || code > 0 && code < 100 {
		p.losses.Add("response.status", fmt.Sprintf("%v is no status, not kept", p.status))
		code = 0
	}
	if code == 0 {
		e.Tags.Set(recording.TagIncomplete, "no_answer")
		if p.statusText != "" {
			p.keptRes = append(p.keptRes, recording.Member{Name: "statusText", Value: recording.AppendString(nil, p.statusText)})
		}
		return
	}
	s.StatusCode, e.Status = code, strconv.Itoa(code)
	s.StatusMessage = strings.TrimSpace(e.Status + " " + p.statusText)
	s.ContentType = s.Headers.Get("Content-Type")
	if s.ContentType == "" && p.resMime != "" && p.resMime != "x-unknown" && len(s.Headers) > 0 {
		p.keptRes = append(p.keptRes, recording.Member{Name: "_mimeType", Value: recording.AppendString(nil, p.resMime)})
	} else if s.ContentType == "" && p.resMime != "x-unknown" {
		s.ContentType = p.resMime
	}
}

// bodies takes the bodies.
func (p *parser) bodies() {
	e := p.e
	e.HTTP.Req.Body = p.body("request.postData", p.reqText, p.reqCoded)
	e.HTTP.Res.Body = p.body("response.content", p.resText, p.resCoded)
	if p.reqText == nil {
		p.form()
	}
	for _, o := range p.params {
		switch {
		case o.Name == "params" && (p.reqText != nil || string(o.Value) == "[]"), string(o.Value) == `""`:
		case o.Name == "params" && len(e.HTTP.Req.Body) > 0:
		default:
			p.losses.Add("request.postData."+o.Name, "not kept")
		}
	}
	if p.resText == nil && p.resSize > 0 && e.HTTP.Res.StatusCode > 0 && e.Response().Framing() != recording.FramingNone {
		p.losses.Add("response.content.text", fmt.Sprintf("a body of %.0f bytes is not in the file", p.resSize))
		e.Tags.Set(recording.TagTruncated, "true")
		e.Tags.Set(recording.TagResponseBodySize, strconv.FormatInt(int64(p.resSize), 10))
	}
	decoded := ""
	for _, side := range []struct {
		name string
		half recording.Half
	}{{"request", e.Request()}, {"response", e.Response()}} {
		codings := side.half.Codings()
		if len(codings) == 0 || len(side.half.Body) == 0 {
			continue
		}
		outer := codings[len(codings)-1]
		if (outer == "gzip" || outer == "zstd") && coding.Applied(outer, side.half.Body) {
			continue // its bytes say so
		}
		if decoded == "" {
			decoded = side.name
		} else {
			decoded = "true"
		}
	}
	if decoded != "" {
		e.Tags.Set(recording.TagDecoded, decoded)
	}
}

// body decodes a text. Some exporters say base64 where it is none.
func (p *parser) body(path string, text *string, encoding string) []byte {
	if text == nil || *text == "" {
		return nil
	}
	switch strings.ToLower(encoding) {
	case "":
	case "base64":
		if body, err := base64.StdEncoding.DecodeString(*text); err == nil {
			return body
		}
		p.losses.Add(path+".encoding", "says base64, and the text is none; it is taken as it is")
	default:
		p.losses.Add(path+".encoding", fmt.Sprintf("%.20q is not known; the text is taken as it is", encoding))
	}
	return []byte(*text)
}

// form makes the body of a form of its parameters, where no text is.
func (p *parser) form() {
	at := slices.IndexFunc(p.params, func(m recording.Member) bool { return m.Name == "params" })
	if at < 0 || !strings.HasPrefix(p.reqMime, "application/x-www-form-urlencoded") {
		return
	}
	var params []pair
	if p.pairs("request.postData.params", 100_000, &params)(p.params[at].Value) != nil {
		return
	}
	var b strings.Builder
	for i, one := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(one.name) + "=" + url.QueryEscape(one.value))
	}
	if b.Len() > 0 {
		p.e.HTTP.Req.Body = []byte(b.String())
	}
}

// times takes how long the phases took.
func (p *parser) times() {
	e := p.e
	at := func(names ...string) (sum float64) {
		for _, name := range names {
			sum += max(0, p.timings[name])
		}
		return sum
	}
	sent := at("blocked", "dns", "connect", "send")
	all := max(p.time, 0)
	if p.time < 0 {
		all = sent + at("wait", "receive")
	}
	if all > maxMillis {
		p.losses.Add("time", fmt.Sprintf("%v ms is longer than a year, not kept", all))
		all = 0
	}
	e.Duration = int64(math.Round(all))
	_, wait := p.timings["wait"]
	if _, send := p.timings["send"]; !send || !wait || p.status == 0 || sent+p.timings["wait"] > maxMillis {
		return
	}
	e.Tags.Set(recording.TagRequestEnd, strconv.FormatInt(int64(math.Round(sent*1000)), 10))
	e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(int64(math.Round((sent+at("wait"))*1000)), 10))
}

// opcodes of a WebSocket, by HAR's numbers.
var opcodes = map[float64]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

// messages takes the messages of a WebSocket.
func (p *parser) messages() error {
	e := p.e
	c := &recording.Conversation{Part: 1, Last: true}
	err := recording.EachElement(p.webSocket, recording.MaxMessages, func(raw []byte) error {
		var kind, data string
		op, at := 1.0, 0.0
		others, err := p.object("_webSocketMessages[]", raw, map[string]func([]byte) error{
			"type": p.text("_webSocketMessages[].type", &kind), "data": p.text("_webSocketMessages[].data", &data),
			"opcode": p.number("_webSocketMessages[].opcode", &op), "time": p.number("_webSocketMessages[].time", &at),
		})
		if err != nil {
			return err
		}
		for _, o := range others {
			p.losses.Add("_webSocketMessages[]."+o.Name, "not kept")
		}
		m := recording.Message{From: recording.Server, Type: opcodes[op], Data: []byte(data)}
		if kind == "send" {
			m.From = recording.Client
		} else if kind != "receive" {
			return fmt.Errorf("type is %.20q, want send or receive", kind)
		}
		if m.Type == "" {
			p.losses.Add("_webSocketMessages[].opcode", fmt.Sprintf("%v is not known, not kept", op))
		}
		if op != 1 && data != "" {
			if m.Data, err = base64.StdEncoding.DecodeString(data); err != nil {
				m.Data = []byte(data)
				p.losses.Add("_webSocketMessages[].data", "is no base64; it is taken as it is")
			}
		}
		if us := at*1e6 - float64(e.TS.UnixMicro()); us > 0 && us < maxMillis*1000 {
			m.At = int64(math.Round(us))
		}
		if m.From == recording.Client {
			c.ClientBytes += int64(len(m.Data))
		} else {
			c.ServerBytes += int64(len(m.Data))
		}
		c.Messages = append(c.Messages, m)
		return nil
	})
	e.WebSocket, e.L7Protocol = c, recording.WebSocket
	return err
}

// derived names what members say that follow from others, and do not.
func (p *parser) derived() {
	e := p.e
	in := map[pair]bool{}
	for _, c := range requestCookies(e.HTTP.Req.Headers) {
		in[c] = true
	}
	for _, c := range p.cookies {
		if !in[c] && !in[pair{c.name, strings.Trim(c.value, `"`)}] && !in[pair{c.name, `"` + c.value + `"`}] {
			p.losses.Add("request.cookies", "has one that is in no field Cookie, not kept")
		}
	}
	set := map[string]bool{}
	for _, c := range responseCookies(e.HTTP.Res.Headers) {
		set[c.name] = true
	}
	for _, c := range p.setCookies {
		if !set[c.name] {
			p.losses.Add("response.cookies", "has one that no field Set-Cookie sets, not kept")
		}
	}
	_, query, _ := strings.Cut(e.HTTP.Req.URI, "?")
	if n := len(queryOf(query)); len(p.query) > n {
		p.losses.Add("request.queryString", "has more than the URL, not kept")
	}
	if p.redirect != "" && p.redirect != e.HTTP.Res.Headers.Get("Location") {
		p.keptRes = append(p.keptRes, recording.Member{Name: "redirectURL", Value: recording.AppendString(nil, p.redirect)})
	}
}

// extra keeps what an exchange has no field for in the member har.
func (p *parser) extra() {
	drop := func(all []recording.Member) []recording.Member {
		return slices.DeleteFunc(all, func(m recording.Member) bool {
			return string(m.Value) == "null" || string(m.Value) == `""` || m.Name == "cache" && string(m.Value) == "{}"
		})
	}
	o := object(drop(p.kept))
	if req := drop(p.keptReq); len(req) > 0 {
		o.set("request", object(req).append(nil))
	}
	if res := drop(p.keptRes); len(res) > 0 {
		o.set("response", object(res).append(nil))
	}
	if len(o) > 0 {
		p.e.Extra = append(p.e.Extra, recording.Member{Name: extraMember, Value: o.append(nil)})
	}
}

// rrpair reads the record that a writer of ours left.
func (p *parser) rrpair(raw []byte) error {
	var own recording.Exchange
	var d recording.Decoder
	if err := d.Decode(raw, &own); err != nil || own.MsgType != recording.MsgType {
		p.losses.Add(ownMember, "is no RRPair, not kept")
		return nil
	}
	for _, loss := range d.Losses() {
		p.losses = append(p.losses, ownMember+"."+loss)
	}
	p.own = &own
	return nil
}

// merge makes the exchange the one that was written, with what the entry says now: somebody
// may have changed it.
func (p *parser) merge() {
	e, own := p.e, p.own
	if own.HTTP == nil {
		own.HTTP = new(recording.HTTP)
	}
	q, s := &own.HTTP.Req, &own.HTTP.Res
	q.Headers, s.Headers = e.HTTP.Req.Headers, e.HTTP.Res.Headers // which name the bodies' codings
	if p.url != web.URL(own) || p.method != q.Method {
		q.Method, q.Host, q.URI, q.URL = p.method, e.HTTP.Req.Host, e.HTTP.Req.URI, e.HTTP.Req.URL
		own.Command, own.Location, own.NetworkAddress, own.IsTLS = e.Command, e.Location, e.NetworkAddress, e.IsTLS
	}
	if s.StatusCode != e.HTTP.Res.StatusCode {
		s.StatusCode, s.StatusMessage, own.Status = e.HTTP.Res.StatusCode, e.HTTP.Res.StatusMessage, e.Status
	}
	if q.Body = p.current(own.Request(), p.reqText, p.reqCoded, e.HTTP.Req.Body); q.Body == nil {
		q.Body = e.HTTP.Req.Body
		p.decoded(own.Request(), "request")
	}
	if s.Body = p.current(own.Response(), p.resText, p.resCoded, e.HTTP.Res.Body); s.Body == nil {
		s.Body = e.HTTP.Res.Body
		p.decoded(own.Response(), "response")
	}
	if !own.TS.Equal(e.TS) {
		own.TS = e.TS
	}
	*e = *own
}

// current returns the body that the record holds beside the entry's, if the entry shows what
// it is; nil if somebody changed that. A record holds none where the entry has it exactly.
func (p *parser) current(own recording.Half, text *string, encoding string, entry []byte) []byte {
	if len(own.Body) == 0 {
		return entry
	}
	if now := show(own); text != nil && now.text == *text && now.encoding == encoding {
		return own.Body
	}
	return nil
}

// decoded notes that a body is without its codings, now that somebody has changed it.
func (p *parser) decoded(h recording.Half, side string) {
	if len(h.Codings()) == 0 {
		return
	}
	if have := p.own.Tags.Get(recording.TagDecoded); have != "" && have != side {
		side = "true"
	}
	p.own.Tags.Set(recording.TagDecoded, side)
}
