package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Decoder reads exchanges from their JSON. It remembers strings of the last ones, for
// most of the next one's are the same. The zero value is ready. It isn't safe for
// concurrent use.
type Decoder struct {
	// Light leaves out what lists and filters don't need: fields of headers, bodies,
	// messages, Signature, NetInfo and Extra. BodyLeft then has the sizes of bodies.
	Light bool
	// Reuse has Decode write into the Tags and HTTP that the exchange has, rather than make
	// new ones.
	Reuse bool
	// Glance, unless it is nil, has a [Reader] leave out records of plain HTTP early, which
	// is fast: it sees the exchange up to the request's Host and tells whether the rest is
	// needed. What is behind that in a record that it leaves out is not looked at. It is not
	// asked about records whose members stand in another order than Encoder writes them in.
	Glance func(*Exchange) bool

	own    canonical
	losses []string
	long   []byte // a record of several lines, or a long one
}

// Decode reads one JSON object into e, overwriting all of it. Nothing in e refers to
// the text. Members that Exchange has no field for are in Extra, or in [Decoder.Losses].
//
// What [Exchange.AppendJSON] wrote is read without encoding/json, which takes ten times
// as long; the result is the same.
func (d *Decoder) Decode(text []byte, e *Exchange) error {
	d.losses = d.losses[:0]
	if d.own.exchange(text, e, d.Light, d.Reuse) {
		return nil
	}
	return d.foreign(text, e)
}

// Canonical is Decode with Light set for a text that is exactly as Encoder writes it: each
// member once, in its order, and nothing beside them. It returns false for every other text,
// of which Decode may make something; e then has no meaning. So all readers of JSON find in
// such a text what e has.
func (d *Decoder) Canonical(text []byte, e *Exchange) bool {
	d.own.glance, d.own.strict = nil, true
	defer func() { d.own.strict = false }()
	return d.own.exchange(text, e, true, d.Reuse)
}

// Losses names what the last Decode could not keep, as `netinfo.color: not kept`. The
// slice is overwritten by the next Decode.
func (d *Decoder) Losses() []string { return d.losses }

// canonical reads what Encoder writes, and only that: members in their order, without
// white space. Each method returns false for anything else, of which encoding/json may
// make something.
type canonical struct {
	b []byte
	i int

	// What the last exchanges had.
	last     Exchange
	lastHTTP HTTP
	lastNet  NetInfo
	tags     Tags
	tagText  []byte            // of tags, up to the last value
	tagEnds  []int             // of each of tags, in tagText
	names    map[string]string // of headers and tags
	minute   [len(minute)]byte // text of a time, up to the seconds
	began    time.Time         // that minute

	chunk  strings.Builder // of which short strings are parts
	glance func(*Exchange) bool
	left   bool // out: glance said so
	strict bool // read all of it, even where nothing is kept

	spans    []span
	freeTags Tags // to be used again
	freeHTTP *HTTP
}

// Bounds of what is remembered.
const (
	maxRememberedText  = 256
	maxRememberedTags  = 16 << 10
	maxRememberedNames = 1024
)

