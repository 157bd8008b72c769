package e2e

import (
	"bytes"
	"strings"
	"testing"
)

// TestEveryWayIn renders every application through every caller: the right
// workloads are injected and nothing else changes, the user is told, the text
// or at least the comments stay, a second run gives the same bytes, and
// rendering what was rendered changes nothing.
func TestEveryWayIn(t *testing.T) {
	for _, app := range apps() {
		t.Run(app.name, func(t *testing.T) {
			from := app.source(t)
			for _, caller := range callers() {
				t.Run(caller.name, func(t *testing.T) {
					if caller.need != nil {
						caller.need(t)
					}
					got := caller.render(t, from)
					checkInjected(t, got.before, got.after, app.want)
					if caller.keepsOrder {
						checkOrder(t, got.after, app.want)
					}
					checkText(t, caller, got)
					if caller.keepsResults {
						checkReport(t, got.report, app.want)
					}
					if again := caller.render(t, from); !bytes.Equal(again.after, got.after) {
						t.Errorf("a second run gave other bytes:\n%s", firstDifference(got.after, again.after))
					}
					if twice := pipe(t, source{manifests: got.after}); !bytes.Equal(twice.after, got.after) {
						t.Errorf("rendering what was rendered changed it:\n%s", firstDifference(got.after, twice.after))
					}
				})
			}
		})
	}
}

// checkText fails the test where the caller keeps text and a line is lost, or
// where a comment is.
func checkText(t *testing.T, c caller, got rendering) {
	t.Helper()
	keep := comment
	if c.keepsText {
		keep = anyLine
	}
	for _, line := range missingLines(got.before, got.after, keep) {
		t.Errorf("a line of the input is not in the output, or not in its place: %q", line)
	}
}

// checkReport fails the test unless the report has a line on each workload.
func checkReport(t *testing.T, report string, want []workload) {
	t.Helper()
	if !strings.Contains(report, "injected") {
		t.Errorf("no workload is reported as injected:\n%s", report)
	}
	for _, w := range want {
		if !strings.Contains(report, w.name) {
			t.Errorf("%s is not in the report:\n%s", w, report)
		}
	}
}

// firstDifference shows where two texts part.
func firstDifference(want, got []byte) string {
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "- " + a[i] + "\n+ " + b[i]
		}
	}
	return "one is the beginning of the other"
}
