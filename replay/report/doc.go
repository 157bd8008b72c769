// Package report holds the model of a replay's report, and writes it in forms for people and
// programs.
//
//	engine ─▶ Report ─Judge─▶ goals, exit code ─▶ pretty, JSON, YAML, CSV, JUnit, Markdown, HTML
//	             ▲
//	Parse, Merge ┘            Compare(a, b) ─▶ Comparison ─▶ the same
//
// It promises:
//
//   - The JSON form is complete: every other form can be made from it, and the merged report of
//     shards equals that of a single run over the same samples.
//   - Text from a recording or an answer has no effect in any form: it is never markup, a
//     spreadsheet formula, or a terminal control sequence.
//   - The HTML page is one file that loads nothing and runs no script.
//   - Times are microseconds inside, and milliseconds with 3 significant digits for people.
//
// The caller redacts the contents of a report. The package imports stats, goal, match,
// recording/clean, a YAML writer and the standard library.
package report