func (p *canonical) exchange(b []byte, e *Exchange, light, reuse bool) bool {
	p.b, p.i = b, 0
	p.freeTags, p.freeHTTP = nil, nil
	if reuse {
		clear(e.Tags) // or what fewer tags leave behind them would keep its chunks
		p.freeTags, p.freeHTTP = e.Tags[:0], e.HTTP
	}
	*e = Exchange{}
	if !p.lit(`{"msgType":"rrpair"`) {
		return false
	}
	e.MsgType = MsgType
	l := &p.last
	ok := p.member(`,"resource":`, &e.Resource, &l.Resource) &&
		p.time(`,"ts":`, &e.TS) &&
		p.flag(`,"isTls":`, &e.IsTLS) &&
		p.member(`,"l7protocol":`, &e.L7Protocol, &l.L7Protocol) &&
		p.lit(`,"duration":`) && p.integer(&e.Duration) &&
		p.member(`,"alpn":`, &e.ALPN, &l.ALPN) &&
		(!p.lit(`,"tags":`) || p.tagged(&e.Tags)) &&
		p.lit(`,"uuid":`) && p.uuid(&e.UUID) &&
		p.lit(`,"direction":`) && p.string(&e.Direction, &l.Direction) &&
		p.member(`,"cluster":`, &e.Cluster, &l.Cluster) &&
		p.member(`,"namespace":`, &e.Namespace, &l.Namespace) &&
		p.member(`,"service":`, &e.Service, &l.Service) &&
		p.member(`,"tech":`, &e.Tech, &l.Tech) &&
		p.member(`,"network_address":`, &e.NetworkAddress, &l.NetworkAddress) &&
		p.member(`,"command":`, &e.Command, &l.Command) &&
		p.member(`,"location":`, &e.Location, &l.Location) &&
		p.member(`,"status":`, &e.Status, &l.Status) &&
		p.http(e, light) &&
		p.conversation(`,"grpc":`, &e.GRPC, light) &&
		p.conversation(`,"websocket":`, &e.WebSocket, light) &&
		p.conversation(`,"tcp":`, &e.TCP, light) &&
		p.signature(&e.Signature, light)
	if ok && light && !p.strict && e.HTTP != nil && p.ahead(`,"netinfo":{`) > 0 && bytes.HasSuffix(b, []byte(ending)) {
		return true // the rest is left out
	}
	return ok && p.netInfo(&e.NetInfo, light) && p.is('}') && p.i == len(b)
}

// ending is what a record of HTTP ends with, with NetInfo or without. One that goes on with
// a member which belongs in front of that ends otherwise.
const ending = "}}}"

func (p *canonical) http(e *Exchange, light bool) bool {
	if !p.lit(`,"http":{"req":{`) {
		return true
	}
	h := p.freeHTTP
	if h == nil {
		h = new(HTTP)
	} else {
		*h = HTTP{}
	}
	e.HTTP = h
	l, req, res := &p.lastHTTP, &h.Req, &h.Res
	ok := p.member(`,"url":`, &req.URL, &l.Req.URL) &&
		p.member(`,"uri":`, &req.URI, &l.Req.URI) &&
		p.member(`,"version":`, &req.Version, &l.Req.Version) &&
		p.member(`,"method":`, &req.Method, &l.Req.Method) &&
		p.member(`,"host":`, &req.Host, &l.Req.Host)
	if ok && p.glance != nil && (e.L7Protocol == HTTP1 || e.L7Protocol == HTTPS) && bytes.HasSuffix(p.b, []byte(ending)) && !p.glance(e) {
		p.left = true
		return false
	}
	return ok && p.headers(&req.Headers, light) &&
		p.body(`,"bodyBase64":`, &req.Body, &req.BodyLeft, light) &&
		p.lit(`},"res":{`) &&
		p.member(`,"contentType":`, &res.ContentType, &l.Res.ContentType) &&
		p.small(`,"statusCode":`, &res.StatusCode) &&
		p.member(`,"statusMessage":`, &res.StatusMessage, &l.Res.StatusMessage) &&
		p.headers(&res.Headers, light) &&
		p.body(`,"bodyBase64":`, &res.Body, &res.BodyLeft, light) &&
		p.lit(`}}`)
}

func (p *canonical) conversation(name string, to **Conversation, light bool) bool {
	if !p.lit(name) {
		return true
	}
	c := new(Conversation)
	*to = c
	var part int64
	if !(p.lit(`{"part":`) && p.integer(&part) && p.flag(`,"last":`, &c.Last) &&
		p.count(`,"clientBytes":`, &c.ClientBytes) && p.count(`,"serverBytes":`, &c.ServerBytes)) {
		return false
	}
	c.Part = int(part)
	if p.lit(`,"messages":[`) {
		for {
			var m Message
			if !p.message(&m, light) {
				return false
			}
			if !light {
				c.Messages = append(c.Messages, m)
			}
			if !p.is(',') {
				break
			}
		}
		if !p.is(']') {
			return false
		}
	}
	return p.is('}')
}

