package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
)

// loaded is a recording that is ready to be sent.
type loaded struct {
	plan    *plan.Plan
	graph   *carry.Graph
	compare *replay.Comparison
	matcher *match.Matcher
	rules   *carry.Rules
	source  mock.Source
	targets *targets
}

// prepare loads the recording.
func (f *replayFlags) prepare(cmd *cobra.Command, place string, to []targetFlag, alive func()) (_ *loaded, err error) {
	ctx := cmd.Context()
	thrifty()
	l := &loaded{targets: &targets{to, map[string]bool{}}}
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	var token func(string) string
	if l.matcher, _, token, err = f.matcher(key); err != nil {
		return nil, err
	}
	if f.carryRules != "" {
		text, err := os.ReadFile(f.carryRules)
		if err == nil {
			l.rules, err = carry.ParseRules(f.carryRules, text, os.LookupEnv)
		}
		if err != nil {
			return nil, fmt.Errorf("--carry-rules: %w", err)
		}
	}
	size, err := contract.ParseSize(f.tempSize)
	if err != nil {
		return nil, fmt.Errorf("--temp-size: %w", err)
	}
	var from read.Store
	if from, l.source, err = sourceOf(ctx, place); err != nil {
		return nil, err
	}
	from = &lively{from, alive}
	hashed := mock.NewHashed(from)
	q := f.query
	q.Direction = recording.In
	if q, err = read.Slice(ctx, q, convert.Files{}, recording.In, f.slices, from); err != nil {
		return nil, fmt.Errorf("--slice: %w", err)
	}
	reader, err := read.Open(ctx, q, read.Options{Order: read.Sorted, TempDir: f.temp, Foreign: convert.Files{}}, hashed)
	if err != nil {
		return nil, err
	}
	p := newProgress(cmd.ErrOrStderr())
	o := replay.PrepareOptions{
		Rules: l.rules, Dir: f.temp, Limit: size, Target: l.targets.number,
		Progress: func(n int) {
			if n%256 == 0 {
				alive()
				p.show("loading: %d requests", n)
			}
		},
	}
	if f.only == "safe" {
		o.Leave = replay.Unsafe
	}
	if !f.noCompare {
		l.compare = &replay.Comparison{Token: token, Hasher: compare.NewHasher(), Comparer: compare.New(compare.Options{Matcher: l.matcher, ForeignTokens: !key.given})}
		o.Compare = l.compare
	}
	l.plan, l.graph, err = replay.Prepare(ctx, reader.Exchanges(), o)
	p.clear()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.plan.Close()
			l.graph.Close()
		}
	}()
	if err := wasRead(place, &l.source, reader.Report(), hashed, key, f.allowIncomplete, "sends"); err != nil {
		return nil, err
	}
	if reader.Report().Count(read.TornPart) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: %s is still open: a recorder writes to it, or was killed; stop the recorder first, or the end is missing\n", place)
	}
	if _, isURL := baselineURL(f.baseline); f.baseline != "" && !isURL {
		if err := f.earlier(l); err != nil {
			return nil, fmt.Errorf("--baseline: %w", err)
		}
	}
	if l.plan.Len() == 0 {
		selected := ""
		if len(f.query.Namespaces)+len(f.query.Workloads)+len(f.query.Clusters)+len(f.slices) > 0 {
			selected = " of what --namespace, --workload, --cluster and --slice select"
		}
		return nil, fmt.Errorf("%s: no inbound request was found%s, so there is nothing to send%s", place, selected, leftOut(l.plan))
	}
	if err := l.targets.check(l.plan); err != nil {
		return nil, err
	}
	return l, nil
}

// lively is a store that calls alive for each object that is read, because loading is progress.
type lively struct {
	read.Store
	alive func()
}

// Get implements read.Store.
func (s *lively) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	s.alive()
	return s.Store.Get(ctx, key)
}

func leftOut(p *plan.Plan) string {
	if len(p.Left) == 0 {
		return ""
	}
	left := p.Left[0]
	return fmt.Sprintf("; %d were left out, the first of them %s: %s", left.Count, left.Example, left.Reason)
}

// earlier reads the report of an earlier replay as the baseline.
func (f *replayFlags) earlier(l *loaded) error {
	file, err := os.Open(f.baseline)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.baseline, err)
	}
	if r.Source.SHA256 != l.source.SHA256 {
		return fmt.Errorf("%s is the report of another recording: it has sha256:%s, and this one sha256:%s; replay this one against the baseline first", f.baseline, r.Source.SHA256, l.source.SHA256)
	}
	observed, err := compare.DecodeObserved(r.Observed, l.plan.Endpoints)
	if err != nil {
		return fmt.Errorf("%s: %w", f.baseline, err)
	}
	l.compare.Comparer.Baseline(observed)
	return nil
}

// preflight lists the secrets that only the client has, and stops if some are missing.
func (f *replayFlags) preflight(cmd *cobra.Command, l *loaded, o *replay.Options) (all []report.Need, err error) {
	missing := l.graph.Missing(o.Set)
	lacks := map[string]bool{}
	for _, n := range missing {
		lacks[n.Place+" "+n.Token] = true
	}
	has, _ := o.Part()
	for _, n := range l.graph.Needs() {
		one := report.Need{Site: report.Site{Endpoint: n.Endpoint, Place: n.Place}, Supplied: "a setting"}
		for _, step := range n.Steps {
			if has(step) {
				one.Count++
			}
		}
		if one.Count == 0 {
			continue // another shard's
		}
		if lacks[n.Place+" "+n.Token] {
			one.Supplied = map[string]string{"leave-out": "left out", "send": "sent as recorded"}[f.withoutCredentials]
		}
		all = append(all, one)
	}
	if len(missing) == 0 {
		return all, nil
	}
	switch f.withoutCredentials {
	case "leave-out":
		out := map[int]bool{}
		for _, n := range missing {
			for _, step := range n.Steps {
				out[step] = true
			}
		}
		o.Skip = func(step int) string {
			if out[step] {
				return "credentials are missing"
			}
			return ""
		}
		return all, nil
	case "send":
		return all, nil
	}
	w := cmd.ErrOrStderr()
	fmt.Fprintln(w, "These requests need secrets that only their client has; the recording has them redacted:")
	for i, n := range missing {
		if i == 20 {
			fmt.Fprintf(w, "  and %d more\n", len(missing)-i)
			break
		}
		fmt.Fprintf(w, "  %-28s %s  needed %d×, first by %s\n", n.Place, n.Token, len(n.Steps), n.Endpoint)
	}
	return nil, &codedError{codeIncomplete, fmt.Errorf("credentials are missing: supply them, as with --set %s=env:NAME or --credentials FILE, or give --without-credentials leave-out or send", strings.TrimPrefix(missing[0].Place, "req."))}
}
