// Package order chooses which of several recorded answers to the same request is next.
//
//	live request ─▶ Identity: trace, cookie, token, connection
//	                   │ belongs to a recorded one after its first answer
//	                   ▼
//	answers of the same recorded session, in recorded order
//	else the first answers of a session that belongs to no caller yet
//	else recorded order
//	else, after all have been given, the [Policy]
//
// It promises:
//
//   - In parallel sessions each reads its own writes, although their requests are the same.
//   - A choice depends only on the recording and on the requests so far.
//   - A choice takes the same time, however many answers there are.
//
// It imports recording and the standard library.
package order

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Policy says how to answer a request after all its answers have been given.
type Policy string

// Policies.
const (
	Last  Policy = "last"  // repeat the last answer, which shows the final state
	Cycle Policy = "cycle" // repeat all answers, from the first
	Miss  Policy = "miss"  // give no answer
)

// Policies lists all policies.
func Policies() []Policy { return []Policy{Last, Cycle, Miss} }

// ParsePolicy parses the name of a policy.
func ParsePolicy(text string) (Policy, error) {
	if p := Policy(text); slices.Contains(Policies(), p) {
		return p, nil
	}
	return "", fmt.Errorf("%q is not a policy for repeated requests: want last, cycle or miss", text)
}

// Recorded is what the choice needs to know about a recorded exchange.
type Recorded struct {
	Identity
	// Shared is the set of kinds whose values other exchanges also have; see [Share].
	Shared     Shared
	Start, End time.Time
}

// Chooser chooses among entries. It is safe for concurrent use.
type Chooser struct {
	policy   Policy
	recorded func(entry uint32) Recorded
	served   []atomic.Uint32 // by entry

	mu        sync.Mutex
	sequences map[uint64]*sequence
	stands    generations[named] // recorded identities by live ones
	claims    map[named]uint32   // number of live identities, by the recorded one that they belong to
}

// New returns a chooser for the entries 0 to n-1. recorded returns the facts about an entry.
func New(policy Policy, n int, recorded func(entry uint32) Recorded) *Chooser {
	return &Chooser{policy: policy, recorded: recorded, served: make([]atomic.Uint32, n), sequences: map[uint64]*sequence{}, claims: map[named]uint32{}}
}

// Served returns how often an entry was chosen.
func (c *Chooser) Served(entry uint32) int { return int(c.served[entry].Load()) }

// Unserved counts the entries that were never chosen.
func (c *Chooser) Unserved() (n int) {
	for i := range c.served {
		if c.served[i].Load() == 0 {
			n++
		}
	}
	return n
}

// Choose chooses among the entries that answer a request of the caller. They are in recorded
// order, and sequence identifies them: the same number always comes with the same entries.
// ok is false if the policy is Miss and all entries have been chosen.
func Choose[E ~uint32](c *Chooser, sequence uint64, entries []E, caller Identity) (chosen E, ok bool) {
	if len(entries) == 1 && c.policy != Miss {
		c.served[entries[0]].Add(1)
		if r := c.recorded(uint32(entries[0])); r.Shared != 0 && caller != (Identity{}) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.meet(caller, r)
		}
		return entries[0], true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sequences[sequence]
	if s == nil {
		s = newSequence(c, entries)
		if len(entries) > 1 {
			c.sequences[sequence] = s
		}
	}
	position := s.choose(caller)
	if position < 0 {
		return 0, false
	}
	entry := s.entries[position]
	c.served[entry].Add(1)
	c.meet(caller, c.recorded(entry))
	return E(entry), true
}

// Return takes back a choice, because the entry was not served.
func (c *Chooser) Return(sequence uint64, entry uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.served[entry].Load() == 0 {
		return
	}
	c.served[entry].Add(^uint32(0))
	if s := c.sequences[sequence]; s != nil {
		s.rewind()
	}
}

// named is an identity of one kind.
type named struct {
	kind  kind
	value uint64
}

// standsFor returns the recorded identity that a live identity belongs to.
func (c *Chooser) standsFor(k kind, live uint64) (recorded uint64, ok bool) {
	to, ok := c.stands.get(named{k, live})
	return to, ok
}

