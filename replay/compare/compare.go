package compare

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

// Kinds of differences in addition to those of package match.
const (
	// NoAnswer means that there was no answer, or only a part of it. The live value is the class of
	// the failure.
	NoAnswer match.Kind = "no_answer"
	// CarriedChanged means that the recorded answer repeats a value that the session was given
	// before, and the live answer has another value there.
	CarriedChanged match.Kind = "carried_changed"
	// OutOfRange means that a number varies by itself, but this one is farther away than that
	// explains.
	OutOfRange match.Kind = "out_of_range"
)

// Options say how a Comparer compares.
type Options struct {
	// Matcher compares and redacts.
	Matcher *match.Matcher
	// ForeignTokens reports whether tokens in the recording can't be compared.
	ForeignTokens bool
}

// Answers are the answers to one request.
type Answers struct {
	// Step and Endpoint are the step and the endpoint of the request.
	Step, Endpoint int
	// Recorded is the recorded exchange. Live has the answer of the target, and Baseline the answer
	// of the baseline, or is nil if there is no baseline. They are redacted in place.
	Recorded, Live, Baseline *recording.Exchange
	// Carried and CarriedByBaseline are the values that the target and the baseline have given the
	// session so far, or nil if there are none.
	Carried, CarriedByBaseline *Carried
	// Failure is the class of failure of a request without a complete answer.
	Failure string
}

// Comparer compares answers. It is safe for concurrent use.
type Comparer struct {
	o       Options
	earlier *Observed // observations of an earlier replay, or nil

	mu       sync.Mutex
	groups   map[key]*group
	order    []*group
	sets     map[string]*set   // answers by the groups in which they differ
	equal    int64             // answers without a difference
	compared map[int]int64     // answers by endpoint
	repeated map[key]*repeated // differences between repeats in the recording, which are noise
	observed *Observed
}

type place struct {
	endpoint int
	pattern  string
}

type key struct {
	place
	kind match.Kind
}

// group collects one kind of difference while answers arrive.
type group struct {
	key
	number        int
	count         int64 // answers
	example       match.Difference
	step          int
	known, varied int64 // steps at which an earlier replay had the same value, or another one
	unseen        int64 // steps at which it had no difference
	baseline      int64 // answers in which the baseline differs from the recording here
	apart         int64 // answers in which the live answer differs from the baseline's here
	// live and byBaseline collect the values of the target and of the baseline here.
	live, byBaseline numbers
	spread           spread // live numbers for which repeats in the recording have a range
	why              string // why the first answer is in the group
}

type set struct {
	groups []int
	count  int64
}

// New returns a comparer.
func New(o Options) *Comparer {
	return &Comparer{o: o, groups: map[key]*group{}, sets: map[string]*set{}, compared: map[int]int64{}, repeated: map[key]*repeated{}, observed: NewObserved()}
}

// Baseline sets what an earlier replay observed. Call it before any answers.
func (c *Comparer) Baseline(earlier *Observed) { c.earlier = earlier }

// Equal counts an answer that equals the recorded one by [Hasher.Answer]. The answer of the
// baseline must be equal, too.
func (c *Comparer) Equal(endpoint int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.equal++
	c.compared[endpoint]++
}

