package framework

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// maxLinks bounds the keys by which outbound exchanges find inbound ones. A new key
// beyond it replaces the oldest.
const maxLinks = 16 << 10

// carriers lists the headers that link requests, in the order of the constants.
var carriers = recording.Carriers()

const (
	byTraceparent = iota
	byB3
	byB3TraceID
	byRequestID
	byReplay  // the header of a replay, which carries no trace ID
	byNothing // any other header
)

// carrierOf returns the carrier that a header is. It runs for every header, and a switch is
// the fastest way.
func carrierOf(header string) int {
	switch header {
	case "Traceparent":
		return byTraceparent
	case "B3":
		return byB3
	case "X-B3-Traceid":
		return byB3TraceID
	case "X-Request-Id":
		return byRequestID
	case contract.HeaderReplay:
		return byReplay
	}
	return byNothing
}

// link holds the relations of one exchange to others.
type link struct {
	keys   [len(carriers)]uint64 // one for each carrier that the request has; 0: it has none
	opened bool
	id     recording.UUID // of the exchange, or of its first part
	parent recording.UUID
	by     string // name of the carrier, "" if no parent was found
	why    string // why no parent was found
	peer   string // inbound: who sent the request
	peerBy string // how that is known
	trace  trace
	replay string // ID of the replay's run that caused it, "" for none
}

// links finds the inbound exchange that caused an outbound one.
type links struct {
	mu    sync.Mutex
	seed  maphash.Seed
	byKey map[uint64]cause
	ring  []uint64 // at most maxLinks keys, in the order in which they came
	next  int      // index of the oldest one, once ring is full
	// replays maps a key of byKey to the ID of the run that sent its exchanges, if all of
	// them that are open have the same. It is nil before the first run.
	replays map[uint64]string
}

type cause struct {
	id   recording.UUID // of the inbound exchange that opened last
	open int            // exchanges with this key that haven't ended
	many bool           // several have been open at the same time since none was
	trace
}

func (l *links) key(carrier int, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	h.WriteByte(byte(carrier))
	h.WriteString(id)
	return h.Sum64() | 1
}

// open registers an inbound exchange, or looks up the cause of an outbound one. sampling
// says that traces are needed. A cause is always registered before it is looked up,
// because the tap gives inbound bytes to readers before the calls that they cause.
func (l *links) open(x *Exchange, sampling bool) {
	headers := x.http.Req.Headers
	in := x.state.Flow.Direction == tap.In
	x.link.opened, x.link.id = true, x.UUID
	x.link.why = "unknown"
	var values [len(carriers)]string
	for i := range headers {
		switch n := carrierOf(headers[i].Name); {
		case n == byNothing:
		case n == byReplay:
			x.link.replay = x.state.replayOf(headers[i].Value)
		case values[n] == "":
			values[n] = headers[i].Value
		}
	}
	if in {
		x.link.peer, x.link.peerBy = x.state.peerOf(headers)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.seed, l.byKey = maphash.MakeSeed(), make(map[uint64]cause)
	}
	for i, value := range values {
		if value == "" {
			continue
		}
		id := carriers[i].ID(value)
		if id == "" {
			continue
		}
		key := l.key(i, id)
		x.link.keys[i] = key
		if sampling && !x.link.trace.known {
			x.link.trace = traceOf(carriers[i].Shared(id))
		}
		if in {
			if x.link.replay != "" || l.replays != nil {
				l.replayed(key, x.link.replay)
			}
			l.put(key, x.UUID, x.link.trace)
		}
	}
	if !in {
		l.find(&x.link)
	}
}

// find looks for the cause of an outbound exchange.
func (l *links) find(k *link) {
	own := k.replay
	for i, key := range k.keys {
		c, ok := l.byKey[key]
		switch {
		case key == 0 || !ok:
		case c.many:
			k.why = "ambiguous"
			k.replay = cmp.Or(own, l.replays[key])
		default:
			k.parent, k.by = c.id, carriers[i].Name
			k.replay = cmp.Or(own, l.replays[key])
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
			delete(l.replays, l.ring[l.next])
			l.ring[l.next] = key
			l.next = (l.next + 1) % maxLinks
		}
	}
	l.byKey[key] = cause{id: id, open: c.open + 1, many: c.open > 0, trace: t}
}

