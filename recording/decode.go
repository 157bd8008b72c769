package recording

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
)

// Decoder reads exchanges from JSON. It caches strings of earlier exchanges, because most
// strings of the next exchange are the same. The zero value is ready to use. It isn't safe for
// concurrent use.
type Decoder struct {
	// Light skips the parts that lists and filters don't need: header fields, bodies,
	// messages, Signature, NetInfo and Extra. BodyLeft then has the sizes of bodies.
	Light bool
	// Reuse makes Decode write into the exchange's existing Tags and HTTP instead of
	// allocating new ones.
	Reuse bool
	// Glance, if not nil, lets a [Reader] skip records of plain HTTP early, which is fast. It
	// gets the exchange up to the request's Host, and reports whether the rest is needed.
	// The rest of a skipped record is not parsed. Glance is not called for records whose members
	// are in a different order than Encoder's.
	Glance func(*Exchange) bool

	own    canonical
	losses []string
	long   []byte // a record of several lines, or a long one
}

// Decode reads one JSON object into e, overwriting all of it. Nothing in e refers to
// the text. Members that Exchange has no field for go to Extra, or to [Decoder.Losses].
//
// It reads the output of [Exchange.AppendJSON] without encoding/json, in a tenth of the time and
// with the same result.
func (d *Decoder) Decode(text []byte, e *Exchange) error {
	d.losses = d.losses[:0]
	if d.own.exchange(text, e, d.Light, d.Reuse) {
		return nil
	}
	return d.foreign(text, e)
}

// Canonical is Decode with Light set, for text that is exactly as Encoder writes it: each member
// once, in order, and no other members. All JSON parsers read such text in the same way. For any
// other text, even if Decode accepts it, Canonical returns false and leaves e undefined.
func (d *Decoder) Canonical(text []byte, e *Exchange) bool {
	d.own.glance, d.own.strict = nil, true
	defer func() { d.own.strict = false }()
	return d.own.exchange(text, e, true, d.Reuse)
}

// Losses names what the last Decode could not keep, such as `netinfo.color: not kept`. The next
// Decode overwrites the slice.
func (d *Decoder) Losses() []string { return d.losses }

// canonical parses only the output of Encoder: members in order, without white space. Its methods
// return false for anything else, even if encoding/json accepts it.
type canonical struct {
	b []byte
	i int

	// Values of earlier exchanges.
	last     Exchange
	lastHTTP HTTP
	lastNet  NetInfo
	tags     Tags
	tagText  []byte            // JSON of tags, up to the last value
	tagEnds  []int             // the end of each tag in tagText
	names    map[string]string // names of headers and tags
	minute   [len(minute)]byte // text of the last time, up to the seconds
	began    time.Time         // that minute as a time

	chunk  strings.Builder // backs short strings
	glance func(*Exchange) bool
	left   bool // glance skipped the record
	strict bool // parse the whole record, even parts that are not kept

	spans    []span
	freeTags Tags // the exchange's former tags, to be reused
	freeHTTP *HTTP
}

// Limits of the cache.
const (
	maxRememberedText  = 256
	maxRememberedTags  = 16 << 10
	maxRememberedNames = 1024
)

func (p *canonical) exchange(b []byte, e *Exchange, light, reuse bool) bool {
	p.b, p.i = b, 0
	p.freeTags, p.freeHTTP = nil, nil
	if reuse {
		clear(e.Tags) // so that unused tags don't keep their chunks alive
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
		return true // the caller needs nothing that follows
	}
	return ok && p.netInfo(&e.NetInfo, light) && p.is('}') && p.i == len(b)
}

// ending ends every HTTP record, with or without NetInfo. A record whose members are in another
// order ends differently.
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

// tagged reads tags. It reuses the tags of the last exchange as long as their JSON is equal. After
// that, it reuses single names and values.
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
	// The cached tags remain valid even if the rest is not.
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
		if sameNames = sameNames && len(tags) < len(last) && t.Name == last[len(tags)].Name; !sameNames { // otherwise the names equal the last ones, which are unique
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

// span is a header value, given by its position in the text.
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

// body reads an optional base64 member.
func (p *canonical) body(name string, to *[]byte, left *int64, light bool) bool {
	return !p.lit(name) || p.base64(to, left, light)
}