func (p *canonical) message(m *Message, light bool) bool {
	var left int64
	return p.lit(`{"from":`) && p.name(&m.From) &&
		p.lit(`,"at":`) && p.integer(&m.At) &&
		(!p.lit(`,"type":`) || p.name(&m.Type)) &&
		p.flag(`,"more":`, &m.More) &&
		p.flag(`,"compressed":`, &m.Compressed) &&
		(!p.lit(`,"size":`) || p.integer(&m.Size)) &&
		p.body(`,"dataBase64":`, &m.Data, &left, light) && p.is('}')
}

func (p *canonical) signature(to *map[string][]byte, light bool) bool {
	if !p.lit(`,"signature":{`) {
		return true
	}
	sig := map[string][]byte{}
	for {
		var name, last string
		var value []byte
		var left int64
		if !p.string(&name, &last) || !p.is(':') {
			return false
		}
		if !p.lit(`null`) && !p.base64(&value, &left, false) {
			return false
		}
		if sig[name] = value; len(sig) > MaxMembers {
			return false
		}
		if !p.is(',') {
			break
		}
	}
	if !light {
		*to = sig
	}
	return p.is('}')
}

func (p *canonical) netInfo(to **NetInfo, light bool) bool {
	if !p.lit(`,"netinfo":{`) {
		return true
	}
	var n NetInfo
	ok := p.member(`,"id":`, &n.ID, &p.lastNet.ID) &&
		p.time(`,"startTime":`, &n.StartTime) &&
		p.lit(`,"downstream":{`) && p.endpoint(&n.Downstream, &p.lastNet.Downstream) &&
		p.lit(`,"upstream":{`) && p.endpoint(&n.Upstream, &p.lastNet.Upstream)
	if !light {
		*to = &n
	}
	return ok && p.is('}')
}

func (p *canonical) endpoint(to, last *Endpoint) bool {
	return (p.ahead(`,"established":`) == 0 || p.time(`,"established":`, &to.Established)) &&
		p.member(`,"ipAddress":`, &to.IPAddress, &last.IPAddress) &&
		p.small(`,"port":`, &to.Port) &&
		p.member(`,"hostname":`, &to.Hostname, &last.Hostname) &&
		p.count(`,"bytesSent":`, &to.BytesSent) &&
		p.is('}')
}

// lit reads the literal, if it comes next. A comma that begins it is left out behind
// the brace that opens an object.
func (p *canonical) lit(s string) bool {
	n := p.ahead(s)
	p.i += n
	return n > 0
}

