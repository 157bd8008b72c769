package splice

import (
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Tokens returns a lookup of the spelling of the scalars, aliases and flow collections of have, which
// is Parse(text), and of the pairs of its mappings. The lookup accepts nodes of have, or their copies
// from [Expand], because it uses positions. For a value it returns the bytes with its anchor and tag
// ("" for a null written as nothing), after any blanks beyond the required one. For a mapping's key it
// returns the bytes of the whole pair. It returns false for a block collection or a foreign node. A token
// that is kept in an undo record and passed as a [Spelling] restores the text byte for byte.
//
// If a block scalar states its indentation, the token has its lines as they would be at the left
// margin, so that the token can be parsed alone. If a value is below its indicator's line, the token
// begins with the anchor and tag that are above the value, if any, and a line feed. A `#` at a token's
// end means that a comment follows, on the value's own line or without a blank.
func Tokens(text []byte, have *yaml.Node) (func(*yaml.Node) (token string, ok bool), error) {
	type place struct {
		line, column int
		kind         yaml.Kind
	}
	type span struct {
		before     string
		start, end int
		after      string
		col        int // of the block collection around it
	}
	at := map[place]span{}
	if have = content(have); have != nil {
		text = ended(text)
		root, err := measure(text, have)
		if err != nil {
			return nil, err
		}
		add := func(n *yaml.Node, s span) {
			p := place{n.Line, n.Column, n.Kind}
			if _, taken := at[p]; !taken { // a mapping comes before its first key, `{}: v`
				at[p] = s
			}
		}
		root.each(func(x *extent) {
			col := 0
			if x.isBlock() {
				col = column(text, x.body)
				add(x.node, span{start: -1})
			} else {
				add(x.node, span{"", x.start, x.end, glued(text, x.end), 0})
			}
			for i := range x.entries {
				e := &x.entries[i]
				if e.key != nil {
					add(e.key.node, span{"", e.start, e.end(), glued(text, e.end()), 0})
				}
				v := e.value
				if !x.isBlock() || e.head < 0 || v.isBlock() || v.start == v.end {
					continue
				}
				switch {
				case hasBreak(text, e.head, v.body) && beginsLine(text, v.body):
					comment := ""
					if commentFollows(text, v.end) {
						comment = string(text[v.end:skipBlanks(text, v.end)]) + "#"
					}
					add(v.node, span{string(text[v.start:v.props]) + "\n", lineStart(text, v.body), v.end, comment, col})
				case skipBlanks(text, e.head) == v.start:
					add(v.node, span{"", min(e.head+1, v.start), v.end, glued(text, v.end), col})
				}
			}
		})
	}
	return func(n *yaml.Node) (string, bool) {
		for _, kind := range []yaml.Kind{n.Kind, yaml.AliasNode} {
			if s, ok := at[place{n.Line, n.Column, kind}]; ok {
				if s.start < 0 {
					return "", false
				}
				return s.before + outdented(string(text[s.start:s.end]), s.col) + s.after, true
			}
		}
		return "", false
	}, nil
}

// stated matches a block scalar that states its indentation.
var stated = regexp.MustCompile(`^\s*(?:[&!]\S*\s+)*[|>][-+]?[1-9].*\n`)

// outdented moves the lines of a block scalar that states its indentation to the left, by the
// indentation of the surrounding collection, if all of them can be moved.
func outdented(token string, col int) string {
	first := stated.FindString(token)
	if first == "" || col == 0 {
		return token
	}
	lines := strings.SplitAfter(token[len(first):], "\n")
	for i, line := range lines {
		if strings.Trim(line, "\r\n") == "" {
			continue
		}
		rest, ok := strings.CutPrefix(line, spaces(col))
		if !ok {
			return token
		}
		lines[i] = rest
	}
	return first + strings.Join(lines, "")
}

// indentedBy is the inverse of outdented.
func indentedBy(token string, col int) string {
	first := stated.FindString(token)
	if first == "" || col == 0 {
		return token
	}
	lines := strings.SplitAfter(token[len(first):], "\n")
	for i, line := range lines {
		if strings.Trim(line, "\r\n") != "" {
			lines[i] = spaces(col) + line
		}
	}
	return first + strings.Join(lines, "")
}

// glued returns `#` if a comment begins at text[i:].
func glued(text []byte, i int) string {
	if i > 0 && i < len(text) && text[i] == '#' {
		return "#"
	}
	return ""
}

// each calls f with an extent and all extents in it.
func (x *extent) each(f func(*extent)) {
	f(x)
	for i := range x.entries {
		if k := x.entries[i].key; k != nil {
			k.each(f)
		}
		x.entries[i].value.each(f)
	}
}

// skipName skips the name of an anchor or alias.
func skipName(text []byte, i int) int {
	for i < len(text) {
		c := text[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		i++
	}
	return i
}

// skipTag skips the rest of a tag. For the parser, commas and square brackets are part of it, even in
// flow style.
func skipTag(text []byte, i int) int {
	for !isBlankOrEnd(text, i) && text[i] != '{' && text[i] != '}' {
		i++
	}
	return i
}

// scalarEnd returns the offset after the scalar that begins at text[i:]. indent is the column of the
// surrounding block collection.
func scalarEnd(text []byte, i int, style yaml.Style, indent int, flow bool) int {
	switch {
	case style&yaml.DoubleQuotedStyle != 0:
		for i++; i < len(text) && text[i] != '"'; i++ {
			if text[i] == '\\' {
				i++
			}
		}
		return i + 1
	case style&yaml.SingleQuotedStyle != 0:
		for i++; i < len(text); i++ {
			if text[i] != '\'' {
				continue
			}
			if i+1 >= len(text) || text[i+1] != '\'' {
				break
			}
			i++
		}
		return i + 1
	case style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return blockScalarEnd(text, i, indent)
	}
	return plainEnd(text, i, indent, flow)
}

// plainEnd returns the end of a plain scalar, over all its lines.
func plainEnd(text []byte, i, indent int, flow bool) int {
	end := i
	for {
		for !isBlankOrEnd(text, i) && !endsPlain(text, i, flow) {
			i++
			end = i
		}
		if i >= len(text) || !isBlankOrEnd(text, i) {
			return end
		}
		// This is white space: check whether the scalar continues after it.
		for col := -1; isBlankOrEnd(text, i) && i < len(text); {
			if n := breakLen(text, i); n > 0 {
				i, col = i+n, 0
			} else {
				i++
				if col >= 0 {
					col++
				}
			}
			if col >= 0 && !isBlankOrEnd(text, i) {
				if !flow && col < indent+1 || col == 0 && atMarker(text, i) {
					return end
				}
			}
		}
		if i >= len(text) || text[i] == '#' {
			return end
		}
	}
}

// endsPlain reports whether an indicator at text[i] ends a plain scalar.
func endsPlain(text []byte, i int, flow bool) bool {
	switch text[i] {
	case ':':
		return isBlankOrEnd(text, i+1)
	case ',', '?', '[', ']', '{', '}':
		return flow
	}
	return false
}

// atMarker reports whether text[i:] begins with `---` or `...`.
func atMarker(text []byte, i int) bool {
	if i+3 > len(text) || !isBlankOrEnd(text, i+3) {
		return false
	}
	m := string(text[i : i+3])
	return m == "---" || m == "..."
}

// blockScalarEnd returns the end of the last line of a literal or folded scalar, without that line's
// break. Blank lines after it count only if the header keeps them (`|+`).
func blockScalarEnd(text []byte, i, indent int) int {
	keep, width, lead := false, 0, 0
	for i++; i < len(text) && (text[i] == '+' || text[i] == '-' || '0' < text[i] && text[i] <= '9'); i++ {
		switch c := text[i]; c {
		case '+':
			keep = true
		case '-':
		default:
			width = int(c - '0')
		}
	}
	if width > 0 {
		width += max(indent, 0)
	}
	end := lineEnd(text, i)
	for i = nextLine(text, end); i < len(text); i = nextLine(text, i) {
		spaces := 0
		for i+spaces < len(text) && text[i+spaces] == ' ' {
			spaces++
		}
		blank := isBlankOrEnd(text, i+spaces) && !isBlank(text, i+spaces)
		switch {
		case blank && (width == 0 || spaces <= width):
			if lead = max(lead, spaces); keep {
				end = lineEnd(text, i)
			}
			continue
		case width == 0:
			// The first line with content sets the indentation, or a longer
			// blank line before it, which then ends the scalar.
			width = max(spaces, lead, indent+1, 1)
		}
		if spaces < width {
			break
		}
		end = lineEnd(text, i)
	}
	return end
}
