// Package markdown reads and writes RRPairs in the markdown files that the ecosystem's recorder
// writes, one in each:
//
//	### REQUEST ###                 the request line with the whole URL, and fields;
//	### RESPONSE ###                then the body, in a fence of its own
//	### SIGNATURE ###               `key is value` lines
//	### METADATA ###                direction, uuid, ts, duration, tags
//	### INTERNAL - DO NOT MODIFY ### the record's JSON, with or without fields and bodies
//
// Any section may be missing. The JSON holds; where another section says something else,
// somebody has edited the file, and the section holds. What a section shows in another
// form, as a body with its JSON indented, is no edit.
//
// It imports recording and the standard library.
package markdown
