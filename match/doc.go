// Package match decides whether two requests are the same, and how two responses differ. Mock
// and replay both use it, so that they agree. docs/matching.md describes the rules.
//
//	recorded exchange ─▶ Builder.Add ─▶ Builder.Build ─▶ Index
//	                                                       │
//	live exchange ─▶ Matcher.Request ─▶ Index.Lookup ──────┴─▶ Result: Entries, Masks
//	                                    Index.Explain ───────▶ Explanation, for people and as JSON
//	recorded and live exchange ─▶ Matcher.Diff ──────────────▶ Differences of the responses
//
//	canon   bodies as trees, without differences in spelling
//	class   classes of volatile values: identifiers, times, tokens
//	rules   the user's file of rules
//
// A live request is also an exchange: a server fills in the request's half of a
// [recording.Exchange], and sets TS to now. Both sides go through the same redaction, decoding
// and canonical form.
//
// A lookup has these steps. The first one that finds something decides:
//
//  1. Exact: the canonical forms are equal.
//  2. Bound: they are equal after live values are replaced by the recorded values that they
//     are known to replace (see [Bindings]).
//  3. Masked: they are equal except at places with volatile values, and each of these places
//     has a value of the same class on both sides.
//
// Similarity never decides. If several recorded requests are the same, the result has all of
// them in recorded order, and [Index.Groups] groups them by request. The caller chooses by
// session and order.
//
// It promises:
//
//   - The time of a lookup does not depend on the number of exchanges, and the index takes
//     about 150 bytes for each.
//   - The same exchanges give the same results, in whatever order they are added.
//   - Hostile bodies cost time and memory in proportion to their length.
//   - If [Options.Redact] is set, no secret is compared or shown.
//
// It imports recording, recording/coding, the standard library, protobuf, SipHash, a diff of
// lines and, in rules, a YAML parser.
package match
