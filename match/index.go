package match

import (
	"slices"

	"github.com/tapedeck/tapedeck/match/class"
)

// Index finds recorded exchanges by request. It never changes, so it is safe for concurrent use.
// The time of a lookup does not depend on the number of exchanges.
type Index struct {
	m      *Matcher
	refs   []Ref
	exact  *table
	masked *table   // requests with masked values, by the key with these values masked
	known  *table   // masked identifiers, by place and value
	groups []uint32 // by entry: the index of its exact key

	endpoints map[key]uint32 // index in points
	points    []endpoint
	hosts     map[string]*host
	places    map[uint64]uint32 // index in profiles
	profiles  []profile
	cuts      []int
	near      *near
}

type endpoint struct {
	from, to uint32    // range in near.entries
	ports    bool      // the host has several ports, so ports are compared
	openings *Openings // nil if the endpoint has no conversations
}

type host struct {
	ports bool     // there are several ports, so they are compared
	names []string // names of endpoints, sorted
	more  int      // number of endpoints whose names were not kept
}

// point returns the request's endpoint, or nil if the recording doesn't have it.
func (x *Index) point(r *Request) *endpoint {
	if i, ok := x.endpoints[r.endpoint]; ok {
		return &x.points[i]
	}
	return nil
}

// profile returns the evidence about a place, or nil if there is none.
func (x *Index) profile(place uint64) *profile {
	if i, ok := x.places[place]; ok {
		return &x.profiles[i]
	}
	return nil
}

// Len returns the number of exchanges.
func (x *Index) Len() int { return len(x.refs) }

// Ref returns the caller's reference to an exchange.
func (x *Index) Ref(e Entry) Ref { return x.refs[e] }

// Lookup finds the recorded requests that are the same as a live one. Bindings may be
// nil.
func (x *Index) Lookup(r *Request, b Bindings) Result {
	for _, p := range r.k.fired {
		p.Rule.Fire()
	}
	if x.point(r) == nil {
		return Result{}
	}
	k := x.key(r)
	if found := x.exactly(r, k); found != nil {
		return newResult(Exact, found, 0)
	}
	bound := x.bind(r, b)
	for i, l := range bound {
		k = k.minus(r.k.leaves[i].exact).plus(l.exact)
	}
	if bound != nil {
		if found := x.exactly(r, k); found != nil {
			return newResult(Bound, found, 0)
		}
	}
	return x.maskedly(r, k, bound)
}

// newResult returns a result with the entries of one table.
func newResult(how How, found []Entry, table uint64) Result {
	return Result{How: how, Entries: found, Sequence: uint64(found[0])<<32 | uint64(len(found))<<1 | table}
}

// key returns the request's key in this index. It includes the port if the host has several.
func (x *Index) key(r *Request) key {
	if h := x.hosts[r.Host]; h != nil && h.ports {
		return r.exact.plus(r.port)
	}
	return r.exact
}

// exactly finds entries by a key without masks.
func (x *Index) exactly(r *Request, k key) []Entry {
	if r.validator != (key{}) {
		if found := x.exact.find(k.plus(r.validator)); found != nil {
			return found
		}
	}
	if found := x.exact.find(k); found != nil {
		return found
	}
	for _, n := range x.cuts {
		if !r.cut && n < len(r.body) {
			beginning := cutKey(x.m.secret, r.body[:n], int64(len(r.body)))
			if found := x.exact.find(k.minus(r.whole).plus(beginning)); found != nil {
				return found
			}
		}
	}
	return nil
}

// boundLeaf is a value of a live request that is replaced by the recorded one.
type boundLeaf struct {
	exact key
	value uint64
}

// bind finds the values of the request that replace recorded ones.
func (x *Index) bind(r *Request, b Bindings) map[int]boundLeaf {
	if b == nil {
		return nil
	}
	var bound map[int]boundLeaf
	for i := range r.k.leaves {
		l := &r.k.leaves[i]
		if l.text == (span{}) {
			continue
		}
		recorded, ok := b.Recorded(r.k.string(l.text))
		if !ok {
			continue
		}
		if bound == nil {
			bound = map[int]boundLeaf{}
		}
		before, after := r.k.text[l.all.from:l.text.from], r.k.text[l.text.to:l.all.to]
		bound[i] = boundLeaf{x.m.secret.leaf(l.path, l.kind, before, []byte(recorded), after), x.m.secret.short([]byte(recorded))}
	}
	return bound
}

// maskedly finds entries by the key in which all volatile values are masked.
func (x *Index) maskedly(r *Request, k key, bound map[int]boundLeaf) Result {
	var masks []Mask
	var known [][]Entry // entries that share an identifier with the live request
	for i := range r.k.leaves {
		l := &r.k.leaves[i]
		mask, masked, identifies := x.mask(r, l)
		if mask.Why == "" {
			continue
		}
		b, isBound := bound[i]
		if !isBound {
			b = boundLeaf{l.exact, l.value}
		}
		k = k.minus(b.exact).plus(masked)
		masks = append(masks, mask)
		if !identifies {
			continue
		}
		if have := x.known.find(key{r.placeID(l), b.value}); have != nil {
			known = append(known, have)
		}
	}
	if masks == nil {
		return Result{}
	}
	found := x.masked.find(k)
	for _, have := range known {
		found = intersection(found, have)
	}
	if len(found) == 0 {
		return Result{}
	}
	res := newResult(Masked, found, 1)
	res.Masks = masks
	return res
}

// mask reports whether a value is masked and, if so, returns its masked key. identifies means that
// an entry must have the same value if the recording has the value.
func (x *Index) mask(r *Request, l *leaf) (m Mask, masked key, identifies bool) {
	m = Mask{Place: "", Class: l.Class.String()}
	var v *Verdict
	switch p := x.profile(r.placeID(l)); {
	case l.rule != nil:
		m.Why, m.Rule = ByRule, l.rule.Rule.Name
	case p == nil:
		return Mask{}, key{}, false
	case p.foreign > 0:
		m.Why, m.Class, masked = ByRedaction, "", l.mask
		if l.Class != class.Token || l.whole {
			masked = x.m.secret.any(l.path)
		}
		m.Place = p.name
		return m, masked, false
	case l.Class == class.None && !l.protocol:
		return Mask{}, key{}, false
	default:
		if v = p.verdict(l.Value); !v.Mask {
			return Mask{}, key{}, false
		}
		m.Why, identifies = v.Why, isIdentifier(v, l.Value)
	}
	m.Place = r.k.string(l.name)
	return m, l.mask, identifies
}

// intersection returns the intersection of two sorted lists. It searches the longer one for the
// entries of the shorter one.
func intersection(a, b []Entry) []Entry {
	if len(a) > len(b) {
		a, b = b, a
	}
	var both []Entry
	for _, e := range a {
		if _, ok := slices.BinarySearch(b, e); ok {
			both = append(both, e)
		}
	}
	return both
}

// Groups groups a result's entries by equal requests. The groups are in the recorded order of
// their first entries, and there are at most MaxNearest. There is more than one only if values
// were masked.
func (x *Index) Groups(r Result) []Group {
	var groups []Group
	at := map[uint32]int{}
	for _, e := range r.Entries {
		same := x.groups[e]
		i, ok := at[same]
		if !ok {
			if len(groups) == MaxNearest {
				continue
			}
			i = len(groups)
			at[same] = i
			groups = append(groups, Group{})
		}
		groups[i].Entries = append(groups[i].Entries, e)
	}
	return groups
}