// meet notes that the caller's identities belong to the recorded ones from now on, unless they
// already belong to others.
func (c *Chooser) meet(caller Identity, r Recorded) {
	recorded := r.Identity
	for k := range kinds {
		if caller[k] == 0 || recorded[k] == 0 {
			continue
		}
		if k == connection {
			if to, ok := c.standsFor(k, caller[k]); !ok || to != recorded[k] {
				c.stands.set(named{k, caller[k]}, recorded[k]) // a live connection may stand for several, one after the other
			}
			continue
		}
		if _, ok := c.standsFor(k, caller[k]); !ok {
			c.stands.set(named{k, caller[k]}, recorded[k])
			if len(c.claims) >= maxKnown { // old claims have ended
				clear(c.claims)
			}
			c.claims[named{k, recorded[k]}]++
		}
	}
}

// sequence is the answers to one request.
type sequence struct {
	*Chooser
	entries []uint32
	runs    [kinds]*runs // by session; nil where no answer has an identity of the kind
	all     run
	lap     uint32 // how often all answers have been given
	// scoped reports whether each connection is a session.
	scoped bool
}

// run is a list of answers in recorded order.
type run struct {
	next int // all answers before this one have been given in this lap
	over int // number of answers given after all had been given
}

// runs is the answers sorted by an identity.
type runs struct {
	sorted []member
	heads  []uint32 // index in sorted of each session's first answer, in recorded order
	next   int      // in heads: all before this one are claimed in this lap
}

type member struct {
	value    uint64
	position uint32
	next     uint32 // in the first member of a session: like run.next, relative to this member
}

func newSequence[E ~uint32](c *Chooser, entries []E) *sequence {
	s := &sequence{Chooser: c, entries: make([]uint32, len(entries))}
	for i, e := range entries {
		s.entries[i] = uint32(e)
	}
	if len(entries) == 1 {
		return s
	}
	for k := range kinds {
		s.runs[k] = s.sort(k)
	}
	s.scoped = s.runs[connection] != nil && s.concurrent()
	return s
}

// sort sorts the answers by an identity.
func (s *sequence) sort(k kind) *runs {
	r := &runs{sorted: make([]member, len(s.entries))}
	found := false
	for i, e := range s.entries {
		r.sorted[i] = member{value: s.recorded(e).Identity[k], position: uint32(i)}
		found = found || r.sorted[i].value != 0
	}
	if !found {
		return nil
	}
	slices.SortFunc(r.sorted, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.position, b.position))
	})
	for i := range r.sorted {
		if i == 0 || r.sorted[i].value != r.sorted[i-1].value {
			r.heads = append(r.heads, uint32(i))
		}
	}
	slices.SortFunc(r.heads, func(a, b uint32) int { return cmp.Compare(r.sorted[a].position, r.sorted[b].position) })
	return r
}

// concurrent reports whether each connection is a session. That is so if the connections were used
// one after the other, or all at the same time, but not if one caller used a pool of them in no
// particular order.
func (s *sequence) concurrent() bool {
	seen := map[uint64]bool{}
	var last uint64
	var until time.Time
	turns, overlap := true, false
	for _, e := range s.entries {
		r := s.recorded(e)
		id := r.Identity[connection]
		if id != last {
			overlap = overlap || last != 0 && r.Start.Before(until)
			turns = turns && !seen[id]
			seen[id], last = true, id
		}
		if r.End.After(until) {
			until = r.End
		}
	}
	return turns || overlap
}

// of returns the members of a session.
func (r *runs) of(value uint64) (from, to int) {
	from, ok := slices.BinarySearchFunc(r.sorted, value, func(m member, v uint64) int { return cmp.Compare(m.value, v) })
	if !ok {
		return 0, 0
	}
	to, _ = slices.BinarySearchFunc(r.sorted[from:], value, func(m member, v uint64) int {
		if m.value <= v {
			return -1
		}
		return 1
	})
	return from, from + to
}

// available reports whether the answer at a position has not been given in this lap.
func (s *sequence) available(position int) bool {
	return s.served[s.entries[position]].Load() <= s.lap
}

// choose returns the position of the answer to give, or -1 if there is none.
func (s *sequence) choose(caller Identity) int {
	if position, ok := s.ofSession(caller); ok {
		return position
	}
	strange := false
	for _, k := range [...]kind{cookie, token, trace} {
		r := s.runs[k]
		if caller[k] == 0 || r == nil {
			continue
		}
		if _, ok := s.standsFor(k, caller[k]); ok {
			continue
		}
		if position := s.unclaimed(k, r); position >= 0 {
			return position
		}
		strange = true // the remaining answers belong to others
	}
	if s.scoped && caller[connection] != 0 {
		if position := s.ofConnection(caller[connection]); position >= 0 {
			return position
		}
	}
	if !strange || s.policy == Cycle {
		if position := s.inOrder(); position >= 0 {
			return position
		}
	}
	if s.policy == Cycle {
		s.begin()
		if position := s.inOrder(); position >= 0 {
			return position
		}
	}
	return s.spent(len(s.entries), &s.all.over, func(i int) int { return i })
}