// is reads the byte, if it comes next.
func (p *canonical) is(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

// ahead is lit that doesn't move, and returns how long the literal is, 0 if it is
// another.
func (p *canonical) ahead(s string) int {
	if s[0] == ',' && p.i > 0 && p.b[p.i-1] == '{' {
		s = s[1:]
	}
	n := len(s)
	if len(p.b)-p.i < n || n > 2 && p.b[p.i+2] != s[2] || string(p.b[p.i:p.i+n]) != s {
		return 0
	}
	return n
}

// member reads a string that may be missing.
func (p *canonical) member(name string, to, last *string) bool {
	return !p.lit(name) || p.string(to, last)
}

func (p *canonical) flag(name string, to *bool) bool {
	if p.lit(name) {
		*to = true
		return p.lit(`true`)
	}
	return true
}

// small reads a number that may be missing.
func (p *canonical) small(name string, to *int) bool {
	var n int64
	if !p.lit(name) {
		return true
	}
	ok := p.integer(&n) && int64(int(n)) == n
	*to = int(n)
	return ok
}

// count reads a number in quotes that may be missing.
func (p *canonical) count(name string, to *int64) bool {
	return !p.lit(name) || p.is('"') && p.integer(to) && p.is('"')
}

func (p *canonical) integer(to *int64) bool {
	negative := p.is('-')
	start, n := p.i, uint64(0)
	for ; p.i < len(p.b) && '0' <= p.b[p.i] && p.b[p.i] <= '9'; p.i++ {
		if p.i-start == 19 { // digits, which a uint64 holds
			return false
		}
		n = n*10 + uint64(p.b[p.i]-'0')
	}
	if *to = int64(n); negative {
		*to = -*to
	}
	return n <= math.MaxInt64 && p.i > start && (p.b[start] != '0' || p.i == start+1)
}

func (p *canonical) uuid(to *UUID) bool {
	const digits = 22 // and two for the padding
	if len(p.b)-p.i < digits+4 || p.b[p.i] != '"' || string(p.b[p.i+1+digits:p.i+4+digits]) != `=="` {
		return false
	}
	var out [18]byte
	n, err := base64.StdEncoding.Decode(out[:], p.b[p.i+1:p.i+3+digits])
	if err != nil || n != len(to) {
		return false
	}
	copy(to[:], out[:])
	p.i += digits + 4
	return true
}

// time reads a time in UTC, as `"2026-11-22T20:15:00.123456789Z"`.
func (p *canonical) time(name string, to *time.Time) bool {
	if !p.lit(name) || len(p.b)-p.i < len(minute)+len(`00Z"`) {
		return false
	}
	b := p.b[p.i:]
	if string(b[:len(minute)]) != string(p.minute[:]) && !p.newMinute([len(minute)]byte(b)) {
		return false
	}
	second := digits(b[18:20])
	if second < 0 || second > 59 {
		return false
	}
	i, nanos := 20, 0
	if b[i] == '.' {
		unit := 100_000_000
		for i++; i < len(b) && '0' <= b[i] && b[i] <= '9' && unit > 0; i++ {
			nanos += int(b[i]-'0') * unit
			unit /= 10
		}
		if i == 21 {
			return false
		}
	}
	if len(b) < i+2 || b[i] != 'Z' || b[i+1] != '"' {
		return false
	}
	*to = p.began.Add(time.Duration(second)*time.Second + time.Duration(nanos))
	p.i += i + 2
	return true
}

const minute = `"2026-11-22T20:15:`

// newMinute remembers another minute.
func (p *canonical) newMinute(b [len(minute)]byte) bool {
	if b[0] != '"' || b[5] != '-' || b[8] != '-' || b[11] != 'T' || b[14] != ':' || b[17] != ':' {
		return false
	}
	year, month, day, hour, min := digits(b[1:5]), digits(b[6:8]), digits(b[9:11]), digits(b[12:14]), digits(b[15:17])
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || min < 0 || min > 59 {
		return false
	}
	t := time.Date(year, time.Month(month), day, hour, min, 0, 0, time.UTC)
	if t.Day() != day { // as of February 30
		return false
	}
	p.minute, p.began = b, t
	return true
}

// digits returns the number, -1 if it is none.
func digits(b []byte) (n int) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// How much a string's text differs from the string.
const (
	isEscaped = 1 << iota
	isUnicode
)

// quoted finds the end of a string: raw is what is between the quotes.
func (p *canonical) quoted() (raw []byte, differs int, ok bool) {
	if !p.is('"') {
		return nil, 0, false
	}
	b := p.b[p.i:]
	for i := 0; ; i++ {
		for i <= len(b)-8 {
			odd := oddBytes(binary.LittleEndian.Uint64(b[i:])) & tops
			i += bits.TrailingZeros64(odd) / 8 // 8 if none is
			if odd != 0 {
				break
			}
		}
		if i >= len(b) {
			return nil, 0, false
		}
		switch c := b[i]; {
		case c == '"':
			p.i += i + 1
			return b[:i], differs, true
		case c == '\\':
			differs |= isEscaped
			i++ // a quote that follows doesn't end it
		case c >= utf8.RuneSelf:
			differs |= isUnicode
		case c < ' ':
			return nil, 0, false
		}
	}
}

// string reads a string, and returns last if it is the same. What is remembered has no
// escapes, so its text is the string.
func (p *canonical) string(to, last *string) bool {
	if n := p.i + 1 + len(*last); n < len(p.b) && p.b[p.i] == '"' && p.b[n] == '"' && string(p.b[p.i+1:n]) == *last {
		*to = *last
		p.i = n + 1
		return true
	}
	raw, differs, ok := p.quoted()
	if !ok {
		return false
	}
	if *to, ok = p.text(raw, differs); ok && differs&isEscaped == 0 && len(*to) <= maxRememberedText {
		*last = *to
	}
	return ok
}

// chunkBytes is how much memory short strings share, and what one of them that is kept
// may keep with it.
const chunkBytes = 2 << 10

// text is the string that has the raw text.
func (p *canonical) text(raw []byte, differs int) (string, bool) {
	if differs != 0 || len(raw) > chunkBytes/16 {
		return text(raw, differs)
	}
	if p.chunk.Cap()-p.chunk.Len() < len(raw) {
		p.chunk = strings.Builder{}
		p.chunk.Grow(chunkBytes)
	}
	start := p.chunk.Len()
	p.chunk.Write(raw)
	return p.chunk.String()[start:], true
}

// name is string for names, of which there are few.
func (p *canonical) name(to *string) bool {
	raw, differs, ok := p.quoted()
	if !ok {
		return false
	}
	if differs == 0 {
		if known, ok := p.names[string(raw)]; ok {
			*to = known
			return true
		}
	}
	if *to, ok = text(raw, differs); ok && len(*to) <= maxRememberedText {
		if p.names == nil || len(p.names) >= maxRememberedNames {
			p.names = map[string]string{}
		}
		p.names[*to] = *to
	}
	return ok
}

// text is the string that has the raw text.
func text(raw []byte, differs int) (string, bool) {
	if differs&isUnicode != 0 && !utf8.Valid(raw) {
		return "", false
	}
	if differs&isEscaped == 0 {
		return string(raw), true
	}
	return unescape(raw)
}

func unescape(raw []byte) (string, bool) {
	var out strings.Builder
	out.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out.WriteByte(raw[i])
			continue
		}
		i++ // quoted has seen to it that one follows
		switch c := raw[i]; c {
		case '"', '\\', '/':
			out.WriteByte(c)
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r := hex4(raw[i+1:])
			if r < 0 {
				return "", false
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(raw)-i > 2 && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low = hex4(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out.WriteRune(r)
		default:
			return "", false
		}
	}
	return out.String(), true
}

// hex4 returns the number of four hexadecimal digits, -1 if there are none.
func hex4(b []byte) (r rune) {
	if len(b) < 4 {
		return -1
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// skip reads a string that isn't needed.
func (p *canonical) skip() bool {
	raw, differs, ok := p.quoted()
	if ok && differs&isEscaped != 0 {
		_, ok = unescape(raw)
	}
	return ok
}

// tagged reads tags. Those that stand at the beginning of the last ones, in the same text,
// are the same; of the others, the name and the value often are.
func (p *canonical) tagged(to *Tags) bool {
	start, last := p.i, p.tags
	same := commonPrefix(p.b[start:], p.tagText)
	known := 0
	for known < len(p.tagEnds) && p.tagEnds[known] <= same {
		known++
	}
	tags := p.freeTags
	if cap(tags) < len(last) || tags == nil {
		tags = make(Tags, 0, max(len(last)+2, 8))
	}
	tags = append(tags, last[:known]...)
	// Should the rest be no tags, this much can still be relied upon.
	p.tags, p.tagEnds = last[:known], p.tagEnds[:known]
	more := known == 0
	if more && !p.is('{') {
		return false
	} else if !more {
		p.i += p.tagEnds[known-1]
	}
	ends, sameNames := p.tagEnds, true
	for more || p.is(',') {
		more = false
		var t, like Tag
		if at := len(tags); at < len(last) {
			like = last[at]
		}
		if !p.string(&t.Name, &like.Name) || !p.is(':') || !p.string(&t.Value, &like.Value) {
			return false
		}
		if sameNames = sameNames && len(tags) < len(last) && t.Name == last[len(tags)].Name; !sameNames { // else none stands twice, as in last
			for i := range tags {
				if tags[i].Name == t.Name {
					return false
				}
			}
		}
		if tags = append(tags, t); len(tags) > MaxTags {
			return false
		}
		ends = append(ends, p.i-start)
	}
	*to = tags
	if p.i-start > maxRememberedTags {
		p.tags, p.tagEnds, p.tagText = nil, nil, nil
		return p.is('}')
	}
	from := 0
	if known > 0 {
		from = ends[known-1]
	}
	p.tags, p.tagEnds = append(p.tags, tags[known:]...), ends
	p.tagText = append(p.tagText[:from], p.b[start+from:p.i]...)
	return p.is('}')
}

// commonPrefix returns how many bytes two texts have in common at their beginning.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; n-i >= 8; i += 8 {
		if differ := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); differ != 0 {
			return i + bits.TrailingZeros64(differ)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// span is a value of a header in the text.
type span struct {
	name       string
	start, end int
	differs    int
}

func (p *canonical) headers(to *Headers, light bool) bool {
	if !p.lit(`,"headers":{`) {
		return true
	}
	start := p.i
	p.spans = p.spans[:0]
	for {
		var s span
		if light && !p.skip() || !light && !p.name(&s.name) || !p.is(':') || !p.is('[') {
			return false
		}
		for {
			if light {
				if !p.skip() {
					return false
				}
			} else {
				raw, differs, ok := p.quoted()
				if !ok {
					return false
				}
				s.end, s.differs = p.i-1, differs
				s.start = s.end - len(raw)
			}
			if p.spans = append(p.spans, s); len(p.spans) > MaxHeaders {
				return false
			}
			if !p.is(',') {
				break
			}
		}
		if !p.is(']') {
			return false
		}
		if !p.is(',') {
			break
		}
	}
	if light {
		return p.is('}')
	}
	all := string(p.b[start:p.i]) // one allocation for all values
	h := make(Headers, len(p.spans))
	for i, s := range p.spans {
		h[i].Name = s.name
		if s.differs == 0 {
			h[i].Value = all[s.start-start : s.end-start]
			continue
		}
		var ok bool
		if h[i].Value, ok = text(p.b[s.start:s.end], s.differs); !ok {
			return false
		}
	}
	*to = h
	return p.is('}')
}

// body reads base64 that may be missing.
func (p *canonical) body(name string, to *[]byte, left *int64, light bool) bool {
	return !p.lit(name) || p.base64(to, left, light)
}

func (p *canonical) base64(to *[]byte, left *int64, light bool) bool {
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return false
	}
	raw := p.b[p.i+1:]
	end := bytes.IndexByte(raw, '"')
	if end < 0 || end%4 != 0 {
		return false
	}
	raw = raw[:end]
	p.i += end + 2
	n := len(raw) / 4 * 3
	for i := 1; i <= 2 && i <= len(raw) && raw[len(raw)-i] == '='; i++ {
		n--
	}
	if light {
		*left = int64(n)
		return isBase64(raw[:(n*4+2)/3])
	}
	out := make([]byte, len(raw)/4*3)
	got, err := base64.StdEncoding.Decode(out, raw)
	*to = out[:n]
	return err == nil && got == n
}

// isBase64 tells whether all of b are digits of base64.
func isBase64(b []byte) bool {
	if len(b) < 8 {
		few := [8]byte([]byte("AAAAAAAA"))
		copy(few[:], b)
		b = few[:]
	}
	odd := notBase64(binary.LittleEndian.Uint64(b[len(b)-8:]))
	for i := 0; i <= len(b)-8; i += 8 {
		odd |= notBase64(binary.LittleEndian.Uint64(b[i:]))
	}
	return odd&tops == 0
}

// notBase64 sets the top bit of each byte that isn't a digit of base64. Of the sums below,
// the top bits tell whether a byte is at least that, so two of them differ between both.
func notBase64(w uint64) uint64 {
	low := w &^ tops
	letter := low | ' '*ones // in lower case
	in := (letter + (0x80-'a')*ones) ^ (letter + (0x80-('z'+1))*ones) ^
		(low + (0x80-'/')*ones) ^ (low + (0x80-('9'+1))*ones)
	plus := (low ^ '+'*ones) + 0x7f*ones // 0 if it is
	return plus&^in | w
}
