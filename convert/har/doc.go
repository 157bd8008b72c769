// Package har reads and writes HAR 1.2, the log that browsers' developer tools and many
// proxies export.
//
// Promises:
//
//   - One entry is in memory at a time, of at most [recording.MaxLine] bytes of JSON.
//   - Members of an entry that an exchange has no field for, such as timings and members that begin
//     with `_`, are kept in the exchange's member har, and written again. Losses are named.
//   - Fields of an exchange that HAR has no place for are in the entry's member _rrpair, so RRPair to HAR to
//     RRPair gives the same bytes. If somebody has changed the entry, the changes win.
//   - A written log has every field that HAR 1.2 demands, and those that Chromium and Firefox look for.
//
// It imports recording, recording/coding, convert/internal/web, golang.org/x/net/idna and the standard
// library.
package har