// begin begins the next lap.
func (s *sequence) begin() {
	least := s.served[s.entries[0]].Load()
	for _, e := range s.entries {
		least = min(least, s.served[e].Load())
	}
	s.lap = least
	s.rewind()
}

// rewind starts the search for answers at the beginning again.
func (s *sequence) rewind() {
	s.all.next = 0
	for _, r := range s.runs {
		if r != nil {
			r.next = 0
			for i := range r.sorted {
				r.sorted[i].next = 0
			}
		}
	}
}

// inOrder returns the first answer that has not been given, or -1 if there is none.
func (s *sequence) inOrder() int {
	for ; s.all.next < len(s.entries); s.all.next++ {
		if s.available(s.all.next) {
			return s.all.next
		}
	}
	return -1
}

// spent returns the next of n answers after all have been given.
func (s *sequence) spent(n int, over *int, position func(i int) int) int {
	switch s.policy {
	case Last:
		return position(n - 1)
	case Cycle:
		*over++
		return position((*over - 1) % n)
	}
	return -1
}

// ofSession returns an answer of the session that the caller's identities belong to, the
// narrowest identity first. ok is false if no such session sent this request.
func (s *sequence) ofSession(caller Identity) (position int, ok bool) {
	for _, k := range [...]kind{trace, cookie, token} {
		r := s.runs[k]
		if caller[k] == 0 || r == nil {
			continue
		}
		to, met := s.standsFor(k, caller[k])
		if !met {
			to = caller[k] // the live identity may equal the recorded one
		}
		from, end := r.of(to)
		if from == end {
			continue
		}
		if position := s.next(k, r, from, end, caller); position >= 0 {
			return position, true
		}
		over := int(r.sorted[from].next) - (end - from)
		position := s.spent(end-from, &over, func(i int) int { return int(r.sorted[from+i].position) })
		r.sorted[from].next = uint32(end - from + over)
		return position, true
	}
	return 0, false
}

// window bounds the answers of a session that are searched for a trace without a caller.
const window = 64

// next returns the next answer of a session, or -1 if all have been given.
func (s *sequence) next(k kind, r *runs, from, end int, caller Identity) int {
	head := &r.sorted[from]
	for int(head.next) < end-from && !s.available(int(r.sorted[from+int(head.next)].position)) {
		head.next++
	}
	first := from + int(head.next)
	if first >= end {
		return -1
	}
	if _, met := s.standsFor(trace, caller[trace]); k != trace && caller[trace] != 0 && !met && s.runs[trace] != nil {
		for i := first; i < min(end, first+window); i++ {
			position := int(r.sorted[i].position)
			if s.available(position) && !s.claimed(trace, s.recorded(s.entries[position]).Identity[trace]) {
				return position
			}
		}
	}
	return int(r.sorted[first].position)
}

// claimed reports whether a recorded identity belongs to a caller in this lap.
func (s *sequence) claimed(k kind, recorded uint64) bool {
	return recorded != 0 && s.claims[named{k, recorded}] > s.lap
}

// unclaimed returns the first answer of the first session that belongs to no caller, or -1 if
// there is none.
func (s *sequence) unclaimed(k kind, r *runs) int {
	for ; r.next < len(r.heads); r.next++ {
		from := int(r.heads[r.next])
		value := r.sorted[from].value
		if s.claimed(k, value) {
			continue
		}
		_, end := r.of(value)
		head := &r.sorted[from]
		for int(head.next) < end-from && !s.available(int(r.sorted[from+int(head.next)].position)) {
			head.next++
		}
		if i := from + int(head.next); i < end {
			return int(r.sorted[i].position)
		}
	}
	return -1
}

// ofConnection returns an answer of the recorded connection that the caller's connection belongs to,
// otherwise of a connection none of whose answers has been given, or -1 if there is none.
func (s *sequence) ofConnection(live uint64) int {
	r := s.runs[connection]
	if to, ok := s.standsFor(connection, live); ok {
		if from, end := r.of(to); from < end {
			if position := s.next(connection, r, from, end, Identity{}); position >= 0 {
				return position
			}
		}
	}
	for ; r.next < len(r.heads); r.next++ {
		from := int(r.heads[r.next])
		if position := int(r.sorted[from].position); s.available(position) {
			return position
		}
	}
	return -1
}
