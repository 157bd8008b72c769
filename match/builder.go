package match

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// Builder builds an [Index] of recorded exchanges. Add is safe for concurrent use.
type Builder struct {
	m         *Matcher
	sightings *sightings
	pool      sync.Pool
	mu        sync.Mutex
	shards    []*shard
}

// shard has the exchanges that one goroutine added.
type shard struct {
	request   Request
	response  keyer
	body      []byte
	entries   []added
	values    []candidate
	names     map[uint64]string // names of places
	endpoints map[key]*metEndpoint
	ports     map[string][]string // by host
	cuts      map[int]bool        // the lengths to which bodies were cut
}

// added is what Build needs to know about an exchange.
type added struct {
	at       int64 // nanoseconds
	ref      Ref
	exact    key
	port     key
	endpoint key
	bands    [numBands]uint32
	answer   key // key of the response without its volatile values; zero if unknown
	failed   bool
	reads    bool
	from, to uint32 // in values
}

// candidate is a value that may be masked.
type candidate struct {
	place  uint64
	value  uint64
	change key // the difference that masks the value when it is added to the key
	class.Value
	flags candidateFlags
}

type candidateFlags uint8

const (
	isForeign candidateFlags = 1 << iota
	isRule
	isInPath
	isOnce
	isReference
	isUnnamed
	isProtocol
)

func (f candidateFlags) when(set bool) candidateFlags {
	if set {
		return f
	}
	return 0
}

type endpointText struct{ protocol, method, host, path string }

// name returns the endpoint's name in the list of its host, which is sorted by path.
func (t endpointText) name() string {
	if t.protocol == "http" {
		return t.path + " " + t.method
	}
	return strings.TrimSpace(t.path + " " + t.protocol)
}

// metEndpoint is the state of an endpoint while the index is built.
type metEndpoint struct {
	text     endpointText // empty if there are more than maxNamed endpoints
	host     string
	openings Openings
}

// NewBuilder returns a builder of an index for the matcher's requests.
func (m *Matcher) NewBuilder() *Builder {
	b := &Builder{m: m, sightings: new(sightings)}
	b.pool.New = func() any {
		s := &shard{names: map[uint64]string{}, endpoints: map[key]*metEndpoint{}, ports: map[string][]string{}, cuts: map[int]bool{}}
		b.mu.Lock()
		b.shards = append(b.shards, s)
		b.mu.Unlock()
		return s
	}
	return b
}

// Recorded is an exchange for an index.
type Recorded struct {
	*recording.Exchange
	// Ref is the caller's reference. It orders exchanges of the same time.
	Ref Ref
	// ForeignTokens means that tokens in the exchange were made under a key that Redact doesn't
	// have, so they can't be compared with tokens of live values.
	ForeignTokens bool
}

// Add adds a recorded exchange; the order of calls does not matter. Add redacts the exchange in
// place, and does not keep it.
func (b *Builder) Add(e Recorded) {
	s := b.pool.Get().(*shard)
	s.add(b, e)
	b.pool.Put(s)
}

func (s *shard) add(b *Builder, e Recorded) {
	r := &s.request
	b.m.read(r, e.Exchange)
	r.e = nil
	a := added{
		at: e.TS.UnixNano(), ref: e.Ref, exact: r.exact, port: r.port, endpoint: r.endpoint, bands: r.k.bands,
		reads: r.reads, from: uint32(len(s.values)),
	}
	for i := range r.k.leaves {
		l := &r.k.leaves[i]
		foreign := l.Class == class.Token && e.ForeignTokens
		if l.Class == class.None && l.rule == nil && !l.protocol {
			continue
		}
		c := candidate{place: r.placeID(l), value: l.value, change: l.mask.minus(l.exact), Value: l.Value}
		c.flags = isForeign.when(foreign) | isRule.when(l.rule != nil) | isInPath.when(l.inPath) |
			isOnce.when(l.once) | isReference.when(l.reference) | isUnnamed.when(l.unnamed) | isProtocol.when(l.protocol)
		s.values = append(s.values, c)
		if _, ok := s.names[c.place]; !ok && len(s.names) < maxPlaces {
			s.names[c.place] = r.k.string(l.name)
		}
		if tellsApart(l.Class) {
			b.sightings.add(l.value, a.at)
		}
	}
	a.to = uint32(len(s.values))
	point := s.endpoints[r.endpoint]
	if point == nil {
		point = &metEndpoint{host: r.Host}
		if len(s.endpoints) < maxNamed {
			point.text = r.endpointText()
		}
		s.endpoints[r.endpoint] = point
	}
	point.openings.add(r, e.Exchange)
	if ports := s.ports[r.Host]; !slices.Contains(ports, r.Port) && len(ports) < 2 {
		s.ports[r.Host] = append(ports, r.Port)
	}
	if r.cut {
		s.cuts[len(r.body)] = true
	}
	if status := condition(e.Exchange); status && r.validator != (key{}) {
		a.exact = a.exact.plus(r.validator)
	}
	s.answer(b, &a, e.Exchange)
	s.entries = append(s.entries, a)
}

