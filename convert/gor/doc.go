// Package gor reads and writes the files of GoReplay. A record is a line of its type, its
// identity and its time, a message of HTTP/1 as it was on the wire, and a separator:
//
//	1 ID TIMESTAMP 0         a request
//	2 ID TIMESTAMP LATENCY   its answer
//	3 ID TIMESTAMP LATENCY   the answer of a replay
//
// What it promises:
//
//   - Records of one identity become one exchange. A request waits for its answer, and
//     an answer for its request, within bounds of number and memory. It comes alone if the other
//     did not come by then.
//   - A length in a message is never believed: a body has the bytes that are there.
//   - What is written is a message of HTTP/1 that a server understands: its framing fits its
//     body.
//
// It imports recording, its folder coding and the standard library.
package gor

// Separator stands between two records, with a line feed before and behind it.
const Separator = "🐵🙈🙉"
