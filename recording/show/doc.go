// Package show makes exchanges readable for people. It returns a model for a page's template, and can
// write the model as plain text.
//
//	                     ┌─▶ Request, Response ─▶ Body: decoded, recognised, indented
//	*recording.Exchange ─┼─▶ Conversation ─▶ Messages, page by page ─▶ Body
//	  New                └─▶ facts, timings, missing parts, tags ─▶ a template, or Exchange.Write
//
// It promises:
//
//   - Each text of the model has passed [clean.Text], so it has no characters that control a terminal,
//     change the direction of text, or are invisible. A template escapes it like any text.
//   - Bodies may be hostile: decoding, indenting and nesting are bounded, and what is not shown is
//     counted.
//   - If a body doesn't have the format that its type names, it is shown unchanged, with a note.
//   - Indenting changes only white space. Numbers, the order of members and repeated members remain.
//   - The functions are pure: no I/O, no clock, and the exchange is only read. They are safe for
//     concurrent use.
//
// It imports recording and its subpackages clean, coding and fieldpath, match/canon, golang.org/x/text
// for charsets, and the standard library. The sidecar does not link it, because its tables would be
// resident in every pod.
package show
