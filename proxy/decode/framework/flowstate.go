package framework

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Origin is where the records are captured. Every record has it.
type Origin struct {
	// Cluster, Namespace and Service are `undefined` in the records if they are empty.
	Cluster, Namespace, Service string
	// Tags are put on every record, before those of the exchange.
	Tags recording.Tags
}

// Shared is the state that all flows of a process share.
type Shared struct {
	Origin Origin
	Limits Limits
	Sink   recording.Sink
	// Filter says which exchanges are captured; it may be changed at any time.
	Filter atomic.Pointer[filter.Filter]
	// Random makes UUIDs; nil: random ones. Tests set it.
	Random func() recording.UUID

	links    links
	held     atomic.Int64 // bytes, of Limits.Memory
	sequence atomic.Uint64
	pool     sync.Pool // of *Exchange
	Counters Counters
}

// Counters count what decoders did. They are safe for concurrent use.
type Counters struct {
	// Exchanges were given to the sink. Of them, Outbound are outbound.
	Exchanges, Outbound atomic.Uint64
	// Truncated exchanges lack a part of a body, or fields, because of a limit.
	Truncated atomic.Uint64
	// Incomplete exchanges lack a part: the connection broke, or bytes were lost.
	Incomplete atomic.Uint64
	// Abandoned exchanges were being decoded when the decoder panicked.
	Abandoned atomic.Uint64
	// Ignored exchanges were beyond Limits.Streams, and not recorded.
	Ignored atomic.Uint64
	// Missed exchanges were seen while bytes of their answers were lost.
	Missed atomic.Uint64
	// Filtered exchanges were excluded by a rule, SampledOut ones with their trace.
	Filtered, SampledOut atomic.Uint64
	// Private exchanges were with a cloud's metadata server.
	Private atomic.Uint64
	// Linked outbound exchanges name the inbound one that caused them, Unlinked ones don't.
	Linked, Unlinked atomic.Uint64
}

// Held returns how many bytes of heads, bodies and messages all flows hold.
func (s *Shared) Held() int64 { return s.held.Load() }

// FlowState is the state of a flow that its decoders share.
type FlowState struct {
	*Shared
	Flow *tap.Flow

	host    string // the last Host that was checked
	private bool   // host is a cloud's metadata server

	// Sent counts the bytes that each side has sent, decoded or lost.
	Sent [2]int64
	// Tags are added to every exchange of the flow.
	Tags recording.Tags
	// Switch replaces the flow's decoder with the named protocol's. The new decoder gets x,
	// and then the bytes of each side that the caller has not used. The caller is not called
	// again.
	Switch func(protocol string, x *Exchange, at time.Time, client, server []byte) error

	// Resume makes d the flow's decoder again after it gave up as the named protocol's.
	Resume func(protocol string, d Decoder)

	// Failed is the code of the reason why the flow's decoder gave up, as in
	// [Exchange.Incomplete], and Undecoded is the reason in words. Both are "" if it has
	// not given up.
	Failed, Undecoded string
	// Pipelined says that the client has sent a request before it got an answer, Doubt that
	// it may have done so in lost bytes, and Partial that bytes within a request were lost.
	Pipelined, Doubt, Partial bool
	// Waited counts the requests after which the client waited for the answer.
	Waited int
	// Proxied says that the flow began with a header of the PROXY protocol.
	Proxied bool

	held     int         // bytes, of Limits.Memory
	open     int         // exchanges that have begun and not ended
	talks    []*Exchange // the open ones with messages that aren't written yet
	net      recording.NetInfo
	location string
	address  string
	peer     knownPeer
	replay   string // the last request's
}

// NewFlowState returns the state of a new flow.
func NewFlowState(s *Shared, f *tap.Flow) *FlowState {
	state := &FlowState{
		Shared:   s,
		Flow:     f,
		location: "in",
		address:  net.JoinHostPort(f.Host, strconv.Itoa(f.Port)),
	}
	if f.Direction == tap.Out {
		state.location = "out"
	}
	state.net = recording.NetInfo{
		ID:         strconv.FormatUint(f.ID, 10),
		StartTime:  f.Started.UTC(),
		Downstream: endpoint(f.Started, f.Client, ""),
		Upstream:   endpoint(f.Connected, f.Server, f.Host),
	}
	state.net.Prepare()
	return state
}

