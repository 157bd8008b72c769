// Package compare finds how a replay's answers differ from the recorded ones, and decides which
// differences are new.
//
//	recorded and live answer ─▶ match.Diff ─▶ groups: endpoint, place pattern, kind
//	                                             │
//	repeats in the recording ──┐                 ▼
//	an earlier replay's report ┼─ evidence ─▶ Finish: noise, known or new, and why
//	a baseline's live answer ──┘
//
// It promises:
//
//   - A place is noise only if there is evidence, which the group names. No value is noise just
//     because of its appearance.
//   - Noise covers other values at a place. If these are numbers within a range, it covers only
//     numbers near the range, and numbers that the replay's other numbers link to it. It never
//     covers a place that is missing, new or of another type, nor a carried value that is not
//     the one that was issued.
//   - Once all groups are known, memory does not grow with the number of answers.
//
// It imports contract, match, recording, go.yaml.in/yaml/v3 and the standard library.
package compare
