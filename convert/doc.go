// Package convert has the formats of other tools: it lists them, recognises their files, and opens readers
// and writers. Commands pass [Files] to recording/read, so every command that reads a place also reads these
// files.
//
//	bytes ──▶ Detect ──▶ Format.Open ──▶ Reader ──▶ exchanges, and what could not be kept
//	exchanges ──▶ Format.Create ──▶ Writer ──▶ bytes, and what could not be written
//
// Promises:
//
//   - Memory is bounded, for any file: by one record, and for GoReplay by the requests that wait for
//     their answers.
//   - Readers and writers name everything that they lose, and every record that they leave out.
//   - Redacted values stay redacted.
//
// It imports recording and its folders, golang.org/x/net/idna and the standard library. The sidecar
// does not link it.
package convert
