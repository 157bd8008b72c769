package rewrite

import (
	"encoding/xml"
	"html"
	"io"
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// xmlEdit goes over an XML document and copies what it is not told to change. The place of
// an element has the names of those around it and its own, without prefixes; that of an
// attribute has @ and its name behind those.
type xmlEdit struct {
	// leaf returns what a text, or the value of an attribute, becomes.
	leaf func(p fieldpath.Path, text string) string
	// drop reports whether what is at a place is to be left out.
	drop func(p fieldpath.Path) bool

	s    string
	out  []byte
	path fieldpath.Path
	cut  bool // the end was left out
}

// attribute is one of a start tag, with the space before it.
var attribute = regexp.MustCompile(`\s+([^\s=<>/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')`)

// edit returns the new text. What can't be parsed, and what is behind it, is left out: it may
// be the value that a rule is about.
func (x *xmlEdit) edit(s string, at fieldpath.Path) string {
	x.s, x.out, x.path = s, make([]byte, 0, len(s)+64), append(fieldpath.Path(nil), at...)
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict = false
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	dropped := 0 // how many elements are open in one that is left out
	for from := 0; ; {
		token, err := d.RawToken()
		if err != nil {
			x.cut = from < len(s)
			return string(x.out)
		}
		to := int(d.InputOffset())
		raw := s[from:to]
		from = to
		switch t := token.(type) {
		case xml.StartElement:
			if len(x.path) > maxDepth {
				x.cut = true
				return string(x.out)
			}
			x.path = append(x.path, fieldpath.Step{Name: t.Name.Local})
			if dropped > 0 || x.drop(x.path) {
				dropped++
				continue
			}
			x.out = append(x.out, x.tag(raw)...)
		case xml.EndElement:
			if len(x.path) > len(at) {
				x.path = x.path[:len(x.path)-1]
			}
			if dropped > 0 {
				dropped--
				continue
			}
			x.out = append(x.out, raw...)
		case xml.CharData:
			if dropped > 0 {
				continue
			}
			text := string(t)
			if with := x.leaf(x.path, text); with != text && strings.TrimSpace(text) != "" {
				raw = html.EscapeString(with)
			}
			x.out = append(x.out, raw...)
		default: // a comment or an instruction
			if dropped == 0 && x.leaf(x.path, raw) == raw {
				x.out = append(x.out, raw...)
			}
		}
	}
}

// tag changes the attributes of a start tag.
func (x *xmlEdit) tag(raw string) string {
	return attribute.ReplaceAllStringFunc(raw, func(pair string) string {
		m := attribute.FindStringSubmatch(pair)
		name := m[1]
		if _, local, ok := strings.Cut(name, ":"); ok {
			name = local
		}
		place := append(x.path[:len(x.path):len(x.path)], fieldpath.Step{Name: "@" + name})
		if x.drop(place) {
			return ""
		}
		text := html.UnescapeString(m[2] + m[3])
		with := x.leaf(place, text)
		if with == text {
			return pair
		}
		return pair[:strings.IndexByte(pair, '=')] + `="` + html.EscapeString(with) + `"`
	})
}

// isXML reports whether a text is XML, by its beginning and its type.
func isXML(s, contentType string) bool {
	s = strings.TrimLeft(s, "\ufeff \t\r\n")
	return strings.HasPrefix(s, "<?xml") || strings.HasPrefix(s, "<") && strings.Contains(strings.ToLower(contentType), "xml")
}
