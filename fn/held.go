package fn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// A TrafficReplay and the ConfigMap that keeps its text replace each other in the document. The text
// around them does not change:
//
//	--- # separator          head    remains, as Helm's comment does
//	# comment                body ─┐
//	kind: TrafficReplay      body ─┴─▶ data.trafficreplay.yaml of the ConfigMap
//	                         tail    remains: blank lines, ...
//
// In a list, the body consists of the lines of the item, moved to the left margin.

// parts splits a document's text into head, body and tail.
func parts(text []byte) (head, body, tail []byte) {
	at := 0
	if bytes.HasPrefix(text, byteOrderMark) {
		at = len(byteOrderMark)
	}
	directives := directive(text[at:])
	for at < len(text) {
		end := at + len(firstLine(text[at:]))
		mark := len(separator.Find(text[at:end]))
		switch line := bytes.TrimSpace(text[at:end]); {
		case mark > 0:
			at, directives = at+mark, false
			continue
		case len(line) == 0, directives, bytes.HasPrefix(line, []byte(helmMark)):
			at = end
			continue
		}
		break
	}
	head, body = text[:at], text[at:]
	end, blanks := 0, keepsBlanks.Match(body)
	for i := 0; i < len(body); {
		line := firstLine(body[i:])
		if (blanks || len(bytes.TrimSpace(line)) > 0) && !marker(line, "...") {
			end = i + len(line) - len(lineEnd(line))
		}
		i += len(line)
	}
	return head, body[:end], body[end:]
}

// keepsBlanks matches the beginning of a block scalar that includes the blank lines after it.
var keepsBlanks = regexp.MustCompile(`(?m)[|>][1-9]?\+[1-9]?[ \t]*(?:#.*)?\r?$`)

// firstLine returns a text's first line, with its line break.
func firstLine(text []byte) []byte { return text[:nextLine(text)] }

func nextLine(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// heldAt is the place in its document of an object that a ConfigMap keeps, or of that ConfigMap.
type heldAt struct {
	have, want *yaml.Node
	holder     bool // the ConfigMap is in the document
}

// hold records the text of an object that a render keeps in a ConfigMap, or opens a ConfigMap that
// keeps one.
func (d *document) hold(o *transformer.Object, have *yaml.Node) {
	holder := o.IsHolder()
	if !holder && !o.Holdable() {
		return
	}
	if d.held == nil {
		d.held = map[*transformer.Object]heldAt{}
	}
	d.held[o] = heldAt{have, o.Node, holder}
	o.Held = &transformer.Held{}
	if holder {
		o.Held.Err = open(o)
		if o.Held.Err != nil {
			o.Held.ConfigMap = o.Node
		}
		return
	}
	text, err := d.source(have)
	if err == nil {
		text, err = withoutBookkeeping(text)
	}
	o.Held.Text, o.Held.Err = text, err
	o.Held.JSON = json.Valid([]byte(text))
}

// source returns the text of an object, ending with a line break.
func (d *document) source(have *yaml.Node) (string, error) {
	if kind := nodes.StringAt(d.want, "kind"); d.items != nil && kind != "List" && kind != "ResourceList" {
		return "", fmt.Errorf("it is in a %s, which can't contain a ConfigMap; write it as a separate document", kind)
	}
	if have == d.have {
		_, body, tail := parts(d.stood)
		return string(body) + lineEnd(firstLine(tail)), nil
	}
	if have == nil {
		return "", errors.New("it is in a list that is an alias; write the list out")
	}
	if d.sources == nil {
		var err error
		if d.sources, err = splice.Sources(d.text, d.have); err != nil {
			return "", err
		}
	}
	text, err := d.sources(have)
	return text + lineBreak(d.text), err
}

// withoutBookkeeping removes an orchestrator's annotations from the text of an object, and checks that
// the next render can read the result.
func withoutBookkeeping(text string) (string, error) {
	n, err := readHeld(text)
	if err != nil {
		return "", err
	}
	bare := transformer.WithoutBookkeeping(n)
	if bare == nil {
		return text, nil
	}
	out, _, err := splice.Apply([]byte(text), n, bare)
	return string(out), err
}

// open reads the object that a ConfigMap keeps.
func open(o *transformer.Object) error {
	text, err := o.HeldText()
	if err != nil {
		return err
	}
	n, err := readHeld(text)
	if err != nil {
		return err
	}
	for _, dup := range splice.Duplicates(n) {
		return fmt.Errorf("line %d of its text: key %s occurs twice", dup.Line, dup.Path)
	}
	o.Held.Text, o.Held.JSON = text, json.Valid([]byte(text))
	return o.Open(n)
}

// readHeld parses a text that must be a single object, without separators.
func readHeld(text string) (*yaml.Node, error) {
	raw := []byte(text)
	isJSON := splice.IsJSON(raw)
	if err := legal(raw, isJSON); err != nil {
		return nil, fmt.Errorf("its text, %w", err)
	}
	if head, _, _ := parts(raw); len(bytes.TrimSpace(head)) > 0 || len(split(raw)) != 1 {
		return nil, errors.New("its text: found a document separator, a directive or nothing, allowed: one document")
	}
	n, err := splice.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("its text, %s", strings.TrimPrefix(explain(raw, err).Error(), "yaml: "))
	}
	if n == nil || n.Kind != yaml.MappingNode || !holdsObjects(n) {
		return nil, errors.New("its text: found no object that has apiVersion and kind")
	}
	if line := anchored(n); line > 0 {
		return nil, fmt.Errorf("its text, line %d: found an anchor or an alias, allowed: plain values", line)
	}
	return n, nil
}

