package carry

import (
	"hash/maphash"
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/recording"
)

const (
	// maxRemembered bounds how many values are remembered; the latest half of it at least
	// are.
	maxRemembered = 1 << 20
	// maxEndpoints bounds how many endpoints reports tell apart.
	maxEndpoints = 1 << 14
	// maxAmbiguous bounds how many pairs of places are reported as ambiguous, and maxNeeds how
	// many secrets are.
	maxAmbiguous = 1 << 12
	maxNeeds     = 1 << 16
)

// Options of [NewFinder].
type Options struct {
	// Rules add edges, forbid them, and set values; nil: none.
	Rules *Rules
	// Endpoint names the endpoint of an exchange in reports. Default: [Endpoint].
	Endpoint func(e *recording.Exchange) string
	// Dir is the directory for the graph's files, and Limit bounds each of them, in bytes; 0:
	// any size. Default: the system's directory for temporary files.
	Dir   string
	Limit int64
}

// Finder reads recorded exchanges in the order in which they began and finds what the
// requests carry. It keeps none of them: what it remembers of a value is a hash, and of a
// step some hundred bytes. It is not safe for concurrent use.
type Finder struct {
	o       Options
	g       *Graph
	w       *walker
	judge   judge
	seed    maphash.Seed
	values  remembered[uint64, issued]
	callers remembered[uint64, uint32] // by cookie, credential or connection: the step that had it last
	steps   []stepInfo
	found   []foundEdge
	classes []string

	linkIDs     map[link]uint32
	routeIDs    map[route]uint32
	endpointIDs map[string]uint32
	endpoints   []string
	objects     objects
	ambiguous   map[Ambiguous]int
	needIDs     map[needKey]int
	settings    []Setting // of rules

	// Of the exchange at hand.
	e        *recording.Exchange
	step     uint32
	created  bool     // its response says that something was created
	around   []string // the words at the end of its path, which say what it is about
	object   uint32
	location uint32 // the object that its Location names; 0: none
	hits     []hit
	unknown  []uint64
	carries  []*rule // that are for the exchange
	forbids  []*rule
	issues   []*rule
}

// stepInfo is what is known of a step.
type stepInfo struct {
	start, end int64 // Unix nanoseconds; of the answer's end
	session    uint32
	object     uint32
	endpoint   uint32
	writes     bool
	answered   bool
	known      bool // of a session's first step: one of the session says who sent it
}

// issued tells which steps issued a value: the latest, and the one before it.
type issued struct {
	step, before       uint32 // from 1
	place, placeBefore placeID
	form, formBefore   uint8
	class              uint8 // in Finder.classes
	client, several    bool
}

// link is a pair of places between which values are carried.
type link struct {
	from, to  placeID
	take, put uint8 // forms
	body      bool  // the consumer is in the body, or in a message
	route     uint32
}

// route is what reports count together.
type route struct{ From, Issuer, To, Consumer, Encoding, Class string }

// foundEdge is an edge as it is found.
type foundEdge struct{ from, to, link uint32 }

type needKey struct {
	place placeID
	token string
}

// hit is a value of the request at hand that is known.
type hit struct {
	key        uint64
	value      issued
	place      placeID
	put        uint8
	short      bool
	credential bool
	rule       bool   // one says so
	token      string // of a redacted value that nobody is known to have issued
}

// NewFinder returns a finder.
func NewFinder(o Options) *Finder {
	if o.Endpoint == nil {
		o.Endpoint = Endpoint
	}
	p := newPlaces()
	f := &Finder{
		o: o, g: &Graph{places: p, rules: o.Rules}, settings: o.Rules.settings(), w: &walker{places: p}, seed: maphash.MakeSeed(),
		linkIDs: map[link]uint32{}, routeIDs: map[route]uint32{}, endpointIDs: map[string]uint32{}, ambiguous: map[Ambiguous]int{}, needIDs: map[needKey]int{},
		objects: objects{ids: map[uint64]uint32{}, parents: make([]uint32, 1)},
	}
	f.values.limit, f.callers.limit = maxRemembered/2, maxRemembered/2
	return f
}

