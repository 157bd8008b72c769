package canon

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// walkXML reads an XML document.
//
//   - The order of attributes does not count. Prefixes are replaced by their namespaces.
//   - The order of elements counts. Comments and the XML declaration don't count, and neither does
//     white space between elements, unless xml:space is "preserve". CDATA is text.
//   - Entities other than XML's five, and encodings other than UTF-8, are errors.
func walkXML(src []byte, v Visitor) error {
	w := xmlWalker{v: v}
	w.names.open()
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(src, []byte("\ufeff"))))
	for {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := w.token(t); err != nil {
			return err
		}
	}
	if w.roots != 1 {
		return errors.New("XML: want one element at the top")
	}
	return nil
}

type xmlWalker struct {
	v     Visitor
	names counter
	open  []xmlElement
	roots int
	name  []byte
}

type xmlElement struct {
	text     []byte // since the last child
	texts    int
	preserve bool
	children bool
	mixed    bool   // children have different names
	order    []byte // names of the children; consecutive equal names count once
	last     string // name of the last child
}

// textName is the name of text among elements. No element can have it.
const textName = "#text"

func (w *xmlWalker) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		return w.start(t)
	case xml.EndElement:
		w.end()
	case xml.CharData:
		if len(w.open) == 0 {
			if !isSpace(t) {
				return errors.New("XML: text outside of the element at the top")
			}
			return nil
		}
		top := &w.open[len(w.open)-1]
		top.text = append(top.text, t...)
	case xml.ProcInst:
		if t.Target != "xml" {
			w.aside("?"+t.Target, t.Inst)
		}
	case xml.Directive:
		w.aside("!", t)
	}
	return nil
}

// aside visits a processing instruction or a directive.
func (w *xmlWalker) aside(name string, text []byte) {
	w.v.Enter(Step{Axis: Element, Name: []byte(name), N: w.names.next([]byte(name))})
	w.v.Leaf(Text, text)
	w.v.Leave()
}

func (w *xmlWalker) start(t xml.StartElement) error {
	if len(w.open) == maxDepth {
		return errDepth
	}
	preserve := false
	if len(w.open) == 0 {
		w.roots++
	} else {
		top := &w.open[len(w.open)-1]
		preserve = top.preserve
		w.flush(top)
		top.children = true
	}
	if !isName(t.Name.Local) {
		return errXMLName
	}
	name := w.appendName(t.Name)
	if len(w.open) > 0 {
		w.open[len(w.open)-1].child(string(name))
	}
	w.v.Enter(Step{Axis: Element, Name: name, N: w.names.next(name)})
	w.names.open()
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		if !isName(a.Name.Local) {
			return errXMLName
		}
		if a.Name.Local == "space" && isXML(a.Name.Space) {
			preserve = a.Value == "preserve"
		}
		name := append(w.appendName(a.Name), '=') // counted apart from elements
		w.v.Enter(Step{Axis: Attribute, Name: name[:len(name)-1], N: w.names.next(name)})
		w.v.Leaf(Text, []byte(a.Value))
		w.v.Leave()
	}
	w.open = append(w.open, xmlElement{preserve: preserve})
	return nil
}

func (e *xmlElement) child(name string) {
	if e.last == name {
		return
	}
	if e.last != "" {
		e.mixed = true
		e.order = append(e.order, ' ')
	}
	e.order = append(e.order, name...)
	e.last = name
}

// flush visits the text before an element, or before the end of an element with children.
func (w *xmlWalker) flush(e *xmlElement) {
	if len(e.text) > 0 && (e.preserve || !isSpace(e.text)) {
		e.child(textName)
		w.v.Enter(Step{Axis: Element, Name: []byte(textName), N: e.texts})
		w.v.Leaf(Text, e.text)
		w.v.Leave()
		e.texts++
	}
	e.text = e.text[:0]
}

func (w *xmlWalker) end() {
	top := &w.open[len(w.open)-1]
	if top.children {
		w.flush(top)
		if top.mixed {
			w.v.Enter(Step{Axis: Children})
			w.v.Leaf(Text, top.order)
			w.v.Leave()
		}
	} else {
		w.v.Leaf(Text, top.text)
	}
	w.v.Leave()
	w.names.close()
	w.open = w.open[:len(w.open)-1]
}

var errXMLName = errors.New("XML: want a name after the prefix")

// isName reports whether a local name is valid: the decoder also accepts a:1.
func isName(local string) bool {
	r, _ := utf8.DecodeRuneInString(local)
	return r == '_' || unicode.IsLetter(r)
}

// appendName appends a name with its namespace, such as {urn:a}order.
func (w *xmlWalker) appendName(n xml.Name) []byte {
	b := w.name[:0]
	if n.Space != "" {
		b = append(append(append(b, '{'), n.Space...), '}')
	}
	b = append(b, n.Local...)
	w.name = b
	return b
}

const xmlNamespace = "http://www.w3.org/XML/1998/namespace"

func isXML(space string) bool { return space == "xml" || space == xmlNamespace }

func isSpace(b []byte) bool { return len(bytes.Trim(b, " \t\r\n")) == 0 }

// printXML writes attributes sorted by name, and each namespace where it begins.
func printXML(dst []byte, n *node) []byte {
	for _, c := range n.children {
		dst = printElement(dst, c, "")
	}
	return dst
}

func printElement(dst []byte, n *node, inherited string) []byte {
	space, local := splitName(n.name)
	switch {
	case string(n.name) == textName:
		return escapeXML(dst, n.value)
	case bytes.HasPrefix(n.name, []byte("?")):
		return append(append(append(append(append(dst, '<'), n.name...), ' '), n.value...), "?>"...)
	case string(n.name) == "!":
		return append(append(append(dst, "<!"...), n.value...), '>')
	}
	dst = append(append(dst, '<'), local...)
	if space != inherited {
		dst = append(escapeXML(append(dst, ` xmlns="`...), []byte(space)), '"')
	}
	prefixes := 0
	for _, a := range n.sorted() {
		if a.axis != Attribute {
			continue
		}
		space, local := splitName(a.name)
		dst = append(dst, ' ')
		switch {
		case isXML(space):
			dst = append(dst, "xml:"...)
		case space != "":
			prefix := "n" + strconv.Itoa(prefixes)
			prefixes++
			dst = append(escapeXML(append(append(append(dst, "xmlns:"...), prefix...), `="`...), []byte(space)), '"', ' ')
			dst = append(append(dst, prefix...), ':')
		}
		dst = append(escapeXML(append(append(dst, local...), `="`...), a.value), '"')
	}
	dst = append(dst, '>')
	dst = escapeXML(dst, n.value)
	for _, c := range n.children {
		if c.axis == Element {
			dst = printElement(dst, c, space)
		}
	}
	return append(append(append(dst, "</"...), local...), '>')
}

func splitName(name []byte) (space, local string) {
	if len(name) > 0 && name[0] == '{' {
		if end := bytes.LastIndexByte(name, '}'); end > 0 {
			return string(name[1:end]), string(name[end+1:])
		}
	}
	return "", string(name)
}

func escapeXML(dst, s []byte) []byte {
	var b bytes.Buffer
	xml.EscapeText(&b, s)
	return append(dst, b.Bytes()...)
}
