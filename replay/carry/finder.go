package carry

import (
	"hash/maphash"
	"strings"

	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
)

const (
	// maxRemembered bounds the values that are remembered. At least the latest half of them is
	// kept.
	maxRemembered = 1 << 20
	// maxEndpoints bounds the endpoints with a name in reports.
	maxEndpoints = 1 << 14
	// maxAmbiguous bounds the pairs of places that are reported as ambiguous, and maxNeeds the
	// secrets that are reported as needed.
	maxAmbiguous = 1 << 12
	maxNeeds     = 1 << 16
)

// Options of [NewFinder].
type Options struct {
	// Rules add edges, forbid them, and set values. May be nil.
	Rules *Rules
	// Endpoint names the endpoint of an exchange in reports. Default: [Endpoint].
	Endpoint func(e *recording.Exchange) string
	// Dir is the directory for the graph's files. Default: the system's directory for temporary
	// files. Limit bounds each file, in bytes. 0 means no limit.
	Dir   string
	Limit int64
}

// Finder reads recorded exchanges in the order in which they began, and finds the values that
// requests carry. It keeps no exchange. Until Finish, it keeps a hash of each value, and up to a few
// hundred bytes for each step. It is not safe for concurrent use.
type Finder struct {
	o       Options
	g       *Graph
	w       *walker
	judge   judge
	seed    maphash.Seed
	values  remembered[uint64, issued]
	callers remembered[uint64, uint32] // the latest step, by cookie, credential or connection
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
	settings    []Setting // settings of rules

	// The fields below describe the current exchange.
	e        *recording.Exchange
	step     uint32
	created  bool     // the response says that it created something
	around   []string // the last words of the request's path, which name the kind of thing
	object   uint32
	location uint32 // the object of the response's Location; 0 if there is none
	hits     []hit
	unknown  []uint64
	carries  []*rule // rules that apply to the exchange
	forbids  []*rule
	issues   []*rule
}

// stepInfo is what the finder knows about a step.
type stepInfo struct {
	start, end int64 // Unix nanoseconds; end is that of the answer
	session    uint32
	object     uint32
	endpoint   uint32
	writes     bool
	answered   bool
	known      bool // used for the first step of a session: one of the session's steps names the caller
}

// link is a pair of places; values are carried from one to the other.
type link struct {
	from, to  placeID
	take, put uint8 // indexes of forms
	body      bool  // the request has the value in its body or in a message
	route     uint32
}

// route identifies the edges that reports count together.
type route struct{ From, Issuer, To, Consumer, Encoding, Class string }

// foundEdge is an edge before Finish.
type foundEdge struct{ from, to, link uint32 }

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

// Add adds the next exchange and returns the number of its step.
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

// writes reports whether a request may change something.
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

// Kinds of keys. A value has a different key for each kind.
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

// key returns the hash under which a value is remembered. scope identifies the value together with
// its text: it is, for example, the name of a cookie.
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

// numbered is key with a number as scope.
func (f *Finder) numbered(kind byte, n uint64, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	h.WriteByte(kind)
	maphash.WriteComparable(&h, n)
	h.WriteString(value)
	return h.Sum64()
}
