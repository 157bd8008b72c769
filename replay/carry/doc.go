// Package carry finds, without rules, which recorded request carries a value that an
// earlier response issued, and writes the live value there when the request is replayed.
//
//	recorded exchanges ──Add──▶ Finder ──Finish──▶ Graph: sessions, edges, needs
//	                                                │ NewState, one for each copy
//	live answers ──Answered──▶ State ──Apply──▶ requests with live values
//
// An edge leads from the place of a response at which a value was issued to the place of
// a request at which the value stands as a whole: as it is, behind a scheme as Bearer, in
// base64, or in another of the forms of forms.go. Cookies are carried by name, validators
// as ETag by the object that they are of, and short ids by the kind of thing that they
// name, as 7 is in `/orders/7`. Any other value must look as if it had been made for the
// purpose; see worth.go.
//
// It promises:
//
//   - What the client made up, constants in disguise as hosts, enums, dates, versions and
//     prices, and what several sessions may have issued is left as recorded.
//   - A request is changed at the places of its edges and nowhere else, byte for byte, and
//     a value stands there in the encoding in which the recorded one did.
//   - A redacted value joins like any other: the live answer has the real one.
//   - Exchanges are foreign: depth, sizes, and what is remembered are bounded.
//
// It imports recording with its folders, match/class, mock/order, replay/rows,
// internal/rulefile, the standard library, golang.org/x/net/html, protobuf's protowire, and go.yaml.in/yaml/v3 for
// the file of rules.
package carry
