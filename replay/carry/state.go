package carry

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// State holds the live values of one replay of a recording, or of one of several copies. It is safe
// for concurrent use. It forgets a value after the last request that carries it, so call Apply
// once for each step.
type State struct {
	g        *Graph
	shift    time.Duration
	settings []Setting
	shifts   bool // a rule moves times

	walkers sync.Pool
	mu      sync.Mutex
	live    map[uint32]liveValue       // by issue
	uses    []EdgeUse                  // by route
	used    []bool                     // settings
	cookies map[int]map[placeID]string // by session and place
}

// liveValue is a value that a live response issued.
type liveValue struct {
	text    string
	left    uint32 // number of requests that have yet to carry it
	missing bool   // the response did not have it
	same    bool   // the live array has the recorded value, so the live value is the same
}

// NewState returns a state without live values.
func (g *Graph) NewState(o StateOptions) *State {
	s := &State{g: g, shift: o.Shift, settings: append(slices.Clone(o.Set), g.rules.settings()...), live: map[uint32]liveValue{}, cookies: map[int]map[placeID]string{}, uses: make([]EdgeUse, len(g.routes))}
	for i, r := range g.routes {
		s.uses[i] = EdgeUse{From: r.From, Issuer: r.Issuer, To: r.To, Consumer: r.Consumer, Encoding: r.Encoding, Class: r.Class}
	}
	for i := range g.edges.Len() {
		if e := g.edges.At(i); o.Only == nil || o.Only(int(e.to)) {
			s.uses[g.links[e.link].route].Edges++
		}
	}
	s.used = make([]bool, len(s.settings))
	s.shifts = o.Shift != 0 && slices.ContainsFunc(g.rules.all(), func(r *rule) bool { return r.shift != nil })
	s.walkers.New = func() any { return &walker{places: g.places} }
	return s
}

// Issues reports whether a later request carries a value of the step's response.
func (s *State) Issues(step int) bool {
	return s.g.steps.At(step).issues != s.g.steps.At(step+1).issues
}

// Pair is a value that a recorded response issued, and the live value in its place.
type Pair struct{ Recorded, Live string }