// Compare compares the answers to one request. It reports whether the live answer differs from the
// recorded one at any place.
func (c *Comparer) Compare(a Answers) (differs bool) {
	var live, baseline match.Differences
	if a.Failure != "" {
		live.List = []match.Difference{{Place: "answer", Kind: NoAnswer, Recorded: statusOf(a.Recorded), Live: a.Failure}}
	} else {
		live = c.diff(a.Recorded, a.Live, a.Carried)
	}
	var apart map[string]bool
	if a.Baseline != nil {
		baseline = c.diff(a.Recorded, a.Baseline, a.CarriedByBaseline)
		apart = apartAt(live, baseline)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.compared[a.Endpoint]++
	in := map[int]bool{}
	for _, d := range live.List {
		why, at, ranged := c.outOfRange(a, &d)
		g := c.group(a, d)
		if ranged {
			g.spread.add(at)
		}
		if g.count == 0 || a.Step < g.step { // whatever the order of the answers
			g.example, g.step, g.why = d, a.Step, why
		}
		if first := !in[g.number]; first {
			in[g.number] = true
			g.count++
			if apart[d.Pattern()] {
				g.apart++
			}
		}
		c.observe(a.Step, g, d)
		g.live.add(float64(a.Step), d.Live)
	}
	for _, d := range baseline.List {
		c.outOfRange(a, &d)
		g := c.group(a, d)
		g.baseline++
		g.byBaseline.add(float64(a.Step), d.Live)
		g.byBaseline.add(float64(a.Step), d.Recorded)
	}
	if len(in) == 0 {
		c.equal++
		return false
	}
	c.addSet(in, 1)
	return true
}

// diff compares an answer with the recorded one. It leaves out what the replay itself caused: values
// that it carried, and its header if the answer repeats the headers of the request.
func (c *Comparer) diff(recorded, live *recording.Exchange, carried *Carried) match.Differences {
	d := c.o.Matcher.Diff(recorded, live, c.o.ForeignTokens)
	d.List = slices.DeleteFunc(d.List, func(one match.Difference) bool {
		return one.Kind == match.FieldAdded && strings.Contains(strings.ReplaceAll(strings.ToLower(one.Place+" "+one.Live), "_", "-"), replayHeader)
	})
	carried.explain(&d)
	return d
}

// replayHeader is the header that marks the requests of a replay.
var replayHeader = strings.ToLower(contract.HeaderReplay)

func statusOf(e *recording.Exchange) string {
	if e == nil || e.HTTP == nil || e.HTTP.Res.StatusCode == 0 {
		return ""
	}
	return e.HTTP.Res.StatusMessage
}

// apartAt returns the patterns at which the target and the baseline differ from the same recorded
// answer in different ways.
func apartAt(live, baseline match.Differences) map[string]bool {
	have := map[string]string{}
	for _, d := range baseline.List {
		have[d.Place] = string(d.Kind) + d.Live
	}
	apart := map[string]bool{}
	for _, d := range live.List {
		if have[d.Place] != string(d.Kind)+d.Live {
			apart[d.Pattern()] = true
		}
	}
	return apart
}

func (c *Comparer) group(a Answers, d match.Difference) *group {
	return c.groupOf(key{place{a.Endpoint, d.Pattern()}, d.Kind})
}

func (c *Comparer) groupOf(k key) *group {
	g := c.groups[k]
	if g == nil {
		g = &group{key: k, number: len(c.order), spread: spread{}}
		c.groups[k] = g
		c.order = append(c.order, g)
	}
	return g
}

// addSet counts answers that are in the same set of groups.
func (c *Comparer) addSet(in map[int]bool, count int64) {
	numbers := make([]int, 0, len(in))
	for n := range in {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var name []byte
	for _, n := range numbers {
		name = binary.AppendUvarint(name, uint64(n))
	}
	s := c.sets[string(name)]
	if s == nil {
		s = &set{groups: numbers}
		c.sets[string(name)] = s
	}
	s.count += count
}

// observe notes a difference for later replays, and compares it with what an earlier replay had
// there.
func (c *Comparer) observe(step int, g *group, d match.Difference) {
	value, k := hashOf(d.Place, d.Live), g.key
	if k.kind == OutOfRange { // so that the observed range grows
		k.kind = match.ValueChanged
	}
	c.observed.add(k, step, value, d)
	if c.earlier == nil {
		return
	}
	switch c.earlier.compare(k, step, value) {
	case unseen:
		g.unseen++
	case same:
		g.known++
	case other:
		g.varied++
	}
}

// outOfRange changes the kind of a difference to [OutOfRange] if the number there varies within a
// range, and this value is too far from it. why describes the range. Repeats in the recording and
// an earlier replay may each have a range; a number near one of them is not too far away. If
// repeats have no range, the earlier replay decides. If that had other values there, but no range,
// any value is noise. ranged is true if repeats have a range, or if the earlier replay's range excludes
// the value; at is then the number's position in the group's spread.
func (c *Comparer) outOfRange(a Answers, d *match.Difference) (why string, at int64, ranged bool) {
	if d.Kind != match.ValueChanged || d.Class != "" {
		return "", 0, false
	}
	k := key{place{a.Endpoint, d.Pattern()}, d.Kind}
	excluded := false
	if r := c.repeated[k]; r != nil {
		at = r.numbers.placeOf(d.Live)
		if why, excluded, ranged = r.numbers.excludesReplayed(d.Recorded, d.Live); ranged && !excluded {
			return "", at, true
		}
	}
	if c.earlier != nil && c.earlier.groups[k] != nil {
		if c.earlier.compare(k, a.Step, hashOf(d.Place, d.Live)) == same {
			return "", at, false
		}
		if why, excluded = c.earlier.groups[k].numbers.excludes(d.Recorded, d.Live); excluded {
			why = "in an earlier replay " + why
		}
		at, ranged = isolated, excluded // the earlier replay decides
	}
	if excluded {
		d.Kind = OutOfRange
	}
	return why, at, ranged
}

// spreads reports whether the replay's numbers form a chain from the range of the recording's repeats
// to the numbers out of range.
func (c *Comparer) spreads(g *group) bool {
	if g.kind != OutOfRange || len(g.spread) == 0 {
		return false
	}
	all := maps.Clone(g.spread)
	if within := c.groups[key{g.place, match.ValueChanged}]; within != nil {
		maps.Copy(all, within.spread)
	}
	return all.linked()
}

func hashOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// repeated is what repeats in the recording show about a group of differences.
type repeated struct {
	numbers numbers
	seen    map[uint64]bool // hashes of steps and places whose values are in numbers
}

func (r *repeated) add(step int, place, value string) {
	if h := hashOf(strconv.Itoa(step), place); !r.seen[h] {
		r.seen[h] = true
		r.numbers.add(float64(step), value)
	}
}

// Repeats compares the recorded answers to the same request at two steps, for evidence of noise.
// conclusive means that the order of requests does not explain the differences: nothing was written
// between the two, or they were in progress at the same time. Otherwise only values of classes that
// are generated anew each time count. Call Repeats before any answers.
func (c *Comparer) Repeats(endpoint int, steps [2]int, first, second *recording.Exchange, conclusive bool) {
	d := c.o.Matcher.Diff(first, second, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range d.List {
		if !varies(one.Kind) || one.Place == "status" || !conclusive && one.Class == "" {
			continue
		}
		r := c.repeatedAt(key{place{endpoint, one.Pattern()}, one.Kind})
		r.numbers.other = r.numbers.other || one.Class != ""
		r.add(steps[0], one.Place, one.Recorded)
		r.add(steps[1], one.Place, one.Live)
	}
}

func (c *Comparer) repeatedAt(k key) *repeated {
	r := c.repeated[k]
	if r == nil {
		r = &repeated{seen: map[uint64]bool{}}
		c.repeated[k] = r
	}
	return r
}

// varies reports whether a difference may occur by itself: another value, or another order of the
// same items.
func varies(k match.Kind) bool { return k == match.ValueChanged || k == match.OrderChanged }

// Judgement says whether a group of differences is new, known or noise.
type Judgement string

// Judgements.
const (
	IsNew   Judgement = "new"
	IsKnown Judgement = "known" // an earlier replay had it, too
	IsNoise Judgement = "noise" // it varies by itself
)

// Group is one kind of difference at one place of an endpoint's answers.
type Group struct {
	Endpoint int
	// Pattern is the place without numbers, and Kind says how values differ.
	Pattern string
	Kind    match.Kind
	// Count is the number of answers with the difference.
	Count int64
	// Judgement is the judgement on the group. Why gives the reason.
	Judgement Judgement
	Why       string
	// Example is the difference of the first affected request in the recording, and Step its step.
	Example match.Difference
	Step    int
}

// Result is what a Comparer found.
type Result struct {
	// Compared counts the compared answers. Equal counts those that equal the recorded ones, and
	// Matched those that differ only in known differences and noise.
	Compared, Equal, Matched int64
	// ByEndpoint counts, for each endpoint, the answers that were compared and that did not match.
	ByEndpoint map[int]Counts
	// Groups are sorted: new ones first, then known ones, then noise; then by endpoint and place.
	Groups []Group
	// Observed is for comparing a later replay with this one.
	Observed *Observed
}

// Counts are the counts of one endpoint.
type Counts struct{ Compared, Unmatched int64 }

// New returns the new groups.
func (r *Result) New() []Group {
	n := slices.IndexFunc(r.Groups, func(g Group) bool { return g.Judgement != IsNew })
	if n < 0 {
		return r.Groups
	}
	return r.Groups[:n]
}

// Finish judges all groups.
func (c *Comparer) Finish() *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &Result{Equal: c.equal, Matched: c.equal, Compared: c.equal, ByEndpoint: map[int]Counts{}, Observed: c.observed}
	for endpoint, n := range c.compared {
		r.ByEndpoint[endpoint] = Counts{Compared: n}
	}
	isNew := make([]bool, len(c.order))
	for _, g := range c.order {
		if g.count == 0 {
			continue // only the baseline has this difference
		}
		judgement, why := c.judge(g)
		isNew[g.number] = judgement == IsNew
		r.Groups = append(r.Groups, Group{g.endpoint, g.pattern, g.kind, g.count, judgement, why, g.example, g.step})
	}
	for _, s := range c.sets {
		r.Compared += s.count
		i := slices.IndexFunc(s.groups, func(n int) bool { return isNew[n] })
		if i < 0 && len(s.groups) > 0 {
			r.Matched += s.count
			continue
		}
		if i >= 0 {
			endpoint := c.order[s.groups[i]].endpoint
			counts := r.ByEndpoint[endpoint]
			counts.Unmatched += s.count
			r.ByEndpoint[endpoint] = counts
		}
	}
	rank := map[Judgement]int{IsNew: 0, IsKnown: 1, IsNoise: 2}
	slices.SortStableFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(rank[a.Judgement], rank[b.Judgement]), cmp.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Pattern, b.Pattern), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return r
}

func (c *Comparer) judge(g *group) (Judgement, string) {
	if varies(g.kind) {
		if c.repeated[g.key] != nil {
			return IsNoise, "repeats of a request in the recording differ there"
		}
		if g.varied > 0 {
			return IsNoise, "an earlier replay had other values there"
		}
	}
	if g.baseline > 0 && !exceeds(g.apart, g.baseline, c.compared[g.endpoint]) {
		for _, y := range g.live.ends() {
			if why, excluded := g.byBaseline.excludes("", y); excluded && g.kind == match.ValueChanged {
				return IsNew, "in the baseline " + why
			}
		}
		return IsNoise, "the baseline also differs from the recording there, and from this build no more often"
	}
	if c.spreads(g) {
		return IsNoise, "this replay also has numbers between these and those of repeats in the recording"
	}
	if c.earlier != nil && g.known > 0 && g.unseen == 0 {
		return IsKnown, "an earlier replay had the same"
	}
	return IsNew, g.why
}
