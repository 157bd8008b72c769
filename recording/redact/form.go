package redact

import (
	"net/url"
	"strings"
)

// form redacts the values of a form (application/x-www-form-urlencoded).
func (q *search) form(s string) []byte {
	d := draft{src: s, max: q.max}
	user := -1
	for from := 0; from < len(s); {
		to := from + valueEnd(s[from:], "&")
		if name, value, ok := strings.Cut(s[from:to], "="); ok {
			q.field(&d, formText(name), value, from+len(name)+1, &user)
		} else {
			q.field(&d, "", name, from, &user)
		}
		from = to + 1
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}

// field redacts one value of a form.
func (q *search) field(d *draft, name, value string, from int, user *int) {
	if value == "" {
		return
	}
	text := formText(value)
	var out string
	switch {
	case q.r.verdict(name).of(inParameter) != plain || len(name) == 1 && q.r.isBeside(name, d.src, from, user):
		out = q.r.token(text)
	default:
		out = q.value(text)
	}
	if out != text {
		q.found(name)
		d.replace(from, from+len(value), url.QueryEscape(out))
	}
}

// isBeside is secretBeside for a form, which has no `?` before its first parameter.
func (r *Sink) isBeside(name, s string, from int, user *int) bool {
	const enough = 4 << 10
	return name[0]|0x20 == 'p' && secretBeside(name, "?"+s[:min(len(s), from+enough)], from+1, user)
}

// formText decodes a name or value of a form: plus signs become spaces, and one level of
// percent-encoding is undone.
func formText(s string) string {
	i := strings.IndexAny(s, "+%")
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && isEscape(s[i:]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
