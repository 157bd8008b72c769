// Package show says what an exchange holds in words and in text that people read: a model for a
// page's template, which renders as plain text, too.
//
//	                     ┌─▶ Request, Response ─▶ Body: decoded, recognised, indented
//	*recording.Exchange ─┼─▶ Conversation ─▶ Messages, page by page ─▶ Body
//	  New                └─▶ facts, timings, what is missing, tags ─▶ a template, or Exchange.Write
//
// It promises:
//
//   - Texts of the model show what they are: each has passed [clean.Text], so nothing in it steers a
//     terminal, turns the direction of text, or has no width. A template escapes them as any text.
//   - A body is hostile: what is decoded, indented and nested is bounded, and what is left out is
//     counted.
//   - A body that is not what its type says is shown as it is, and a note says so.
//   - Pretty forms change white space alone: numbers, the order of members and members of one
//     name stay.
//   - The functions are pure: no I/O, no clock, and the exchange is only read. They are safe for
//     concurrent use.
//
// It imports recording and its folders clean, coding and fieldpath, match/canon, golang.org/x/text for
// charsets, and the standard library. The sidecar does not link it: its tables would be resident in
// every pod.
package show
