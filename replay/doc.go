// Package replay sends recorded requests to a target and says how its answers differ.
//
//	plan ─▶ source: which step is due when ─▶ gate: waits for what it depends on ─▶ crew ─▶ wire ─▶ target
//	                                            ▲                                   │
//	                                            └────── answered ◀── carry.State ◀──┤ live answer
//	                                                                                ├─▶ compare
//	                                                                                └─▶ stats ─▶ report
//
//	plan       steps on disk             carry      which values later requests need
//	schedule   due times                 wire       one request on the wire
//	compare    differences and noise     stats, goal, report
//
// It promises:
//
//   - With recorded times and rates, the loop is open: a slow target changes neither when
//     other sessions' requests are sent nor what the response time counts from. A request
//     that depends on others is due when they were answered, if that is later; the delay is
//     reported apart.
//   - What the generator could not do in time is counted. If it was too late too often,
//     the report says that its result is void.
//   - It connects to the target and the baseline, and to nothing that a recording names.
//   - When the context ends, it stops within a second, and reports what there is.
//   - Shards together send what one generator would, when it would: sessions are divided, the
//     schedule is not. Merged, their reports are that of a single run.
//
// It imports the packages below it, match, recording and the standard library.
package replay
