package redact

import "strings"

// maxLine is how many bytes of a line are read at a time.
const maxLine = 16 << 10

// lines redacts text line by line: `name: value` and `name=value`, as in YAML, properties files and
// message headers; private keys of several lines; and secrets in prose. If yaml is true, values may have
// spaces, and lines below a name belong to it.
func (q *search) lines(s string, yaml bool) []byte {
	d := draft{src: s, max: q.max}
	o := outline{indent: -1, column: -1}
	for from := 0; from < len(s); {
		to := lineEnd(s, from)
		line := s[from:to]
		if i := strings.Index(line, "-----BEGIN "); i >= 0 {
			if n := pem(s[from+i:]); n > 0 {
				q.found("")
				d.replace(from, from+i+n, q.lineText(line[:i])+q.r.tokens.Of(s[from+i:from+i+n]))
				from += i + n
				continue
			}
		}
		name, value, f, v := q.assignment(line)
		for o.around != nil && !o.covers(line) {
			o = *o.around
		}
		if !o.covers(line) {
			o.indent = -1
		} else if o.text {
			name, value, f, v = "", item(line, false), whole, verdict{says: isPhrase, numbers: true}
		} else if name == "" {
			value, f, v = item(line, true), o.form, o.verdict
		} else if o.form > f && v.says&isBodyAttribute == 0 {
			f, v = o.form, o.verdict
		}
		if yaml && name != "" {
			f, v = o.beside(q, line, name, value, f, v)
		}
		text := line[value.from:value.to]
		switch {
		case f != plain && name != "" && (text == "|" || text == ">" || text == "|-" || text == ">-"):
			o.begin(line, true, f, v)
		case f != plain && text == "" && yaml && name != "":
			o.begin(line, false, f, v)
		case f != plain && isSecretText(v, f, text, q.request) && !(isNumeric(text) && (!bool(v.numbers) || len(text) < minNumber)) &&
			(f != whole || yaml || value.quoted || o.indent >= 0 || strings.IndexByte(text, ' ') < 0):
			q.found(name)
			d.replace(from+value.from, from+value.to, q.r.secret(f, text))
		default:
			if out := q.lineText(line); out != line {
				q.found("")
				d.replace(from, to, out)
			}
		}
		from = to
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}

// outline remembers lines that decide whether the lines below them are secret.
type outline struct {
	indent  int  // the indent of the name that the following lines belong to; -1 if they belong to none
	text    bool // the value is a text: `name: |`
	form    form
	verdict verdict
	around  *outline // the outline around a text; nil if there is none

	column int     // the column of a member whose value is a name; -1 if there is none
	named  verdict // the verdict on this name: `- name: PASSWORD`, and then `value: …`
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// begin makes the lines below this one its value, unless they already belong to a name.
func (o *outline) begin(line string, text bool, f form, v verdict) {
	if o.indent >= 0 && !text {
		return
	}
	var around *outline
	if o.indent >= 0 {
		outer := *o
		around = &outer
	}
	*o = outline{indent: indentOf(line), text: text, form: innerForm(f), verdict: v, around: around, column: -1}
}

// covers reports whether a line belongs to the name on an earlier line. List items may have the same
// indent as the list's name.
func (o *outline) covers(line string) bool {
	if o.indent < 0 {
		return false
	}
	n := indentOf(line)
	return n > o.indent || strings.TrimSpace(line) == "" || !o.text && n == o.indent && line[n] == '-'
}

// beside applies a name such as `name: PASSWORD` to the value beside it, in the same column.
func (o *outline) beside(q *search, line, name string, value assigned, f form, v verdict) (form, verdict) {
	column := len(line) - len(strings.TrimLeft(line, " \t-"))
	if column != o.column {
		o.column = -1
	}
	switch {
	case v.says&isNaming != 0:
		o.column, o.named = column, q.r.names.lookUp(line[value.from:value.to]).verdict
	case v.says&isValued != 0 && o.column >= 0 && f == plain:
		return o.named.of(inBody), o.named
	}
	return f, v
}

// item finds the text of a line or of a list item.
func item(line string, list bool) (value assigned) {
	value.from = indentOf(line)
	if list && strings.HasPrefix(line[value.from:], "- ") {
		value.from += 2
	}
	value.to = max(value.from, len(strings.TrimRight(line, " \t\r\n")))
	if text := line[value.from:value.to]; len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		value = assigned{value.from + 1, value.to - 1, true}
	}
	return value
}

// lineText redacts a line whose name doesn't make it secret.
func (q *search) lineText(line string) string {
	if !q.r.suspicious(line) {
		return line
	}
	return q.r.text(line, content)
}

// lineEnd returns where the next line begins, or the next word if the line is too long.
func lineEnd(s string, from int) int {
	if n := strings.IndexByte(s[from:min(len(s), from+maxLine)], '\n'); n >= 0 {
		return from + n + 1
	}
	if len(s)-from <= maxLine {
		return len(s)
	}
	if n := strings.LastIndexAny(s[from:from+maxLine], " \t,;"); n > 0 {
		return from + n + 1
	}
	return from + maxLine
}

// assigned is the place of a value in a line.
type assigned struct {
	from, to int
	quoted   bool
}

// assignment splits a line such as `export NAME="value"`, and returns the verdict on the name.
func (q *search) assignment(line string) (name string, value assigned, f form, v verdict) {
	rest := strings.TrimLeft(line, " \t-")
	rest = strings.TrimPrefix(rest, "export ")
	rest = strings.TrimPrefix(rest, "set ")
	n := 0
	for n < len(rest) && n < maxName && (isNameChar[rest[n]] || rest[n] == '.' || rest[n] == '"' || rest[n] == '\'' || rest[n] >= 0x80) {
		n++
	}
	name = strings.Trim(rest[:n], `"'`)
	divider := strings.TrimLeft(rest[n:], " \t")
	if name == "" || divider == "" || divider[0] != ':' && divider[0] != '=' {
		return "", value, plain, v
	}
	if v = q.r.names.lookUp(name).verdict; v.of(inBody) == plain && divider[0] == '=' {
		f = v.of(inParameter)
	} else {
		f = v.of(inBody)
	}
	text := strings.TrimLeft(divider[1:], " \t:=")
	value.from = len(line) - len(text)
	text = strings.TrimRight(text, " \t\r\n,;")
	if len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		text = text[1 : len(text)-1]
		value.from++
		value.quoted = true
	}
	value.to = value.from + len(text)
	return name, value, f, v
}

// script redacts a program or a style sheet: quoted text after a quoted name, quoted text after another
// name if it looks random, parameters of URLs, and secrets that are found under any name. The rest is
// more likely code than a secret.
func (q *search) script(s string) []byte {
	d := draft{src: s, max: q.max}
	for from := 0; from < len(s); {
		to := lineEnd(s, from)
		if i := strings.Index(s[from:to], "-----BEGIN "); i >= 0 {
			if n := pem(s[from+i:]); n > 0 {
				to = from + i + n
			}
		}
		if out := q.r.text(s[from:to], code); out != s[from:to] {
			q.found("")
			d.replace(from, to, out)
		}
		from = to
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}