// tellsApart reports whether values of a class can refer to something.
func tellsApart(c class.Class) bool {
	switch c.Role() {
	case class.Minted, class.Random, class.Unexplained, class.Redacted:
		return true
	}
	return false
}

// Witness notes the identifiers in an exchange that the index does not return, such as an inbound
// one. A value that the client got from such an exchange refers to something. Witness is safe for
// concurrent use, redacts the exchange in place, and does not keep it.
func (b *Builder) Witness(e *recording.Exchange) {
	s := b.pool.Get().(*shard)
	defer b.pool.Put(s)
	r := &s.request
	b.m.read(r, e)
	r.e = nil
	for i := range r.k.leaves {
		if l := &r.k.leaves[i]; tellsApart(l.Class) {
			b.sightings.add(l.value, e.TS.UnixNano())
		}
	}
	a := added{from: uint32(len(s.values)), to: uint32(len(s.values))}
	s.answer(b, &a, e)
}

const (
	// maxPlaces bounds the places whose names are kept, and maxNamed the endpoints.
	maxPlaces = 1 << 16
	maxNamed  = 1 << 14
)

// placeID identifies a place of an endpoint's operation.
func (r *Request) placeID(l *leaf) uint64 { return mix(mix(l.place, r.variant), r.endpoint.lo) }

func (r *Request) endpointText() endpointText {
	var b strings.Builder
	for _, s := range r.Path {
		if isVariable(s) {
			s = "*"
		}
		b.WriteByte('/')
		b.WriteString(s)
	}
	return endpointText{r.Protocol, r.Method, r.Host, b.String()}
}

// condition reports whether the response is one that only a conditional request gets.
func condition(e *recording.Exchange) bool {
	return e.HTTP != nil && (e.HTTP.Res.StatusCode == 304 || e.HTTP.Res.StatusCode == 412)
}

// maxAnswer bounds the responses that are searched for evidence.
const maxAnswer = 256 << 10

// answer returns the key of the response without its volatile values and without values that it
// repeats from the request. It also notes the identifiers in the response.
func (s *shard) answer(b *Builder, a *added, e *recording.Exchange) {
	k := &s.response
	k.secret = b.m.secret
	k.reset(e.TS)
	k.allValues = a.to > a.from
	k.tracker.Reset(&s.request.scope)
	switch {
	case e.HTTP == nil || e.WebSocket != nil || e.HTTP.Res.StatusCode == 0:
		return
	case e.GRPC != nil:
		k.begin("messages", "")
		n := 0
		for i := range e.GRPC.Messages {
			if msg := &e.GRPC.Messages[i]; msg.From == recording.Server && len(msg.Data) <= maxAnswer {
				k.Enter(canon.Step{Axis: canon.Item, N: n})
				s.walk(canon.Protobuf, canon.Params{}, msg.Data)
				k.Leave()
				n++
			}
		}
		a.failed = e.Status != "0" && e.Status != ""
	default:
		half := e.Response()
		decoder := b.m.decoders.Get().(*coding.Decoder)
		body, err := half.Decode(decoder, s.body[:0], maxAnswer)
		b.m.decoders.Put(decoder)
		s.body = body
		k.begin("body", "")
		if err != nil {
			k.sum = k.sum.plus(k.part("undecoded", string(half.Body)))
		} else if len(body) > 0 {
			f, p := canon.Detect(half.Headers.Get("Content-Type"), body)
			s.walk(f, p, body)
		}
		a.failed = e.HTTP.Res.StatusCode >= 400
		k.begin("location", "")
		for segment := range strings.FieldsFuncSeq(half.Headers.Get("Location"), func(r rune) bool { return strings.ContainsRune("/?&=#:", r) }) {
			k.Leaf(canon.Text, []byte(segment))
		}
	}
	own := s.values[a.from:a.to]
	ended := e.Ended().UnixNano()
	sum := k.sum
	for i := range k.leaves {
		l := &k.leaves[i]
		role := l.Class.Role()
		if tellsApart(l.Class) {
			b.sightings.add(l.value, ended)
		}
		switch {
		case slices.ContainsFunc(own, func(c candidate) bool { return c.value == l.value }):
			sum = sum.minus(l.exact).plus(k.secret.any(l.path))
		case role == class.Random, role == class.Credential, role == class.Redacted, (role == class.Moment || role == class.Minted) && l.Near:
			sum = sum.minus(l.exact).plus(l.mask)
		}
	}
	a.answer = sum.plus(k.part("status", strconv.Itoa(e.HTTP.Res.StatusCode), e.Status))
}

