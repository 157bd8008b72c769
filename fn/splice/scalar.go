package splice

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// scalar writes a scalar that resolves to the node's tag and value. It uses the node's style if the
// value allows that, and double quotes if nothing else does. body is the column for the lines of a
// block scalar.
func (r renderer) scalar(n *yaml.Node, flow bool, body int, lay layout) string {
	tag, v := n.ShortTag(), n.Value
	switch {
	case tag == yaml.NodeTagString:
		return text(v, n.Style, flow, body, lay)
	case tag == yaml.NodeTagNull:
		empty := v == "" && !flow && !lay.json
		if empty || v != "" && !lay.json && isPlain(v, flow) && resolves(v, tag) {
			return v
		}
		return "null"
	case v != "" && isPlain(v, flow) && resolves(v, tag):
		return v
	}
	return written(tag) + " " + withTag(v, n.Style, flow)
}

// withTag writes a value whose tag is explicit.
func withTag(v string, style yaml.Style, flow bool) string {
	if style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 && v != "" && isPlain(v, flow) {
		return v
	}
	return doubleQuote(v)
}

// text writes a string.
func text(v string, style yaml.Style, flow bool, body int, lay layout) string {
	lines := style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && strings.Contains(v, "\n")
	lines = lines && !flow && !lay.quoted
	_, _, commented := cutComment(v)
	switch {
	case lay.json, commented: // otherwise it would look like a token with a following comment
		return doubleQuote(v)
	case lines && style&yaml.FoldedStyle != 0 && canFold(v):
		return ">" + chomp(v) + lay.eol + indented(strings.ReplaceAll(strings.TrimSuffix(v, "\n"), "\n", "\n\n"), body, lay.eol)
	case lines && canBlock(v):
		return "|" + chomp(v) + lay.eol + indented(strings.TrimSuffix(v, "\n"), body, lay.eol)
	case style&yaml.SingleQuotedStyle != 0 && isPrintable(v):
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case style&yaml.DoubleQuotedStyle == 0 && v != "" && isPlain(v, flow) && resolves(v, yaml.NodeTagString) && !Misread(v):
		return v
	}
	return doubleQuote(v)
}

// Misread reports whether YAML 1.1, which the Kubernetes API server reads, would read a plain string
// as another type: `on`, `1:30`, `0o7`. It uses the parser only for strings that begin like a number or
// a special value.
func Misread(v string) bool {
	if v == "" {
		return false
	}
	if letter := v[0] | 0x20; 'a' <= letter && letter <= 'z' {
		return len(v) <= len("false") && words[strings.ToLower(v)]
	}
	return strings.IndexByte("0123456789+-.~=<", v[0]) >= 0 && (yaml.IsValueNonString(v) || sexagesimal.MatchString(v))
}

// sexagesimal matches numbers of base 60 (https://yaml.org/type/int.html), which Go's
// parsers read as strings and others don't.
var sexagesimal = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)

// words are the words that YAML 1.1 reads as a boolean or as null, in some case
// (https://yaml.org/type/bool.html, https://yaml.org/type/null.html).
var words = map[string]bool{"y": true, "yes": true, "n": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true}

// resolves reports whether a plain scalar resolves to a tag.
func resolves(v, tag string) bool {
	if v == "<<" {
		return tag == yaml.MergeTag
	}
	return (&yaml.Node{Kind: yaml.ScalarNode, Value: v}).ShortTag() == tag
}

// isPlain reports whether a value can be written without quotes.
func isPlain(v string, flow bool) bool {
	if v == "" || !isPrintable(v) || strings.Trim(v, " ") != v || strings.HasSuffix(v, ":") ||
		strings.Contains(v, ": ") || strings.Contains(v, " #") ||
		strings.HasPrefix(v, "---") || strings.HasPrefix(v, "...") {
		return false
	}
	if flow && strings.ContainsAny(v, ",[]{}?") {
		return false
	}
	switch v[0] {
	case '-', '?', ':':
		return !flow && len(v) > 1 && v[1] != ' '
	}
	return !strings.ContainsRune(",[]{}#&*!|>'\"%@`", rune(v[0]))
}

// isPrintable reports whether a value is one line of characters that need no
// escape.
func isPrintable(v string) bool {
	for _, c := range v {
		if !printable(c) {
			return false
		}
	}
	return utf8.ValidString(v)
}

func printable(c rune) bool {
	switch {
	case c < ' ', 0x7f <= c && c < 0xa0, c == 0x2028, c == 0x2029, c == 0xfeff, c == 0xfffe, c == 0xffff:
		return false
	}
	return true
}

// canBlock reports whether a literal scalar can represent a value: lines of printable characters, the
// first one not indented, with at most one line break at the end. (More line breaks would include the
// blank lines that follow in the text.)
func canBlock(v string) bool {
	body := strings.TrimSuffix(v, "\n")
	if body == "" || strings.HasSuffix(body, "\n") || strings.HasPrefix(body, "\n") || strings.HasPrefix(body, " ") {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if !isPrintable(strings.ReplaceAll(line, "\t", "")) || line != "" && strings.Trim(line, " \t") == "" || strings.HasPrefix(line, "\t") {
			return false
		}
	}
	return true
}

// canFold reports whether a folded scalar can represent a value. Blank and indented lines fold by
// rules that a literal scalar doesn't need.
func canFold(v string) bool {
	return canBlock(v) && !strings.Contains(v, "\n\n") && !strings.Contains(v, "\n ")
}

// chomp returns the indicator for the end of a value.
func chomp(v string) string {
	if strings.HasSuffix(v, "\n") {
		return ""
	}
	return "-"
}

// indented indents the lines of a block scalar's body to a column.
func indented(body string, col int, eol string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(body, "\n") {
		if b.Len() > 0 {
			b.WriteString(eol)
		}
		if line != "" {
			b.WriteString(spaces(col) + line)
		}
	}
	return b.String()
}

// doubleQuote writes a value with escapes that YAML and JSON share.
func doubleQuote(v string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range v {
		switch short := strings.IndexRune("\"\\\b\f\n\r\t", c); {
		case short >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\bfnrt`[short])
		case printable(c):
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
