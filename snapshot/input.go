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

// Selection says what is read of a place or of another snapshot.
type Selection struct {
	// Query selects segments and exchanges.
	Query read.Query
	// Match, unless it is nil, selects among those that Query selects. It sees all of the
	// exchange.
	Match func(*recording.Exchange) bool
	// Asked is what a person asked for, by the name of the flag.
	Asked map[string]string
	// AllowDamaged takes what can be read of a recording that is damaged. It is no matter
	// of a snapshot: one that was changed is always an error.
	AllowDamaged bool
	// Read has further options of the reader, which reads in order.
	Read read.Options
}

// Select returns the input of [Create] from what [Source] has opened: s, and the snapshot
// unless it is a place. s may also be a file ([read.Path]).
func Select(ctx context.Context, from contract.Place, s read.Store, parent *Snapshot, sel Selection) (Input, error) {
	o := sel.Read
	o.Order = read.Sorted
	r, err := read.Open(ctx, sel.Query, o, s)
	if err != nil {
		return Input{}, err
	}
	in := Input{From: From{Place: from.String(), Query: sel.Asked}}
	if parent != nil {
		ref, _, _ := from.Snapshot() // it was opened by it
		in.From.Place = ref.Place.String()
		in.From.Parent = contract.SnapshotRef{ID: parent.ID, Digest: parent.Digest}.String()
	}
	homes := map[string]recording.Partition{}
	in.Exchanges = func(yield func(*recording.Exchange, error) bool) {
		for rec, err := range r.Records() {
			if err == nil {
				err = damage(r.Report(), parent, sel.AllowDamaged) // all of it was read before the first comes
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
		return fmt.Sprintf("%d exchanges in %d segments were read, of which names, times and filters select none", rep.Read, rep.Segments)
	}
	return in, nil
}

// damage is what keeps a snapshot from being made.
func damage(r *read.Report, parent *Snapshot, allowed bool) error {
	if parent != nil {
		if err := parent.Err(); err != nil {
			return err
		}
		return r.Damaged()
	}
	if err := r.Damaged(); err != nil && !allowed {
		return fmt.Errorf("%w; --allow-damaged takes what can be read", err)
	}
	return nil
}

// Rewriter changes exchanges, and tells which to keep.
type Rewriter interface {
	Rewrite(*recording.Exchange) (keep bool)
}

// Through has the exchanges go through a rewriter.
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

// facts has what is known of the input; homes are the partitions of pods.
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
		if c.Pod == recording.MergedPod { // it redacted what others recorded
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
		if parent != nil && found.Kind == read.NoCounters { // snapshots have theirs in the manifest
			continue
		}
		if f.Findings == nil {
			f.Findings = map[string]uint64{}
		}
		f.Findings[docs[found.Kind].Name] += found.Count
	}
	return f
}

// addPods notes what is missing of processes, and counts it.
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
