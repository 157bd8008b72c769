package compare

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tapedeck/tapedeck/match"
)

// partJSON is the state of a shard's comparer in its report. Joined parts give the same
// judgements as a single comparer of all answers.
type partJSON struct {
	// Earlier reports whether there is an earlier replay to compare with.
	Earlier  bool              `json:"earlier,omitempty"`
	Equal    int64             `json:"equal"`
	Compared map[string]int64  `json:"compared,omitempty"` // by endpoint
	Groups   []partGroup       `json:"groups,omitempty"`
	Sets     []partSet         `json:"sets,omitempty"`
	Observed []partObservation `json:"observed,omitempty"`
}

type partGroup struct {
	Endpoint string     `json:"endpoint"`
	Place    string     `json:"place"`
	Kind     match.Kind `json:"kind"`
	// Repeats reports whether the values differ in repeats of the recording.
	Repeats    bool             `json:"repeats,omitempty"`
	Count      int64            `json:"count,omitempty"`
	Example    match.Difference `json:"example"`
	Step       int              `json:"step"`
	Of         Origin           `json:"of"`
	Why        string           `json:"why,omitempty"`
	Known      int64            `json:"known,omitempty"`
	Varied     int64            `json:"varied,omitempty"`
	Unseen     int64            `json:"unseen,omitempty"`
	Baseline   int64            `json:"baseline,omitempty"`
	Apart      int64            `json:"apart,omitempty"`
	Live       numbersJSON      `json:"live"`
	ByBaseline numbersJSON      `json:"byBaseline"`
	Spread     []int64          `json:"spread,omitempty"`
}

// Origin names the request that an example comes from.
type Origin struct {
	Exchange string `json:"exchange,omitempty"`
	Request  string `json:"request,omitempty"`
}

type partSet struct {
	Groups []int `json:"groups"` // indexes in partJSON.Groups
	Count  int64 `json:"count"`
}

type partObservation struct {
	Endpoint string      `json:"endpoint"`
	Place    string      `json:"place"`
	Kind     match.Kind  `json:"kind"`
	Values   string      `json:"values"`
	Numbers  numbersJSON `json:"numbers"`
}

// numbersJSON stores floats as bits, because sums of large numbers may be infinite, which JSON
// can't express.
type numbersJSON struct {
	N     int       `json:"n,omitempty"`
	Other bool      `json:"other,omitempty"`
	Bits  [9]uint64 `json:"bits,omitempty"`
}

func (v *numbers) fields() [9]*float64 {
	return [...]*float64{&v.min, &v.max, &v.x0, &v.y0, &v.sx, &v.sy, &v.sxx, &v.syy, &v.xy}
}

func (v *numbers) json() numbersJSON {
	j := numbersJSON{N: v.n, Other: v.other}
	for i, f := range v.fields() {
		j.Bits[i] = math.Float64bits(*f)
	}
	return j
}

func (j *numbersJSON) numbers() numbers {
	v := numbers{n: max(0, j.N), other: j.Other}
	for i, f := range v.fields() {
		*f = math.Float64frombits(j.Bits[i])
	}
	return v
}

// join adds the values of o.
func (v *numbers) join(o numbers) {
	v.other = v.other || o.other
	switch {
	case o.n == 0:
		return
	case v.n == 0:
		o.other = v.other
		*v = o
		return
	}
	n, x, y := float64(o.n), o.x0-v.x0, o.y0-v.y0
	v.n += o.n
	v.min, v.max = min(v.min, o.min), max(v.max, o.max)
	v.sx, v.sy = v.sx+o.sx+n*x, v.sy+o.sy+n*y
	v.sxx, v.syy = v.sxx+o.sxx+2*x*o.sx+n*x*x, v.syy+o.syy+2*y*o.sy+n*y*y
	v.xy += o.xy + x*o.sy + y*o.sx + n*x*y
}

