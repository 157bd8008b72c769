// Package index makes recordings searchable: a table with a row for each exchange, which a
// million of them don't slow down.
//
//	place ──read──▶ exchanges in order ─┬▶ rows: packs, columns, orders ─┐
//	                                    └▶ words ─▶ sorted terms ────────┴▶ a file in the user's cache
//	                                                                        │
//	place ──segment, offset──▶ Exchange: one in full                        └▶ List, Calls, Endpoints, Facets, Trace
//
// The file is one of SQLite, with one table of numbered parts. A part has a column of 65,536
// rows, the beginning of an order of all rows, 64 rows as they are shown, or a block of words with
// the rows that have them. A filter goes over the columns that it names, and makes a set of bits,
// one for each row; a page follows the order that was asked for and takes what is in the set.
// So the time of a question hardly depends on what it asks, and no question needs more memory than
// some columns.
//
// It promises:
//
//   - The recording is only read. The index is a file that only its user can read, and
//     everything in it follows from the recording. It is made anew when the recording changed,
//     and the one before is removed.
//   - An index that was not finished is never used. Each part has a checksum: where something is
//     not as it was written, the answer is an error, and the index is made anew.
//   - What is asked is data: there are no operators, and nothing of it becomes SQL.
//   - Making an index takes memory in proportion to the recording only where columns are sorted: about
//     a hundred bytes for each exchange, beside what reading takes, and 200 MB.
//   - Questions take a context, and end with it. They are safe for concurrent use.
//
// It imports recording and its folders, replay/carry for endpoints, internal/scratch,
// modernc.org/sqlite, klauspost/compress, golang.org/x/sync and the standard library.
package index
