package fn

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// document is one YAML document of a stream: its text, including the separator, its nodes as written,
// and the copy that is edited.
type document struct {
	text []byte
	file transformer.File
	line int  // number of lines before it in its file
	json bool // the text is a JSON object, without a separator

	// stood is the text as it was read. It differs from text if JSON among YAML had to be rewritten for
	// the parser. restored is the text that an undo restores, which is written unchanged.
	stood, restored []byte

	have *yaml.Node // as written; nil if there are only comments
	want *yaml.Node // the tree to write; nil if there is no object

	// items is the list in want that has the objects; nil if the document itself is an object.
	items   *yaml.Node
	objects []*transformer.Object

	// held has the objects that a render keeps in ConfigMaps. sources returns the texts of nodes, and
	// is set on first use.
	held    map[*transformer.Object]heldAt
	sources func(*yaml.Node) (string, error)

	edited      bool
	deleted     bool
	reformatted bool // apply had to reformat the document
	// after has the documents to write after this one.
	after []*yaml.Node
}

// Source is one input: its name, for results, and its text.
type Source struct {
	Name string // "" for standard input
	Text []byte
	// Found reports whether the source was found in a directory rather than named by the user. It may
	// then be something other than a manifest.
	Found bool
}

// helmMark begins the comment with which Helm names a document's template.
const helmMark = "# Source: "

// helmSource returns the template that Helm's comment at the beginning of a document names; "" if
// there is none.
func helmSource(text []byte) string {
	text = text[:min(len(text), 4096)]
	if !bytes.Contains(text, []byte(helmMark)) {
		return ""
	}
	for line := range bytes.Lines(text) {
		if name, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte(helmMark)); ok && len(name) > 0 && name[0] != ' ' {
			return string(name)
		}
	}
	return ""
}

// cut splits a source into documents.
func cut(src Source) []*document {
	texts := split(src.Text)
	docs := make([]*document, len(texts))
	line := 0
	for i, text := range texts {
		lines := bytes.Count(text, []byte("\n"))
		d := &document{text: readable(text), stood: text, file: transformer.File{Path: src.Name, Index: i}, line: line, json: splice.IsJSON(text)}
		line += lines
		if src.Name == "" {
			d.file.Path = helmSource(text)
		}
		docs[i] = d
	}
	return docs
}

// readable rewrites JSON after a separator so that a YAML parser reads it.
func readable(text []byte) []byte {
	mark := separator.Find(text)
	if len(mark) == 0 || !splice.IsJSON(text[len(mark):]) {
		return text
	}
	return append(mark[:len(mark):len(mark)], splice.JSONAsYAML(text[len(mark):])...)
}

// read parses a source into documents. It returns a result for each document that it can't read. If
// there are any, the documents must not be written.
func read(src Source, undo bool) ([]*document, transformer.Results) {
	docs := cut(src)
	if undo {
		for _, d := range docs {
			d.unmark()
		}
	}
	var results transformer.Results
	for i, err := range each(docs, (*document).parse) {
		if err != nil {
			results = append(results, docs[i].unreadable(err))
		}
	}
	return docs, results
}

func (d *document) parse() error {
	text := d.text
	if err := legal(text, d.json); err != nil {
		return err
	}
	if line := glued(text); line > 0 {
		return fmt.Errorf("line %d: a document separator with text after it; put --- on a separate line", line)
	}
	if i := d.strayMark(); i >= 0 {
		return fmt.Errorf("line %d: a byte order mark, which is allowed only at the start of the input; remove it", lineOf(text, i))
	}
	if blank(text) {
		return nil
	}
	have, err := splice.Parse(text)
	if err != nil {
		return explain(text, err)
	}
	if have == nil {
		return nil
	}
	d.have = have
	if line := gluedToValue(text, have); line > 0 {
		return separatorAfterValue(line)
	}
	if !holdsObjects(have) {
		return nil
	}
	if d.want, err = splice.Expand(have); err != nil {
		return err
	}
	d.find()
	return nil
}

// empty reports whether a document has no content: it is a separator, or comments.
func (d *document) empty() bool {
	if d.have == nil {
		return blank(d.text) // other documents without nodes could not be read
	}
	return nodes.IsNull(d.have)
}

// holdsObjects reports whether a document is an object or a list of objects. The render passes other
// documents through unchanged.
func holdsObjects(n *yaml.Node) bool {
	return nodes.StringAt(n, "kind") != "" && nodes.StringAt(n, "apiVersion") != ""
}

