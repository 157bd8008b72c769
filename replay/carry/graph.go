package carry

import (
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/rows"
)

// Graph holds the sessions of steps, the steps that each step waits for, and the edges between them.
// Steps count from 0, in the order in which the Finder got them. A graph never changes, so it is
// safe for concurrent use.
type Graph struct {
	places    *places
	links     []link
	routes    []route
	steps     *rows.Table[graphStep] // one row more than there are steps
	issues    *rows.Table[issue]     // in the order of their steps
	edges     *rows.Table[edge]      // in the order of their consumers
	after     *rows.Table[uint32]    // the steps that each step waits for
	needs     []Need
	needsAt   []placeID // places of needs
	ambiguous []Ambiguous
	rules     *Rules
	forgotten uint64
}

// graphStep is a step of a graph.
type graphStep struct {
	session             uint32 // the first step of its session
	size                uint32 // size of the session, if this is its first step
	issues, edges, wait uint32 // indexes of its first issue, edge and step to wait for
}

// Edge is one value that a response issued and a later request carries.
type Edge struct {
	// From is the step of the response, To that of the request.
	From, To int
	// Issuer and Consumer are the places in these steps, such as `res.body.items[].id`,
	// `res.header.Location.path[2]`, `res.cookie.sid`, `req.path[1]` and
	// `req.header.Authorization`.
	Issuer, Consumer string
	// Encoding is the value's encoding at the consumer, or "" if there is none.
	Encoding string
	// Class is the kind of value, such as `uuid`, `jwt`, `cookie`, `id` or `redacted`.
	Class string
}

// Ambiguous describes values that are sent as recorded, because several responses may have issued
// them. Values of the same endpoints and places are counted together.
type Ambiguous struct {
	// Endpoint and Consumer are the endpoint and the place that carry the values.
	Endpoint, Consumer string
	// IssuerEndpoint and Issuer are the endpoint and the place of the latest possible issuer.
	IssuerEndpoint, Issuer string
	// Class is the kind of values.
	Class string
	// Reason says why no issuer was chosen.
	Reason string
	// Step is the first step that carries such a value, and Count the number of values.
	Step, Count int
}

// Need is a secret that only the client holds: it is redacted in the recording, and no
// response issued it.
type Need struct {
	// Endpoint is the endpoint of the first request that needs the secret, and Place the place in it.
	Endpoint, Place string
	// Token replaces the secret in the recording. Equal secrets have equal tokens.
	Token string
	// Steps are the steps that need it, in order.
	Steps []int
}

// Steps returns the number of steps.
func (g *Graph) Steps() int { return g.steps.Len() - 1 }

// Session returns the number of the step's session, which is the number of its first step. Steps
// belong to one session if they share a cookie or a credential, or if one step issued the other's.
// Steps without either belong to one session if they used a connection that no other caller used.
func (g *Graph) Session(step int) int { return int(g.steps.At(step).session) }

// SessionSize returns the number of steps of a session.
func (g *Graph) SessionSize(session int) int { return int(g.steps.At(session).size) }

