// Package match decides when two requests are the same and how two responses differ.
// Mock and replay share it: neither has its own idea of sameness. docs/matching.md
// describes what it decides.
//
//	recorded exchange ─▶ Builder.Add ─▶ Builder.Build ─▶ Index
//	                                                       │
//	live exchange ─▶ Matcher.Request ─▶ Index.Lookup ──────┴─▶ Result: Entries, Masks
//	                                    Index.Explain ───────▶ Explanation, for people and as JSON
//	recorded and live exchange ─▶ Matcher.Diff ──────────────▶ Differences of the responses
//
//	canon   bodies as trees, in which spelling makes no difference
//	class   classes of volatile values: identifiers, times, tokens
//	rules   the user's file of rules
//
// A live request is an exchange too: a server fills in the request's half of a
// [recording.Exchange] and sets TS to now. So both sides go through the same redaction,
// the same decoding and the same canonical form.
//
// The steps of a lookup, in this order:
//
//  1. Exact: the canonical forms agree.
//  2. Bound: they agree once values that the caller knows to stand for recorded ones
//     (see [Bindings]) are replaced by those.
//  3. Masked: they agree except at places whose values are volatile, and each of those
//     holds a value of the same class on both sides.
//
// Distance never decides. If several recorded requests answer, the result has all of
// them in recorded order, and [Index.Groups] divides them by request: the caller chooses
// by session and order.
//
// It promises:
//
//   - A lookup takes as long however many exchanges there are, and the index takes about
//     150 bytes for each.
//   - The same exchanges give the same results, in whatever order they are added.
//   - Hostile bodies cost time and memory in proportion to their length.
//   - Nothing that it compares or shows has a secret in it, if [Options.Redact] is set.
//
// It imports recording and recording/coding, and beside the standard library protobuf,
// SipHash, a diff of lines and, in rules, a YAML parser.
package match
