// Package meet has the shards of a replay meet at a place: without a network between them,
// and without rights in a cluster. What they have to tell each other are objects below
// runs/JOB/UID of the place, of which each is stored once and none is changed:
//
//	shard-1.json                    a process is ready to send part 1; shard-1-1.json a second one
//	start.json                      by index 0: when the run begins, and which processes send
//	progress-1-7                    a sign of life, only while there is progress
//	result-1.json                   the report of part 1
//	merged.json                     by index 0: the report of the run
//	report.html, junit.xml, summary.md, and last report.json
//
// What it promises:
//
//   - A part is sent by one process at most, whatever the number of pods that a Job had for
//     it: a process sends only if start.json, which is stored once, names it.
//   - Each step may be repeated, by the same process or by one that takes its place, and a
//     process may die at each.
//   - Whoever waits waits as long as there is progress, and for the timeout after it. A part
//     without a result then is lost, which makes the report incomplete.
//   - A place that fails is asked again, for the timeout at most.
//   - Objects are foreign: they are bounded, and those of another run, or damaged ones, count
//     as what they are.
//
// It imports replay, its report, recording/store and the standard library.
package meet
