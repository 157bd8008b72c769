// Package meet lets the shards of a replay coordinate through a place, without a network between
// them and without rights in a cluster. They exchange objects below runs/JOB/UID of the place. Each
// object is stored once and never changed.
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
// The objects are:
//
//	progress-1-7    The seventh sign of life of part 1. It replaces the sixth.
//	shard-1.json    A marker: a process is ready to send part 1. shard-1-1.json is the marker
//	                of a later process.
//	start.json      Index 0 stores it: when the run begins, and which process sends which part.
//	result-1.json   The report of part 1.
//	failed-1.json   Why nobody sends part 1: its process failed before it had a result.
//	report.json     Index 0 stores it: the report of the run. It then stores the forms
//	                report.html, junit.xml and summary.md.
//
// With [Meeting.Keep] a caller stores further objects there for its replacement.
//
// If something goes wrong, a part is handled as follows:
//
//	its process gets SIGTERM         It deletes its marker. Its replacement stores another
//	before start.json                one, and the run waits for the replacement.
//	its process dies                 start.json names its replacement, if that is ready by
//	before start.json                then. Otherwise see the next row.
//	its process dies                 Nobody sends the part again. The replacement stores a
//	after start.json                 partial result when the part has given no sign of life
//	                                 for the timeout and its grace.
//	it has no replacement            Index 0 waits just as long. Then the part is lost.
//	its process fails                It stores failed-1.json. Nobody waits for the part,
//	                                 which is lost.
//	it has two processes             start.json names one of them. The other one waits for
//	                                 the result.
//	its process joins                The process sends nothing, and stores a partial result.
//	after start.json
//	index 0 dies                     Its replacement continues from the stored objects.
//	index 0 fails                    The others fail immediately.
//	before start.json
//	index 0 never comes              The others fail when no part has given a sign of life
//	                                 for the timeout and its grace.
//
// The package promises:
//
//   - At most one process sends a part, however many pods a Job had for it: a process sends
//     only if start.json names it, and start.json is stored once.
//   - A process may die at any step. The same process or its replacement can repeat each step.
//   - A process waits while there is progress, and for the timeout after it. A lost part makes
//     the report incomplete.
//   - If a place fails, the process retries for at most the timeout.
//   - Objects are untrusted input. Their size is bounded, and the process rejects damaged objects
//     and objects of another run.
//
// It imports replay/report, recording/store and the standard library.
package meet
