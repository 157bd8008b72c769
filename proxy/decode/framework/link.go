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

// maxLinks bounds the inbound exchanges that outbound ones are linked to:
// beyond it, the oldest is forgotten.
const maxLinks = 16 << 10

// carriers are the headers by which requests are linked, in the order of the constants.
var carriers = recording.Carriers()

const (
	byTraceparent = iota
	byB3
	byB3TraceID
	byRequestID
	byReplay  // the header of a replay, which carries no ID of a trace
	byNothing // any other header
)

// carrierOf tells which carrier a header is. It is asked for every header, and a switch
// is the fastest answer.
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
	replay string // ID of the replay's run that caused it, "" for none
}

// links finds the inbound exchange that caused an outbound one.
type links struct {
	mu    sync.Mutex
	seed  maphash.Seed
	byKey map[uint64]cause
	ring  []uint64 // keys in the order they came, up to maxLinks
	next  int      // then: the oldest of them
	// replays are, for keys in byKey, the IDs of the runs that sent the exchanges, where
	// all that are open agree; nil before the first one.
	replays map[uint64]string
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

// replayed notes which run, "" for none, sent an inbound exchange that is put next.
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

// close tells that an inbound exchange ended. It can still be found: work may
// go on behind an answer.
func (l *links) close(x *Exchange) {
	if !x.link.opened || x.state.Flow.Direction != tap.In {
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

// replayOf is the ID of the run of the replay that sent a request with that value of the
// header, "" for none. A connection brings the same with every request.
func (state *FlowState) replayOf(id string) string {
	if id == "" || id != state.replay && !contract.IsReplayID(id) {
		return ""
	}
	if id != state.replay {
		state.replay = strings.Clone(id) // lest a head stay in memory as long as the connection
	}
	return state.replay
}

// knownPeer remembers what a header said, since a connection of a mesh says the
// same with every request.
type knownPeer struct{ header, who string }

// maxKnown is how long the header may be.
const maxKnown = 4 << 10

// peerOf says who sent an inbound request, and how that is known. Behind Envoy
// the connection's own address is a loopback one and says nothing.
func (state *FlowState) peerOf(h recording.Headers) (who, by string) {
	address := state.net.Downstream.IPAddress
	if v := lastLine(h, "X-Forwarded-Client-Cert"); v != "" {
		peer := state.peer
		if v != peer.header {
			v = strings.Clone(v) // lest a head stay in memory as long as the connection
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
