package compare

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/match"
)

// maxObserved bounds the values that are kept for a group. A few are enough to see noise.
const maxObserved = 2000

// Observed holds the values of a replay's answers where they differed from the recording. From it,
// a later replay of the same recording learns which values vary, and which are known.
type Observed struct {
	groups map[key]*observations
}

// observations are the observations of a group, by step.
type observations struct {
	steps   map[int]uint64 // hashes of place and value, for the first place of the pattern
	numbers numbers        // all values
}

// NewObserved returns an empty Observed.
func NewObserved() *Observed { return &Observed{groups: map[key]*observations{}} }

func (o *Observed) add(k key, step int, value uint64, d match.Difference) {
	g := o.groups[k]
	if g == nil {
		g = &observations{steps: map[int]uint64{}}
		o.groups[k] = g
	}
	g.numbers.other = g.numbers.other || d.Class != ""
	g.numbers.add(float64(step), d.Recorded)
	g.numbers.add(float64(step), d.Live)
	if _, ok := g.steps[step]; ok {
		return
	}
	if len(g.steps) < maxObserved {
		g.steps[step] = value
	}
}

// seen says how a value compares with that of an earlier replay at the same step.
type seen int

const (
	unseen seen = iota // no difference
	same               // the same value
	other              // another value
)

// compare compares a value with the observed one. If the group has more steps than were kept, a
// step that was not kept counts as having the same value.
func (o *Observed) compare(k key, step int, value uint64) seen {
	g := o.groups[k]
	if g == nil {
		return unseen
	}
	switch had, ok := g.steps[step]; {
	case !ok && len(g.steps) < maxObserved:
		return unseen
	case !ok || had == value:
		return same
	}
	return other
}

// observedJSON is a group in a report. Values encodes steps and values in one string.
type observedJSON struct {
	Endpoint string     `json:"endpoint"`
	Place    string     `json:"place"`
	Kind     match.Kind `json:"kind"`
	Values   string     `json:"values"`
	// Range is the range of the numbers there, including the recorded ones, if they have one.
	Range *rangeJSON `json:"range,omitempty"`
}

type rangeJSON struct {
	Count int     `json:"count"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// Encode returns the observations for a report. endpoints lists the names of endpoints by number.
func (o *Observed) Encode(endpoints []string) (json.RawMessage, error) {
	all := []observedJSON{}
	for k, g := range o.groups {
		one := observedJSON{Endpoint: endpoints[k.endpoint], Place: k.pattern, Kind: k.kind, Values: g.values()}
		if _, _, ok := g.numbers.tolerance(replayWidths); ok {
			one.Range = &rangeJSON{g.numbers.n, g.numbers.min, g.numbers.max}
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b observedJSON) int {
		return slices.Compare([]string{a.Endpoint, a.Place, string(a.Kind)}, []string{b.Endpoint, b.Place, string(b.Kind)})
	})
	return json.Marshal(all)
}

// DecodeObserved decodes what Encode wrote. It leaves out endpoints that are not in endpoints.
func DecodeObserved(text json.RawMessage, endpoints []string) (*Observed, error) {
	o := NewObserved()
	if len(text) == 0 {
		return o, nil
	}
	var all []observedJSON
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read what an earlier replay observed: %w", err)
	}
	for _, one := range all {
		endpoint := slices.Index(endpoints, one.Endpoint)
		if endpoint < 0 {
			continue
		}
		steps, err := parseValues(one.Values)
		if err != nil {
			return nil, fmt.Errorf("read what an earlier replay observed at %s of %s: %w", one.Place, one.Endpoint, err)
		}
		k := key{place{endpoint, one.Place}, one.Kind}
		o.groups[k] = &observations{steps: steps}
		if r := one.Range; r != nil && r.Min <= r.Max {
			o.groups[k].numbers = numbers{n: r.Count, min: r.Min, max: r.Max}
		}
	}
	return o, nil
}
