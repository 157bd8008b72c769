// Package har reads and writes HAR 1.2, the log that browsers' developer tools and many
// proxies export.
//
// What it promises:
//
//   - One entry is in memory at a time, of at most [recording.MaxLine] bytes of JSON.
//   - What an exchange has no field for, as timings or what begins with `_`, is kept in its
//     member har, and written again. What can't be kept is named.
//   - What an entry can't say of an exchange is in its member _rrpair, so that RRPair to HAR to
//     RRPair gives the same. Where somebody has changed the rest of the entry, that holds.
//   - A log that is written has every field that HAR 1.2 demands, and those that Chromium and
//     Firefox look for.
//
// It imports recording, its folder coding, golang.org/x/net/idna and the standard library.
package har
