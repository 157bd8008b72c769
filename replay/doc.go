// Package replay sends recorded requests to a target and reports how its answers differ.
//
//	plan ─▶ source: which step is due when ─▶ gate: waits for the answers it depends on ─▶ crew ─▶ wire ─▶ target
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
//   - With recorded times and rates, the loop is open: a slow target does not delay the
//     requests of other sessions, and response times count from when a request was due. A
//     request that depends on answers is due when they arrive, if that is later. The report
//     shows this delay separately.
//   - Requests that the generator sent late are counted. If too many were too late, the report
//     says that the result is void.
//   - It connects only to the target and the baseline, never to a host that a recording names.
//   - Memory does not grow with the recording while requests are sent, except for one bit for
//     each request. It holds the requests under way and the values of open sessions.
//   - When the context ends, it stops within a second, and reports what it has.
//   - All shards together send the same requests at the same times as a single generator. They
//     divide the sessions among them, but not the schedule. Their merged report equals that of
//     a single run.
//
// It imports the packages below it, match, recording and the standard library.
package replay
