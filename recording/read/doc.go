// Package read is the reader of recordings: it finds the segments that a query asks for,
// merges the exchanges of many pods in the order of their start, and puts conversations
// together that were written in parts.
//
//	Store ──▶ segments ──▶ merge or sort ──▶ join ──▶ Record, Record, …
//	          those that    by start,         parts     and a Report of what
//	          the query     within bounds     become    could not be read, and
//	          needs         of memory         one       of what is missing
//
// It promises:
//
//   - Memory is bounded by Options, and two hundred bytes for each segment, however large the
//     recording is, and whoever wrote it. At most Options.MaxOpen segments are open. An open
//     large segment counts for those that it was made of.
//   - In the order [Sorted], every exchange comes in the order of its start. What doesn't
//     fit into memory is sorted in a temporary file.
//   - In the order [Streamed], the first exchange comes at once, and nothing is written
//     anywhere. Exchanges come in order if they took no longer than Options.Window, and
//     if no more than Options.MaxOpen pods wrote at a time. The others come late: each is
//     marked, and counted.
//   - What compaction does meanwhile makes no difference: what a large segment was made of is
//     left out, and what is gone since it was listed is read from the large segment. The same
//     query gives the same before and after.
//   - Whatever could not be read is in the Report, by kind, counted, with examples. Reading
//     goes on behind it.
//
// It imports recording and its folder store, internal/scratch, klauspost/compress and the
// standard library: no cloud SDK, so that the sidecar can use it.
package read