// replayed records which run sent an inbound exchange; "" for none. It is called before put.
func (l *links) replayed(key uint64, run string) {
	if l.byKey[key].open > 0 && l.replays[key] != run {
		run = ""
	}
	switch {
	case run == "":
		delete(l.replays, key)
	case l.replays == nil:
		l.replays = map[uint64]string{key: run}
	default:
		l.replays[key] = run
	}
}

// close records that an inbound exchange ended. Outbound exchanges can still find it,
// because an application may continue to work after its answer.
func (l *links) close(x *Exchange) {
	if !x.link.opened || x.state.Flow.Direction != tap.In {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range x.link.keys {
		if c, ok := l.byKey[key]; ok && key != 0 {
			c.open = max(0, c.open-1) // the ring may have dropped the key, and put may have added it again
			l.byKey[key] = c
		}
	}
}

// tags appends the tags about the exchange's relations.
func (k *link) tags(state *FlowState, t recording.Tags) recording.Tags {
	if k.replay != "" {
		t = append(t, recording.Tag{Name: recording.TagReplay, Value: k.replay})
	}
	switch {
	case !k.opened:
	case state.Flow.Direction == tap.In:
		t = append(t, recording.Tag{Name: recording.TagPeer, Value: k.peer}, recording.Tag{Name: recording.TagPeerBy, Value: k.peerBy})
	case k.by != "":
		state.Counters.Linked.Add(1)
		t = append(t, recording.Tag{Name: recording.TagParent, Value: k.parent.String()}, recording.Tag{Name: recording.TagParentBy, Value: k.by})
	default:
		state.Counters.Unlinked.Add(1)
		t = append(t, recording.Tag{Name: recording.TagParent, Value: k.why})
	}
	return t
}

// replayOf returns the ID of the run that sent a request with this value of the replay
// header, "" for none. It caches the ID, because all requests of a connection usually have
// the same.
func (state *FlowState) replayOf(id string) string {
	if id == "" || id != state.replay && !contract.IsReplayID(id) {
		return ""
	}
	if id != state.replay {
		state.replay = strings.Clone(id) // otherwise the head would stay in memory as long as the connection
	}
	return state.replay
}

// knownPeer caches the result of parsing a header, because all requests of a connection in
// a mesh usually have the same value.
type knownPeer struct{ header, who string }

// maxKnown is the maximum length of a header that is cached.
const maxKnown = 4 << 10

// peerOf returns who sent an inbound request, and how that is known. Behind Envoy the
// connection comes from a loopback address, which does not identify the sender.
func (state *FlowState) peerOf(h recording.Headers) (who, by string) {
	address := state.net.Downstream.IPAddress
	if v := lastLine(h, "X-Forwarded-Client-Cert"); v != "" {
		peer := state.peer
		if v != peer.header {
			v = strings.Clone(v) // otherwise the head would stay in memory as long as the connection
			peer = knownPeer{v, lastIdentity(v)}
			if len(v) <= maxKnown {
				state.peer = peer
			}
		}
		if peer.who != "" {
			return peer.who, "x-forwarded-client-cert"
		}
	}
	if v := lastLine(h, "X-Forwarded-For"); v != "" {
		// Each hop appends the address of its client.
		if who := strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:]); who != "" {
			return who, "x-forwarded-for"
		}
	}
	if address != "" && address != "::1" && !strings.HasPrefix(address, "127.") {
		return address, "address"
	}
	return "unknown", "unknown"
}

// lastLine returns the header's last value. Hops append to the end, and a client can forge
// the values before it.
func lastLine(h recording.Headers, name string) string {
	for _, line := range slices.Backward(h) {
		if line.Name == name {
			return line.Value
		}
	}
	return ""
}

// lastIdentity reads Envoy's X-Forwarded-Client-Cert. Commas separate its elements, one
// for each hop, and semicolons separate the key=value pairs of an element. Values may be
// quoted. The last element is the immediate peer. lastIdentity returns its URI, which is
// the SPIFFE identity, or else its Subject.
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
