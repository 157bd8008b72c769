package redact

import "strings"

// maxLine is how much of a line is read at once.
const maxLine = 16 << 10

// lines redacts text line by line: `name: value` and `name=value`, as in YAML, in
// properties and in heads of messages, private keys over several lines, and what is
// written in prose. yaml says whether values may have spaces, and go on in further lines.
func (q *search) lines(s string, yaml bool) []byte {
	d := draft{src: s, max: q.max}
	block := -1 // how far the name is indented whose value the following lines are
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
		if indent := len(line) - len(strings.TrimLeft(line, " \t")); block >= 0 && (indent > block || strings.TrimSpace(line) == "") {
			if text := strings.TrimSpace(line); text != "" {
				begin := from + indent
				q.found("")
				d.replace(begin, begin+len(text), q.r.tokens.Of(text))
			}
			from = to
			continue
		}
		block = -1
		name, value, f, v := q.assignment(line)
		text := line[value.from:value.to]
		switch {
		case f == plain:
			if out := q.lineText(line); out != line {
				q.found("")
				d.replace(from, to, out)
			}
		case (text == "|" || text == ">" || text == "|-" || text == ">-"):
			block = len(line) - len(strings.TrimLeft(line, " \t"))
		case isSecretText(v, f, text, q.request) && !(isNumeric(text) && !bool(v.numbers)) &&
			(f != whole || yaml || value.quoted || strings.IndexByte(text, ' ') < 0):
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

// lineText redacts a line that isn't secret by the name it begins with.
func (q *search) lineText(line string) string {
	if !q.r.suspicious(line) {
		return line
	}
	return q.r.text(line, content)
}

// lineEnd is where the next line begins, or, if the line is too long, the next word.
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

// assigned is where in a line a value stands.
type assigned struct {
	from, to int
	quoted   bool
}

// assignment splits a line such as `export NAME="value"`, and returns what the name says of
// the value.
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

// script redacts a program or a style sheet: text in quotes behind a name in quotes, parameters
// of URLs, and what is found under any name. Everything else in it is more likely code
// than a secret.
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