// Part returns the comparer's state for the report of a shard. endpoints lists the names of
// endpoints by number, and origin names the request of a step.
func (c *Comparer) Part(endpoints []string, origin func(step int) Origin) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := partJSON{Earlier: c.earlier != nil, Equal: c.equal, Compared: map[string]int64{}}
	for endpoint, n := range c.compared {
		p.Compared[endpoints[endpoint]] = n
	}
	for _, g := range c.order {
		p.Groups = append(p.Groups, partGroup{
			Endpoint: endpoints[g.endpoint], Place: g.pattern, Kind: g.kind, Repeats: c.repeated[g.key] != nil, Count: g.count,
			Example: g.example, Step: g.step, Of: origin(g.step), Why: g.why, Known: g.known, Varied: g.varied, Unseen: g.unseen,
			Baseline: g.baseline, Apart: g.apart, Live: g.live.json(), ByBaseline: g.byBaseline.json(),
			Spread: slices.Sorted(maps.Keys(g.spread)),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(c.sets)) {
		p.Sets = append(p.Sets, partSet{c.sets[name].groups, c.sets[name].count})
	}
	for k, g := range c.observed.groups {
		p.Observed = append(p.Observed, partObservation{endpoints[k.endpoint], k.pattern, k.kind, g.values(), g.numbers.json()})
	}
	return json.Marshal(p)
}

// Joined is the result of all parts of a run.
type Joined struct {
	*Result
	// Endpoints lists the names of endpoints by number.
	Endpoints []string
	// Origins are the origins of the groups' examples.
	Origins []Origin
}

// Join judges the parts of a run together.
func Join(parts []json.RawMessage) (*Joined, error) {
	j := &joining{c: New(Options{}), numbers: map[string]int{}, origins: map[key]Origin{}}
	for i, text := range parts {
		var p partJSON
		err := json.Unmarshal(text, &p)
		if err == nil {
			err = j.add(&p)
		}
		if err != nil {
			return nil, fmt.Errorf("comparison of part %d of %d: %w", i+1, len(parts), err)
		}
	}
	joined := &Joined{Result: j.c.Finish(), Endpoints: j.names}
	for _, g := range joined.Groups {
		joined.Origins = append(joined.Origins, j.origins[key{place{g.Endpoint, g.Pattern}, g.Kind}])
	}
	return joined, nil
}

// joining combines parts into one comparer.
type joining struct {
	c       *Comparer
	names   []string // of endpoints
	numbers map[string]int
	origins map[key]Origin
}

func (j *joining) endpoint(name string) int {
	n, ok := j.numbers[name]
	if !ok {
		n = len(j.names)
		j.numbers[name] = n
		j.names = append(j.names, name)
	}
	return n
}

func (j *joining) key(endpoint, pattern string, kind match.Kind) key {
	return key{place{j.endpoint(endpoint), pattern}, kind}
}

func (j *joining) add(p *partJSON) error {
	c := j.c
	if p.Earlier && c.earlier == nil {
		c.earlier = NewObserved() // judging only asks whether there is one
	}
	c.equal += p.Equal
	for name, n := range p.Compared {
		c.compared[j.endpoint(name)] += n
	}
	here := make([]int, len(p.Groups)) // numbers of p.Groups in c
	for i := range p.Groups {
		here[i] = j.group(&p.Groups[i])
	}
	for _, s := range p.Sets {
		in := map[int]bool{}
		for _, n := range s.Groups {
			if n < 0 || n >= len(here) {
				return fmt.Errorf("an answer is in group %d of %d", n, len(here))
			}
			in[here[n]] = true
		}
		c.addSet(in, s.Count)
	}
	for i := range p.Observed {
		if err := j.observation(&p.Observed[i]); err != nil {
			return err
		}
	}
	return nil
}

// group adds a group and returns its number.
func (j *joining) group(p *partGroup) int {
	k := j.key(p.Endpoint, p.Place, p.Kind)
	g := j.c.groupOf(k)
	if p.Repeats {
		j.c.repeatedAt(k)
	}
	if p.Count > 0 && (g.count == 0 || p.Step < g.step) {
		g.example, g.step, g.why = p.Example, p.Step, p.Why
		j.origins[k] = p.Of
	}
	for _, n := range []struct {
		to   *int64
		from int64
	}{{&g.count, p.Count}, {&g.known, p.Known}, {&g.varied, p.Varied}, {&g.unseen, p.Unseen}, {&g.baseline, p.Baseline}, {&g.apart, p.Apart}} {
		*n.to += n.from
	}
	g.live.join(p.Live.numbers())
	g.byBaseline.join(p.ByBaseline.numbers())
	for _, at := range p.Spread {
		g.spread.add(at)
	}
	return g.number
}

func (j *joining) observation(p *partObservation) error {
	k := j.key(p.Endpoint, p.Place, p.Kind)
	o := j.c.observed.groups[k]
	if o == nil {
		o = &observations{steps: map[int]uint64{}}
		j.c.observed.groups[k] = o
	}
	steps, err := parseValues(p.Values)
	if err != nil {
		return fmt.Errorf("what was observed at %s of %s: %w", p.Place, p.Endpoint, err)
	}
	maps.Copy(o.steps, steps)
	o.numbers.join(p.Numbers.numbers())
	if over := len(o.steps) - maxObserved; over > 0 {
		all := slices.Sorted(maps.Keys(o.steps))
		for _, step := range all[len(all)-over:] {
			delete(o.steps, step)
		}
	}
	return nil
}

// values encodes the observations in base64: for each step its number as a uvarint, and the
// 8 bytes of the hash.
func (g *observations) values() string {
	var text []byte
	for _, step := range slices.Sorted(maps.Keys(g.steps)) {
		text = binary.AppendUvarint(text, uint64(step))
		text = binary.LittleEndian.AppendUint64(text, g.steps[step])
	}
	return base64.StdEncoding.EncodeToString(text)
}

var errDamagedValues = errors.New("its values are damaged")

func parseValues(text string) (map[int]uint64, error) {
	values, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	steps := map[int]uint64{}
	for len(values) > 0 {
		step, n := binary.Uvarint(values)
		if n <= 0 || len(values) < n+8 || step > 1<<31 {
			return nil, errDamagedValues
		}
		steps[int(step)] = binary.LittleEndian.Uint64(values[n:])
		values = values[n+8:]
	}
	return steps, nil
}
