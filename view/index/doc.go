// Package index makes recordings searchable: a table with a row for each exchange, fast for millions of
// them.
//
//	place ──read──▶ exchanges in order ─┬▶ rows: packs, columns, paths ──┐
//	                                    └▶ words ─▶ sorted terms ────────┴▶ a file in the user's cache
//	                                                                        │
//	place ──segment, offset──▶ Exchange: one in full                        └▶ List, Calls, Endpoints, Facets, Trace
//
// The file is an SQLite database with one table of numbered parts. A part holds a column of 65,536 rows,
// the paths of 4,096 rows, 64 rows as they are shown, or a block of words with the rows that have them. A
// filter reads the columns that it names, and makes a set of bits, one for each row. A page reads the
// column that it is sorted by, and keeps the first rows of the set. So most questions take a similar
// time, and none needs more memory than a few columns.
//
// Promises:
//
//   - The index only reads the recording. Only its user can read the index, and everything in it follows
//     from the recording. If the recording has changed, the index is made again and the old one removed.
//   - An unfinished index is never used. Each part has a checksum. Damage gives an error, and the index is
//     made again.
//   - Input of users is data: search has no operators, and no input becomes SQL.
//   - Making an index takes 200 MB of memory and about a hundred bytes for each exchange, beside what
//     reading takes.
//   - Questions take a context, and end with it. They are safe for concurrent use.
//
// It imports recording and its folders, replay/carry for endpoints, internal/scratch,
// modernc.org/sqlite, klauspost/compress, golang.org/x/sync and the standard library.
package index
