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
//   - It connects only to the target: never to a recorded host, and never through a proxy from
//     the environment. It follows no redirects and removes no content codings.
//   - It sends a request once. It retries only if a reused connection turns out to be closed,
//     no byte of an answer has arrived, and the request is idempotent (RFC 9110, section
//     9.2.2).
//   - The messages of a conversation keep their order: if the client sent a message after one
//     from the server, it is sent after that one has arrived.
//   - Answers may be hostile: the heads, bodies and messages that are kept are bounded.
//   - It takes the time only from package time, and connections from [Options.Dial] if that is
//     set, so that everything can run in a testing/synctest bubble.
//
// HTTP/1.0, HTTP/1.1 and WebSocket are implemented here; HTTP/2 and gRPC use
// golang.org/x/net/http2. All of them use a [pump.Conn], whose system calls cost less on Linux than
// those of package net (docs/benchmarks.md). The package imports contract, recording and its coding,
// proxy/pump, internal/httphead, and x/net.
package wire
