// Package check has the report of `tapedeck check`: its model, and its forms for people and programs.
//
//	manifests ─▶ check/manifests ─┐
//	                              ├─▶ Report ─▶ text, JSON, exit code
//	sidecar   ─▶ check/pod ───────┘
//
// Promises:
//
//   - Every finding that isn't OK says why, and what to change.
//   - All forms keep the order in which a check adds findings.
//   - Names and values of manifests and recordings are escaped: a finding is one line, without control
//     characters for a terminal.
//
// Several goroutines may read a report; only one may change it. The package imports internal/oneline,
// recording/clean and the standard library.
package check
