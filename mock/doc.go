// Package mock answers the requests of an application with the recorded answers of its
// dependencies.
//
//	client ─▶ front ─▶ Mock ─▶ match.Index: which recorded requests are the same?
//	                     │         order.Chooser: which of their answers is next?
//	                     │         tape.Tape: the answer, on disk
//	                     │         fault.Set: does it fail?
//	                     ▼
//	       HIT, MISS or PASSTHROUGH ─▶ counted, recorded, in the receipt
//
// It promises:
//
//   - It never guesses. A request is a MISS unless package match finds it in the recording.
//     No client mistakes the answer to a miss for a success or stores it in a cache. It names
//     the nearest recorded request and says where that differs.
//   - It cannot leak. Only package passthrough connects to other hosts. It connects only to
//     listed hosts, and counts its connections.
//   - The same requests in the same order get the same answers.
//   - An answer equals the recorded one, except for headers that describe the connection,
//     values that the live request has in place of recorded ones, times if the user asks for
//     it, and faults, each of which leaves a record.
//
// It imports match, recording and its folders, the packages below it, proxy/ca, proxy/pump,
// coder/websocket, Prometheus' client, klauspost/compress and the standard library. It logs
// to the logger in [Options].
package mock