// Add takes the next exchange and returns the number of its step.
func (f *Finder) Add(e *recording.Exchange) (step int) {
	f.e, f.step = e, uint32(len(f.steps))
	path := e.Location
	if e.HTTP != nil && path == "" {
		path = e.HTTP.Req.URL
	}
	info := stepInfo{
		start: e.TS.UnixNano(), end: e.Ended().UnixNano(), session: f.step, endpoint: f.endpoint(f.o.Endpoint(e)),
		object: f.objects.of(path, e.GRPC != nil), writes: writes(e, path), answered: e.HTTP != nil && e.HTTP.Res.StatusCode != 0,
	}
	f.steps = append(f.steps, info)
	f.object, f.created, f.around = info.object, false, f.around[:0]
	if e.HTTP == nil {
		return int(f.step)
	}
	for rest := strings.TrimRight(path, "/"); ; {
		i := strings.LastIndexByte(rest, '/')
		if word := ofSegment(rest[i+1:]); word != "" {
			f.around = append(f.around, word)
		} else if len(f.around) > 0 || i < 0 {
			break
		}
		if i < 0 || len(f.around) == 2 {
			break
		}
		rest = rest[:i]
	}
	f.request()
	if info.answered {
		f.response()
	}
	return int(f.step)
}

// writes tells whether a request may change something.
func writes(e *recording.Exchange, path string) bool {
	if e.GRPC != nil {
		return !class.Reads([]byte(path[strings.LastIndexByte(path, '/')+1:]))
	}
	switch e.Command {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return false
	}
	return true
}

func (f *Finder) endpoint(name string) uint32 {
	id, ok := f.endpointIDs[name]
	if ok {
		return id
	}
	if len(f.endpoints) >= maxEndpoints {
		return 0
	}
	if len(f.endpoints) == 0 {
		f.endpoints = append(f.endpoints, "others")
	}
	id = uint32(len(f.endpoints))
	f.endpoints = append(f.endpoints, name)
	f.endpointIDs[name] = id
	return id
}

// Kinds of keys: a value of one is no value of another.
const (
	keyPlain byte = iota
	keyCookie
	keyValidator
	keyShort
	keyCaller
	keyConnection
	keyOwn
	keyRule
)

// key is what a value is remembered by: its kind, what it is told by beside itself, and
// itself.
func (f *Finder) key(kind byte, scope, value string) uint64 {
	return hashOf(f.seed, kind, scope, value)
}

func hashOf(seed maphash.Seed, kind byte, scope, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteByte(kind)
	h.WriteString(scope)
	h.WriteByte(0)
	h.WriteString(value)
	return h.Sum64()
}

// numbered is key with a number for a scope or for a value.
func (f *Finder) numbered(kind byte, n uint64, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	h.WriteByte(kind)
	maphash.WriteComparable(&h, n)
	h.WriteString(value)
	return h.Sum64()
}

