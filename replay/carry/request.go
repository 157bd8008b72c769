package carry

import (
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/match/class"
)

// hit is a value of the current request that may have been issued.
type hit struct {
	key        uint64
	value      issued
	place      placeID
	put        uint8
	short      bool
	credential bool
	rule       bool   // a rule carries the value
	token      string // a redacted value for which no issuer is known
}

type needKey struct {
	place placeID
	token string
}

// request finds the values that the request carries.
func (f *Finder) request() {
	f.hits, f.unknown = f.hits[:0], f.unknown[:0]
	f.carries, f.forbids = f.o.Rules.that(f.e, carries), f.o.Rules.that(f.e, forbids)
	f.caller()
	f.w.visit = f.consumer
	f.w.request(f.e, true)
	for _, credentials := range [...]bool{true, false} { // credentials first, because they decide the session
		for i := range f.hits {
			if f.hits[i].credential == credentials {
				f.take(&f.hits[i])
			}
		}
	}
	for _, key := range f.unknown {
		if _, ok := f.values.get(key); !ok {
			f.values.set(key, issued{client: true})
		}
	}
	f.connection()
}

// consumer visits each string of a request.
func (f *Finder) consumer(text string) string {
	forbidden := false
	for _, r := range f.forbids {
		if cover(r.forbid, f.w.path) {
			forbidden = true
			r.fired.Add(1)
		}
	}
	for _, r := range f.carries {
		if !forbidden && has(r.to, f.w.path) && f.hit(f.ruleForm(text), f.key(keyRule, r.name, ""), false) {
			f.hits[len(f.hits)-1].rule = true
			r.fired.Add(1)
			return text
		}
	}
	known := false
	for i := range forms {
		if known && i != basicPassword || i == beforeSuffix && f.w.kind != inSegment { // only a password can accompany another value
			continue
		}
		if value, ok := forms[i].take(text); ok && !forbidden && f.known(uint8(i), value) {
			known = true
		}
		if f.w.kind == inNumber {
			break
		}
	}
	if known {
		return text
	}
	for _, token := range tokens(text) {
		f.hits = append(f.hits, hit{place: f.w.place(true), token: strings.Clone(token)})
	}
	return text
}

// tokens returns the redaction tokens in a string.
func tokens(text string) []string {
	if class.IsToken([]byte(text)) {
		return []string{text}
	}
	if !strings.Contains(text, class.Prefix) {
		return nil
	}
	return tokenPattern.FindAllString(text, -1)
}

var tokenPattern = regexp.MustCompile(class.Prefix + "[0-9a-f]{16}")

// ruleForm returns the form of a value that a rule carries, because rules don't name forms.
func (f *Finder) ruleForm(text string) uint8 {
	if _, ok := forms[behindScheme].take(text); ok && f.w.kind == inHeader {
		return behindScheme
	}
	return whole
}

// known reports whether a response has issued the value that the current string contains in this
// form.
func (f *Finder) known(form uint8, value string) bool {
	w := f.w
	switch {
	case w.kind == inCookie && form == whole:
		if f.hit(form, f.key(keyCookie, w.name(), value), false) {
			return true
		}
	case w.kind == inHeader && form == whole && validators[w.name()] != "":
		if f.hit(form, f.validator(f.object, validators[w.name()], value), false) {
			return true
		}
	}
	if mayBeValue(value) && f.hit(form, f.key(keyPlain, "", value), false) {
		return true
	}
	if form != whole && form != beforeSuffix || !isShortID(value) {
		return false
	}
	if w.kind == inSegment {
		of := ofSegment(w.previous)
		return of != "" && f.hit(form, f.key(keyShort, of, value), true)
	}
	for _, of := range f.things() {
		if f.hit(form, f.key(keyShort, of, value), true) {
			return true
		}
	}
	return false
}

// validators maps each request header with a validator to the response header that issues it.
var validators = map[string]string{"If-Match": "Etag", "If-None-Match": "Etag", "If-Range": "Etag", "If-Modified-Since": "Last-Modified", "If-Unmodified-Since": "Last-Modified"}

func (f *Finder) validator(object uint32, header, value string) uint64 {
	return f.numbered(keyValidator, uint64(object), header+"\x00"+value)
}

// things returns the kinds of thing that the current value may identify, according to the names
// around it.
func (f *Finder) things() []string {
	path := f.w.path
	last := len(path) - 1
	for last >= 0 && path[last].kind != member {
		last--
	}
	if last < 2 { // only the names of the message's parts are left
		return nil
	}
	of, ok := ofID(strings.TrimPrefix(path[last].name, "@"))
	if !ok {
		return nil
	}
	if of != "" {
		return []string{of}
	}
	var words []string
	for i := last - 1; i >= 2; i-- {
		if path[i].kind != member {
			continue
		}
		_, word := cutWord(path[i].name)
		switch word = thing(word); {
		case wrappers[word]:
		case collections[word]:
			words = append(words, word)
		case words != nil: // the items of a thing are other things
			return words
		default:
			return []string{word}
		}
	}
	return append(words, f.around...)
}

