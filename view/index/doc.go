// Package index makes recordings searchable: a table in SQLite with a row for each
// exchange, which a million of them don't slow down.
//
//	place ──read──▶ exchanges in order ──▶ rows, words, who called whom ──▶ a file in the user's cache
//	  ▲                                                                          │ List, Calls, Endpoints, Trace
//	  └───────────────── Exchange: one in full, by segment and offset ◀──────────┘
//
// It promises:
//
//   - The recording is only read. The index is a file that only its user can read, and
//     everything in it follows from the recording. It is made anew when the recording changed.
//   - An index that was not finished is never used.
//   - Queries take a context, and end with it.
//
// It imports recording and its folders, match for endpoints, modernc.org/sqlite and the
// standard library. Only cmd/tapedeck links it.
package index
