package redact

import (
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxRounds is the maximum number of times that a document is redacted.
const maxRounds = 4

// settled redacts a body or a message, then the result, until nothing is left to redact, because a token
// may change the structure of a malformed text. So redacting a recording twice changes nothing.
func (q *search) settled(s string, mediaType string) []byte {
	q.final = false
	out := q.document(s, mediaType)
	for round := 1; out != nil && !q.final && round < maxRounds; round++ {
		again := q.document(view(out), mediaType)
		if again == nil {
			break
		}
		out = again
	}
	return out
}

// document detects the format of a body, or of part of one, and redacts it. The first characters are
// better evidence than the media type, which is often wrong. It returns nil if there is nothing to
// redact.
func (q *search) document(s string, mediaType string) []byte {
	if len(s) > 1 && (s[0] == '{' || s[0] == '[' && !isSection(s[:min(len(s), 256)])) && s[1] != 0 && (strings.HasPrefix(mediaType, "application/json") || isText(s)) { // most bodies
		return q.json(s)
	}
	if order := utf16Order(s); order != 0 {
		if out := q.utf16(s, order); out != nil {
			return out
		}
		return q.binary(s) // binary content may begin like UTF-16
	}
	kind, parameters, _ := strings.Cut(strings.ToLower(mediaType), ";")
	kind = strings.TrimSpace(kind)
	start := strings.TrimLeft(s[:min(len(s), 256)], "\ufeff \t\r\n\x1e")
	if start == "" {
		return nil
	}
	switch c := start[0]; {
	case kind == "application/connect+json", kind == "application/grpc-web+json":
		return q.envelopes(s)
	case c == '<' && isText(s):
		return q.markup(s)
	case (c == '{' || c == '[' && !isSection(start) || strings.Contains(kind, "json")) && isText(s):
		return q.json(s)
	case strings.HasPrefix(kind, "multipart/"):
		if _, p, err := mime.ParseMediaType(mediaType); err == nil && p["boundary"] != "" && strings.Contains(s, "--"+p["boundary"]) {
			return q.multipart(s, p["boundary"])
		}
		return q.multipart(s, boundaryOf(start))
	case kind == "application/x-www-form-urlencoded":
		return q.form(s)
	case strings.Contains(kind, "graphql"), isGraphQL(start):
		return q.graphql(s)
	case kind == "text/event-stream", strings.HasPrefix(start, "data:"), strings.HasPrefix(start, "event:"):
		return q.events(s)
	case strings.Contains(kind, "protobuf"), strings.Contains(kind, "grpc"), !isText(s):
		return q.binary(s)
	case strings.HasPrefix(start, "--") && strings.Contains(start, "\n") && strings.Contains(strings.ToLower(start), "content-disposition:"):
		return q.multipart(s, boundaryOf(start))
	case strings.Contains(kind, "javascript"), strings.HasSuffix(kind, "/css"):
		return q.script(s)
	case holdsJSON(start):
		return q.json(s)
	case isForm(start):
		return q.form(s)
	}
	return q.lines(s, strings.Contains(kind, "yaml") || strings.Contains(parameters, "yaml"))
}

// isSection reports whether a text that begins with a bracket isn't JSON, but a log line, or a section
// header as in INI and TOML. Words, a comment or another section follow its closing bracket.
func isSection(start string) bool {
	for strings.HasPrefix(start, "[") {
		head, rest, ok := strings.Cut(start[1:], "]")
		if !ok || strings.ContainsAny(head, "\"{},\n") {
			return false
		}
		start = strings.TrimLeft(rest, "] \t\r\n")
	}
	return start != "" && (isLower(start[0]|0x20) || start[0] >= utf8.RuneSelf || start[0] == '#' || start[0] == ';' || start[0] == '_')
}

// holdsJSON reports whether JSON follows a prefix that isn't JSON, as in JSONP and in messages of
// Socket.IO: `callback({"a":`, `)]}',\n{"a":`, `42["a",`.
func holdsJSON(start string) bool {
	i := strings.IndexAny(start, "{[")
	if i < 0 || i > 64 || i+1 == len(start) || strings.IndexByte(start[:i], '"') >= 0 {
		return false
	}
	switch next := strings.TrimLeft(start[i+1:], " \t\r\n"); {
	case next == "":
		return false
	default:
		return next[0] == '"' || next[0] == '{' || next[0] == '['
	}
}

// isForm reports whether a text begins like a form: with a name, an equals sign, and neither spaces
// nor line breaks up to the next pair.
func isForm(start string) bool {
	name, value, ok := strings.Cut(start, "=")
	return ok && name != "" && strings.IndexAny(name, " \t\r\n:;\"'(){}<>,/?") < 0 && strings.IndexAny(value, " \t\r\n\"<>{}") < 0
}

// isText reports whether bytes begin like text in some encoding. Bytes that aren't UTF-8 may be letters
// of another encoding. Binary data has control characters. Text may have a few of them: they divide
// records (JSON text sequences, SignalR) or end one (STOMP).
func isText(s string) bool {
	s = strings.TrimRight(s[:min(len(s), 512)], "\x00\x1e")
	controls, odd := 0, 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if isControl[c] {
				controls++
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 && utf8.FullRuneInString(s[i:]) {
			odd++
		}
		i += n
	}
	return controls == 0 || controls*32+odd*8 <= len(s)
}

// isControl marks the control characters that text doesn't use.
var isControl = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = strings.IndexRune("\t\n\r\f\x1b\x1e", c) < 0
	}
	t[0x7f] = true
	return t
}()

// utf16Order returns 'l' if b is little-endian UTF-16, 'b' if it is big-endian, and 0 if b isn't UTF-16.
// The evidence is a byte order mark, or that every second of the first bytes is zero.
func utf16Order(b string) byte {
	switch {
	case len(b) < 4 || b[0] != 0 && b[1] != 0 && b[0] < 0xfe:
		return 0
	case b[0] == 0xff && b[1] == 0xfe, b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return 'l'
	case b[0] == 0xfe && b[1] == 0xff, b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
		return 'b'
	}
	return 0
}

// utf16 redacts a document in UTF-16.
func (q *search) utf16(b string, order byte) []byte {
	low, high := 0, 1
	if order == 'b' {
		low, high = 1, 0
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i+low]) | uint16(b[2*i+high])<<8
	}
	out := q.document(string(utf16.Decode(units)), "")
	if out == nil {
		return nil
	}
	units = utf16.Encode([]rune(string(out)))
	wide := make([]byte, 2*len(units))
	for i, u := range units {
		wide[2*i+low], wide[2*i+high] = byte(u), byte(u>>8)
	}
	return append(wide, b[len(b)/2*2:]...)
}

// binary searches binary content for secrets that are found under any name. Replacements have the same
// size, because binary formats store the lengths of their parts.
func (q *search) binary(s string) []byte {
	var out []byte
	for _, f := range cards(knownIn(nil, s, true), s) {
		if out == nil {
			out = []byte(s)
		}
		from := f.from + schemeOf(s[f.from:f.to])
		copy(out[from:f.to], q.r.tokens.Sized(s[from:f.to]))
		q.found("")
	}
	return out
}