// request finds what the request carries.
func (f *Finder) request() {
	f.hits, f.unknown = f.hits[:0], f.unknown[:0]
	f.carries, f.forbids = f.o.Rules.that(f.e, carries), f.o.Rules.that(f.e, forbids)
	f.caller()
	f.w.visit = f.consumer
	f.w.request(f.e, true)
	for _, credentials := range [...]bool{true, false} { // they say which session it is
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

// caller joins the step with those of the same caller.
func (f *Finder) caller() {
	id := order.Identify(f.e.HTTP.Req.Headers, 0).Caller()
	if id == 0 {
		return
	}
	f.steps[f.step].known = true
	if last, ok := f.callers.get(id); ok {
		f.join(last, f.step)
	}
	f.callers.set(id, f.step)
}

// shared stands for the session of a connection over which several callers ask.
const shared = ^uint32(0)

// connection joins a step that says nothing of its caller with the one before on the same
// connection, if that is a caller's own.
func (f *Finder) connection() {
	e := f.e
	_, by := e.Peer()
	if e.NetInfo == nil || e.NetInfo.ID == "" || strings.HasPrefix(by, "x-") || istioInbound[e.NetInfo.Downstream.IPAddress] || strings.HasPrefix(e.HTTP.Req.Version, "2") {
		return
	}
	key := f.numbered(keyConnection, uint64(e.NetInfo.StartTime.UnixNano()), e.Pod()+"\x00"+e.NetInfo.ID)
	last, ok := f.callers.get(key)
	self := f.root(f.step)
	switch {
	case !ok:
	case last == shared:
		return
	case !f.steps[self].known || !f.steps[f.root(last)].known:
		f.join(last, f.step)
	case f.root(last) != self:
		f.callers.set(key, shared)
		return
	}
	f.callers.set(key, f.step)
}

// istioInbound are the addresses from which Istio's proxy calls the application.
var istioInbound = map[string]bool{"127.0.0.6": true, "::6": true}

// root is the first step of a step's session.
func (f *Finder) root(step uint32) uint32 {
	steps := f.steps
	for steps[step].session != step {
		steps[step].session = steps[steps[step].session].session
		step = steps[step].session
	}
	return step
}

func (f *Finder) join(a, b uint32) {
	a, b = f.root(a), f.root(b)
	if a > b {
		a, b = b, a
	}
	steps := f.steps
	steps[b].session = a
	steps[a].known = steps[a].known || steps[b].known
}

// consumer is given each text of a request.
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
		if known && i != basicPassword || i == beforeSuffix && f.w.kind != inSegment { // only a password stands beside another value
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

// tokens are those that stand for secrets in a text.
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

// ruleForm is the form of what a rule carries: a rule doesn't name it.
func (f *Finder) ruleForm(text string) uint8 {
	if _, ok := forms[behindScheme].take(text); ok && f.w.kind == inHeader {
		return behindScheme
	}
	return whole
}

// known finds out whether a response has issued the value of a text in a form.
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

// validators are the headers of requests that carry validators, and those that issue them.
var validators = map[string]string{"If-Match": "Etag", "If-None-Match": "Etag", "If-Range": "Etag", "If-Modified-Since": "Last-Modified", "If-Unmodified-Since": "Last-Modified"}

func (f *Finder) validator(object uint32, header, value string) uint64 {
	return f.numbered(keyValidator, uint64(object), header+"\x00"+value)
}

// things are the kinds of things of which the value where the walker is may be the id, by
// the names around it.
func (f *Finder) things() []string {
	path := f.w.path
	last := len(path) - 1
	for last >= 0 && path[last].kind != member {
		last--
	}
	if last < 2 { // the part of the message
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
		case words != nil: // items of something
			return words
		default:
			return []string{word}
		}
	}
	return append(words, f.around...)
}

// hit notes that the text at hand may have been issued.
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

// take makes a hit an edge, unless it is not certain which response issued the value.
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
			reason = "several sessions were given this value, and this one was not"
		}
	}
	if reason == "" {
		switch {
		case f.precedes(v.step):
		case f.precedes(v.before):
			v.step, v.place, v.form, v.before = v.before, v.placeBefore, v.formBefore, 0
		default: // the client can't have it from there
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

// precedes tells whether a step, counted from 1, was answered before this one began.
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

// need notes a secret that only the client holds, unless a rule sets it.
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

// response remembers what the response issues.
func (f *Finder) response() {
	h := &f.e.HTTP.Res
	location := h.Headers.Get("Location")
	f.created = h.StatusCode == 201 || location != ""
	f.location = 0
	if location != "" {
		path := location[pathStart(location):]
		f.location = f.objects.of(path[:endOf(path, "?#")], false)
	}
	f.issues = f.o.Rules.that(f.e, issues)
	f.w.visit = f.issuer
	f.w.response(f.e)
}

// issuer is given each text of a response.
func (f *Finder) issuer(text string) string {
	w := f.w
	name := w.name()
	for _, r := range f.issues {
		if r.from.is(w.path) {
			f.issue(f.key(keyRule, r.name, ""), classRule, f.ruleForm(text), true)
		}
	}
	switch {
	case w.kind == inCookie:
		f.issue(f.key(keyCookie, name, text), classCookie, whole, true)
	case w.kind == inHeader && (name == "Etag" || name == "Last-Modified"):
		f.issue(f.validator(f.object, name, text), classValidator, whole, true)
		if f.location != 0 {
			f.issue(f.validator(f.location, name, text), classValidator, whole, true)
		}
	}
	for _, i := range [...]uint8{whole, behindScheme, inQuotes, inBase64, percent} {
		value, ok := forms[i].take(text)
		if !ok {
			continue
		}
		if mayBeValue(value) {
			if label, ok := f.judge.worth(value, name, f.e.TS); ok {
				f.issue(f.key(keyPlain, "", value), label, i, false)
				continue
			}
		}
		if i == whole && isShortID(value) {
			f.issueShort(value)
		}
		if w.kind == inNumber {
			break
		}
	}
	return text
}

func (f *Finder) issueShort(value string) {
	if f.w.kind == inSegment {
		if of := ofSegment(f.w.previous); of != "" {
			f.issue(f.key(keyShort, of, value), classID, whole, f.created)
		}
		return
	}
	for _, of := range f.things() {
		f.issue(f.key(keyShort, of, value), classID, whole, f.created)
	}
}

// issue remembers that the step issues a value. Unless it is a new one, whatever is said
// of it before, it must not have been the client's.
func (f *Finder) issue(key uint64, label string, form uint8, isNew bool) {
	v, ok := f.values.get(key)
	if v.client && !isNew || v.step == f.step+1 {
		return
	}
	place := f.w.place(true)
	if place == none {
		return
	}
	if !ok || v.client {
		v = issued{class: f.class(label)}
	}
	self := f.root(f.step)
	if v.step != 0 && !v.several {
		if first := f.root(v.step - 1); first != self && (f.steps[first].known || f.steps[self].known) {
			v.several = true
			f.setOwn(key, first, v)
		}
	}
	next := v.and(f.step+1, place, form)
	if v.several {
		o, _ := f.own(key, self)
		o.class = v.class
		f.setOwn(key, self, o.and(f.step+1, place, form))
	}
	f.values.set(key, next)
}

// nobody stands for all sessions of which nothing says who it is: whoever answers can't
// tell them apart either.
const nobody = ^uint32(0)

// own returns what is known of a value in one of the sessions that were given it.
func (f *Finder) own(key uint64, session uint32) (v issued, ok bool) {
	v, ok = f.values.get(f.numbered(keyOwn, key, ownText(session)))
	if !ok && !f.steps[session].known {
		v, ok = f.values.get(f.numbered(keyOwn, key, ownText(nobody)))
	}
	return v, ok
}

func (f *Finder) setOwn(key uint64, session uint32, v issued) {
	v.several = false
	f.values.set(f.numbered(keyOwn, key, ownText(session)), v)
	if !f.steps[session].known {
		f.values.set(f.numbered(keyOwn, key, ownText(nobody)), v)
	}
}

func ownText(session uint32) string {
	return string([]byte{byte(session), byte(session >> 8), byte(session >> 16), byte(session >> 24)})
}

// and is what is known of a value after another step issued it.
func (v issued) and(step uint32, place placeID, form uint8) issued {
	v.before, v.placeBefore, v.formBefore = v.step, v.place, v.form
	v.step, v.place, v.form = step, place, form
	return v
}

func (f *Finder) class(label string) uint8 {
	for i, c := range f.classes {
		if c == label {
			return uint8(i)
		}
	}
	f.classes = append(f.classes, label)
	return uint8(len(f.classes) - 1)
}
