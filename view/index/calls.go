package index

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// A call is in a recording twice if both the caller's pod and the callee's pod were recorded. Only
// this file decides which two records are one call. [Row.Other] has the result. An inbound record is the other side of an outbound one if
//
//   - their requests carry the same trace ID or request ID,
//   - they have the same method and the same path with the query,
//   - they are from different pods, and
//   - the inbound one lies within the time of the outbound one, give or take clockSkew.
//
// A record has at most one other side. If several fit, the one whose middle and duration differ
// least is chosen. The callee's time is in the middle of the caller's if the network takes equally
// long both ways. The duration distinguishes the calls to and from a gateway, one of which lies
// within the other.

const (
	// clockSkew is how far two clocks may differ, in microseconds. Hosts that keep time by NTP
	// differ by milliseconds.
	clockSkew = int64(2_000_000)
	// maxTried is the number of outbound records that are tried for an inbound one, the nearest
	// first. More candidates exist only if clients reuse one ID with one path very often.
	maxTried = 64
	// maxCalls bounds the different callKeys. Further ones count as one.
	maxCalls = 1 << 17
)

// callKey names the caller, the callee and the protocol of calls.
type callKey struct{ From, To, Protocol string }

// side is an exchange whose other side is to be found.
type side struct {
	request            sameRequest
	start, middle, end int64
	row                uint32
	place              [4]uint32 // cluster, namespace, workload, pod
	outbound           bool
}

// sameRequest is equal for both sides of a call.
type sameRequest struct {
	trace  int64 // a hash
	method uint32
	path   uint32 // a hash
}

func (r sameRequest) compare(o sameRequest) int {
	return cmp.Or(cmp.Compare(r.trace, o.trace), cmp.Compare(r.method, o.method), cmp.Compare(r.path, o.path))
}

// calls finds the other side and the callKey of each exchange, and writes both columns.
func (b *builder) calls(progress func(done, all int)) ([]callKey, error) {
	progress(0, 2)
	get := parts(b.w.get)
	other, err := b.otherSides(get)
	if err != nil {
		return nil, err
	}
	progress(1, 2)

	const columns = 7
	var of [columns][]uint32
	for i, c := range [columns]column{colDirection, colNamespace, colWorkload, colHost, colPeer, colProtocol, colPod} {
		if of[i], err = get.numbers(b.ctx, b.rows, c, max(1, len(b.names.columns[c].all))); err != nil {
			return nil, err
		}
	}
	direction, namespace, workload, host, peer, protocol, pod := of[0], of[1], of[2], of[3], of[4], of[5], of[6]
	out := b.names.number(colDirection, recording.Out)
	name := func(c column, n uint32) string { return b.names.columns[c].all[n] }
	self := func(row uint32) string {
		w, n := name(colWorkload, workload[row]), name(colNamespace, namespace[row])
		switch {
		case w == "":
			return name(colPod, pod[row])
		case n == "":
			return w
		}
		return n + "/" + w
	}
	// A host or a peer gets the name of a workload if all its matched calls lead to that one.
	hosts, peers := map[uint32]string{}, map[uint32]string{}
	learn := func(known map[uint32]string, n uint32, workload string) {
		if have, ok := known[n]; ok && have != workload {
			workload = ""
		}
		known[n] = workload
	}
	for row, o := range other {
		switch {
		case o == 0:
		case direction[row] == out:
			learn(hosts, host[row], self(o-1))
		default:
			learn(peers, peer[row], self(o-1))
		}
	}
	keys := []callKey{{others, others, ""}}
	number := map[callKey]uint32{}
	values := make([][]int64, 2)
	for row := range uint32(b.rows) {
		k := callKey{Protocol: name(colProtocol, protocol[row])}
		switch o := other[row]; {
		case direction[row] == out && o != 0:
			k.From, k.To = self(row), self(o-1)
		case direction[row] == out:
			k.From, k.To = self(row), cmp.Or(hosts[host[row]], name(colHost, host[row]))
		case o != 0:
			k.From, k.To = self(o-1), self(row)
		default:
			k.From, k.To = cmp.Or(peers[peer[row]], name(colPeer, peer[row])), self(row)
		}
		k.From, k.To = cmp.Or(k.From, unknownSide), cmp.Or(k.To, unknownSide)
		n, ok := number[k]
		if !ok && len(keys) < maxCalls {
			n = uint32(len(keys))
			k = callKey{strings.Clone(k.From), strings.Clone(k.To), k.Protocol}
			keys, number[k] = append(keys, k), n
		}
		values[0], values[1] = append(values[0], int64(other[row])), append(values[1], int64(n))
		if len(values[0]) == chunkRows || int(row) == b.rows-1 {
			for i, c := range []column{colOther, colCall} {
				b.buf = appendValues(b.buf[:0], values[i])
				if err := b.w.add(b.ctx, kindValue+kind(c), int(row)/chunkRows, b.buf); err != nil {
					return nil, err
				}
				values[i] = values[i][:0]
			}
		}
	}
	progress(2, 2)
	return keys, b.ctx.Err()
}

