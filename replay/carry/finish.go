package carry

import (
	"cmp"
	"slices"
)

// issue is a place of a response whose live value is to be taken.
type issue struct {
	from   uint32
	place  placeID
	uses   uint32 // edges that lead away from it
	form   uint8
	array  bool // the place is in an array: its value may be at another place of it now
	cookie bool // it is a cookie's: the client keeps one that is not set again
}

// edge leads from an issue to a request.
type edge struct{ to, issue, link uint32 }

// Finish returns the graph of what was added. The finder can't be used any more.
func (f *Finder) Finish() *Graph {
	g := f.g
	g.forgotten = f.values.forgotten
	f.w, f.values, f.callers = nil, remembered[uint64, issued]{}, remembered[uint64, uint32]{}
	g.join()
	g.connect(f.found)
	g.order(f.objects.parents)
	g.steps = nil
	return g
}

// join finds the first step of each one's session.
func (g *Graph) join() {
	g.sessions = make([]uint32, len(g.steps))
	for i := range g.steps {
		g.steps[i].session = g.steps[g.steps[i].session].session // that of an earlier step, so it is known
		g.sessions[i] = g.steps[i].session
	}
}

// connect makes issues and edges of what was found, which is in the order of consumers.
func (g *Graph) connect(found []foundEdge) {
	byIssue := make([]uint32, len(found))
	for i := range found {
		byIssue[i] = uint32(i)
	}
	slices.SortFunc(byIssue, func(a, b uint32) int {
		x, y := &found[a], &found[b]
		p, q := &g.links[x.link], &g.links[y.link]
		return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(p.from, q.from), cmp.Compare(p.take, q.take), cmp.Compare(a, b))
	})
	g.edges = make([]edge, len(found))
	for _, i := range byIssue {
		e := &found[i]
		l := &g.links[e.link]
		next := issue{from: e.from, place: l.from, form: l.take, array: g.places.inArray(l.from), cookie: g.places.under(l.from, "cookie")}
		if last := len(g.issues) - 1; last < 0 || !g.issues[last].same(&next) {
			g.issues = append(g.issues, next)
		}
		last := len(g.issues) - 1
		g.issues[last].uses++
		g.edges[i] = edge{e.to, uint32(last), e.link}
	}
	g.issuesAt = offsets(len(g.steps), len(g.issues), func(i int) uint32 { return g.issues[i].from })
	g.edgesAt = offsets(len(g.steps), len(g.edges), func(i int) uint32 { return g.edges[i].to })
}

func (i *issue) same(other *issue) bool {
	return i.from == other.from && i.place == other.place && i.form == other.form
}

// offsets tells for each of n steps where its own begin among m things in the order of
// their steps, and at the end m.
func offsets(n, m int, step func(i int) uint32) []uint32 {
	at := make([]uint32, n+1)
	for i := range m {
		at[step(i)+1]++
	}
	for i := range n {
		at[i+1] += at[i]
	}
	return at
}

// maxWrites is how many writes to one object are kept that may still be waited for.
const maxWrites = 8

// place of a write: what it is about, or something below it.
type written struct {
	session, object uint32
	below           bool
}

// order finds what each step has to wait for.
func (g *Graph) order(parents []uint32) {
	writes := map[written][]uint32{} // the latest last
	g.afterAt = make([]uint32, 1, len(g.steps)+1)
	var wait []uint32
	for i := range g.steps {
		s := &g.steps[i]
		wait = wait[:0]
		for _, e := range g.edges[g.edgesAt[i]:g.edgesAt[i+1]] {
			wait = append(wait, g.issues[e.issue].from)
		}
		for object, here := s.object, true; here || object != 0; object, here = parents[object], false {
			wait = g.answered(wait, writes[written{s.session, object, false}], s)
		}
		wait = g.answered(wait, writes[written{s.session, s.object, true}], s)
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
		g.after = append(g.after, slices.Compact(wait)...)
		g.afterAt = append(g.afterAt, uint32(len(g.after)))
	}
}

// answered appends the latest of the writes that had been answered when the step began,
// and those that ran beside it. What had been answered when one of them began, that one
// waits for itself.
func (g *Graph) answered(wait, writes []uint32, s *stepInfo) []uint32 {
	begin := s.start
	for i := len(writes) - 1; i >= 0; i-- {
		w := &g.steps[writes[i]]
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
