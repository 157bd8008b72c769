package codec

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// maxLinks bounds the inbound exchanges that outbound ones are linked to:
// beyond it, the oldest is forgotten.
const maxLinks = 16 << 10

// carriers are the headers whose values an application hands on from the
// request it serves to the requests it makes, surest first. trace is what of an ID
// all who see the trace agree on.
var carriers = [...]struct {
	header, name string
	id           func(value string) string
	trace        func(id string) string
}{
	// W3C Trace Context, section 3.2.2: version-traceid-parentid-flags.
	{"Traceparent", "traceparent", func(v string) string {
		if len(v) < 55 || v[2] != '-' || v[35] != '-' {
			return ""
		}
		return v[3:35]
	}, lastHalf},
	// B3 single header: traceid-spanid-sampled-parent; or the sampling decision alone.
	{"B3", "b3", func(v string) string {
		id, _, ok := strings.Cut(v, "-")
		if !ok {
			return ""
		}
		return id
	}, lastHalf},
	{"X-B3-Traceid", "x-b3-traceid", func(v string) string { return v }, lastHalf},
	{"X-Request-Id", "x-request-id", func(v string) string { return v }, withoutReason},
}

// link is what one exchange knows of others.
type link struct {
	keys   [len(carriers)]uint64 // what it can be found by, or finds its cause by; 0: nothing
	opened bool
	id     recording.UUID // of the exchange, or of its first part
	parent recording.UUID
	by     string // name of the carrier, "" if no parent was found
	why    string // then: why not
	peer   string // inbound: who asked
	peerBy string
	trace  trace
}

// links finds the inbound exchange that caused an outbound one.
type links struct {
	mu    sync.Mutex
	seed  maphash.Seed
	byKey map[uint64]cause
	ring  []uint64 // keys in the order they came, up to maxLinks
	next  int      // then: the oldest of them
}

type cause struct {
	id   recording.UUID // of the inbound exchange that opened last
	open int            // exchanges with this key that haven't ended
	many bool           // there were several, and haven't been none since
	trace
}

func (l *links) key(carrier int, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	h.WriteByte(byte(carrier))
	h.WriteString(id)
	return h.Sum64() | 1
}

// open registers an inbound exchange, or looks up an outbound one; sampling says
// that their traces are of interest. Their order is that of the requests: the tap
// has what came in read before the calls that it causes.
func (l *links) open(x *Exchange, sampling bool) {
	headers := x.http.Req.Headers
	in := x.env.Flow.Direction == tap.In
	x.link.opened, x.link.id = true, x.UUID
	x.link.why = "unknown"
	if in {
		x.link.peer, x.link.peerBy = x.env.peerOf(headers)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.seed, l.byKey = maphash.MakeSeed(), make(map[uint64]cause)
	}
	for i := range carriers {
		value := headers.Get(carriers[i].header)
		if value == "" {
			continue
		}
		id := carriers[i].id(value)
		if id == "" {
			continue
		}
		key := l.key(i, id)
		x.link.keys[i] = key
		if sampling && !x.link.trace.known {
			x.link.trace = traceOf(carriers[i].trace(id))
		}
		if in {
			l.put(key, x.UUID, x.link.trace)
		}
	}
	if !in {
		l.find(&x.link)
	}
}

// find looks for the cause of an outbound exchange.
func (l *links) find(k *link) {
	for i, key := range k.keys {
		c, ok := l.byKey[key]
		switch {
		case key == 0 || !ok:
		case c.many:
			k.why = "ambiguous"
		default:
			k.parent, k.by = c.id, carriers[i].name
			if c.trace.known {
				k.trace = c.trace
			}
			return
		}
	}
}

func (l *links) put(key uint64, id recording.UUID, t trace) {
	c, ok := l.byKey[key]
	if !ok {
		if len(l.ring) < maxLinks {
			l.ring = append(l.ring, key)
		} else {
			delete(l.byKey, l.ring[l.next])
			l.ring[l.next] = key
			l.next = (l.next + 1) % maxLinks
		}
	}
	l.byKey[key] = cause{id: id, open: c.open + 1, many: c.open > 0, trace: t}
}

