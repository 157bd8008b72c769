package transformer

import (
	"github.com/tapedeck/tapedeck/contract"
)

// In place, the workload itself replaces the copy. Edits that an undo can invert give its pods the
// labels of a copy, and make its sidecar send calls to the responder. Do not replay to production in
// this way: all callers of the workload would get answers that depend on mocks.

// replayInPlace makes a workload receive the requests of a replay, and adds the Service that leads to
// it.
func (in *input) replayInPlace(r *replay) Results {
	w := r.w
	if !w.injecting {
		return Results{r.result(CodeReplaySidecar, "%s is not captured, but a replay in place needs its sidecar, which leads it to the responder; allowed: %sinject: \"true\", or a copy", w.Ref(), contract.SidecarPrefix)}
	}
	w.replay, r.copied = r, w
	answers := "it calls its usual dependencies"
	if r.responds() {
		answers = "all its callers get answers that depend on mocks"
	}
	results := Results{r.result(CodeReplayInPlace, "a replay uses %s in place: while it is rendered like this, %s, and it works on its own volumes", w.Ref(), answers)}
	if r.responds() {
		in.goThroughResponder(w)
		found := w.news(in.check(w))
		w.injecting = !found.Failed()
		results = append(results, found...)
		w.said = append(w.said, found...)
	}
	return append(results, in.addService(r)...)
}
