// Package mock is the responder: it stands in for the dependencies of an application and
// answers with what they were recorded to say.
//
//	client ─▶ front ─▶ Mock ─▶ match.Index: is it the same request?
//	                     │         order.Chooser: which of several answers?
//	                     │         tape.Tape: the answer, on disk
//	                     │         fault.Set: is it to fail?
//	                     ▼
//	       HIT, or MISS, or PASSTHROUGH ─▶ counted, recorded, in the receipt
//
// It promises:
//
//   - It never guesses. What package match does not find to be the same request is a MISS:
//     an answer that no client takes for a success or keeps in a cache, and that says what
//     the nearest recorded request is and where it differs.
//   - It cannot leak. Nothing here connects to anything but [passthrough], which serves the
//     hosts that were listed, and counts what it does.
//   - The same requests in the same order get the same answers.
//   - An answer is as it was recorded, but for what describes the connection, for values
//     that stand for the caller's own, for times on request, and for faults, each of which
//     leaves a record.
//
// The package imports match, recording and its folders, the packages below it, proxy/ca,
// proxy/pump, coder/websocket, Prometheus' client, klauspost/compress and the standard
// library. It logs to the logger that it is given.
package mock
