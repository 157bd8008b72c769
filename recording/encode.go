package recording

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the exchange's JSON, without a newline, and returns the
// extended buffer. The JSON equals that of encoding/json without HTML escaping
// and with times in UTC. AppendJSON allocates nothing if dst has room.
func (e *Exchange) AppendJSON(dst []byte) []byte { return (*Encoder)(nil).Append(dst, e) }

// Encoder writes exchanges and caches the JSON of tags, because most tags of the next exchange are
// the same. A nil Encoder caches nothing. It isn't safe for concurrent use.
type Encoder struct {
	tags Tags
	text []byte // JSON of all tags, without the closing brace
	ends []int  // the end of each tag in text
}

// Append is [Exchange.AppendJSON].
func (m *Encoder) Append(dst []byte, e *Exchange) []byte {
	o := object{append(dst, '{')}
	o.mustString("msgType", e.MsgType)
	o.string("resource", e.Resource)
	o.time("ts", e.TS)
	o.bool("isTls", e.IsTLS)
	o.string("l7protocol", e.L7Protocol)
	o.mustInt("duration", e.Duration)
	o.string("alpn", e.ALPN)
	if len(e.Tags) > 0 {
		o.dst = m.appendTags(o.key("tags"), e.Tags)
	}
	o.dst = appendUUID(o.key("uuid"), e.UUID)
	o.mustString("direction", e.Direction)
	o.string("cluster", e.Cluster)
	o.string("namespace", e.Namespace)
	o.string("service", e.Service)
	o.string("tech", e.Tech)
	o.string("network_address", e.NetworkAddress)
	o.string("command", e.Command)
	o.string("location", e.Location)
	o.string("status", e.Status)
	if h := e.HTTP; h != nil {
		o.dst = h.Req.append(append(o.key("http"), `{"req":`...))
		o.dst = append(h.Res.append(append(o.dst, `,"res":`...)), '}')
	}
	o.conversation("grpc", e.GRPC)
	o.conversation("websocket", e.WebSocket)
	o.conversation("tcp", e.TCP)
	if len(e.Signature) > 0 {
		o.dst = appendSignature(o.key("signature"), e.Signature)
	}
	if n := e.NetInfo; n != nil {
		o.dst = n.append(o.key("netinfo"))
	}
	o.extra(e.Extra)
	return o.end()
}

func (r *HTTPRequest) append(dst []byte) []byte {
	o := object{append(dst, '{')}
	o.string("url", r.URL)
	o.string("uri", r.URI)
	o.string("version", r.Version)
	o.string("method", r.Method)
	o.string("host", r.Host)
	o.headers("headers", r.Headers)
	o.base64("bodyBase64", r.Body)
	o.extra(r.Extra)
	return o.end()
}

func (r *HTTPResponse) append(dst []byte) []byte {
	o := object{append(dst, '{')}
	o.string("contentType", r.ContentType)
	o.int("statusCode", int64(r.StatusCode))
	o.string("statusMessage", r.StatusMessage)
	o.headers("headers", r.Headers)
	o.base64("bodyBase64", r.Body)
	o.extra(r.Extra)
	return o.end()
}

// Prepare encodes everything except BytesSent, so that this is done once for a connection rather
// than for each exchange. Later changes to other fields are not written.
func (n *NetInfo) Prepare() {
	n.prepared = &[2][]byte{n.appendDownstream(nil), n.appendUpstream(nil)}
}

func (n *NetInfo) append(dst []byte) []byte {
	if p := n.prepared; p != nil {
		dst = n.Downstream.end(append(dst, p[0]...))
		dst = n.Upstream.end(append(dst, p[1]...))
	} else {
		dst = n.Downstream.end(n.appendDownstream(dst))
		dst = n.Upstream.end(n.appendUpstream(dst))
	}
	return append(dst, '}')
}