// unknownSide is the name of an unknown caller or callee.
const unknownSide = "unknown"

// sum adds two numbers; the result is at most the largest number.
func sum(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// otherSides returns the other side of each row, numbered from 1; 0 is none.
func (b *builder) otherSides(get parts) ([]uint32, error) {
	other := make([]uint32, b.rows)
	out, in := int64(b.names.number(colDirection, recording.Out)), int64(b.names.number(colDirection, recording.In))
	var sides []side
	err := get.each(b.ctx, b.rows, func(first int, v [][]int64) error {
		for i, trace := range v[0] {
			if direction := v[1][i]; trace != 0 && (direction == in || direction == out) {
				start, took := v[2][i], v[3][i]
				sides = append(sides, side{
					request: sameRequest{trace, uint32(v[4][i]), uint32(v[5][i])},
					start:   start, middle: sum(start, took/2), end: sum(start, took),
					row: uint32(first + i), place: [4]uint32{uint32(v[6][i]), uint32(v[7][i]), uint32(v[8][i]), uint32(v[9][i])},
					outbound: direction == out,
				})
			}
		}
		return nil
	}, colTrace, colDirection, colStart, colDuration, colMethod, colPath, colCluster, colNamespace, colWorkload, colPod)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(sides, func(a, b side) int {
		return cmp.Or(a.request.compare(b.request), cmp.Compare(a.middle, b.middle), cmp.Compare(a.row, b.row))
	})
	for len(sides) > 0 {
		n := 1
		for n < len(sides) && sides[n].request == sides[0].request {
			n++
		}
		pairUp(sides[:n], other)
		sides = sides[n:]
	}
	return other, nil
}

// fits reports whether two records may be the two sides of one call.
func (callee *side) fits(caller *side) bool {
	return caller.place != callee.place && sum(callee.start, clockSkew) >= caller.start && callee.end <= sum(caller.end, clockSkew)
}

// distance returns how much the middles and the durations of two records differ.
func (callee *side) distance(caller *side) uint64 {
	middles := apart(callee.middle, caller.middle)
	return middles + min(apart(callee.end-callee.start, caller.end-caller.start), math.MaxUint64-middles)
}

// apart returns the distance of two times.
func apart(a, b int64) uint64 { return uint64(max(a, b)) - uint64(min(a, b)) }

// pairUp finds the other sides among records of the same request, which are in the order of their
// middles. Its time is in proportion to their number.
func pairUp(same []side, other []uint32) {
	var callers []*side
	for i := range same {
		if same[i].outbound {
			callers = append(callers, &same[i])
		}
	}
	if len(callers) == 0 || len(callers) == len(same) {
		return
	}
	// The callers without a callee form a linked list, in the order of their middles. before and
	// after have the positions of the neighbours, from 1. Position 0 is the beginning of the list,
	// and last its end.
	last := len(callers) + 1
	before, after := make([]int, last+1), make([]int, last+1)
	for i := range before {
		before[i], after[i] = i-1, i+1
	}
	right := 1 // the first one whose middle is not before the callee's
	for i := range same {
		callee := &same[i]
		if callee.outbound {
			continue
		}
		for right != last && callers[right-1].middle < callee.middle {
			right = after[right]
		}
		l, r := before[right], right
		best, least := 0, uint64(math.MaxUint64)
		for range maxTried {
			at := r
			switch {
			case l == 0 && r == last:
				at = 0
			case r == last, l != 0 && apart(callee.middle, callers[l-1].middle) <= apart(callee.middle, callers[r-1].middle):
				at, l = l, before[l]
			default:
				r = after[r]
			}
			if at == 0 || apart(callee.middle, callers[at-1].middle) >= least { // the others are further away
				break
			}
			if caller := callers[at-1]; callee.fits(caller) {
				if d := callee.distance(caller); d < least {
					best, least = at, d
				}
			}
		}
		if best == 0 {
			continue
		}
		caller := callers[best-1]
		other[callee.row], other[caller.row] = caller.row+1, callee.row+1
		after[before[best]], before[after[best]] = after[best], before[best]
		if best == right {
			right = after[best]
		}
	}
}
