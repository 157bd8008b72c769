// Package compare decides what a replay's answers say about the build that gave them.
//
//	recorded and live answer ─▶ match.Diff ─▶ groups: endpoint, place pattern, kind
//	                                             │
//	repeats in the recording ──┐                 ▼
//	an earlier replay's report ┼─ evidence ─▶ Finish: noise, known or new, and why
//	a baseline's live answer ──┘
//
// It promises:
//
//   - A place is noise only on evidence, which the group names. Nothing is noise by the
//     look of its value alone.
//   - Noise hides other values at a place; of numbers that stay within a range, those near
//     it. It never hides that the place is gone, new, or of
//     another type, nor that a carried value is not the one that was issued.
//   - Memory does not grow with the number of answers once all groups are known.
//
// It imports contract, match, recording, go.yaml.in/yaml/v3 and the standard library.
package compare
