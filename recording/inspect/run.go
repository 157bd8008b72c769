package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Options select what Run shows, and how.
type Options struct {
	// Filter selects exchanges.
	Filter Filter
	// Since is another name for Filter.From. Only one of them may be set.
	Since string
	// Output is the format of the list: one of Outputs.
	Output string
	// Show, if not "", selects the exchange whose UUID begins with it, and shows all of the exchange.
	Show string
	// Full writes the exchange that Show selects; nil means [Plain]. It must write clean text.
	Full func(w io.Writer, e *recording.Exchange) error
	// Parts lists the parts of conversations one by one.
	Parts bool
	// MaxHeld, MaxOpen and Foreign are those of [read.Options].
	MaxHeld int64
	MaxOpen int
	Foreign read.Foreign
}

// Outputs returns the ways to list exchanges. The first is the default.
func Outputs() []string { return []string{"table", "json"} }

// Flag is a command-line flag that fills in a field of Options.
type Flag struct {
	// Name is the long name. Short is the letter, or "" if there is none.
	Name, Short string
	// Value is the field, and Default its value if the flag isn't given. A flag that takes no value has
	// Switch instead.
	Value   *string
	Default string
	Switch  *bool
	// Usage says what the flag does. Allowed lists the values for completion.
	Usage   string
	Allowed []string
}

// Flags returns the table from which the inspecting commands make their flags.
func (o *Options) Flags() []Flag {
	f := &o.Filter
	return []Flag{
		{Name: "output", Short: "o", Value: &o.Output, Default: Outputs()[0], Usage: "how to list: " + strings.Join(Outputs(), " or "), Allowed: Outputs()},
		{Name: "show", Value: &o.Show, Usage: "show all of the exchange whose UUID is this or begins with this"},
		{Name: "parts", Switch: &o.Parts, Usage: "list conversations as they were written, part by part"},
		{Name: "cluster", Value: &f.Clusters, Usage: "only exchanges in these clusters, separated by commas"},
		{Name: "namespace", Value: &f.Namespaces, Usage: "only exchanges in these namespaces"},
		{Name: "workload", Value: &f.Workloads, Usage: "only exchanges of these workloads"},
		{Name: "since", Value: &o.Since, Usage: "only exchanges that began at most this long ago, such as 90m"},
		{Name: "from", Value: &f.From, Usage: "only exchanges that began at this time or later, such as 2026-11-22T20:15 (UTC)"},
		{Name: "to", Value: &f.To, Usage: "only exchanges that began before this time"},
		{Name: "direction", Value: &f.Direction, Usage: "only exchanges of this direction: in or out", Allowed: Directions()},
		{Name: "host", Value: &f.Host, Usage: "only exchanges with a host that contains this"},
		{Name: "path", Value: &f.Path, Usage: "only exchanges with a path that contains this"},
		{Name: "status", Value: &f.Status, Usage: "only exchanges of this status: a code, or a class such as 5xx", Allowed: Classes()},
		{Name: "protocol", Value: &f.Protocol, Usage: "only exchanges of this protocol: " + strings.Join(Protocols(), ", "), Allowed: Protocols()},
	}
}

// ErrUnreadable means that some of the input could not be read. The notes already say which.
var ErrUnreadable = errors.New("some of the recording can't be read")

// Opener opens a place that the command line names.
type Opener func(ctx context.Context, name string) (read.Store, error)

// Path is the [Opener] of paths in the file system.
func Path(_ context.Context, name string) (read.Store, error) { return read.Path(name) }

// Run writes the exchanges in places to w, in the order of their start. If some input can't be read, Run
// shows the rest, writes a note for each kind of problem, on a line that begins with prefix, and returns
// [ErrUnreadable]. A gap in a recording is noted, but is not an error.
func Run(ctx context.Context, w, notes io.Writer, prefix string, places []string, open Opener, o Options) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	add, end, err := view(w, o)
	if err != nil {
		return err
	}
	unreadable := false
	var stores []read.Store
	for _, place := range places {
		s, err := open(ctx, place)
		if err != nil {
			unreadable = true
			_ = printf(notes, "%s %s\n", prefix, err)
			continue
		}
		stores = append(stores, s)
	}
	r, err := read.Open(ctx, query, read.Options{Light: o.Show == "" && o.Output == "table", Recycle: true, Parts: o.Parts, MaxHeld: o.MaxHeld, MaxOpen: o.MaxOpen, Foreign: o.Foreign}, stores...)
	if err != nil {
		return err
	}
	for rec, err := range r.Records() {
		if err == nil {
			err = add(rec.Exchange)
		}
		if err != nil {
			return err
		}
	}
	if err := end(); err != nil {
		return err
	}
	report := r.Report()
	docs := read.Kinds()
	for _, f := range report.Findings() {
		before := "note:"
		if docs[f.Kind].Severity == read.Damage {
			before = prefix
		}
		_ = printf(notes, "%s %s\n", before, f)
	}
	if report.Read == 0 && report.Count(read.Malformed) > 0 && len(places) == 1 {
		_ = printf(notes, "%s %s is not a recording; want a place, a segment (.jsonl, .jsonl.zst), or a file of another tool: RRPair (.json, .md), HAR (.har), GoReplay (.gor), WireMock mappings (.json)\n", prefix, places[0])
	}
	if sum, processes := report.Tally.Sum(); sum.LeftOut() > 0 {
		_ = printf(notes, "note: not in the recording: %d dropped, %d filtered, %d sampled out; %d recorded by %d processes, according to the last complete segment of each\n",
			sum.Dropped, sum.Filtered, sum.SampledOut, sum.Recorded, processes)
	}
	if unreadable || report.Damaged() != nil {
		return ErrUnreadable
	}
	return nil
}

// query returns the query for the reader.
func (o *Options) query() (read.Query, error) {
	f := o.Filter
	if f.From != "" && o.Since != "" {
		return read.Query{}, errors.New("--since and --from: want one of them")
	}
	f.From = cmp.Or(f.From, o.Since)
	q, err := f.Query(time.Now())
	if o.Show == "" {
		return q, err
	}
	begins := strings.ToLower(o.Show)
	match := q.Match
	q.Match = func(e *recording.Exchange) bool {
		return strings.HasPrefix(e.UUID.String(), begins) && (match == nil || match(e))
	}
	q.Glance = q.Match
	return q, err
}

// view returns a function to call for each exchange, and one to call at the end.
func view(w io.Writer, o Options) (add func(*recording.Exchange) error, end func() error, err error) {
	var text []byte
	asJSON := func(e *recording.Exchange) error {
		text = e.AppendJSON(text[:0])
		_, err := w.Write(append(clean.JSON(text), '\n'))
		return err
	}
	nothing := func() error { return nil }
	switch {
	case !slices.Contains(Outputs(), o.Output):
		return nil, nil, fmt.Errorf("output %q: want %s", o.Output, strings.Join(Outputs(), " or "))
	case o.Show != "":
		found, full := false, o.Full
		if full == nil {
			full = Plain
		}
		add = func(e *recording.Exchange) error {
			found = true
			if o.Output == "json" {
				return asJSON(e)
			}
			return full(w, e)
		}
		return add, func() error {
			if !found {
				return fmt.Errorf("show %q: no exchange has a UUID that begins with it; --parts also searches the parts of conversations", o.Show)
			}
			return nil
		}, nil
	case o.Output == "json":
		return asJSON, nothing, nil
	}
	table := NewTable(w)
	return table.Add, table.Close, nil
}
