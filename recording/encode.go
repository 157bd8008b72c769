package recording

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the exchange's JSON, without a newline, and returns the
// extended buffer. It equals what encoding/json makes of e with HTML escaping
// off, and allocates nothing when dst has room.
func (e *Exchange) AppendJSON(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	o.mustString("msgType", e.MsgType)
	o.string("resource", e.Resource)
	o.time("ts", e.TS)
	o.bool("isTls", e.IsTLS)
	o.string("l7protocol", e.L7Protocol)
	o.mustInt("duration", e.Duration)
	o.string("alpn", e.ALPN)
	if len(e.Tags) > 0 {
		o.dst = appendTags(o.key("tags"), e.Tags)
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
	return o.end()
}

func (r *HTTPRequest) append(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	o.string("url", r.URL)
	o.string("uri", r.URI)
	o.string("version", r.Version)
	o.string("method", r.Method)
	o.string("host", r.Host)
	o.headers("headers", r.Headers)
	o.base64("bodyBase64", r.Body)
	return o.end()
}

func (r *HTTPResponse) append(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	o.string("contentType", r.ContentType)
	o.int("statusCode", int64(r.StatusCode))
	o.string("statusMessage", r.StatusMessage)
	o.headers("headers", r.Headers)
	o.base64("bodyBase64", r.Body)
	return o.end()
}

func (n *NetInfo) append(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	o.string("id", n.ID)
	o.time("startTime", n.StartTime)
	o.dst = n.Downstream.append(o.key("downstream"))
	o.dst = n.Upstream.append(o.key("upstream"))
	return o.end()
}

func (p *Endpoint) append(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	if !p.Established.IsZero() {
		o.time("established", p.Established)
	}
	o.string("ipAddress", p.IPAddress)
	o.int("port", int64(p.Port))
	o.string("hostname", p.Hostname)
	o.count("bytesSent", p.BytesSent)
	return o.end()
}

func (m *Message) append(dst []byte) []byte {
	o := object{dst: append(dst, '{')}
	o.mustString("from", m.From)
	o.mustInt("at", m.At)
	o.string("type", m.Type)
	o.bool("more", m.More)
	o.bool("compressed", m.Compressed)
	o.int("size", m.Size)
	o.base64("dataBase64", m.Data)
	return o.end()
}

// object writes the members of one JSON object.
type object struct {
	dst  []byte
	some bool // a member has been written
}

func (o *object) key(name string) []byte {
	if o.some {
		o.dst = append(o.dst, ',')
	}
	o.some = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	return append(o.dst, '"', ':')
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
	o.dst = append(t.AppendFormat(append(o.key(name), '"'), time.RFC3339Nano), '"')
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

func (o *object) conversation(name string, c *Conversation) {
	if c == nil {
		return
	}
	in := object{dst: append(o.key(name), '{')}
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

func appendBase64(dst, v []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v), '"')
}

func appendUUID(dst []byte, u UUID) []byte { return appendBase64(dst, u[:]) }

func appendTags(dst []byte, tags Tags) []byte {
	o := object{dst: append(dst, '{')}
	for i := range tags {
		if o.some {
			o.dst = append(o.dst, ',')
		}
		o.some = true
		o.dst = append(appendString(o.dst, tags[i].Name), ':')
		o.dst = appendString(o.dst, tags[i].Value)
	}
	return o.end()
}

// appendHeaders groups lines by name at the name's first line. Messages have
// few headers, so looking through them again is faster than a map.
func appendHeaders(dst []byte, h Headers) []byte {
	dst = append(dst, '{')
	for i := range h {
		if h.index(h[i].Name) < i {
			continue // written with the first of its name
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
	o := object{dst: append(dst, '{')}
	for _, name := range names {
		if o.some {
			o.dst = append(o.dst, ',')
		}
		o.some = true
		o.dst = append(appendString(o.dst, name), ':')
		if sig[name] == nil {
			o.dst = append(o.dst, "null"...)
		} else {
			o.dst = appendBase64(o.dst, sig[name])
		}
	}
	return o.end()
}

// plain says which bytes stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString appends a JSON string. Bytes that aren't UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
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
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			start = i + n
		case r == '\u2028', r == '\u2029': // JSON allows them, JavaScript once didn't
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
