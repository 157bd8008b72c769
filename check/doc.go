// Package check is what `tapedeck check` found: one model, and the forms that people and
// programs read it in.
//
//	manifests ─▶ check/manifests ─┐
//	                              ├─▶ Report ─▶ text, JSON, exit code
//	sidecar   ─▶ check/pod ───────┘
//
// It promises:
//
//   - Every finding that isn't OK says why, and what to change.
//   - The order of the findings is that in which a check gives them; the forms keep it.
//   - No name or value of a manifest or a recording acts in any form: one finding has
//     one line, and nothing that a terminal would obey.
//
// A report is plain data: it may be read concurrently, and written by one goroutine. The
// package imports internal/oneline, recording/clean and the standard library.
package check
