// Package convert has the formats of other tools: what they are called, how their files are
// told apart, and who reads and writes them. Commands hand [Files] to
// recording/read, so that each that reads a place reads these files, too.
//
//	bytes ──▶ Detect ──▶ Format.Open ──▶ Reader ──▶ exchanges, and what could not be kept
//	exchanges ──▶ Format.Create ──▶ Writer ──▶ bytes, and what could not be written
//
// What it promises:
//
//   - Memory is bounded by that of one record, or, of GoReplay, of requests that wait for their
//     answers, whoever wrote the file.
//   - What could not be kept of a record is named, and so is a record of which nothing could.
//   - Nothing that was redacted comes back: a writer has what the exchange has.
//
// It imports recording and its folders, golang.org/x/net/idna and the standard library. The sidecar
// does not link it.
package convert
