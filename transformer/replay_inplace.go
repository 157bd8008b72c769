package transformer

import (
	"github.com/tapedeck/tapedeck/contract"
)

// In place, the workload itself takes the place of a copy. Its pods get the labels of one,
// and its sidecar goes through the responder, by edits that an undo takes back. Production
// must not be replayed to so: whoever calls the workload is answered from mocks.

// replayInPlace has a workload take the requests of a replay, and adds the Service that leads
// to it.
func (in *input) replayInPlace(r *replay) Results {
	w := r.w
	if !w.injecting {
		return Results{r.result(CodeReplaySidecar, "%s is not captured, but a replay in place needs its sidecar, which leads it to the responder; allowed: %sinject: \"true\", or a copy", w.Ref(), contract.SidecarPrefix)}
	}
	w.replay, r.copied = r, w
	answers := "it calls what it always calls"
	if r.responds() {
		answers = "it answers from mocks to whoever calls it"
	}
	results := Results{r.result(CodeReplayInPlace, "a replay uses %s in place: while it is rendered like this, %s, and works on its own volumes", w.Ref(), answers)}
	if r.responds() {
		in.goThroughResponder(w)
		found := w.news(in.check(w))
		w.injecting = !found.Failed()
		results = append(results, found...)
		w.said = append(w.said, found...)
	}
	return append(results, in.addService(r)...)
}
