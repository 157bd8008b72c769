// Package carry finds, without rules, which recorded request carries a value that an
// earlier response issued, and writes the live value there when the request is replayed.
//
//	recorded exchanges ──Add──▶ Finder ──Finish──▶ Graph: sessions, edges, needs
//	                                                │ NewState, one for each copy
//	live answers ──Answered──▶ State ──Apply──▶ requests with live values
//
// An edge leads from a place in a response that issued a value to a place in a request that has the
// whole value: verbatim, after a scheme such as Bearer, in base64, or in another of the forms of
// forms.go. Cookies are carried by name, validators such as ETag by their object, and short ids
// such as the 7 of `/orders/7` by the kind of thing that they identify. Any other value must look
// generated; see worth.go.
//
// It promises:
//
//   - These values are sent as recorded: values that the client made up, constants that look
//     like values (hosts, enums, dates, versions, prices), and values that several sessions
//     may have issued.
//   - A request is changed only at the places of its edges. All other bytes remain unchanged, and
//     a live value has the encoding of the recorded one.
//   - Redacted values are carried like any others: the live answer has the real value.
//   - Exchanges are untrusted input: depth, sizes and the number of remembered values are
//     bounded.
//   - A large graph is kept on disk, so that memory does not grow with it.
//
// It imports recording with its folders, match/class, mock/order, replay/rows,
// internal/rulefile, the standard library, golang.org/x/net/html, protobuf's protowire, and
// go.yaml.in/yaml/v3 for the file of rules.
package carry
