// Package report is what a replay found: one model, and the forms that people and
// programs read it in.
//
//	engine ─▶ Report ─Judge─▶ goals, exit code ─▶ pretty, JSON, YAML, CSV, JUnit, Markdown, HTML
//	             ▲
//	Parse, Merge ┘            Compare(a, b) ─▶ Comparison ─▶ the same
//
// It promises:
//
//   - The JSON form holds all there is: from it every other form can be made, and shards
//     merge into exactly what one run over the same samples gives.
//   - No text of a recording or an answer acts in any form: not as markup, as a formula of
//     a spreadsheet, or as a terminal's control sequence.
//   - The HTML page is one file that loads nothing and runs no script.
//   - Times are microseconds inside, and milliseconds with 3 significant digits for people.
//
// The caller redacts what it puts into a report. The package imports stats, goal, match,
// recording/clean, a YAML writer and the standard library.
package report
