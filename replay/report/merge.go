package report

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Merge merges the reports of shards into the report of a single run over the same samples. If the
// report of a shard is missing, the shard is in Merged.Lost, and the result is incomplete. Merge
// does not change the shards. The caller judges the result.
func Merge(shards []*Report) (*Report, error) {
	if len(shards) == 0 {
		return nil, errors.New("no report to merge")
	}
	shards = slices.Clone(shards)
	for i, s := range shards {
		if s.Shard == nil {
			return nil, fmt.Errorf("report %d of %d is not from a shard", i+1, len(shards))
		}
	}
	slices.SortStableFunc(shards, func(a, b *Report) int { return a.Shard.Index - b.Shard.Index })
	first := shards[0]
	for i, s := range shards {
		if i > 0 && s.Shard.Index == shards[i-1].Shard.Index {
			return nil, fmt.Errorf("two reports are from shard %d", s.Shard.Index)
		}
		if s.Shard.Of != first.Shard.Of {
			return nil, fmt.Errorf("shard %d is from another run than shard %d: its number of shards is %d, not %d", s.Shard.Index, first.Shard.Index, s.Shard.Of, first.Shard.Of)
		}
		if err := SameRun(s, first); err != nil {
			return nil, fmt.Errorf("shard %d is from another run than shard %d: %w", s.Shard.Index, first.Shard.Index, err)
		}
	}
	m := &Report{
		Version: first.Version, Run: first.Run, Settings: first.Settings, Source: first.Source, Target: first.Target, BuildTag: first.BuildTag, Baseline: first.Baseline, Load: first.Load,
		Started: first.Started, Ended: first.Ended, Merged: &Merged{Of: first.Shard.Of},
	}
	m.Source.Steps, m.Source.Findings, m.Source.LeftOut = 0, nil, nil
	here := map[int]bool{}
	var partial []string
	for _, s := range shards {
		here[s.Shard.Index] = true
		if s.Started.Before(m.Started) {
			m.Started = s.Started
		}
		if s.Ended.After(m.Ended) {
			m.Ended = s.Ended
		}
		if s.Partial != "" {
			partial = append(partial, s.of(s.Partial))
		}
		m.Source.add(&s.Source)
		m.Results.Merge(&s.Results)
		m.Generator.add(s.Generator, s.of(s.Generator.Bound))
		for _, p := range s.Problems {
			m.Problems = append(m.Problems, Exit{p.Code, s.of(p.Reason)})
		}
		if s.Fixes != nil {
			if m.Fixes == nil {
				m.Fixes = new(Fixes)
			}
			m.Fixes.add(s.Fixes)
		}
		if m.Mock != nil && s.Mock != nil {
			m.Mock.Add(s.Mock)
		} else if s.Mock != nil {
			first := *s.Mock
			first.Misses = slices.Clone(first.Misses)
			m.Mock = &first
		}
	}
	m.Partial = strings.Join(partial, "; ")
	for i := range m.Merged.Of {
		if !here[i] {
			m.Merged.Lost = append(m.Merged.Lost, i)
		}
	}
	m.Differences = gather(shards, func(r *Report) []Difference { return r.Differences }, Difference.key, (*Difference).add)
	m.Edges = gather(shards, func(r *Report) []Edge { return r.Edges }, Edge.key, (*Edge).add)
	m.Ambiguous = gather(shards, func(r *Report) []Ambiguous { return r.Ambiguous }, Ambiguous.key, (*Ambiguous).add)
	m.Needs = gather(shards, func(r *Report) []Need { return r.Needs }, Need.key, (*Need).add)
	m.UnfiredRules = unfired(shards)
	if len(shards) == 1 {
		m.Observed = first.Observed
	}
	return m, nil
}

// SameRun returns an error if two reports can't be from shards of one run. Each shard divides the
// recording itself, so all shards must read the same recording and send it in the same way.
func SameRun(r, as *Report) error {
	for _, same := range []struct{ what, got, want string }{
		{"run", r.Run, as.Run},
		{"recording", r.Source.Place, as.Source.Place},
		{"hash of the recording", r.Source.SHA256, as.Source.SHA256},
		{"load", r.Load.Shape, as.Load.Shape},
		{"loop", string(r.Load.Loop), string(as.Load.Loop)},
		{"version", r.Version, as.Version},
		{"digest of the settings", r.Settings, as.Settings},
	} {
		if same.got != same.want {
			return fmt.Errorf("its %s is %q, not %q", same.what, same.got, same.want)
		}
	}
	return nil
}

