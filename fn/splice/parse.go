package splice

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const byteOrderMark = "\xef\xbb\xbf"

// Parse parses the text of one YAML 1.2 document, which may begin with comments, directives and `---`
// and end with `...`. It returns the root node as written: with positions, anchors and aliases,
// without the DocumentNode. A text with only comments and white space gives nil and no error. A second
// document is an error, and so is UTF-16. Parse reads a text as JSON if [IsJSON] reports true. It reads a
// last line without a line break as if it had one, as kubectl does; in a block scalar the break is part
// of the value.
func Parse(text []byte) (*yaml.Node, error) {
	if IsJSON(text) {
		return parseJSON(text), nil
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("the text is UTF-16: write it as UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(lowerVersion(ended(text))))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
		return content(&doc), nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("line %d: found a second document, allowed: one", more.Line)
}

var version12 = []byte("%YAML 1.2")

// lowerVersion changes a declared version 1.2 to 1.1, the only one that the parser accepts. It reads
// both versions in the same way, and positions don't change.
func lowerVersion(text []byte) []byte {
	for at := 0; at < len(text); at = nextLine(text, at) {
		switch line := bytes.TrimPrefix(text[at:], []byte(byteOrderMark)); {
		case bytes.HasPrefix(line, version12):
			out := bytes.Clone(text)
			out[len(text)-len(line)+len(version12)-1] = '1'
			return out
		case len(line) > 0 && line[0] != '#' && line[0] != '%' && lineEnd(text, skipBlanks(text, at)) > skipBlanks(text, at):
			return text
		}
	}
	return text
}

// content unwraps a DocumentNode.
func content(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode {
		if len(n.Content) == 0 {
			return nil
		}
		return n.Content[0]
	}
	return n
}
