package rewrite

import (
	"encoding/xml"
	"html"
	"io"
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// xmlEdit edits values in an XML document, and copies everything else. The place of an element has the
// names of the elements around it and its own name, without prefixes. The place of an attribute adds @
// and its name.
type xmlEdit struct {
	// leaf returns the new text for a text or an attribute's value.
	leaf func(p fieldpath.Path, text string) string
	// drop reports whether to leave out the element or attribute at a place.
	drop func(p fieldpath.Path) bool

	s    string
	out  []byte
	path fieldpath.Path
	cut  bool // whether the end was left out
}

// attribute matches an attribute of a start tag, with the space before it.
var attribute = regexp.MustCompile(`\s+([^\s=<>/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')`)

// edit returns the new text. It leaves out everything from the first parse error on, because a value
// that the rule looks for may be there.
func (x *xmlEdit) edit(s string, at fieldpath.Path) string {
	x.s, x.out, x.path = s, make([]byte, 0, len(s)+64), append(fieldpath.Path(nil), at...)
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict = false
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	dropped := 0 // the depth within an element that is left out
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

// isXML reports whether a text is XML, judging by its beginning and its media type.
func isXML(s, contentType string) bool {
	s = strings.TrimLeft(s, "\ufeff \t\r\n")
	return strings.HasPrefix(s, "<?xml") || strings.HasPrefix(s, "<") && strings.Contains(strings.ToLower(contentType), "xml")
}