func endpoint(established time.Time, address netip.AddrPort, host string) recording.Endpoint {
	e := recording.Endpoint{Established: established.UTC(), Port: int(address.Port()), Hostname: host}
	if address.IsValid() {
		e.IPAddress = address.Addr().Unmap().String()
	}
	return e
}

// Hold takes n bytes of the memory that all flows share, and returns false if there is not
// enough. It leaves an eighth for new exchanges, so that they are recorded at least with
// little content.
func (state *FlowState) Hold(n int) bool {
	return state.hold(n, state.Limits.Memory-state.Limits.Memory/8)
}

func (state *FlowState) hold(n int, limit int64) bool {
	if n == 0 {
		return true
	}
	if state.Shared.held.Add(int64(n)) > limit {
		state.Shared.held.Add(int64(-n))
		return false
	}
	state.held += n
	return true
}

// Release gives back n bytes that Hold took.
func (state *FlowState) Release(n int) {
	if n == 0 {
		return
	}
	state.held -= n
	state.Shared.held.Add(int64(-n))
}

// Abandon gives back the flow's memory after its decoder has panicked, and counts the
// exchanges that are lost.
func (state *FlowState) Abandon() {
	state.Release(state.held)
	state.Counters.Abandoned.Add(uint64(state.open))
	state.open = 0
}

// exchangeCost is the memory of an exchange without large heads, bodies and messages.
const exchangeCost = int(unsafe.Sizeof(Exchange{})) + allowance

// Begin starts an exchange whose first byte came at that time. It returns nil if the flow
// has too many open exchanges, or if there is not enough memory. The first open exchange of
// a flow always succeeds, because its memory counts as the connection's.
func (state *FlowState) Begin(at time.Time) *Exchange {
	cost := 0
	if state.open > 0 {
		cost = exchangeCost
	}
	if state.open >= state.Limits.Streams || !state.hold(cost, state.Limits.Memory) {
		return nil
	}
	x, _ := state.pool.Get().(*Exchange)
	if x == nil {
		x = new(Exchange)
	}
	state.open++
	x.held, x.allowance = cost, allowance
	x.state = state
	x.Start = at
	x.L7Protocol = recording.HTTP1
	x.UUID = state.newUUID()
	return x
}

// newUUID makes a random UUID, version 4.
func (state *FlowState) newUUID() (u recording.UUID) {
	if state.Random != nil {
		return state.Random()
	}
	for i := 0; i < len(u); i += 8 {
		for j, r := 0, rand.Uint64(); j < 8; j, r = j+1, r>>8 {
			u[i+j] = byte(r)
		}
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// write completes the record and gives it to the sink, which must not keep it.
func (state *FlowState) write(x *Exchange, at time.Time) {
	f, o := state.Flow, &state.Origin
	x.MsgType = recording.MsgType
	x.Resource, x.Service = o.Service, orUndefined(o.Service)
	x.Cluster, x.Namespace = orUndefined(o.Cluster), orUndefined(o.Namespace)
	x.TS = x.Start.UTC()
	x.Duration = max(0, at.Sub(x.Start).Milliseconds())
	x.IsTLS, x.ALPN = f.TLS, f.ALPN
	x.Direction = f.Direction.String()
	x.NetworkAddress = state.address

	x.tag(state)
	state.net.Downstream.BytesSent, state.net.Upstream.BytesSent = state.Sent[tap.FromClient], state.Sent[tap.FromServer]
	x.NetInfo = &state.net
	if f.Direction == tap.Out {
		state.Counters.Outbound.Add(1)
	}
	state.Counters.Exchanges.Add(1)
	state.Sink.Write(&x.Exchange) // the sink counts what it drops
}

func orUndefined(s string) string {
	if s == "" {
		return recording.Undefined
	}
	return s
}
