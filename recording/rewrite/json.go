package rewrite

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// maxDepth is how deep JSON may be nested. Deeper JSON is treated as plain text.
const maxDepth = 500

// jsonEdit edits one or several JSON texts in a row, and copies everything else. It can read a text
// that was cut.
type jsonEdit struct {
	// leaf returns the new value for a string, a number or a literal. Strings are passed and returned
	// without their escapes. For other values, the text and the result are JSON.
	leaf func(p fieldpath.Path, text string, isString bool) string
	// name returns the new name for a member of an object; nil keeps all names.
	name func(object fieldpath.Path, text string) string
	// drop reports whether to leave out the value at a place; nil keeps all values.
	drop func(p fieldpath.Path) bool

	s       string
	out     []byte
	path    fieldpath.Path
	deep    bool // whether the text is deeper than maxDepth
	changed bool
}

// edit returns the new text. It returns false if the text is not JSON.
func (j *jsonEdit) edit(s string, at fieldpath.Path) (string, bool) {
	if !looksLikeJSON(s) {
		return s, false
	}
	j.s, j.out, j.path = s, make([]byte, 0, len(s)+64), append(fieldpath.Path(nil), at...)
	for i := 0; i < len(s); {
		next := j.value(j.space(i, true), 0, true)
		if j.deep {
			return s, false
		}
		if next <= i { // an extra bracket or comma
			j.out = append(j.out, s[i])
			next = i + 1
		}
		i = next
	}
	if !j.changed { // the copy may differ if the text isn't valid JSON
		return s, true
	}
	return string(j.out), true
}

// looksLikeJSON reports whether the first character of a text, after spaces, begins an object, an array
// or a string.
func looksLikeJSON(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n")
	return s != "" && strings.IndexByte(`{["`, s[0]) >= 0
}

// space skips spaces, or copies them, and returns where they end.
func (j *jsonEdit) space(i int, copied bool) int {
	from := i
	for i < len(j.s) && strings.IndexByte(" \t\r\n", j.s[i]) >= 0 {
		i++
	}
	if copied {
		j.out = append(j.out, j.s[from:i]...)
	}
	return i
}

// value reads a value, and copies it if copied is true.
func (j *jsonEdit) value(i, depth int, copied bool) int {
	if depth > maxDepth {
		j.deep = true
	}
	if i >= len(j.s) || j.deep {
		return len(j.s)
	}
	keep := len(j.out)
	switch c := j.s[i]; c {
	case '{', '[':
		i = j.inside(i, depth, c == '{')
	case '"':
		end := stringEnd(j.s, i+1)
		i = j.text(i, end)
	default:
		end := i
		for end < len(j.s) && strings.IndexByte(" \t\r\n,:]}", j.s[end]) < 0 {
			end++
		}
		if end > i {
			with := j.leaf(j.path, j.s[i:end], false)
			j.changed = j.changed || with != j.s[i:end]
			j.out = append(j.out, with...)
		}
		i = end
	}
	if !copied {
		j.out = j.out[:keep]
	}
	return i
}

// text reads a string that is a value, with its quotes.
func (j *jsonEdit) text(from, end int) int {
	raw := j.s[from+1 : end]
	plain := unquoted(raw)
	if with := j.leaf(j.path, plain, true); with != plain {
		j.changed = true
		j.out = append(j.out, quoted(with)...)
		if end == len(j.s) { // the string was cut
			j.out = j.out[:len(j.out)-1]
		}
	} else {
		j.out = append(j.out, j.s[from:min(end+1, len(j.s))]...)
	}
	return min(end+1, len(j.s))
}

// inside reads an object or an array.
func (j *jsonEdit) inside(i, depth int, object bool) int {
	closing := byte(']')
	if object {
		closing = '}'
	}
	j.out = append(j.out, j.s[i])
	i++
	first := true
	for i < len(j.s) && !j.deep {
		from := i
		i = j.space(i, false)
		if i == len(j.s) || j.s[i] == closing {
			j.out = append(j.out, j.s[from:min(i+1, len(j.s))]...)
			return min(i+1, len(j.s))
		}
		if j.s[i] == ',' {
			i++
			continue
		}
		begin := i
		length := len(j.out)
		if !first {
			j.out = append(j.out, ',')
		}
		j.out = append(j.out, j.s[from:i]...)
		dropped := false
		if object && j.s[i] == '"' {
			i, dropped = j.member(i, depth)
		} else {
			i, dropped = j.element(i, depth, object)
		}
		if dropped {
			j.out, j.changed = j.out[:length], true
		} else {
			first = false
		}
		if i <= begin { // a character that isn't allowed here
			j.out = append(j.out[:length], j.s[from:begin+1]...)
			i = begin + 1
		}
	}
	return i
}

// member reads a member of an object, beginning at the quote of its name.
func (j *jsonEdit) member(i, depth int) (next int, dropped bool) {
	end := stringEnd(j.s, i+1)
	plain := unquoted(j.s[i+1 : end])
	name := j.s[i:min(end+1, len(j.s))]
	step := plain
	if j.name != nil {
		if with := j.name(j.path, plain); with != plain {
			name, step, j.changed = quoted(with), with, true
		}
	}
	j.out = append(j.out, name...)
	i = j.space(min(end+1, len(j.s)), true)
	if i == len(j.s) || j.s[i] != ':' {
		return i, false
	}
	j.out = append(j.out, ':')
	i = j.space(i+1, true)
	j.path = append(j.path, fieldpath.Step{Name: step})
	dropped = j.drop != nil && j.drop(j.path)
	i = j.value(i, depth+1, !dropped)
	j.path = j.path[:len(j.path)-1]
	return i, dropped
}

// element reads an element of an array.
func (j *jsonEdit) element(i, depth int, object bool) (next int, dropped bool) {
	if !object {
		j.path = append(j.path, fieldpath.Step{Kind: fieldpath.Element})
		defer func() { j.path = j.path[:len(j.path)-1] }()
		dropped = j.drop != nil && j.drop(j.path)
	}
	return j.value(i, depth+1, !dropped), dropped
}

// stringEnd finds the quote that ends a string, or the text's end.
func stringEnd(s string, i int) int {
	for i < len(s) && s[i] != '"' {
		if s[i] == '\\' {
			i++
		}
		i++
	}
	return min(i, len(s))
}

// unquoted returns the text of a JSON string, given without its quotes. It keeps invalid escapes.
func unquoted(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var text string
	if json.Unmarshal([]byte(`"`+raw+`"`), &text) == nil {
		return text
	}
	return unescapedJSON(raw)
}

// quoted returns a text as a JSON string.
func quoted(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// isNumber reports whether a text is a JSON number.
func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && json.Valid([]byte(text))
}
