package canon

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
)

// maxParts bounds the parts of a body.
const maxParts = 10_000

// walkMultipart reads a multipart body (RFC 2046, RFC 7578). The boundary does not count. Order
// counts only among parts of the same name, and among parts without one. Each part is read by
// its own media type.
func walkMultipart(src []byte, boundary string, v Visitor) error {
	if boundary == "" {
		return errors.New("multipart: no boundary in Content-Type")
	}
	r := multipart.NewReader(bytes.NewReader(src), boundary)
	var names counter
	names.open()
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF {
			if n == 0 {
				return errEmpty
			}
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxParts {
			return errors.New("multipart: more than " + strconv.Itoa(maxParts) + " parts")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		name := []byte(part.FormName())
		v.Enter(Step{Axis: Field, Name: name, N: names.next(name)})
		for _, h := range partHeaders {
			if value := h.value(part); value != "" {
				v.Enter(Step{Axis: Attribute, Name: []byte(h.name)})
				v.Leaf(Text, []byte(value))
				v.Leave()
			}
		}
		walkPart(content, part.Header.Get("Content-Type"), v)
		v.Leave()
	}
}

// partHeaders are the headers of a part that are compared. Content-Type only decides how the
// content is read.
var partHeaders = []struct {
	name  string
	value func(*multipart.Part) string
}{
	{"filename", (*multipart.Part).FileName},
	{"content-id", header("Content-Id")},
	{"content-location", header("Content-Location")},
	{"content-transfer-encoding", header("Content-Transfer-Encoding")},
}

func header(name string) func(*multipart.Part) string {
	return func(p *multipart.Part) string { return p.Header.Get(name) }
}

// formatName is the attribute with the format of a part's content.
const formatName = "format"

func walkPart(content []byte, contentType string, v Visitor) {
	f, p := Detect(contentType, content)
	if f == Multipart || f == Protobuf || f.Walk(content, p, nobody{}) != nil {
		f = Raw
	}
	v.Enter(Step{Axis: Attribute, Name: []byte(formatName)})
	v.Leaf(Text, []byte(f.String()))
	v.Leave()
	f.Walk(content, p, v)
}

// printMultipart writes the parts sorted by name, with a fixed boundary.
func printMultipart(dst []byte, n *node) []byte {
	var parts [][]byte
	for _, part := range n.sorted() {
		parts = append(parts, printPart(part))
	}
	boundary := []byte("part")
	for _, p := range parts {
		for bytes.Contains(p, append([]byte("--"), boundary...)) {
			boundary = append(boundary, '-')
		}
	}
	for _, p := range parts {
		dst = append(append(append(dst, "--"...), boundary...), "\r\n"...)
		dst = append(append(dst, p...), "\r\n"...)
	}
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...)
}

func printPart(n *node) []byte {
	disposition := map[string]string{}
	if len(n.name) > 0 {
		disposition["name"] = string(n.name)
	}
	var b []byte
	f := Raw
	content := node{kind: n.kind, value: n.value}
	for _, c := range n.children {
		switch {
		case c.axis != Attribute:
			content.children = append(content.children, c)
		case string(c.name) == formatName:
			f = Format(slices.IndexFunc(formats[:], func(d FormatDoc) bool { return d.Name == string(c.value) }))
		case string(c.name) == "filename":
			disposition["filename"] = string(c.value)
		default:
			b = append(append(append(append(b, c.name...), ": "...), c.value...), "\r\n"...)
		}
	}
	if len(disposition) > 0 {
		b = append(append(append(b, "content-disposition: "...), mime.FormatMediaType("form-data", disposition)...), "\r\n"...)
	}
	media := formats[f].Types[0]
	if f == Raw {
		media = "application/x-bytes" // Detect doesn't sniff this type
	}
	b = append(append(append(b, "content-type: "...), media...), "\r\n"...)
	return f.print(append(b, "\r\n"...), &content)
}
