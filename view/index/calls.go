package index

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Both sides of a call are in a recording if the caller's pod and the callee's were recorded. An
// inbound exchange is the other side of an outbound one if
//
//   - their requests carry the same ID of a trace or a request,
//   - they have the same method and the same path, query included,
//   - they are not of the same pod, and
//   - the inbound one lies within the time of the outbound one, give or take clockSkew.
//
// Each is the other side of one exchange at most, of that which began nearest.

const (
	// clockSkew is how much the clocks of two nodes differ.
	clockSkew = int64(1_000_000) // microseconds
	// maxSides is how many exchanges of a trace are matched. The few traces that have more
	// are one ID that somebody uses again and again.
	maxSides = 4 << 10
	// maxCalls bounds who calls whom.
	maxCalls = 1 << 17
)

// callKey is who calls whom.
type callKey struct{ From, To, Protocol string }

// side is what is known of an exchange when its other side is looked for.
type side struct {
	trace       int64
	start, end  int64
	row         uint32
	method, pod uint32
	path        uint32
	direction   uint32
}

// calls finds the other side of each exchange, and who calls whom, and writes both columns.
func (b *builder) calls(progress func(done, all int)) ([]callKey, error) {
	progress(0, 2)
	get := parts(b.w.get)
	other := make([]uint32, b.rows) // from 1
	var sides []side
	err := get.each(b.ctx, b.rows, func(first int, v [][]int64) error {
		for i, trace := range v[0] {
			if trace != 0 {
				sides = append(sides, side{trace, v[1][i], sum(v[1][i], v[2][i]), uint32(first + i), uint32(v[3][i]), uint32(v[4][i]), uint32(v[5][i]), uint32(v[6][i])})
			}
		}
		return nil
	}, colTrace, colStart, colDuration, colMethod, colPod, colPath, colDirection)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(sides, func(a, b side) int { return cmp.Or(cmp.Compare(a.trace, b.trace), cmp.Compare(a.row, b.row)) })
	in, out := b.names.number(colDirection, recording.In), b.names.number(colDirection, recording.Out)
	for begin := 0; begin < len(sides); {
		end := begin + 1
		for end < len(sides) && sides[end].trace == sides[begin].trace {
			end++
		}
		if end-begin > 1 && end-begin <= maxSides {
			pairUp(sides[begin:end], in, out, other)
		}
		begin = end
	}
	sides = nil
	progress(1, 2)

	const columns = 7
	var of [columns][]uint32
	for i, c := range [columns]column{colDirection, colNamespace, colWorkload, colHost, colPeer, colProtocol, colPod} {
		if of[i], err = get.numbers(b.ctx, b.rows, c, max(1, len(b.names.columns[c].all))); err != nil {
			return nil, err
		}
	}
	direction, namespace, workload, host, peer, protocol, pod := of[0], of[1], of[2], of[3], of[4], of[5], of[6]
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
	// A host, or a peer, has the name of the workload that all matched calls lead to.
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
	return keys, b.ctx.Err()
}

// unknownSide stands for a caller or a callee of whom nothing is known.
const unknownSide = "unknown"

// sum adds, and stops at the largest number.
func sum(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// pairUp finds the other sides in one trace.
func pairUp(all []side, in, out uint32, other []uint32) {
	for i := range all {
		callee := &all[i]
		if callee.direction != in {
			continue
		}
		best, distance := -1, int64(math.MaxInt64)
		for j := range all {
			caller := &all[j]
			if caller.direction != out || other[caller.row] != 0 || caller.method != callee.method || caller.path != callee.path || caller.pod == callee.pod {
				continue
			}
			if sum(callee.start, clockSkew) < caller.start || callee.end > sum(caller.end, clockSkew) {
				continue
			}
			d := callee.start - caller.start
			if d < 0 {
				d = -d
			}
			if d < distance {
				best, distance = j, d
			}
		}
		if best >= 0 {
			other[callee.row], other[all[best].row] = all[best].row+1, callee.row+1
		}
	}
}
