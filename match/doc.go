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

// What callers use; the functions follow the types.
//
//	func New(Options) (*Matcher, error)
//	func (m *Matcher) Request(e *recording.Exchange) *Request     // keeps no part of e but what Explain shows; redacts e in place
//	func (m *Matcher) NewBuilder() *Builder
//	func (b *Builder) Add(e *recording.Exchange, ref Ref)         // from any number of goroutines, in any order: TS and ref decide
//	func (b *Builder) Build(ctx) (*Index, error)
//	func (x *Index) Lookup(r *Request, b Bindings) Result         // b may be nil; from any number of goroutines
//	func (x *Index) Len() int
//	func (x *Index) Ref(e Entry) Ref
//	func (x *Index) Groups(r Result) []Group
//	func (x *Index) Explain(r *Request, res Result, load func(Ref) (*recording.Exchange, error)) *Explanation
//	func (m *Matcher) Bind(recorded, live *Request) []Binding      // pairs of values at masked places
//	func (m *Matcher) Diff(recorded, live *recording.Exchange) Differences
//	func (m *Matcher) Rules() *rules.Set                           // with a counter per rule
//
// Conversations. What identifies one is its opening: for gRPC the call's head and the
// client's first message, unless the server spoke first; for a WebSocket the
// handshake; for TCP the client's bytes before the server's first. A server looks the
// opening up and then follows:
//
//	func (x *Index) Openings(head *Request) Openings               // what to wait for before Lookup: nothing, a message, n bytes
//	func (m *Matcher) Message(protocol string, recorded, live []byte) (How, []Mask)