// appendDownstream and appendUpstream append the members up to the BytesSent of that endpoint.
func (n *NetInfo) appendDownstream(dst []byte) []byte {
	o := object{append(dst, '{')}
	o.string("id", n.ID)
	o.time("startTime", n.StartTime)
	return n.Downstream.begin(o.key("downstream"))
}

func (n *NetInfo) appendUpstream(dst []byte) []byte {
	o := object{dst}
	return n.Upstream.begin(o.key("upstream"))
}

func (p *Endpoint) begin(dst []byte) []byte {
	o := object{append(dst, '{')}
	if !p.Established.IsZero() {
		o.time("established", p.Established)
	}
	o.string("ipAddress", p.IPAddress)
	o.int("port", int64(p.Port))
	o.string("hostname", p.Hostname)
	return o.dst
}

func (p *Endpoint) end(dst []byte) []byte {
	o := object{dst}
	o.count("bytesSent", p.BytesSent)
	return o.end()
}

func (m *Message) append(dst []byte) []byte {
	o := object{append(dst, '{')}
	o.mustString("from", m.From)
	o.mustInt("at", m.At)
	o.string("type", m.Type)
	o.bool("more", m.More)
	o.bool("compressed", m.Compressed)
	o.int("size", m.Size)
	o.base64("dataBase64", m.Data)
	return o.end()
}

// object writes the members of a JSON object that was opened in dst, or in the text to which dst
// will be appended.
type object struct{ dst []byte }

func (o *object) key(name string) []byte {
	o.dst = append(separate(o.dst), '"')
	o.dst = append(o.dst, name...)
	return append(o.dst, '"', ':')
}

