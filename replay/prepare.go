package replay

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
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
	// Compare gets the evidence of noise that the recording has; nil: none is looked for.
	Compare *Comparison
	// Leave tells why an inbound exchange is not to be sent, "" if it is; nil: all are.
	Leave func(*recording.Exchange) string
	// Target tells the number of the client that an exchange's request is sent by: 0 for
	// Options.Target, n for number n-1 of Options.Targets; nil: 0.
	Target func(*recording.Exchange) uint8
	// Rules are the user's for carrying values; nil: there are none.
	Rules *carry.Rules
	// Dir is where the plan's file goes, Limit bounds it: see [plan.Options].
	Dir   string
	Limit int64
	// Progress is called with how many exchanges were loaded; nil: it is not.
	Progress func(n int)
}

// Prepare makes a plan of the inbound exchanges, which come by their start. An error that
// comes with one ends it.
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

// repeats finds requests that were sent more than once, by the same caller.
type repeats struct {
	seed  maphash.Seed
	last  map[uint64]int32 // step by request
	pairs [][2]int32
}

func newRepeats() *repeats { return &repeats{seed: maphash.MakeSeed(), last: map[uint64]int32{}} }

const (
	// maxRepeated is how many different requests are remembered.
	maxRepeated = 1 << 18
	// maxPairs is of how many pairs of an endpoint the answers are compared.
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

// compare compares the answers to repeats, for what varies by itself. Pairs whose order
// explains nothing come first, and are spread over the recording.
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
	for k, pairs := range differ {
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

// writes are the times at which something may have been changed.
type writes struct {
	began []time.Duration // in order
	ended []time.Duration // the latest end of those up to here
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

// during tells whether one was under way at any time from one point to another.
func (w *writes) during(from, to time.Duration) bool {
	n, _ := slices.BinarySearch(w.began, to+1)
	return n > 0 && w.ended[n-1] >= from
}

// Unsafe is for PrepareOptions.Leave: it leaves out requests that may change something, as
// RFC 9110 has it in section 9.2.1.
func Unsafe(e *recording.Exchange) string {
	switch {
	case e.HTTP == nil || e.Conversation() != nil:
		return "only safe methods are sent, and a conversation may change something"
	case !recording.IsSafe(strings.ToUpper(e.HTTP.Req.Method)):
		return "only safe methods are sent, and " + e.HTTP.Req.Method + " is none"
	}
	return ""
}