// walk reads a part of a response. If the part isn't of its declared type, walk reads it as bytes.
func (s *shard) walk(f canon.Format, p canon.Params, body []byte) {
	k := &s.response
	before, levels := k.mark(), len(k.levels)
	if f.Walk(body, p, k) != nil {
		k.rewind(before)
		k.levels = k.levels[:levels]
		canon.Raw.Walk(body, canon.Params{}, k)
	}
}

// Build returns the index of the exchanges that were added. The builder can't be used afterwards.
func (b *Builder) Build(ctx context.Context) (*Index, error) {
	all := b.merge()
	x := &Index{m: b.m, endpoints: map[key]uint32{}, hosts: map[string]*host{}, places: map[uint64]uint32{}}
	for _, s := range b.shards {
		for n := range s.cuts {
			if len(x.cuts) < maxCuts && !slices.Contains(x.cuts, n) {
				x.cuts = append(x.cuts, n)
			}
		}
	}
	slices.Sort(x.cuts)
	b.listHosts(x)
	b.listEndpoints(x)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.profiles(x, all)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	exact := make([]keyed, len(all))
	var masked, known []keyed
	x.refs = make([]Ref, len(all))
	for i := range all {
		a := &all[i]
		x.refs[i] = a.ref
		if x.points[x.endpoints[a.endpoint]].ports {
			a.exact = a.exact.plus(a.port)
		}
		exact[i] = keyed{a.exact, Entry(i)}
		k, hidden := a.exact, false
		for _, c := range a.values {
			v := x.profile(c.place).verdict(c.Value)
			if c.flags&isRule == 0 && !v.Mask {
				continue
			}
			k, hidden = k.plus(c.change), true
			if c.flags&isRule == 0 && isIdentifier(v, c.Value) {
				known = append(known, keyed{key{c.place, c.value}, Entry(i)})
			}
		}
		if hidden {
			masked = append(masked, keyed{k, Entry(i)})
		}
	}
	x.exact, x.masked, x.known = newTable(exact), newTable(masked), newTable(known)
	x.groups = make([]uint32, len(all))
	for i := range x.exact.keys {
		for _, e := range x.exact.entries[x.exact.starts[i]:x.exact.starts[i+1]] {
			x.groups[e] = uint32(i)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x.near = newNear(all, x)
	return x, nil
}

// isIdentifier reports whether a masked value identifies something if the recording has it. In this
// case, only an exchange with the same value answers the live request.
func isIdentifier(v *Verdict, c class.Value) bool {
	return v.Why != ByProtocol && v.Why != ByRedaction && c.Class.Role() != class.Moment && c.Class.Role() != class.Credential
}

// maxCuts bounds the different lengths of cut bodies.
const maxCuts = 8

// ordered is an exchange in recorded order, with its values.
type ordered struct {
	*added
	values []candidate
}

// merge returns the exchanges of all shards in recorded order.
func (b *Builder) merge() []ordered {
	n := 0
	for _, s := range b.shards {
		n += len(s.entries)
	}
	all := make([]ordered, 0, n)
	for _, s := range b.shards {
		for i := range s.entries {
			a := &s.entries[i]
			all = append(all, ordered{a, s.values[a.from:a.to]})
		}
	}
	slices.SortFunc(all, func(a, b ordered) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ref, b.ref))
	})
	return all
}

func (b *Builder) listHosts(x *Index) {
	ports := map[string][]string{}
	for _, s := range b.shards {
		for h, all := range s.ports {
			for _, p := range all {
				if !slices.Contains(ports[h], p) {
					ports[h] = append(ports[h], p)
				}
			}
		}
	}
	for h, all := range ports {
		x.hosts[h] = &host{ports: len(all) > 1}
	}
}

func (b *Builder) listEndpoints(x *Index) {
	for _, s := range b.shards {
		for k, e := range s.endpoints {
			i, ok := x.endpoints[k]
			h := x.hosts[e.host]
			if !ok {
				i = uint32(len(x.points))
				x.endpoints[k] = i
				x.points = append(x.points, endpoint{ports: h.ports})
				if e.text == (endpointText{}) {
					h.more++
				} else {
					h.names = append(h.names, e.text.name())
				}
			}
			if e.openings.Server || e.openings.Client {
				p := &x.points[i]
				if p.openings == nil {
					p.openings = new(Openings)
				}
				p.openings.merge(e.openings)
			}
		}
	}
	for _, h := range x.hosts {
		slices.Sort(h.names)
	}
}