// Err returns the first error of reading the graph from disk. After an error, other results of the
// graph may be wrong.
func (g *Graph) Err() error {
	for _, err := range [...]error{g.steps.Err(), g.issues.Err(), g.edges.Err(), g.after.Err()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Close removes the files.
func (g *Graph) Close() error {
	return errors.Join(g.steps.Close(), g.issues.Close(), g.edges.Close(), g.after.Close())
}

// issuesOf returns the issues of a step, and the number of the first one. edgesOf returns its
// edges.
func (g *Graph) issuesOf(step int) (of []issue, first uint32) {
	from, to := g.steps.At(step).issues, g.steps.At(step+1).issues
	return g.issues.Range(int(from), int(to)), from
}

func (g *Graph) edgesOf(step int) []edge {
	return g.edges.Range(int(g.steps.At(step).edges), int(g.steps.At(step+1).edges))
}

func (g *Graph) afterOf(step int) []uint32 {
	return g.after.Range(int(g.steps.At(step).wait), int(g.steps.At(step+1).wait))
}

// After returns, in order, the steps for whose responses this step waits. These are the steps that
// issued the values that it carries, and the latest writes of its session to the same object that
// had been answered in the recording before it began. Two objects are the same if their paths are
// equal, or if one path is the beginning of the other.
func (g *Graph) After(step int) []int {
	of := g.afterOf(step)
	all := make([]int, len(of))
	for i, s := range of {
		all[i] = int(s)
	}
	return all
}

// Components returns, for each step, the first step of its component. Steps of one session, and
// steps that wait for each other, are in the same component. No step needs an answer from another
// component.
func (g *Graph) Components() []int {
	first := make([]int, g.Steps())
	for i := range first {
		first[i] = i
	}
	root := func(i int) int {
		for first[i] != i {
			first[i] = first[first[i]]
			i = first[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = root(a), root(b)
		first[max(a, b)] = min(a, b)
	}
	for i := range first {
		join(i, g.Session(i))
		for _, before := range g.afterOf(i) {
			join(i, int(before))
		}
	}
	for i := range first {
		first[i] = root(i)
	}
	return first
}

// Edges returns all edges, in the order of the requests.
func (g *Graph) Edges() iter.Seq[Edge] {
	return func(yield func(Edge) bool) {
		for i := range g.edges.Len() {
			e := g.edges.At(i)
			l := &g.links[e.link]
			r := &g.routes[l.route]
			if !yield(Edge{int(g.issues.At(int(e.issue)).from), int(e.to), r.Issuer, r.Consumer, r.Encoding, r.Class}) {
				return
			}
		}
	}
}

// Ambiguous returns the values that are not carried because their issuer is not certain.
func (g *Graph) Ambiguous() []Ambiguous { return g.ambiguous }

// Needs returns the secrets that no rule sets, in the order of the first request that needs them.
func (g *Graph) Needs() []Need { return g.needs }

// Missing returns the needs that the settings do not supply.
func (g *Graph) Missing(set []Setting) (all []Need) {
	for i, n := range g.needs {
		path := g.places.path(g.needsAt[i])
		if !slices.ContainsFunc(set, func(s Setting) bool { return s.supplies(path, n.Token) }) {
			all = append(all, n)
		}
	}
	return all
}

// Forgotten returns how many values the finder forgot, because a million other values followed. A
// later request that carries such a value is sent as recorded.
func (g *Graph) Forgotten() uint64 { return g.forgotten }

// Setting supplies a value for a place in requests; see [ParseSetting].
type Setting struct {
	// Token limits the setting to places that have this token in the recording; "" for any value.
	Token string
	// Value is written there. If the place has a scheme such as Bearer, Value replaces the part
	// after it, unless Value has a scheme itself. After Basic, user:password is encoded.
	Value string

	name   string
	places []pattern
	scope  scope
	rule   *rule // the rule that has this setting, or nil
}

// supplies reports whether the setting applies to a token at a place.
func (s *Setting) supplies(path []placeStep, token string) bool {
	return (s.Token == "" || s.Token == token) && has(s.places, path)
}

// StateOptions of [Graph.NewState].
type StateOptions struct {
	// Set are settings for places that no edge leads to. The first one that applies counts.
	Set []Setting
	// Shift is added to times at the places that rules name. It is the start of the replay minus
	// the start of the recording.
	Shift time.Duration
	// Only reports which steps are sent; nil means all. Edges to other steps are not counted.
	Only func(step int) bool
}

// EdgeUse counts how edges between the same places of the same endpoints were used.
type EdgeUse struct {
	// From and To are the endpoints, and Issuer and Consumer the places.
	From, Issuer, To, Consumer string
	Encoding, Class            string
	// Edges is the number of such edges in the recording.
	Edges int64
	// Fired is how often the live value was written, Changed how often it differed from the
	// recorded one, and Missing how often the live response had no value.
	Fired, Changed, Missing int64
}

// Unfired returns the number of edges whose request was never made.
func (u *EdgeUse) Unfired() int64 { return u.Edges - u.Fired - u.Missing }