// separate begins a member of the object that is open at the end of dst, or of the text to which
// dst will be appended. It writes a comma unless the member is the first one.
func separate(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

func (o *object) end() []byte { return append(o.dst, '}') }

func (o *object) mustString(name, v string) { o.dst = appendString(o.key(name), v) }

func (o *object) string(name, v string) {
	if v != "" {
		o.mustString(name, v)
	}
}

func (o *object) mustInt(name string, v int64) { o.dst = strconv.AppendInt(o.key(name), v, 10) }

func (o *object) int(name string, v int64) {
	if v != 0 {
		o.mustInt(name, v)
	}
}

// count writes a 64-bit number as protobuf's JSON mapping does: in quotes.
func (o *object) count(name string, v int64) {
	if v != 0 {
		o.dst = append(strconv.AppendInt(append(o.key(name), '"'), v, 10), '"')
	}
}

func (o *object) bool(name string, v bool) {
	if v {
		o.dst = append(o.key(name), "true"...)
	}
}

func (o *object) time(name string, t time.Time) {
	o.dst = append(t.UTC().AppendFormat(append(o.key(name), '"'), time.RFC3339Nano), '"')
}

func (o *object) base64(name string, v []byte) {
	if len(v) > 0 {
		o.dst = appendBase64(o.key(name), v)
	}
}

func (o *object) headers(name string, h Headers) {
	if len(h) > 0 {
		o.dst = appendHeaders(o.key(name), h)
	}
}

func (o *object) extra(all []Member) {
	for _, m := range all {
		o.dst = append(appendString(separate(o.dst), m.Name), ':')
		o.dst = append(o.dst, m.Value...)
	}
}

func (o *object) conversation(name string, c *Conversation) {
	if c == nil {
		return
	}
	in := object{append(o.key(name), '{')}
	in.mustInt("part", int64(c.Part))
	in.bool("last", c.Last)
	in.count("clientBytes", c.ClientBytes)
	in.count("serverBytes", c.ServerBytes)
	if len(c.Messages) > 0 {
		in.dst = append(in.key("messages"), '[')
		for i := range c.Messages {
			if i > 0 {
				in.dst = append(in.dst, ',')
			}
			in.dst = c.Messages[i].append(in.dst)
		}
		in.dst = append(in.dst, ']')
	}
	o.dst = in.end()
}

func appendUUID(dst []byte, u UUID) []byte { return appendBase64(dst, u[:]) }

func (m *Encoder) appendTags(dst []byte, tags Tags) []byte {
	known := 0
	for m != nil && known < min(len(m.tags), len(tags)) && tags[known] == m.tags[known] {
		known++
	}
	if known > 0 {
		dst = append(dst, m.text[:m.ends[known-1]]...)
	} else {
		dst = append(dst, '{')
	}
	if m != nil && 2*known < len(tags) {
		m.remember(tags)
	}
	for _, t := range tags[known:] {
		dst = appendTag(dst, t)
	}
	return append(dst, '}')
}

func (m *Encoder) remember(tags Tags) {
	m.tags, m.text, m.ends = m.tags[:0], append(m.text[:0], '{'), m.ends[:0]
	for _, t := range tags {
		if len(m.text)+len(t.Name)+len(t.Value) > maxRemembered {
			return
		}
		t = Tag{strings.Clone(t.Name), strings.Clone(t.Value)} // these may be slices of longer texts, which would remain in memory
		m.tags = append(m.tags, t)
		m.text = appendTag(m.text, t)
		m.ends = append(m.ends, len(m.text))
	}
}

// maxRemembered is the largest size of tags that an encoder caches.
const maxRemembered = 4 << 10

func appendTag(dst []byte, t Tag) []byte {
	return appendString(append(appendString(separate(dst), t.Name), ':'), t.Value)
}

// appendHeaders groups lines by name, at the position of the name's first line. Messages have
// few headers, so a repeated search is faster than a map.
func appendHeaders(dst []byte, h Headers) []byte {
	dst = append(dst, '{')
	for i := range h {
		if h.index(h[i].Name) < i {
			continue // it was written with the first line of the same name
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, h[i].Name), ':', '[')
		dst = appendString(dst, h[i].Value)
		for j := i + 1; j < len(h); j++ {
			if h[j].Name == h[i].Name {
				dst = appendString(append(dst, ','), h[j].Value)
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendSignature(dst []byte, sig map[string][]byte) []byte {
	names := make([]string, 0, len(sig))
	for name := range sig {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for _, name := range names {
		dst = append(appendString(separate(dst), name), ':')
		if sig[name] == nil {
			dst = append(dst, "null"...)
		} else {
			dst = appendBase64(dst, sig[name])
		}
	}
	return append(dst, '}')
}

// appendString appends a JSON string. Bytes that aren't UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if isPlain(s) {
		dst = append(dst, s...)
	} else {
		dst = appendEscaped(dst, s)
	}
	return append(dst, '"')
}

// isPlain reports whether s needs no escapes in a JSON string.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if !isPlainByte(s[i]) {
				return false
			}
		}
		return true
	}
	odd := oddBytes(word(s[len(s)-8:]))
	for ; len(s) > 8; s = s[8:] {
		odd |= oddBytes(word(s))
	}
	return odd&tops == 0
}

func isPlainByte(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }

// word is the first eight bytes of s.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

const (
	ones = 0x0101010101010101 // 1 in each byte
	tops = 0x80 * ones
)

// oddBytes returns a word in which some byte has its top bit set if any byte of w
// is a control character, `"`, `\`, or not ASCII. For a byte b below 0x80, b-0x20
// borrows from the top bit if b is below a space, and (b^c)-1 does so if b is c.
func oddBytes(w uint64) uint64 {
	return w | (w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones)
}

func appendEscaped(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		if len(s)-i >= 8 && oddBytes(word(s[i:]))&tops == 0 {
			i += 8
			continue
		}
		c := s[i]
		if isPlainByte(c) {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				dst = append(append(dst, s[start:i]...), `\ufffd`...)
				start = i + n
			case r == '\u2028', r == '\u2029': // JSON allows them, but JavaScript once didn't
				dst = append(append(dst, s[start:i]...), `\u202`...)
				dst = append(dst, hexDigits[r&15])
				start = i + n
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}
