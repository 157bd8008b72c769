package show

import (
	"bytes"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording/clean"
)

// xmlToken is a piece of a document with its original text.
type xmlToken struct {
	kind     xmlKind
	text     []byte
	name     []byte // the name of a tag
	children bool   // for a start tag: the element has elements or comments in it
	inline   bool   // for a start tag: the content is not indented, because its white space may matter
}

type xmlKind byte

const (
	xmlText  xmlKind = iota
	xmlStart         // <a>
	xmlEnd           // </a>
	xmlEmpty         // <a/>
	xmlAside         // a comment, a declaration or an instruction
	xmlRaw           // CDATA
)

// indentXML writes an XML document, and indents elements that have only elements in them. An element
// with text or with xml:space="preserve" remains unchanged. It returns how many bytes of src it wrote. Its
// errors are those of [clean.IndentJSON].
func indentXML(src []byte, limit int) (text []byte, used int, err error) {
	tokens, err := scanXML(src)
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, 0, err
	}
	var out []byte
	depth, inline := 0, 0 // inline counts the open elements, beginning with the outermost one that is not indented
	line := func() {
		if inline > 0 || len(out) == 0 || depth > clean.MaxIndent {
			return
		}
		out = append(out, '\n')
		for range depth {
			out = append(out, "  "...)
		}
	}
	for _, t := range tokens {
		if len(out) >= limit {
			return out, used, clean.ErrLimit
		}
		switch t.kind {
		case xmlText:
			if inline == 0 { // white space between elements
				used += len(t.text)
				continue
			}
		case xmlEnd:
			depth--
			if inline > 0 {
				inline--
			} else {
				line()
			}
		default:
			line()
		}
		out = append(out, t.text...)
		used += len(t.text)
		if t.kind == xmlStart {
			if depth++; inline > 0 || t.inline || !t.children {
				inline++
			}
		}
	}
	return out, used, err
}

// scanXML splits a document into tokens, and finds those that can be indented.
func scanXML(src []byte) ([]xmlToken, error) {
	var tokens []xmlToken
	var open []int // the start tags of open elements
	roots := 0
	var unfinished error
	for len(src) > 0 && unfinished == nil {
		t, err := nextXML(src)
		if err == io.ErrUnexpectedEOF {
			t, unfinished = xmlToken{kind: xmlAside, text: src}, err
			if src[0] != '<' {
				t.kind = xmlText
			}
		} else if err != nil {
			return nil, err
		}
		src = src[len(t.text):]
		top := -1
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		switch t.kind {
		case xmlText, xmlRaw:
			if t.kind == xmlText && len(bytes.Trim(t.text, " \t\r\n")) == 0 {
				break
			}
			if top < 0 {
				if trimmed := bytes.TrimPrefix(t.text, []byte("\ufeff")); roots == 0 && len(bytes.Trim(trimmed, " \t\r\n")) == 0 {
					break
				}
				return nil, fmt.Errorf("text outside the root element")
			}
			tokens[top].inline = true
		case xmlStart, xmlEmpty:
			if top >= 0 {
				tokens[top].children = true
			} else if roots++; roots > 1 {
				return nil, fmt.Errorf("more than one root element")
			}
			t.inline = preserves(t.text)
			if t.kind == xmlStart {
				open = append(open, len(tokens))
			}
		case xmlEnd:
			if top < 0 || !bytes.Equal(tokens[top].name, t.name) {
				return nil, fmt.Errorf("the end tag %.40q has no start tag", t.name)
			}
			open = open[:len(open)-1]
		case xmlAside:
			if top >= 0 {
				tokens[top].children = true
			}
		}
		tokens = append(tokens, t)
	}
	switch {
	case unfinished != nil || len(open) > 0:
		return tokens, io.ErrUnexpectedEOF
	case roots == 0:
		return nil, fmt.Errorf("no element")
	}
	return tokens, nil
}

// preserves reports whether white space in the element of a tag matters.
func preserves(tag []byte) bool { return bytes.Contains(tag, []byte("xml:space")) }

// asides lists how tokens other than tags and text begin and end.
var asides = []struct {
	kind       xmlKind
	begin, end string
}{
	{xmlAside, "<!--", "-->"},
	{xmlRaw, "<![CDATA[", "]]>"},
	{xmlAside, "<?", "?>"},
}

// nextXML returns the token at the beginning of src.
func nextXML(src []byte) (xmlToken, error) {
	if src[0] != '<' {
		end := bytes.IndexByte(src, '<')
		if end < 0 {
			end = len(src)
		}
		return xmlToken{kind: xmlText, text: src[:end]}, nil
	}
	for _, a := range asides {
		if !bytes.HasPrefix(src, []byte(a.begin)) {
			continue
		}
		end := bytes.Index(src[len(a.begin):], []byte(a.end))
		if end < 0 {
			return xmlToken{}, io.ErrUnexpectedEOF
		}
		return xmlToken{kind: a.kind, text: src[:len(a.begin)+end+len(a.end)]}, nil
	}
	end := tagEnd(src)
	if end < 0 {
		return xmlToken{}, io.ErrUnexpectedEOF
	}
	t := xmlToken{kind: xmlStart, text: src[:end]}
	inner := src[1 : end-1]
	switch {
	case bytes.HasPrefix(inner, []byte("!")):
		t.kind = xmlAside
		return t, nil
	case bytes.HasPrefix(inner, []byte("/")):
		t.kind, inner = xmlEnd, inner[1:]
	case bytes.HasSuffix(inner, []byte("/")):
		t.kind, inner = xmlEmpty, inner[:len(inner)-1]
	}
	t.name = inner
	if n := bytes.IndexAny(inner, " \t\r\n"); n >= 0 {
		t.name = inner[:n]
	}
	if r, _ := utf8.DecodeRune(t.name); r != '_' && r != ':' && !unicode.IsLetter(r) {
		return t, fmt.Errorf("want the name of an element: %.40q", t.text)
	}
	return t, nil
}

// tagEnd returns the end of the tag or declaration at the beginning of src, or -1 if it has no end. It
// ends at the first > outside quotes and brackets, which DOCTYPE may have.
func tagEnd(src []byte) int {
	quote, brackets := byte(0), 0
	declaration := bytes.HasPrefix(src, []byte("<!"))
	for i, c := range src {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case declaration && c == '[':
			brackets++
		case declaration && c == ']':
			brackets--
		case c == '>' && brackets <= 0:
			return i + 1
		}
	}
	return -1
}
