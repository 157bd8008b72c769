// Package markdown reads and writes RRPairs in the markdown files of the ecosystem's recorder. Each file
// has one RRPair:
//
//	### REQUEST ###                 the request line with the whole URL, and fields;
//	### RESPONSE ###                then the body in a separate fence
//	### SIGNATURE ###               `key is value` lines
//	### METADATA ###                direction, uuid, ts, duration, tags
//	### INTERNAL - DO NOT MODIFY ### the record's JSON, with or without fields and bodies
//
// Any section may be missing. The JSON is the source, but a section that differs from it was edited and
// takes precedence. A section that shows the same value in another form, such as indented JSON, does not
// count as edited.
//
// It imports recording and the standard library.
package markdown
