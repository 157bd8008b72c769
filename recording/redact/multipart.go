package redact

import (
	"encoding/base64"
	"mime"
	"net/textproto"
	"strings"
)

// multipart redacts the parts of a body that a boundary divides: fields of a form by their names, and
// other parts by their format.
func (q *search) multipart(s, boundary string) []byte {
	if boundary == "" || q.depth > maxDepth {
		return q.lines(s, false)
	}
	d := draft{src: s, max: q.max}
	divider := "--" + boundary
	for from := strings.Index(s, divider); from >= 0; {
		from += len(divider)
		end, next := len(s), -1
		if n := strings.Index(s[from:], divider); n >= 0 {
			end, next = from+n, from+n
		}
		if !strings.HasPrefix(s[from:], "--") {
			q.part(&d, from, end)
		}
		from = next
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}

// boundaryOf returns the boundary at the beginning of a multipart body.
func boundaryOf(start string) string {
	line, _, _ := strings.Cut(start, "\n")
	boundary, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "--")
	if !ok || len(boundary) > 128 {
		return ""
	}
	return boundary
}

// part redacts one part and its head, from `from` up to the next divider.
func (q *search) part(d *draft, from, end int) {
	s := d.src
	body, size := strings.Index(s[from:end], "\r\n\r\n"), len("\r\n\r\n")
	if lf := strings.Index(s[from:end], "\n\n"); body < 0 || lf >= 0 && lf < body {
		body, size = lf, len("\n\n")
	}
	head := s[from:end]
	if body >= 0 {
		head = s[from : from+body]
	}
	if out := q.r.text(head, prose); out != head {
		q.found("")
		d.replace(from, from+len(head), out)
	}
	if body < 0 {
		return
	}
	begin := from + body + size
	for _, line := range []string{"\r\n", "\n"} { // this line break belongs to the divider
		if before, ok := strings.CutSuffix(s[begin:end], line); ok && end < len(s) {
			end = begin + len(before)
			break
		}
	}
	value := s[begin:end]
	if value == "" {
		return
	}
	fields := partHead(head)
	_, disposition, _ := mime.ParseMediaType(fields.Get("Content-Disposition"))
	name, file := disposition["name"], disposition["filename"]
	if v := q.r.names.lookUp(name).verdict; name != "" && file == "" && isSecretText(v, v.of(inBody), value, q.request) {
		q.found(name)
		d.replace(begin, end, q.r.secret(v.of(inBody), value))
		return
	}
	inner := *q
	inner.depth++
	if name != "" {
		inner.at = string(appendStep([]byte(q.at), name))
	}
	out := inner.partBody(value, fields)
	if q.cut = inner.cut; out != "" {
		d.replace(begin, end, out)
	}
}

// partBody redacts the body of a part, and returns "" if there is nothing to redact.
func (q *search) partBody(value string, fields textproto.MIMEHeader) string {
	mediaType := fields.Get("Content-Type")
	if strings.EqualFold(fields.Get("Content-Transfer-Encoding"), "base64") {
		text := strings.NewReplacer("\r", "", "\n", "").Replace(value)
		plain, _ := base64.StdEncoding.AppendDecode(nil, []byte(text)) // up to the cut
		if out := q.document(view(plain), mediaType); out != nil {
			return base64.StdEncoding.EncodeToString(out)
		}
		return ""
	}
	if out := q.document(value, mediaType); out != nil {
		return string(out)
	}
	return ""
}

// partHead reads the fields of a part's head.
func partHead(head string) textproto.MIMEHeader {
	fields := textproto.MIMEHeader{}
	for line := range strings.Lines(head) {
		if name, value, ok := strings.Cut(line, ":"); ok && len(fields) < 32 {
			fields.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return fields
}
