// Package wire sends one recorded request to a target and returns the live answer as a
// [recording.Exchange] that package match can compare with the recorded one.
//
//	recording.Exchange ─Append─▶ encoded request ─Send─▶ target
//	                             (on disk, once)    │
//	                  Result: live answer, times, sizes, failure
//
// It promises:
//
//   - It sends the request as recorded: the method and the target of the request line,
//     fields with their duplicates in order, the body byte for byte, its framing (length or
//     chunks) and trailers. [Append] lists the exceptions.
//   - It connects to the target only: never to a recorded host, never through a proxy of
//     the environment. It follows no redirect and removes no content coding.
//   - It sends a request once. It tries again only if a reused connection turns out to be
//     closed, no byte of an answer came, and the request is idempotent (RFC 9110, section
//     9.2.2).
//   - The messages of a conversation keep their order: a message that the client sent after
//     one of the server is sent after that one came.
//   - Answers may be hostile: the heads, bodies and messages that are kept are bounded.
//   - It takes the time only from package time, and connections from [Options.Dial] if that is
//     set, so that everything runs in a bubble of testing/synctest.
//
// HTTP/1.0, HTTP/1.1 and WebSocket are implemented here; HTTP/2 and gRPC use
// golang.org/x/net/http2. The bytes of all go through a [pump.Conn], whose system calls cost less
// on Linux than those of package net (docs/benchmarks.md). The package imports contract, recording and its coding,
// proxy/pump, internal/httphead, and x/net.
package wire