// Answered reads the values that the live response to a step's request issues, at the places where
// the recorded response has them. If the recorded value was in an array, and the live array has the
// same value at any index, Answered uses that value. If the live response does not set a cookie, the
// session keeps the earlier one. live may be nil or have no response; the requests that carry its
// values are then sent as recorded. Answered returns the recorded values, each with the live one.
func (s *State) Answered(step int, recorded, live *recording.Exchange) (pairs []Pair) {
	g := s.g
	issues, first := g.issuesOf(step)
	if len(issues) == 0 {
		return nil
	}
	t := taker{issues: issues, values: make([]liveValue, len(issues)), recorded: make([]recordedValue, len(issues))}
	for i := range t.issues {
		t.values[i] = liveValue{left: t.issues[i].uses, missing: true}
	}
	w := s.walkers.Get().(*walker)
	t.w = w
	w.visit = t.was
	w.response(recorded)
	if live != nil {
		w.visit = t.is
		w.response(live)
	}
	w.visit = nil
	s.walkers.Put(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range t.values {
		if is := &t.issues[i]; is.cookie {
			session := g.Session(step)
			if s.cookies[session] == nil {
				s.cookies[session] = map[placeID]string{}
			}
			of := s.cookies[session]
			if v.missing {
				v.text, v.missing = of[is.place], of[is.place] == ""
			}
			of[is.place] = v.text
		}
		s.live[first+uint32(i)] = v
		if was := t.recorded[i].text; was != "" && !v.missing {
			pairs = append(pairs, Pair{was, v.text})
		}
	}
	return pairs
}

// taker reads the values of one response.
type taker struct {
	w        *walker
	issues   []issue
	values   []liveValue
	recorded []recordedValue
}

// recordedValue is a value that the recorded response issued, and the name of its place.
type recordedValue struct{ text, name string }

// was visits each string of the recorded response.
func (t *taker) was(text string) string {
	place := t.w.place(false)
	if place == none {
		return text
	}
	for i := range t.issues {
		if is := &t.issues[i]; is.place == place && t.recorded[i].text == "" {
			if value, ok := forms[is.form].take(text); ok {
				t.recorded[i] = recordedValue{strings.Clone(value), t.w.name()}
			}
		}
	}
	return text
}

// is visits each string of the live response.
func (t *taker) is(text string) string {
	place := t.w.place(false)
	for i := range t.issues {
		is, v := &t.issues[i], &t.values[i]
		value, ok := "", false
		switch {
		case v.same:
		case is.array && t.recorded[i].text != "":
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

// Forget deletes the cookies of a session. Call it after the last step of the session.
func (s *State) Forget(session int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cookies, session)
}

// Changes reports whether Apply may change the step's request.
func (s *State) Changes(step int) bool {
	return s.g.steps.At(step).edges != s.g.steps.At(step+1).edges || len(s.settings) > 0 || s.shifts
}

// change is a live value that an edge writes, with its place.
type change struct {
	place          placeID
	put            uint8
	route          uint32
	live           liveValue
	wrote, changed bool
}

// Apply writes live values, settings and times into a step's request. e must be the caller's copy,
// because Apply changes it. applied counts the edges whose live value was written. missing counts
// the edges that keep the recorded value, because the live response did not have one or has not
// arrived.
func (s *State) Apply(step int, e *recording.Exchange) (applied, missing int) {
	if !s.Changes(step) || e.HTTP == nil {
		return 0, 0
	}
	a := applier{State: s, e: e}
	body := a.edges(step)
	for i := range s.settings {
		if t := &s.settings[i]; t.scope.has(e) {
			a.settings = append(a.settings, i)
			body = body || t.inBody()
		}
	}
	if s.shifts {
		a.shifts = s.g.rules.that(e, shifts)
		body = body || len(a.shifts) > 0
	}
	if len(a.changes)+len(a.settings)+len(a.shifts) == 0 {
		return 0, 0
	}
	e.HTTP.Req.Headers = slices.Clone(e.HTTP.Req.Headers)
	for _, c := range [...]**recording.Conversation{&e.GRPC, &e.WebSocket} {
		if *c != nil && body {
			own := **c
			own.Messages = slices.Clone(own.Messages)
			*c = &own
		}
	}
	a.w = s.walkers.Get().(*walker)
	a.w.visit = a.text
	a.w.request(e, body)
	a.w.visit = nil
	s.walkers.Put(a.w)
	return a.count()
}

// applier writes into one request.
type applier struct {
	*State
	w        *walker
	e        *recording.Exchange
	changes  []change
	settings []int
	shifts   []*rule
	set      []int // indexes of the settings that were written
}

// edges reads the live values of the step's edges, and reports whether one of them is for the body.
func (a *applier) edges(step int) (body bool) {
	g := a.g
	edges := g.edgesOf(step)
	if len(edges) == 0 {
		return false
	}
	a.changes = make([]change, len(edges))
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, at := range edges {
		l := &g.links[at.link]
		v, ok := a.live[at.issue]
		if !ok {
			v.missing = true
		} else if v.left--; v.left == 0 {
			delete(a.live, at.issue)
		} else {
			a.live[at.issue] = v
		}
		body = body || l.body
		a.changes[i] = change{place: l.to, put: l.put, route: l.route, live: v}
	}
	return body
}

// text visits each string of the request.
func (a *applier) text(text string) string {
	place := none
	if len(a.changes) > 0 {
		place = a.w.place(false)
	}
	carried := false
	for i := range a.changes {
		c := &a.changes[i]
		if place == none || c.place != place {
			continue
		}
		value, ok := forms[c.put].take(text)
		if !ok || c.live.missing || !mayStand(c.live.text, a.w.kind) {
			continue
		}
		c.wrote, carried = true, true
		if value != c.live.text {
			c.changed = true
			text = forms[c.put].put(text, c.live.text) // the next change may be to another part, such as the password after the user
		}
	}
	if carried {
		return text
	}
	for _, i := range a.settings {
		if t := &a.State.settings[i]; has(t.places, a.w.path) {
			if with, ok := t.in(text); ok {
				a.set = append(a.set, i)
				return with
			}
		}
	}
	for _, r := range a.shifts {
		if cover(r.shift, a.w.path) {
			if with, ok := shifted(text, a.shift); ok {
				r.fired.Add(1)
				return with
			}
		}
	}
	return text
}

// mayStand reports whether a value is safe in a slot of this kind. A hostile server may issue a
// value that would add a header or change the path.
func mayStand(value string, kind slotKind) bool {
	switch kind {
	case inSegment:
		return value != "." && value != ".."
	case inHeader, inCookie:
		return strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == ';' && kind == inCookie }) < 0
	}
	return true
}

// count adds the written values to the report.
func (a *applier) count() (applied, missing int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.changes {
		c := &a.changes[i]
		u := &a.uses[c.route]
		if !c.wrote {
			u.Missing++
			missing++
			continue
		}
		u.Fired++
		applied++
		if c.changed {
			u.Changed++
		}
	}
	for _, i := range a.set {
		a.used[i] = true
		if r := a.State.settings[i].rule; r != nil {
			r.fired.Add(1)
		}
	}
	return applied, missing
}

// inBody reports whether the setting may be for a place in the body.
func (t *Setting) inBody() bool {
	return slices.ContainsFunc(t.places, func(p pattern) bool {
		return len(p) < 2 || p[1].Name == "body" || p[1].Name == "message" || p[1].Kind != fieldpath.Member
	})
}

// in returns the changed text. ok is false if the setting does not apply to it.
func (t *Setting) in(text string) (string, bool) {
	old, with := text, t.Value
	if value, ok := forms[behindScheme].take(text); ok && !strings.Contains(with, " ") {
		old = value
		if strings.EqualFold(text[:len(text)-len(old)], "basic ") && strings.Contains(with, ":") {
			with = base64.StdEncoding.EncodeToString([]byte(with))
		}
	}
	if t.Token == "" {
		return text[:len(text)-len(old)] + with, true
	}
	before, after, ok := strings.Cut(text, t.Token)
	if !ok {
		return text, false
	}
	return before + with + after, true
}

// Unset returns the names of settings that were never written: the place of a given setting, or the
// name of a rule.
func (s *State) Unset() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, used := range s.used {
		if !used {
			names = append(names, s.settings[i].name)
		}
	}
	return names
}

// Report returns how often the edges were written so far, by their places, in the order in which
// the finder found them.
func (s *State) Report() []EdgeUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.uses)
}
