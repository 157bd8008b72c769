package carry

import (
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/recording"
)

// State is what one replay of a recording, or one of several copies of it, knows of live
// values. It is safe for concurrent use. A value is forgotten when the last request that
// carries it was made, so a step's request is to be made once.
type State struct {
	g *Graph
	o StateOptions

	walkers sync.Pool
	mu      sync.Mutex
	live    map[uint32]liveValue // by issue
	uses    []EdgeUse            // by route
}

// liveValue is what a response issued.
type liveValue struct {
	text    string
	left    uint32 // requests that are still to carry it
	missing bool   // the response did not have it
	same    bool   // it is the recorded one, which stands in the live array too
}

// NewState returns a state in which nothing was answered.
func (g *Graph) NewState(o StateOptions) *State {
	s := &State{g: g, o: o, live: map[uint32]liveValue{}, uses: make([]EdgeUse, len(g.routes))}
	for i, r := range g.routes {
		s.uses[i] = EdgeUse{From: r.From, Issuer: r.Issuer, To: r.To, Consumer: r.Consumer, Encoding: r.Encoding, Class: r.Class}
	}
	for i := range g.edges {
		s.uses[g.links[g.edges[i].link].route].Edges++
	}
	s.walkers.New = func() any { return &walker{places: g.places} }
	return s
}

// Issues tells whether a later request carries something of the step's response.
func (s *State) Issues(step int) bool { return s.g.issuesAt[step] != s.g.issuesAt[step+1] }

// Answered takes the values that the live response to a step's request issues, at the
// places at which the recorded one did. If the recorded one had the value in an array and
// the live one has the same value in it, at any index, that value is still the one. live
// may be nil, or have no response: then the requests that carry its values are sent as
// recorded.
func (s *State) Answered(step int, recorded, live *recording.Exchange) {
	g := s.g
	from, to := g.issuesAt[step], g.issuesAt[step+1]
	if from == to {
		return
	}
	t := taker{issues: g.issues[from:to], values: make([]liveValue, to-from)}
	arrays := false
	for i := range t.issues {
		t.values[i] = liveValue{left: t.issues[i].uses, missing: true}
		arrays = arrays || t.issues[i].array
	}
	w := s.walkers.Get().(*walker)
	t.w = w
	if arrays {
		t.recorded = make([]recordedValue, len(t.values))
		w.visit = t.was
		w.response(recorded)
	}
	if live != nil {
		w.visit = t.is
		w.response(live)
	}
	w.visit = nil
	s.walkers.Put(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range t.values {
		s.live[from+uint32(i)] = v
	}
}

// taker takes the values of one response.
type taker struct {
	w        *walker
	issues   []issue
	values   []liveValue
	recorded []recordedValue // of issues in arrays
}

// recordedValue is one in an array, and the name of its place.
type recordedValue struct{ text, name string }

// was is given each text of the recorded response.
func (t *taker) was(text string) string {
	place := t.w.place(false)
	if place == none {
		return text
	}
	for i := range t.issues {
		if is := &t.issues[i]; is.array && is.place == place {
			if value, ok := forms[is.form].take(text); ok {
				t.recorded[i] = recordedValue{strings.Clone(value), t.w.name()}
			}
		}
	}
	return text
}

// is is given each text of the live response.
func (t *taker) is(text string) string {
	place := t.w.place(false)
	for i := range t.issues {
		is, v := &t.issues[i], &t.values[i]
		value, ok := "", false
		switch {
		case v.same:
		case t.recorded != nil && is.array && t.recorded[i].text != "":
			value, ok = forms[is.form].take(text)
			v.same = ok && value == t.recorded[i].text && t.w.name() == t.recorded[i].name
			ok = v.same || ok && place == is.place
		case place != none && place == is.place && v.missing:
			value, ok = forms[is.form].take(text)
		}
		if ok && value != "" {
			v.text, v.missing = strings.Clone(value), false
		}
	}
	return text
}

// Changes tells whether something may have to be written into the step's request.
func (s *State) Changes(step int) bool {
	return s.g.edgesAt[step] != s.g.edgesAt[step+1] || len(s.o.Set) > 0
}

// change is what is to be written at a place.
type change struct {
	place placeID
	put   uint8
	live  liveValue
	route uint32
	done  bool
}

// Apply writes live values into a step's request, of which e is a copy that the caller may
// keep. applied counts the places at which one was written, and missing those at which the
// recorded value was left, because the live response did not have one or was not there.
func (s *State) Apply(step int, e *recording.Exchange) (applied, missing int) {
	g := s.g
	edges := g.edges[g.edgesAt[step]:g.edgesAt[step+1]]
	changes := make([]change, 0, len(edges))
	body := false
	s.mu.Lock()
	for _, at := range edges {
		l := &g.links[at.link]
		v, ok := s.live[at.issue]
		if v.left--; ok && v.left == 0 {
			delete(s.live, at.issue)
		} else if ok {
			s.live[at.issue] = v
		}
		body = body || l.body
		changes = append(changes, change{l.to, l.put, v, l.route, !ok || v.missing})
	}
	s.mu.Unlock()
	changed := make([]bool, len(changes))
	wrote := make([]bool, len(changes))
	if e.HTTP != nil && slices.ContainsFunc(changes, func(c change) bool { return !c.done }) {
		e.HTTP.Req.Headers = slices.Clone(e.HTTP.Req.Headers)
		w := s.walkers.Get().(*walker)
		w.visit = func(text string) string {
			place := w.place(false)
			if place == none {
				return text
			}
			for i := range changes {
				c := &changes[i]
				if c.done || c.place != place {
					continue
				}
				if _, ok := forms[c.put].take(text); !ok {
					continue
				}
				with := forms[c.put].put(text, c.live.text)
				wrote[i] = true
				changed[i] = changed[i] || with != text
				return with
			}
			return text
		}
		w.request(e, body)
		w.visit = nil
		s.walkers.Put(w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range changes {
		u := &s.uses[changes[i].route]
		switch {
		case !wrote[i]:
			u.Missing++
			missing++
		default:
			u.Fired++
			applied++
			if changed[i] {
				u.Changed++
			}
		}
	}
	return applied, missing
}

// Report tells what became of the edges up to now, by their places, in the order in which
// they were found.
func (s *State) Report() []EdgeUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.uses)
}
