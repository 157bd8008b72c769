package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tapedeck/tapedeck/replay/goal"
)

// maxReport bounds the size of a report.
const maxReport = 256 << 20

// MaxShards is how many shards a run may have.
const MaxShards = 10_000

// Read reads a report in its JSON form. It validates the report, which may be untrusted.
func Read(from io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(from, maxReport+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxReport {
		return nil, fmt.Errorf("report of more than %d MiB", maxReport>>20)
	}
	return Parse(b)
}

// Parse is like [Read], but takes bytes.
func Parse(b []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("parse report: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Metrics = r.metrics()
	return r, nil
}

// check returns an error if no replay can have written the report.
func (r *Report) check() error {
	if r.SchemaVersion != SchemaVersion {
		return fmt.Errorf("report has schema version %d; this version of tapedeck reads %d", r.SchemaVersion, SchemaVersion)
	}
	if r.Ended.Before(r.Started) {
		return fmt.Errorf("report of a run that ended %s before it started", r.Started.Sub(r.Ended))
	}
	if s := r.Shard; s != nil && (s.Index < 0 || s.Index >= s.Of || s.Of > MaxShards) {
		return fmt.Errorf("report of shard %d of %d: want an index below the number of shards, and at most %d of them", s.Index, s.Of, MaxShards)
	}
	seen := map[string]bool{}
	for _, e := range r.Results.Endpoints {
		if e == nil {
			return errors.New("report with an endpoint that is null")
		}
		if seen[e.Name] {
			return fmt.Errorf("report has endpoint %q twice", e.Name)
		}
		seen[e.Name] = true
		if err := e.Check(); err != nil {
			return fmt.Errorf("endpoint %q: %w", e.Name, err)
		}
	}
	for _, x := range slices.Concat(r.Problems, r.Exits) {
		if !slices.Contains(precedence, x.Code) {
			return fmt.Errorf("report with exit code %d; allowed: %v", x.Code, precedence)
		}
	}
	_, err := r.GoalsJudged()
	return err
}

// GoalsJudged returns the goals in the report's verdicts.
func (r *Report) GoalsJudged() (goals []goal.Goal, err error) {
	for _, o := range r.Goals {
		g, err := goal.Parse(o.Goal)
		if err != nil {
			return nil, err
		}
		goals = append(goals, g)
	}
	return goals, nil
}
