package replay

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// PrepareOptions say how a recording is loaded.
type PrepareOptions struct {
	// Compare collects evidence of noise from the recording. If nil, no evidence is collected.
	Compare *Comparison
	// Leave returns why an inbound exchange is left out, or "" to send it. If nil, all are sent.
	Leave func(*recording.Exchange) string
	// Target returns the number of an exchange's target: 0 is Options.Target, and n is
	// Options.Targets[n-1]. If nil, all exchanges go to Options.Target.
	Target func(*recording.Exchange) uint8
	// Rules are the user's rules for carrying values; may be nil.
	Rules *carry.Rules
	// Dir is the directory for files, and Limit bounds each file; see [plan.Options].
	Dir   string
	Limit int64
	// Progress is called with the number of loaded exchanges; may be nil.
	Progress func(n int)
}

// Prepare builds a plan and a graph of the inbound exchanges. The sequence must be in the order in
// which they began. Prepare stops at its first error. The caller closes the plan and the graph.
func Prepare(ctx context.Context, exchanges iter.Seq2[*recording.Exchange, error], o PrepareOptions) (*plan.Plan, *carry.Graph, error) {
	po := plan.Options{Encode: wire.Append, Endpoint: carry.Endpoint, Target: o.Target, Dir: o.Dir, Limit: o.Limit}
	if o.Compare != nil {
		po.Answer = o.Compare.Hasher.Answer
	}
	b, err := plan.NewBuilder(po)
	if err != nil {
		return nil, nil, err
	}
	finder := carry.NewFinder(carry.Options{Rules: o.Rules, Dir: o.Dir, Limit: o.Limit})
	repeats := newRepeats()
	n := 0
	for e, err := range exchanges {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			b.Abandon()
			return nil, nil, err
		}
		if e.Direction != recording.In {
			continue
		}
		reason := ""
		if o.Leave != nil {
			reason = o.Leave(e)
		}
		if reason != "" {
			b.Leave(reason, e)
			continue
		}
		switch step, err := b.Add(e); {
		case err != nil:
			b.Abandon()
			return nil, nil, err
		case !step:
			continue
		}
		if step := finder.Add(e); step != n {
			b.Abandon()
			return nil, nil, fmt.Errorf("step %d of the plan is step %d of the graph", n, step)
		}
		if o.Compare != nil {
			repeats.add(n, e)
		}
		if n++; o.Progress != nil {
			o.Progress(n)
		}
	}
	p, err := b.Finish()
	if err != nil {
		return nil, nil, err
	}
	if o.Compare != nil {
		if err := repeats.compare(ctx, p, o.Compare); err != nil {
			p.Close()
			return nil, nil, err
		}
	}
	return p, finder.Finish(), nil
}

// repeats finds requests that the same caller sent more than once.
type repeats struct {
	seed  maphash.Seed
	last  map[uint64]int32 // latest step, by request
	pairs [][2]int32
}

func newRepeats() *repeats { return &repeats{seed: maphash.MakeSeed(), last: map[uint64]int32{}} }

const (
	// maxRepeated bounds the different requests that are remembered.
	maxRepeated = 1 << 18
	// maxPairs bounds the pairs of an endpoint whose answers are compared.
	maxPairs = 20
)

func (r *repeats) add(step int, e *recording.Exchange) {
	if e.HTTP == nil || e.Conversation() != nil {
		return
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	req := &e.HTTP.Req
	for _, s := range []string{req.Method, req.URI, req.Host, req.Headers.Get("Authorization"), req.Headers.Get("Cookie")} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	h.Write(req.Body)
	sum := h.Sum64()
	if before, ok := r.last[sum]; ok {
		r.pairs = append(r.pairs, [2]int32{before, int32(step)})
	} else if len(r.last) >= maxRepeated {
		return
	}
	r.last[sum] = int32(step)
}

// compare compares the answers to repeats, to find values that vary by themselves. Conclusive and
// other pairs are bounded separately, and both are spread over the recording.
func (r *repeats) compare(ctx context.Context, p *plan.Plan, c *Comparison) error {
	w := newWrites(p)
	type kind struct {
		endpoint   int32
		conclusive bool
	}
	differ := map[kind][][2]int32{}
	for _, pair := range r.pairs {
		first, second := p.Step(int(pair[0])), p.Step(int(pair[1]))
		if first.Answer != 0 && first.Answer == second.Answer {
			continue
		}
		overlap := second.At < first.At+first.Took
		k := kind{first.Endpoint, overlap || !w.during(first.At, second.At+second.Took)}
		differ[k] = append(differ[k], pair)
	}
	kinds := slices.SortedFunc(maps.Keys(differ), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(btoi(b.conclusive), btoi(a.conclusive)))
	})
	for _, k := range kinds {
		pairs := differ[k]
		for i := range min(len(pairs), maxPairs) {
			if err := ctx.Err(); err != nil {
				return err
			}
			pair := pairs[i*len(pairs)/min(len(pairs), maxPairs)]
			a, err := p.Exchange(int(pair[0]))
			if err != nil {
				return err
			}
			b, err := p.Exchange(int(pair[1]))
			if err != nil {
				return err
			}
			c.Comparer.Repeats(int(k.endpoint), [2]int{int(pair[0]), int(pair[1])}, a, b, k.conclusive)
		}
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writes holds the times at which requests may have changed something.
type writes struct {
	began []time.Duration // in order
	ended []time.Duration // latest end of the writes up to and including this one
}

func newWrites(p *plan.Plan) *writes {
	w := &writes{}
	var ended time.Duration
	for _, s := range p.Steps() {
		if !s.Safe {
			ended = max(ended, s.At+s.Took)
			w.began, w.ended = append(w.began, s.At), append(w.ended, ended)
		}
	}
	return w
}

// during reports whether a write was in progress between two times.
func (w *writes) during(from, to time.Duration) bool {
	n, _ := slices.BinarySearch(w.began, to+1)
	return n > 0 && w.ended[n-1] >= from
}

// Unsafe is a function for PrepareOptions.Leave. It leaves out requests that may change
// something (RFC 9110, section 9.2.1).
func Unsafe(e *recording.Exchange) string {
	switch {
	case e.HTTP == nil || e.Conversation() != nil:
		return "only safe methods are sent, and a conversation may change something"
	case !recording.IsSafe(strings.ToUpper(e.HTTP.Req.Method)):
		return "only safe methods are sent, and " + e.HTTP.Req.Method + " is not safe"
	}
	return ""
}
