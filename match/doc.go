// Package match decides when two requests are the same and how two responses
// differ. Mock and replay share it: neither has its own idea of sameness.
//
//	recorded exchange ─▶ Matcher.Request ─▶ Builder.Add ─▶ Builder.Build ─▶ Index
//	                                                                         │
//	live exchange ─────▶ Matcher.Request ──────────────────────▶ Index.Lookup ─▶ Result
//	                                                             Index.Explain ─▶ Explanation
//	recorded and live response ─▶ Matcher.Diff ─▶ []Difference
//
// A live request is an exchange too: a server fills in the request's half of a
// [recording.Exchange] and sets TS to now. So both sides go through the same
// redaction, the same decoding and the same canonical form.
//
// The steps of a lookup, in this order:
//
//  1. Exact: the canonical forms agree.
//  2. Bound: they agree once values that the caller knows to stand for recorded
//     ones (see [Bindings]) are replaced by those.
//  3. Masked: they agree except at places whose values are volatile, and each of
//     those holds a value of the same class on both sides.
//
// Distance never decides. If several recorded requests answer, the result has all
// of them in recorded order, and [Index.Groups] says how they differ: the caller
// chooses by session and order.
package match