// of prefixes a text with the name of the report's shard.
func (r *Report) of(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("shard %d: %s", r.Shard.Index, text)
}

// gather merges the parts of shards that have the same key. It keeps the order of the shards. Each
// shard has all edges in the order of a single run.
func gather[T any](shards []*Report, of func(*Report) []T, key func(T) string, add func(*T, T)) []T {
	merged := map[string]*T{}
	var order []*T
	for _, s := range shards {
		for _, one := range of(s) {
			k := key(one)
			if m := merged[k]; m != nil {
				add(m, one)
			} else {
				merged[k] = &one
				order = append(order, &one)
			}
		}
	}
	var all []T
	for _, one := range order {
		all = append(all, *one)
	}
	return all
}

// unfired returns the rules that fired in no shard.
func unfired(shards []*Report) (rules []string) {
	for _, rule := range shards[0].UnfiredRules {
		if !slices.ContainsFunc(shards, func(r *Report) bool { return !slices.Contains(r.UnfiredRules, rule) }) {
			rules = append(rules, rule)
		}
	}
	return rules
}

func key(parts ...string) string { return strings.Join(parts, "\x00") }

func (s Site) key() string { return key(s.Endpoint, s.Place) }

func (d Difference) key() string { return key(d.Endpoint, d.Place, string(d.Kind), string(d.State)) }

func (d *Difference) add(o Difference) {
	d.Count += o.Count
	if cmp.Or(cmp.Compare(o.Example.Exchange, d.Example.Exchange), cmp.Compare(o.Example.Place, d.Example.Place)) < 0 {
		d.Example = o.Example
	}
}

func (e Edge) key() string { return key(e.From.key(), e.To.key(), e.Encoding) }

func (e *Edge) add(o Edge) {
	e.Fired += o.Fired
	e.Unfired += o.Unfired
	// The text "the answer that should issue it …" takes precedence over "its request was not sent", as
	// in a single run.
	e.Reason = max(e.Reason, o.Reason)
}

func (a Ambiguous) key() string {
	parts := []string{a.To.key(), a.Reason}
	for _, f := range a.From {
		parts = append(parts, f.key())
	}
	return key(parts...)
}

func (a *Ambiguous) add(o Ambiguous) { a.Count += o.Count }

func (n Need) key() string { return key(n.Site.key(), n.Reason, n.Supplied) }

func (n *Need) add(o Need) { n.Count += o.Count }

func (s *Source) add(o *Source) {
	s.Steps += o.Steps
	for _, f := range o.Findings {
		if !slices.Contains(s.Findings, f) {
			s.Findings = append(s.Findings, f)
		}
	}
	for reason, n := range o.LeftOut {
		if s.LeftOut == nil {
			s.LeftOut = map[string]int64{}
		}
		s.LeftOut[reason] += n
	}
}

func (f *Fixes) add(o *Fixes) {
	f.Gone += o.Gone
	f.Still += o.Still
	f.Example = cmp.Or(f.Example, o.Example)
}

func (g *Generator) add(o Generator, bound string) {
	g.CPUSeconds += o.CPUSeconds
	g.MaxLagMicros = max(g.MaxLagMicros, o.MaxLagMicros)
	g.InFlightBound += o.InFlightBound
	g.BoundHits += o.BoundHits
	g.Bound = joined("; ", g.Bound, bound)
}

// Add adds the counts of another mock, or of an earlier run of the same mock.
func (m *Mock) Add(o *Mock) {
	m.Served += o.Served
	m.Masked += o.Masked
	m.Missed += o.Missed
	m.Passthrough += o.Passthrough
	m.Escaped += o.Escaped
	m.NeverUsed = min(m.NeverUsed, o.NeverUsed) // each mock has the whole recording
	for _, miss := range o.Misses {
		i := slices.IndexFunc(m.Misses, func(one Miss) bool { return one.Endpoint == miss.Endpoint && one.Reason == miss.Reason })
		if i < 0 {
			m.Misses = append(m.Misses, miss)
		} else {
			m.Misses[i].Count += miss.Count
		}
	}
}
