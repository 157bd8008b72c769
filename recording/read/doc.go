// Package read reads recordings. It finds the segments that a query needs, merges the exchanges of
// many pods in the order of their start, and joins conversations that were written in parts.
//
//	Store ──▶ segments ──▶ merge or sort ──▶ join ──▶ Record, Record, …
//	          those that    by start,         parts     and a Report of what
//	          the query     within bounds     become    could not be read, and
//	          needs         of memory         one       of what is missing
//
// It promises:
//
//   - Memory is bounded by Options and two hundred bytes for each segment, for recordings of any
//     size, even hostile ones. At most Options.MaxOpen segments are open. An open large segment
//     counts as many times as it has sources.
//   - In the order [Sorted], exchanges come exactly in the order of their start. Exchanges that
//     don't fit into memory are sorted in a temporary file.
//   - In the order [Streamed], the first exchange comes immediately, and no file is
//     written. Exchanges come in order if they took no longer than Options.Window, and if at most
//     Options.MaxOpen pods wrote at a time. Other exchanges may come late: they are marked and
//     counted.
//   - Compaction does not change results, even while it runs. The reader ignores the sources of a
//     large segment, and reads a segment that was deleted since the listing from the large one.
//   - The Report counts everything that could not be read, by kind, with examples. Reading
//     continues after it.
//
// It imports recording, recording/store, internal/scratch, klauspost/compress and the standard
// library, but no cloud SDK, so that the sidecar can use it.
package read