// profiles collects the recording's evidence about each place.
func (b *Builder) profiles(x *Index, all []ordered) {
	for i := range all {
		for _, c := range all[i].values {
			p := x.profile(c.place)
			if p == nil {
				x.places[c.place] = uint32(len(x.profiles))
				x.profiles = append(x.profiles, profile{
					inPath: c.flags&isInPath != 0, once: c.flags&isOnce != 0, reference: c.flags&isReference != 0,
					unnamed:  c.flags&isUnnamed != 0,
					protocol: c.flags&isProtocol != 0, reads: all[i].reads,
				})
				p = &x.profiles[len(x.profiles)-1]
			}
			if c.flags&isForeign != 0 {
				p.foreign++
			}
			if seen, known := b.sightings.before(c.value, all[i].at); known {
				p.values++
				if seen {
					p.earlier++
				}
			}
		}
	}
	for _, s := range b.shards {
		for id, name := range s.names {
			if p := x.profile(id); p != nil {
				p.name = name
			}
		}
	}
	b.compareRepeats(x, all)
}

// compareRepeats compares exchanges that are equal except for values of classes.
func (b *Builder) compareRepeats(x *Index, all []ordered) {
	type repeat struct {
		key   key
		entry uint32
	}
	var repeats []repeat
	for i := range all {
		if len(all[i].values) == 0 || all[i].answer == (key{}) {
			continue
		}
		k := all[i].exact
		for _, c := range all[i].values {
			k = k.plus(c.change)
		}
		repeats = append(repeats, repeat{k, uint32(i)})
	}
	slices.SortFunc(repeats, func(a, b repeat) int {
		return cmp.Or(a.key.compare(b.key), cmp.Compare(a.entry, b.entry))
	})
	for len(repeats) > 0 {
		n := 1
		for n < len(repeats) && repeats[n].key == repeats[0].key {
			n++
		}
		if n > 1 {
			group := make([]*ordered, 0, min(n, maxGroup))
			for _, r := range repeats[:min(n, maxGroup)] {
				group = append(group, &all[r.entry])
			}
			x.learn(group)
		}
		repeats = repeats[n:]
	}
}

// maxGroup bounds the repeats of a group that are compared.
const maxGroup = 1000

// learn draws conclusions from a group of repeats.
func (x *Index) learn(group []*ordered) {
	places := map[uint64][]uint64{} // for each place, its value in each exchange
	for i, a := range group {
		for _, c := range a.values {
			if places[c.place] == nil {
				places[c.place] = make([]uint64, len(group))
			}
			places[c.place][i] += mix(c.value, 1)
		}
	}
	equal, failed := true, false
	for _, a := range group {
		equal = equal && a.answer == group[0].answer
		failed = failed || a.failed
	}
	everyone := make([]int, len(group))
	for i := range everyone {
		everyone[i] = i
	}
	if equal {
		for id, values := range places {
			if distinct(values, everyone) >= minRepeats && !failed {
				x.profile(id).agree++
			}
		}
		return
	}
	var parts [][]int // exchanges grouped by the value that the responses follow
	for id, values := range places {
		if distinct(values, everyone) < 2 {
			continue
		}
		if by := followed(group, values); by != nil {
			x.profile(id).follow++
			parts = by
		} else {
			x.profile(id).differ++
		}
	}
	for id, values := range places {
		p := x.profile(id)
		if p.follow == 0 && !failed && slices.ContainsFunc(parts, func(part []int) bool { return distinct(values, part) >= minRepeats }) {
			p.agree++
			p.differ--
		}
	}
}

func distinct(values []uint64, of []int) int {
	seen := map[uint64]bool{}
	for _, i := range of {
		seen[values[i]] = true
	}
	return len(seen)
}

// followed groups exchanges by a value if the responses follow it: responses to equal values are
// equal, and at least one value occurs more than once.
func followed(group []*ordered, values []uint64) [][]int {
	by := map[uint64][]int{}
	var order []uint64
	for i, v := range values {
		if by[v] == nil {
			order = append(order, v)
		} else if group[by[v][0]].answer != group[i].answer {
			return nil
		}
		by[v] = append(by[v], i)
	}
	recurring := 0
	var parts [][]int
	for _, v := range order {
		if len(by[v]) > 1 {
			recurring++
		}
		parts = append(parts, by[v])
	}
	if recurring < 2 {
		return nil
	}
	return parts
}
