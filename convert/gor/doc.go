// Package gor reads and writes the files of GoReplay. A record is a line of its type, its
// identity and its time, a message of HTTP/1 as it was on the wire, and a separator:
//
//	1 ID TIMESTAMP 0         a request
//	2 ID TIMESTAMP LATENCY   its answer
//	3 ID TIMESTAMP LATENCY   the answer of a replay
//
// Promises:
//
//   - Records with the same ID become one exchange. A request waits for its answer, and an answer for its
//     request, within limits of number and memory. After that, each becomes a separate exchange.
//   - The reader ignores lengths in messages: a body has the bytes that are there.
//   - The writer writes valid HTTP/1: the framing fits the body.
//
// It imports recording, convert/internal/web and the standard library.
package gor

// Separator divides records. It has a line feed before and after it.
const Separator = "🐵🙈🙉"