// find lists the document's objects: the document itself, or the items of a List.
func (d *document) find() {
	text := &spelling{text: d.text, have: d.have}
	add := func(n, have *yaml.Node, of transformer.Type) {
		o := &transformer.Object{Node: n, File: d.file, Text: text, ItemOf: of}
		if path := cmp.Or(annotation(n, pathAnnotation), annotation(n, legacyPathAnnotation), annotation(n, helmFilename)); path != "" {
			o.File = transformer.File{Path: path}
			o.File.Index, _ = strconv.Atoi(cmp.Or(annotation(n, indexAnnotation), annotation(n, legacyIndexAnnotation)))
		}
		d.hold(o, have)
		d.objects = append(d.objects, o)
	}
	items := nodes.At(d.want, "items")
	if !strings.HasSuffix(nodes.StringAt(d.want, "kind"), "List") || items == nil || items.Kind != yaml.SequenceNode {
		add(d.want, d.have, transformer.Type{})
		return
	}
	d.items = items
	written := nodes.At(d.have, "items") // nil if there are none, an alias if the list is merged
	kind := strings.TrimSuffix(nodes.StringAt(d.want, "kind"), "List")
	for i, n := range items.Content {
		var have *yaml.Node
		if written != nil && i < len(written.Content) {
			have = written.Content[i]
		}
		switch {
		case holdsObjects(n):
			add(n, have, transformer.Type{})
		case kind != "" && n.Kind == yaml.MappingNode && nodes.At(n, "kind") == nil && nodes.At(n, "apiVersion") == nil: // kubectl also fills in the type
			add(n, have, transformer.Type{APIVersion: nodes.StringAt(d.want, "apiVersion"), Kind: kind})
		}
	}
}

// spelling implements transformer.Text for a document. It parses the text only on first use.
type spelling struct {
	text    []byte
	have    *yaml.Node
	tokens  func(*yaml.Node) (string, bool)
	anchors map[position]string
}

// position identifies a node, both in the tree as written and in its copy.
type position struct {
	line, column int
	kind         yaml.Kind
}

func (s *spelling) Token(n *yaml.Node) (string, bool) {
	if s.tokens == nil {
		var err error
		if s.tokens, err = splice.Tokens(s.text, s.have); err != nil {
			s.tokens = func(*yaml.Node) (string, bool) { return "", false }
		}
	}
	return s.tokens(n)
}

func (s *spelling) Anchored() bool {
	if s.anchors == nil {
		s.anchors = map[position]string{}
		s.findAnchors(s.have)
	}
	return len(s.anchors) > 0
}

func (s *spelling) findAnchors(n *yaml.Node) {
	if n.Anchor != "" {
		s.anchors[position{n.Line, n.Column, n.Kind}] = n.Anchor
	}
	for _, c := range n.Content {
		s.findAnchors(c)
	}
}

func (s *spelling) Anchor(n *yaml.Node) string {
	if !s.Anchored() {
		return ""
	}
	return s.anchors[position{n.Line, n.Column, n.Kind}]
}

// asks matches the paths of keys that decide whether an object requests something. If such a key
// occurs twice, an annotation may be hidden from Tapedeck or from Kubernetes.
var asks = regexp.MustCompile(`(^|[.\]])(kind|apiVersion|metadata|annotations|spec|template|jobTemplate|[a-z]+\.speedscale\.com/[^.\[]*|tapedeck\.dev/[^.\[]*)$`)

// ours matches the annotations that request something.
var ours = regexp.MustCompile(`(speedscale\.com|tapedeck\.dev)(/|\\/)`)

// duplicates reports keys that occur twice, because Tapedeck can't decide which one counts. In a
// document that is not edited, it reports only keys that may be the reason why it is not edited.
func (d *document) duplicates() transformer.Results {
	if d.want == nil || !d.edited && !ours.Match(d.text) {
		return nil
	}
	var results transformer.Results
	for _, dup := range splice.Duplicates(d.have) {
		if !d.edited && !asks.MatchString(dup.Path) {
			continue
		}
		r := transformer.NewResult(transformer.CodeDuplicateKey, d.file, "line %d: key %s occurs twice, so its meaning is ambiguous; remove one", dup.Line+d.line, dup.Path)
		if d.items == nil {
			ref := d.objects[0].Ref()
			r.ResourceRef = &ref
		}
		results = append(results, r.At(dup.Path, "", ""))
	}
	return results
}

// These are the keys with which orchestrators record where an object came from.
const (
	pathAnnotation        = "internal.config.kubernetes.io/path"
	indexAnnotation       = "internal.config.kubernetes.io/index"
	legacyPathAnnotation  = "config.kubernetes.io/path"
	legacyIndexAnnotation = "config.kubernetes.io/index"
	helmFilename          = "postrenderer.helm.sh/postrender-filename"
	helmHook              = "helm.sh/hook"
)

func annotation(n *yaml.Node, key string) string {
	return nodes.StringAt(n, "metadata", "annotations", key)
}
