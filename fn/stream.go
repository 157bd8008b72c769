package fn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// split splits a text into its documents: at the markers of YAML, and between consecutive JSON
// objects.
func split(text []byte) [][]byte {
	var docs [][]byte
	for _, doc := range splitYAML(text) {
		docs = append(docs, splitJSON(doc)...)
	}
	return docs
}

// splitJSON splits a text that consists only of JSON objects between them. White space belongs to the
// object before it.
func splitJSON(text []byte) [][]byte {
	if !beginsObject(text) {
		return [][]byte{text}
	}
	var docs [][]byte
	dec := json.NewDecoder(bytes.NewReader(text))
	for start := 0; ; {
		err := dec.Decode(new(json.RawMessage))
		if errors.Is(err, io.EOF) {
			return docs
		}
		end := int(dec.InputOffset())
		end += len(text[end:]) - len(bytes.TrimLeft(text[end:], " \t\r\n"))
		if err != nil || end < len(text) && text[end] != '{' {
			return [][]byte{text}
		}
		docs = append(docs, text[start:end])
		start = end
	}
}

// beginsObject reports whether a text begins like a JSON object.
func beginsObject(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}

// splitYAML splits a text into the documents of a YAML stream. `---` and `...` at the start of a line
// end a document everywhere, even inside block and quoted scalars (YAML 1.2.2, 9.1.2), so it is enough
// to check the starts of lines.
func splitYAML(text []byte) [][]byte {
	var docs [][]byte
	start, directives := 0, false
	cut := func(at int) {
		if at > start {
			docs = append(docs, text[start:at])
		}
		start, directives = at, false
	}
	for at := 0; at < len(text); {
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := bytes.TrimPrefix(text[at:end], byteOrderMark)
		switch {
		case marker(line, "---"):
			if !directives { // directives belong to the document that follows
				cut(at)
			}
			directives = false
		case marker(line, "..."):
			cut(end)
		case len(line) > 0 && line[0] == '%' && blank(text[start:at]):
			directives = true
		}
		at = end
	}
	cut(len(text))
	return docs
}

// marker reports whether a line is a document marker. Content may follow the marker.
func marker(line []byte, m string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(m))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// directive reports whether a text begins with a directive. Comments may come before it.
func directive(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !blank(line) {
			return line[0] == '%'
		}
	}
	return false
}

// byteOrderMark begins UTF-8 files that some editors write.
var byteOrderMark = []byte("\xef\xbb\xbf")

// blank reports whether a text has only white space, comments and document end markers.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if marker(line, "...") {
			line = line[len("..."):]
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
