package report_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/report"
)

// asBefore returns a report as written by a version that did not keep the recorded latencies.
func asBefore(t *testing.T, r *report.Report) *report.Report {
	t.Helper()
	r.SchemaVersion = report.SchemaVersion
	var form map[string]any
	if err := json.Unmarshal([]byte(written(t, r, "json")), &form); err != nil {
		t.Fatal(err)
	}
	for _, e := range form["results"].(map[string]any)["endpoints"].([]any) {
		delete(e.(map[string]any), "recorded")
	}
	text, err := json.Marshal(form)
	if err != nil {
		t.Fatal(err)
	}
	before, err := report.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return before
}

// A goal that is relative to the recording is judged if all requests have recorded latencies, even
// after shards were merged. Otherwise it does not pass.
func TestGoalsRelativeToTheRecording(t *testing.T) {
	_, shards := divided(t, 2000, 2)
	for name, c := range map[string]struct {
		report *report.Report
		want   goal.Verdict
	}{
		"single":     {shop(2000, time.Minute), goal.Passed},
		"old":        {asBefore(t, shop(2000, time.Minute)), goal.Unknown},
		"merged":     {merged(t, shards[0], shards[1]), goal.Passed},
		"merged old": {merged(t, asBefore(t, shards[0]), shards[1]), goal.Unknown},
	} {
		c.report.Judge(goals("*: latency.p50 > recorded + 1000ms", "latency.p50 > recorded + 1000ms"))
		again, err := report.Parse([]byte(written(t, c.report, "json")))
		if err != nil {
			t.Errorf("%s: %s", name, err)
			continue
		}
		for _, g := range again.Goals {
			if g.Verdict != c.want {
				t.Errorf("%s: %s is %s, want %s: %s", name, g.Goal, g.Verdict, c.want, g.Reason)
			}
		}
	}
}

func merged(t *testing.T, shards ...*report.Report) *report.Report {
	t.Helper()
	m, err := report.Merge(shards)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
