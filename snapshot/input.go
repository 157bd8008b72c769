package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Selection selects exchanges of a place or of another snapshot.
type Selection struct {
	// Query selects segments and exchanges.
	Query read.Query
	// Match, unless it is nil, selects among the exchanges that Query selects. It gets the whole exchange.
	Match func(*recording.Exchange) bool
	// Asked has the values that a person gave, by the name of the flag.
	Asked map[string]string
	// AllowDamaged takes the exchanges of a damaged recording that can be read. It doesn't apply to
	// snapshots: a changed snapshot is always an error.
	AllowDamaged bool
	// Read has further options of the reader. The reader always reads in order.
	Read read.Options
}

// Select returns the input of [Create] from the result of [Source]: a store and, unless that is a place,
// a snapshot. The store may also be a file ([read.Path]).
func Select(ctx context.Context, from contract.Place, s read.Store, parent *Snapshot, sel Selection) (Input, error) {
	o := sel.Read
	o.Order = read.Sorted
	r, err := read.Open(ctx, sel.Query, o, s)
	if err != nil {
		return Input{}, err
	}
	in := Input{From: From{Place: from.String(), Query: sel.Asked}}
	if parent != nil {
		ref, _, _ := from.Snapshot() // Source opened it by this reference
		in.From.Place = ref.Place.String()
		in.From.Parent = contract.SnapshotRef{ID: parent.ID, Digest: parent.Digest}.String()
	}
	homes := map[string]recording.Partition{}
	in.Exchanges = func(yield func(*recording.Exchange, error) bool) {
		for rec, err := range r.Records() {
			if err == nil {
				err = damage(r.Report(), parent, sel.AllowDamaged) // the reader has read all segments before it returns the first exchange
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if pod := cmp.Or(rec.Pod(), recording.Undefined); len(homes) < maxTally {
				homes[pod] = recording.Partition{Cluster: rec.Cluster, Namespace: rec.Namespace, Workload: rec.Service}
			}
			if (sel.Match == nil || sel.Match(rec.Exchange)) && !yield(rec.Exchange, nil) {
				return
			}
		}
		if err := damage(r.Report(), parent, sel.AllowDamaged); err != nil {
			yield(nil, err)
		}
	}
	in.Facts = func() Facts { return facts(r.Report(), parent, homes) }
	in.Nothing = func() string {
		rep := r.Report()
		return fmt.Sprintf("%d exchanges in %d segments were read, but names, times and filters select none of them", rep.Read, rep.Segments)
	}
	return in, nil
}

// damage returns the error for damage that prevents a snapshot.
func damage(r *read.Report, parent *Snapshot, allowed bool) error {
	if parent != nil {
		if err := parent.Err(); err != nil {
			return err
		}
		return r.Damaged()
	}
	if err := r.Damaged(); err != nil && !allowed {
		return fmt.Errorf("%w; --allow-damaged uses the exchanges that can be read", err)
	}
	return nil
}

// Rewriter changes exchanges, and reports which to keep.
type Rewriter interface {
	Rewrite(*recording.Exchange) (keep bool)
}

// Through passes the exchanges through a rewriter.
func (in Input) Through(w Rewriter) Input {
	all := in.Exchanges
	in.Exchanges = func(yield func(*recording.Exchange, error) bool) {
		for e, err := range all {
			if err == nil && !w.Rewrite(e) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
	return in
}

// facts returns the facts about the input. homes has the partitions of pods.
func facts(r *read.Report, parent *Snapshot, homes map[string]recording.Partition) Facts {
	f := Facts{Findings: map[string]uint64{}}
	if parent != nil {
		f.Capture, f.Pods, f.RedactKeys = parent.Capture, parent.Pods, parent.RedactKeys
		f.Findings = maps.Clone(parent.From.Findings)
	}
	sum, n := r.Tally.Sum()
	for _, c := range r.Tally.Last() {
		f.Processes = append(f.Processes, Process{homes[c.Pod], c})
		if c.RedactKey != "" {
			f.RedactKeys = append(slices.Clone(f.RedactKeys), c.RedactKey)
		}
		if c.Pod == recording.MergedPod { // the process redacted exchanges that others recorded
			n--
		}
	}
	if n > 0 {
		f.Capture = Capture{
			Processes: n, Recorded: sum.Recorded, Dropped: sum.Dropped, Filtered: sum.Filtered, SampledOut: sum.SampledOut,
			Cut: sum.Cut, Incomplete: sum.Incomplete,
		}
		f.addPods(r.Processes)
	}
	docs := read.Kinds()
	for _, found := range r.Findings() {
		if parent != nil && found.Kind == read.NoCounters { // snapshots have their counters in the manifest
			continue
		}
		if f.Findings == nil {
			f.Findings = map[string]uint64{}
		}
		f.Findings[docs[found.Kind].Name] += found.Count
	}
	return f
}

// addPods lists and counts the missing exchanges of processes.
func (f *Facts) addPods(all []read.Process) {
	for _, p := range all {
		if p.Pod == recording.MergedPod || p.End && len(p.Missing) == 0 {
			continue
		}
		pod := Pod{Pod: shorten(p.Pod), Started: p.Started, Last: p.Last, MissingSegments: read.Ranges(p.Missing, maxRanges), MissingExchanges: p.MissingExchanges, EndUnknown: !p.End}
		f.Capture.Missing += pod.MissingExchanges
		if pod.EndUnknown {
			f.Capture.EndUnknown++
		}
		f.Pods = append(f.Pods, pod)
	}
	slices.SortStableFunc(f.Pods, func(a, b Pod) int {
		none := func(p Pod) int {
			if p.MissingSegments == "" {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(b.MissingExchanges, a.MissingExchanges), none(a)-none(b), strings.Compare(a.Pod, b.Pod))
	})
	f.Pods = f.Pods[:min(len(f.Pods), maxNames)]
}

// maxRanges is how many ranges of missing numbers are named.
const maxRanges = 20