// hit records that a response may have issued the current value.
func (f *Finder) hit(form uint8, key uint64, short bool) bool {
	v, ok := f.values.get(key)
	if !ok {
		f.unknown = append(f.unknown, key)
		return false
	}
	if v.client {
		return false
	}
	place := f.w.place(true)
	if place == none {
		return false
	}
	name := f.w.name()
	f.hits = append(f.hits, hit{key: key, value: v, place: place, put: form, short: short,
		credential: f.w.kind == inCookie || f.w.kind == inHeader && (name == "Authorization" || isSecretName(name))})
	return true
}

// take adds an edge for a hit, if only one response can have issued the value.
func (f *Finder) take(h *hit) {
	if h.token != "" {
		f.need(h)
		return
	}
	v, reason := h.value, ""
	self := f.root(f.step)
	if v.several {
		own, ok := f.own(h.key, self)
		switch {
		case ok:
			v = own
		case !h.rule:
			reason = "several other sessions were given this value, but not this one"
		}
	}
	if reason == "" {
		switch {
		case f.precedes(v.step):
		case f.precedes(v.before):
			v.step, v.place, v.form, v.before = v.before, v.placeBefore, v.formBefore, 0
		default: // the client can't have the value from a response that arrived too late
			return
		}
		if from := f.root(v.step - 1); h.short && from != self && f.steps[from].known && f.steps[self].known {
			reason = "only another session was given this id"
		}
	}
	if reason != "" {
		f.unclear(h, v, reason)
		return
	}
	f.edge(h, v.step-1, v.place, v.form, f.classes[v.class])
	from := f.root(v.step - 1)
	both := f.steps[from].known && f.steps[self].known
	if h.credential || !both && (v.before == 0 || f.root(v.before-1) == from) {
		f.join(from, self)
	}
}

// precedes reports whether a step, counted from 1, was answered before this one began.
func (f *Finder) precedes(step uint32) bool {
	return step > 0 && step-1 < f.step && f.steps[step-1].end <= f.steps[f.step].start
}

func (f *Finder) edge(h *hit, from uint32, place placeID, form uint8, label string) {
	g := f.g
	r := route{f.endpoints[f.steps[from].endpoint], g.places.text(place), f.endpoints[f.steps[f.step].endpoint], g.places.text(h.place), forms[h.put].name, label}
	id, ok := f.routeIDs[r]
	if !ok {
		id = uint32(len(g.routes))
		g.routes = append(g.routes, r)
		f.routeIDs[r] = id
	}
	l := link{place, h.place, form, h.put, g.places.under(h.place, "body") || g.places.under(h.place, "message"), id}
	n, ok := f.linkIDs[l]
	if !ok {
		n = uint32(len(g.links))
		g.links = append(g.links, l)
		f.linkIDs[l] = n
	}
	f.found = append(f.found, foundEdge{from, f.step, n})
}

func (f *Finder) unclear(h *hit, v issued, reason string) {
	g := f.g
	a := Ambiguous{Endpoint: f.endpoints[f.steps[f.step].endpoint], Consumer: g.places.text(h.place),
		IssuerEndpoint: f.endpoints[f.steps[v.step-1].endpoint], Issuer: g.places.text(v.place), Class: f.classes[v.class], Reason: reason}
	i, ok := f.ambiguous[a]
	if !ok {
		if len(g.ambiguous) >= maxAmbiguous {
			return
		}
		i = len(g.ambiguous)
		f.ambiguous[a] = i
		a.Step = int(f.step)
		g.ambiguous = append(g.ambiguous, a)
	}
	g.ambiguous[i].Count++
}

// need records a secret that only the client has, unless a rule sets it.
func (f *Finder) need(h *hit) {
	g := f.g
	for i := range f.settings {
		if s := &f.settings[i]; s.scope.has(f.e) && s.supplies(g.places.path(h.place), h.token) {
			return
		}
	}
	key := needKey{h.place, h.token}
	i, ok := f.needIDs[key]
	if !ok {
		if len(g.needs) >= maxNeeds {
			return
		}
		i = len(g.needs)
		f.needIDs[key] = i
		g.needs = append(g.needs, Need{Endpoint: f.endpoints[f.steps[f.step].endpoint], Place: g.places.text(h.place), Token: h.token})
		g.needsAt = append(g.needsAt, h.place)
	}
	if steps := g.needs[i].Steps; len(steps) == 0 || steps[len(steps)-1] != int(f.step) {
		g.needs[i].Steps = append(steps, int(f.step))
	}
}