// close tells that an inbound exchange ended. It can still be found: work may
// go on behind an answer.
func (l *links) close(x *Exchange) {
	if !x.link.opened || x.env.Flow.Direction != tap.In {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range x.link.keys {
		if c, ok := l.byKey[key]; ok && key != 0 {
			c.open = max(0, c.open-1) // it may have been forgotten meanwhile, and come anew
			l.byKey[key] = c
		}
	}
}

// tags says what is known of the exchange's relations.
func (k *link) tags(env *Env, t recording.Tags) recording.Tags {
	switch {
	case !k.opened:
	case env.Flow.Direction == tap.In:
		t = append(t, recording.Tag{Name: recording.TagPeer, Value: k.peer}, recording.Tag{Name: recording.TagPeerBy, Value: k.peerBy})
	case k.by != "":
		env.Counters.Linked.Add(1)
		t = append(t, recording.Tag{Name: recording.TagParent, Value: k.parent.String()}, recording.Tag{Name: recording.TagParentBy, Value: k.by})
	default:
		env.Counters.Unlinked.Add(1)
		t = append(t, recording.Tag{Name: recording.TagParent, Value: k.why})
	}
	return t
}

// knownPeer remembers what a header said, since a connection of a mesh says the
// same with every request.
type knownPeer struct{ header, who string }

// maxKnown is how long the header may be.
const maxKnown = 4 << 10

// peerOf says who sent an inbound request, and how that is known. Behind Envoy
// the connection's own address is a loopback one and says nothing.
func (env *Env) peerOf(h recording.Headers) (who, by string) {
	address := env.net.Downstream.IPAddress
	if v := lastLine(h, "X-Forwarded-Client-Cert"); v != "" {
		peer := env.peer
		if v != peer.header {
			v = strings.Clone(v) // lest a head stay in memory as long as the connection
			peer = knownPeer{v, lastIdentity(v)}
			if len(v) <= maxKnown {
				env.peer = peer
			}
		}
		if peer.who != "" {
			return peer.who, "x-forwarded-client-cert"
		}
	}
	if v := lastLine(h, "X-Forwarded-For"); v != "" {
		// Each hop appends the one it was asked by.
		if who := strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:]); who != "" {
			return who, "x-forwarded-for"
		}
	}
	if address != "" && address != "::1" && !strings.HasPrefix(address, "127.") {
		return address, "address"
	}
	return "unknown", "unknown"
}

// lastLine is the header's last value: hops add to the end, and what stands
// before it may be the client's invention.
func lastLine(h recording.Headers, name string) string {
	for _, line := range slices.Backward(h) {
		if line.Name == name {
			return line.Value
		}
	}
	return ""
}

// lastIdentity reads Envoy's X-Forwarded-Client-Cert: elements divided by
// commas, one per hop, each of key=value pairs divided by semicolons; values
// may be quoted. The last element is the immediate peer, and its URI is the
// SPIFFE identity; without one, the Subject has to do.
func lastIdentity(v string) (who string) {
	var uri, subject string
	for v != "" {
		end, quoted := 0, false
		for ; end < len(v) && (quoted || v[end] != ',' && v[end] != ';'); end++ {
			if v[end] == '"' {
				quoted = !quoted
			} else if v[end] == '\\' && quoted {
				end++
			}
		}
		end = min(end, len(v))
		name, value, _ := strings.Cut(strings.TrimSpace(v[:end]), "=")
		value = strings.Trim(value, `"`)
		switch {
		case strings.EqualFold(name, "URI"):
			uri = value
		case strings.EqualFold(name, "Subject"):
			subject = value
		}
		if end == len(v) {
			break
		}
		if v[end] == ',' {
			uri, subject = "", ""
		}
		v = v[end+1:]
	}
	if uri != "" {
		return uri
	}
	return subject
}
