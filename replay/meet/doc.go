// Package meet lets the shards of a replay meet at a place, without a network between them and
// without rights in a cluster. They exchange objects below runs/JOB/UID of the place. Each object
// is stored once and never changed.
//
//	index 0                        runs/JOB/UID                  index 1
//
//	loads ────────────────▶ progress-0-7    progress-1-4 ◀──────── loads
//	is ready ─────────────▶ shard-0.json    shard-1.json ◀────── is ready
//	finds all ready ──────▶ start.json ──────────────────▶ finds its name
//	sends                                                           sends
//	has sent ─────────────▶ result-0.json  result-1.json ◀────── has sent
//	merges, judges ───────▶ report.json
//
// These are the objects:
//
//	progress-1-7    A sign of life of part 1, the seventh, which takes the place of the sixth.
//	shard-1.json    A marker: a process is ready to send part 1. shard-1-1.json is the marker
//	                of another one, that came later.
//	start.json      By index 0: when the run begins, and which process sends which part.
//	result-1.json   The report of part 1.
//	failed-1.json   Why part 1 is not sent: its process failed before it had a result.
//	report.json     By index 0: the report of the run. Its forms report.html, junit.xml and
//	                summary.md follow.
//
// A caller may [Meeting.Keep] further objects there for its replacement.
//
// If something goes wrong, a part is handled as follows:
//
//	its process is told to end       It takes its marker away. The process that takes its
//	before start.json                place stores another one, and the run waits for it.
//	its process dies                 The process that takes its place is named by start.json,
//	before start.json                if it is ready by then. Else see the next line.
//	its process dies after it        Nobody sends the part again. The process that takes its
//	                                 place stores a partial result, once the part has given
//	                                 no sign of life for the timeout and its grace.
//	nobody takes its place           Index 0 waits as long, and the part is lost.
//	its process fails                failed-1.json: nobody waits for the part, which is lost.
//	it has two processes             start.json names one of them. The other one waits for
//	                                 the result.
//	it comes after start.json        Its process stores a partial result without a request.
//	index 0 dies                     The process that takes its place goes on from the
//	                                 objects that there are.
//	index 0 fails, or never comes    The others fail: at once, or when no part has given a
//	before start.json                sign of life for as long.
//
// The package promises:
//
//   - A part is sent by one process at most, whatever the number of pods that a Job had for
//     it: a process sends only if start.json, which is stored once, names it.
//   - Each step may be repeated, by the same process or by one that takes its place, and a
//     process may die at each.
//   - Whoever waits waits as long as there is progress, and for the timeout after it. A part
//     that is lost makes the report incomplete.
//   - A place that fails is asked again, for the timeout at most.
//   - Objects are foreign: they are bounded, and those of another run, or damaged ones, count
//     as such.
//
// It imports replay/report, recording/store and the standard library.
package meet
