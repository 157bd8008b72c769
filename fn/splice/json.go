package splice

import (
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// IsJSON reports whether a text is a JSON object with only white space around it. [Parse] reads such a
// text as JSON, which is not a subset of the YAML that the parser supports: JSON has surrogate pairs,
// keys of any length, and DEL. [Apply] writes JSON if its input was JSON.
func IsJSON(text []byte) bool {
	i := skipSpaceOnly(text, 0)
	return i < len(text) && text[i] == '{' && json.Valid(text[i:])
}

// parseJSON builds the nodes of a valid JSON text, as the YAML parser would.
func parseJSON(text []byte) *yaml.Node {
	p := jsonParser{text: text, line: 1, column: 1}
	return p.value()
}

// jsonParser reads a text that is known to be valid. It counts lines and columns as measure does.
type jsonParser struct {
	text             []byte
	at, line, column int
}

// move advances to text[to:].
func (p *jsonParser) move(to int) {
	for p.at < to {
		if k := breakLen(p.text, p.at); k > 0 {
			p.line, p.column, p.at = p.line+1, 1, p.at+k
			continue
		}
		k := 1
		if p.text[p.at] >= utf8.RuneSelf {
			_, k = utf8.DecodeRune(p.text[p.at:])
		}
		p.column, p.at = p.column+1, p.at+k
	}
}

// next skips white space and returns the next byte.
func (p *jsonParser) next() byte {
	p.move(skipSpaceOnly(p.text, p.at))
	return p.text[p.at]
}

func (p *jsonParser) value() *yaml.Node {
	c := p.next()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line, Column: p.column}
	switch c {
	case '{':
		n.Kind, n.Tag, n.Style = yaml.MappingNode, yaml.NodeTagMap, yaml.FlowStyle
		p.entries(n, '}')
	case '[':
		n.Kind, n.Tag, n.Style = yaml.SequenceNode, yaml.NodeTagSeq, yaml.FlowStyle
		p.entries(n, ']')
	case '"':
		end := scalarEnd(p.text, p.at, yaml.DoubleQuotedStyle, 0, true)
		_ = json.Unmarshal(p.text[p.at:end], &n.Value) // valid, so it can't fail
		n.Tag, n.Style = yaml.NodeTagString, yaml.DoubleQuotedStyle
		p.move(end)
	default:
		end := p.at
		for end < len(p.text) && strings.IndexByte(" \t\r\n,]}", p.text[end]) < 0 {
			end++
		}
		n.Value = string(p.text[p.at:end])
		n.Tag = literalTag(n.Value)
		p.move(end)
	}
	return n
}

// entries reads the entries of an object or array, and its closing bracket.
func (p *jsonParser) entries(n *yaml.Node, shut byte) {
	for p.move(p.at + 1); p.next() != shut; {
		switch p.text[p.at] {
		case ',', ':':
			p.move(p.at + 1)
		default:
			n.Content = append(n.Content, p.value())
		}
	}
	p.move(p.at + 1)
}

// literalTag returns the tag of true, null or a number. YAML resolves all of them like JSON, except
// for numbers that overflow.
func literalTag(v string) string {
	if tag := (&yaml.Node{Kind: yaml.ScalarNode, Value: v}).ShortTag(); tag != yaml.NodeTagString {
		return tag
	}
	return yaml.NodeTagFloat
}

// JSONAsYAML rewrites a JSON object so that a YAML parser reads the same value. It writes surrogate
// pairs and slashes as plain characters, escapes characters that YAML folds or forbids, and puts a
// colon on the same line as its key. A text without these is returned unchanged.
func JSONAsYAML(text []byte) []byte {
	var out []byte
	kept := 0
	replace := func(from, to int, with string) {
		out = append(append(out, text[kept:from]...), with...)
		kept = to
	}
	for i := 0; i < len(text); {
		if text[i] != '"' {
			i++
			continue
		}
		end := scalarEnd(text, i, yaml.DoubleQuotedStyle, 0, true)
		for i < end {
			c, size := utf8.DecodeRune(text[i:end])
			switch {
			case c == '\\' && i+6 <= end && text[i+1] == 'u':
				size = 6
				first := unescape(text[i+2:])
				if !utf16.IsSurrogate(first) {
					break
				}
				char := rune(utf8.RuneError)
				if i+12 <= end && text[i+6] == '\\' && text[i+7] == 'u' {
					if pair := utf16.DecodeRune(first, unescape(text[i+8:])); pair != utf8.RuneError {
						char, size = pair, 12
					}
				}
				replace(i, i+size, string(char))
			case c == '\\':
				if size = 2; text[i+1] == '/' { // YAML 1.1 does not know this escape
					replace(i, i+1, "")
				}
			case c >= 0x7f && (!printable(c) || breakLen(text, i) > 0):
				replace(i, i+size, strings.Trim(doubleQuote(string(c)), `"`))
			}
			i += size
		}
		if colon := skipSpaceOnly(text, end); colon < len(text) && text[colon] == ':' && hasBreak(text, end, colon) {
			replace(end, colon, "")
			i = colon
		}
	}
	return append(out, text[kept:]...)
}

// unescape reads the four digits of an escape.
func unescape(digits []byte) (c rune) {
	for _, d := range digits[:4] {
		switch {
		case d <= '9':
			d -= '0'
		default:
			d = d | 0x20 - 'a' + 10
		}
		c = c<<4 | rune(d)
	}
	return c
}
