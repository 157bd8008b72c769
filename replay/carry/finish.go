package carry

import (
	"cmp"
	"slices"

	"github.com/tapedeck/tapedeck/replay/rows"
)

// issue is a place of a response from which a live value is taken.
type issue struct {
	from   uint32
	place  placeID
	uses   uint32 // number of edges from here
	form   uint8
	array  bool // the place is in an array, so the live value may be at another index
	cookie bool // a cookie, which the client keeps if the response does not set it again
}

// edge leads from an issue to a request that carries its value.
type edge struct{ to, issue, link uint32 }

// Finish returns the graph of the steps that were added. The finder can't be used any more.
// The caller closes the graph.
func (f *Finder) Finish() *Graph {
	g := f.g
	g.forgotten = f.values.forgotten
	f.w, f.values, f.callers = nil, remembered[uint64, issued]{}, remembered[uint64, uint32]{}
	b := &graphBuilder{links: g.links, places: g.places, recorded: f.steps}
	b.join()
	b.connect(f.found)
	b.order(f.objects.parents)
	f.steps, f.found = nil, nil
	g.steps = rows.Keep(f.o.Dir, "steps", f.o.Limit, b.steps)
	g.issues = rows.Keep(f.o.Dir, "values that answers issue", f.o.Limit, b.issues)
	g.edges = rows.Keep(f.o.Dir, "values that requests carry", f.o.Limit, b.edges)
	g.after = rows.Keep(f.o.Dir, "steps that wait", f.o.Limit, b.after)
	return g
}

// graphBuilder holds the rows of a graph in memory.
type graphBuilder struct {
	links    []link
	places   *places
	recorded []stepInfo
	steps    []graphStep // one more than there are steps
	issues   []issue
	edges    []edge
	after    []uint32
}

// join finds the first step of each step's session.
func (b *graphBuilder) join() {
	b.steps = make([]graphStep, len(b.recorded)+1)
	for i := range b.recorded {
		b.recorded[i].session = b.recorded[b.recorded[i].session].session // refers to an earlier step, whose session is known
		b.steps[i].session = b.recorded[i].session
		b.steps[b.steps[i].session].size++
	}
}

// connect makes issues and edges from the edges that were found, which are in the order of
// consumers.
func (b *graphBuilder) connect(found []foundEdge) {
	byIssue := make([]uint32, len(found))
	for i := range found {
		byIssue[i] = uint32(i)
	}
	slices.SortFunc(byIssue, func(i, j uint32) int {
		x, y := &found[i], &found[j]
		p, q := &b.links[x.link], &b.links[y.link]
		return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(p.from, q.from), cmp.Compare(p.take, q.take), cmp.Compare(i, j))
	})
	b.edges = make([]edge, len(found))
	for _, i := range byIssue {
		e := &found[i]
		l := &b.links[e.link]
		next := issue{from: e.from, place: l.from, form: l.take, array: b.places.inArray(l.from), cookie: b.places.under(l.from, "cookie")}
		if last := len(b.issues) - 1; last < 0 || !b.issues[last].same(&next) {
			b.issues = append(b.issues, next)
		}
		last := len(b.issues) - 1
		b.issues[last].uses++
		b.edges[i] = edge{e.to, uint32(last), e.link}
	}
	for n, i := 0, 0; n < len(b.steps); n++ {
		for i < len(b.issues) && int(b.issues[i].from) < n {
			i++
		}
		b.steps[n].issues = uint32(i)
	}
	for n, i := 0, 0; n < len(b.steps); n++ {
		for i < len(b.edges) && int(b.edges[i].to) < n {
			i++
		}
		b.steps[n].edges = uint32(i)
	}
}

func (i *issue) same(other *issue) bool {
	return i.from == other.from && i.place == other.place && i.form == other.form
}

// maxWrites bounds, for each object, the writes for which later steps may have to wait.
const maxWrites = 8

// written is an object that a write changes or, with below, an object above a changed one.
type written struct {
	session, object uint32
	below           bool
}

// order finds the steps for which each step has to wait.
func (b *graphBuilder) order(parents []uint32) {
	writes := map[written][]uint32{} // the latest write is last
	var wait []uint32
	for i := range b.recorded {
		s := &b.recorded[i]
		wait = wait[:0]
		for _, e := range b.edges[b.steps[i].edges:b.steps[i+1].edges] {
			wait = append(wait, b.issues[e.issue].from)
		}
		for object, here := s.object, true; here || object != 0; object, here = parents[object], false {
			wait = b.answered(wait, writes[written{s.session, object, false}], s)
		}
		wait = b.answered(wait, writes[written{s.session, s.object, true}], s)
		if s.writes {
			add := func(k written) {
				all := append(writes[k], uint32(i))
				if len(all) > maxWrites {
					all = slices.Delete(all, 0, len(all)-maxWrites)
				}
				writes[k] = all
			}
			add(written{s.session, s.object, false})
			for object := s.object; object != 0; {
				if object = parents[object]; object != 0 {
					add(written{s.session, object, true})
				}
			}
		}
		slices.Sort(wait)
		b.after = append(b.after, slices.Compact(wait)...)
		b.steps[i+1].wait = uint32(len(b.after))
	}
}

// answered appends the writes for which a step must wait: the latest write that had been answered
// when the step began, and the writes that were concurrent with it. It omits writes that had been
// answered when one of these began, because that write waits for them.
func (b *graphBuilder) answered(wait, writes []uint32, s *stepInfo) []uint32 {
	begin := s.start
	for i := len(writes) - 1; i >= 0; i-- {
		w := &b.recorded[writes[i]]
		if w.end > s.start {
			continue
		}
		if begin != s.start && w.end <= begin {
			break
		}
		wait = append(wait, writes[i])
		begin = min(begin, w.start)
	}
	return wait
}