// anchored returns the line of the first anchor, alias or merge key of a tree; 0 if there is none.
func anchored(n *yaml.Node) int {
	if n.Anchor != "" || n.Kind == yaml.AliasNode || n.ShortTag() == yaml.MergeTag {
		return n.Line
	}
	for _, c := range n.Content {
		if line := anchored(c); line > 0 {
			return line
		}
	}
	return 0
}

// exchange replaces objects and ConfigMaps in the tree as the render decided, and, if possible, in the
// text. If not, the edit that follows writes the nodes.
func (d *document) exchange() {
	items := map[*yaml.Node]string{}
	for _, o := range d.objects {
		at, known := d.held[o]
		if !known || at.holder == (o.Held.ConfigMap != nil) {
			continue
		}
		now := o.Node
		if o.Held.ConfigMap != nil {
			now = o.Held.ConfigMap
		}
		if d.items == nil {
			d.want = now
			d.exchangeText(o)
			continue
		}
		for i, n := range d.items.Content {
			if n == at.want {
				d.items.Content[i] = now
			}
		}
		if text, ok := d.itemText(o, at.have); ok {
			items[at.have] = text
		}
	}
	if len(items) == 0 {
		return
	}
	if text, err := splice.Replace(d.text, d.have, items); err == nil {
		d.reread(text)
	}
}

// reread replaces the document's text. It returns false, and changes nothing, if the new text can't be
// read.
func (d *document) reread(text []byte) bool {
	have, err := splice.Parse(text)
	if err != nil || have == nil {
		return false
	}
	d.text, d.have = text, have
	return true
}

// exchangeText replaces the document's body with its new content, in the same form.
func (d *document) exchangeText(o *transformer.Object) {
	head, body, tail := parts(d.text)
	var text string
	if o.Held.ConfigMap == nil {
		for len(body) > 0 && body[0] == '#' { // a comment that others added above the ConfigMap
			head, body = append(head[:len(head):len(head)], firstLine(body)...), body[len(firstLine(body)):]
		}
		text = strings.TrimSuffix(o.Held.Text, lineEnd([]byte(o.Held.Text)))
		if formOf([]byte(text)) != formOf(body) {
			return
		}
	} else {
		print := printYAML
		switch formOf(body) {
		case jsonForm:
			print = jsonStyle(body).print
		case flowForm:
			print = jsonSample("{x: 1}").print
		}
		printed, err := print(o.Held.ConfigMap)
		if err != nil {
			return
		}
		text = strings.ReplaceAll(strings.TrimSuffix(printed, "\n"), "\n", lineBreak(d.text))
	}
	whole := slices.Concat(head, []byte(text), tail)
	if d.reread(readable(whole)) && o.Held.ConfigMap == nil {
		d.restored = whole
	}
}

// itemText returns the text that replaces an item of a list. It returns false if the item must be
// written in the list's style.
func (d *document) itemText(o *transformer.Object, have *yaml.Node) (string, bool) {
	flow := have == nil || have.Style&yaml.FlowStyle != 0
	if o.Held.ConfigMap == nil {
		text := strings.TrimSuffix(o.Held.Text, lineEnd([]byte(o.Held.Text)))
		return text, flow == (formOf([]byte(text)) != blockForm)
	}
	printed, err := printYAML(o.Held.ConfigMap)
	return strings.ReplaceAll(strings.TrimSuffix(printed, "\n"), "\n", lineBreak(d.text)), err == nil && !flow
}

// form is the form in which an object is written.
type form int

const (
	blockForm form = iota
	flowForm
	jsonForm
)

func formOf(text []byte) form {
	switch {
	case json.Valid(text):
		return jsonForm
	case bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")):
		return flowForm
	}
	return blockForm
}
