package fn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/transformer"
)

// document is one YAML document of a stream: its text, separator included,
// its nodes as written, and the copy that is edited.
type document struct {
	text []byte
	file transformer.File
	line int // number of lines before it in its file

	have *yaml.Node // as written; nil where there is nothing but comments
	want *yaml.Node // what is to be written; nil where there is no object

	// items is the list in want that holds the objects, nil where the
	// document is an object itself.
	items   *yaml.Node
	objects []*transformer.Object

	edited      bool
	deleted     bool
	reformatted bool // what apply had to do
	stale       bool // have is to be read from the text again
	followed    bool // by a line break that the text lacks
	// after are documents to be written behind this one.
	after []*yaml.Node
}

// Source is one input: its name, for results, and its text.
type Source struct {
	Name string // "" for standard input
	Text []byte
}

// split cuts a text into its documents. `---` and `...` at the start of a line
// end a document wherever they stand, block and quoted scalars included (YAML
// 1.2.2, 9.1.2), so looking at the starts of lines is exact.
func split(text []byte) [][]byte {
	var docs [][]byte
	start, directives := 0, false
	cut := func(at int) {
		if at > start {
			docs = append(docs, text[start:at])
		}
		start, directives = at, false
	}
	for at := 0; at < len(text); {
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := bytes.TrimPrefix(text[at:end], byteOrderMark)
		switch {
		case marker(line, "---"):
			if !directives { // directives belong to the document that follows
				cut(at)
			}
			directives = false
		case marker(line, "..."):
			cut(end)
		case len(line) > 0 && line[0] == '%' && blank(text[start:at]):
			directives = true
		}
		at = end
	}
	cut(len(text))
	return docs
}

// marker tells whether a line is a document marker, perhaps with content
// behind it.
func marker(line []byte, m string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(m))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// directive tells whether a text begins with a directive, perhaps below
// comments.
func directive(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !blank(line) {
			return line[0] == '%'
		}
	}
	return false
}

// byteOrderMark is what some editors begin a file in UTF-8 with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// strayMark returns where a byte order mark stands before a document's content,
// and not at the very beginning of its source: YAML does not allow it there,
// and parsers take it for the first letter of a key. -1 if there is none.
func (d *document) strayMark() int {
	at := 0
	if d.file.Index == 0 && bytes.HasPrefix(d.text, byteOrderMark) {
		at = len(byteOrderMark)
	}
	for line := range bytes.Lines(d.text[at:]) {
		switch {
		case bytes.HasPrefix(line, byteOrderMark):
			return at
		case !blank(line) && !marker(line, "---") && line[0] != '%':
			return -1
		}
		at += len(line)
	}
	return -1
}

// blank tells whether a text has nothing but white space, comments and document
// end markers.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if marker(line, "...") {
			line = line[len("..."):]
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// helmSource matches the comment by which Helm names a document's template.
var helmSource = regexp.MustCompile(`(?m)^# Source: (\S.*?)\r?$`)

// read parses a source into documents. What can't be read is a result for
// each document concerned; then the documents must not be written.
func read(src Source) ([]*document, transformer.Results) {
	texts := split(src.Text)
	docs := make([]*document, len(texts))
	line := 0
	for i, text := range texts {
		d := &document{text: text, file: transformer.File{Path: src.Name, Index: i}, line: line}
		line += bytes.Count(text, []byte("\n"))
		if src.Name == "" {
			if m := helmSource.FindSubmatch(text[:min(len(text), 4096)]); m != nil {
				d.file.Path = string(m[1])
			}
		}
		docs[i] = d
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
	if err := legal(text); err != nil {
		return err
	}
	if i := d.strayMark(); i >= 0 {
		return fmt.Errorf("line %d: a byte order mark, which may stand at the very beginning only; remove it", lineOf(text, i))
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
	if !holdsObjects(have) {
		return nil
	}
	if d.want, err = splice.Expand(have); err != nil {
		return err
	}
	d.find()
	return nil
}

// lineOf returns the number of the line that text[i] is in.
func lineOf(text []byte, i int) int { return 1 + bytes.Count(text[:i], []byte("\n")) }

// legal reports the first byte that is not UTF-8, and the first character that
// YAML does not allow (YAML 1.2.2 section 5.1).
func legal(text []byte) error {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return errors.New("the text is UTF-16, as PowerShell writes it; convert it, for example with iconv -f UTF-16 -t UTF-8")
	}
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case c == utf8.RuneError && size == 1:
			return fmt.Errorf("line %d: byte 0x%02x is not UTF-8; convert the file, for example with iconv -f WINDOWS-1252 -t UTF-8", lineOf(text, i), text[i])
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', 0x7f <= c && c < 0xa0 && c != 0x85, c == 0xfffe, c == 0xffff:
			return fmt.Errorf("line %d: control character 0x%02x, which YAML does not allow; remove it, or write it as %s in double quotes", lineOf(text, i), c, escape(c))
		}
		i += size
	}
	return nil
}

func escape(c rune) string {
	if c > 0xff {
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\x%02x`, c)
}

// unknownAnchor matches the parser's only message without a line.
var unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.+)' referenced$`)

// explain says what the parser's message leaves out.
func explain(text []byte, err error) error {
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		alias := regexp.MustCompile(`(?m)(?:^|[\s,\[{])\*` + regexp.QuoteMeta(m[1]) + `(?:[\s,\]}]|$)`)
		if at := alias.FindIndex(text); at != nil {
			return fmt.Errorf("line %d: alias *%s has no anchor", lineOf(text, at[1]-1), m[1])
		}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if first := dec.Decode(new(json.RawMessage)); first == nil && dec.More() {
		return fmt.Errorf("line %d: another JSON document begins; put a line --- between the two", lineOf(text, len(text)-len(bytes.TrimLeft(text[dec.InputOffset():], " \t\r\n"))))
	}
	return err
}

// empty tells that a document says nothing: it is a separator, or comments.
func (d *document) empty() bool {
	if d.have == nil {
		return blank(d.text) // else it could not be read
	}
	return d.have.Kind == yaml.ScalarNode && d.have.ShortTag() == yaml.NodeTagNull
}

// holdsObjects tells whether a document is an object or a list of objects;
// anything else passes unseen.
func holdsObjects(n *yaml.Node) bool {
	return scalar(n, "kind") != "" && scalar(n, "apiVersion") != ""
}

// find lists the document's objects: itself, or the items of a List.
func (d *document) find() {
	text := &spelling{text: d.text, have: d.have}
	add := func(n *yaml.Node) {
		o := &transformer.Object{Node: n, File: d.file, Text: text}
		if path := firstOf(annotation(n, pathAnnotation), annotation(n, legacyPathAnnotation), annotation(n, helmFilename)); path != "" {
			o.File = transformer.File{Path: path}
			o.File.Index, _ = strconv.Atoi(firstOf(annotation(n, indexAnnotation), annotation(n, legacyIndexAnnotation)))
		}
		d.objects = append(d.objects, o)
	}
	items := get(d.want, "items")
	if !strings.HasSuffix(scalar(d.want, "kind"), "List") || items == nil || items.Kind != yaml.SequenceNode {
		add(d.want)
		return
	}
	d.items = items
	for _, n := range items.Content {
		if holdsObjects(n) {
			add(n)
		}
	}
}

// spelling is the transformer.Text of a document. It reads the text only when it
// is asked.
type spelling struct {
	text    []byte
	have    *yaml.Node
	tokens  func(*yaml.Node) (string, bool)
	anchors map[position]string
}

// position is where a node stands, in the tree as written and in its copy.
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

var yamlLine = regexp.MustCompile(`line (\d+)`)

// unreadable says where a document can't be read, by the line of its file.
func (d *document) unreadable(err error) transformer.Result {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = yamlLine.ReplaceAllStringFunc(message, func(m string) string {
		n, _ := strconv.Atoi(m[len("line "):])
		return fmt.Sprintf("line %d", n+d.line)
	})
	return transformer.NewResult(transformer.CodeInvalidYAML, d.file, "document %d: %s", d.file.Index+1, message)
}

// duplicates reports keys that stand twice in a document that is edited: which
// of the two counts is not ours to choose.
func (d *document) duplicates() transformer.Results {
	var results transformer.Results
	for _, dup := range splice.Duplicates(d.have) {
		r := transformer.NewResult(transformer.CodeDuplicateKey, d.file, "line %d: key %s stands twice; which one counts is not certain, so remove one", dup.Line+d.line, dup.Path)
		if d.items == nil {
			ref := d.objects[0].Ref()
			r.ResourceRef = &ref
		}
		results = append(results, r.At(dup.Path, "", ""))
	}
	return results
}

// Keys by which orchestrators say where an object came from.
const (
	pathAnnotation        = "internal.config.kubernetes.io/path"
	indexAnnotation       = "internal.config.kubernetes.io/index"
	legacyPathAnnotation  = "config.kubernetes.io/path"
	legacyIndexAnnotation = "config.kubernetes.io/index"
	helmFilename          = "postrenderer.helm.sh/postrender-filename"
	helmHook              = "helm.sh/hook"
)

// get returns the value at a path of mapping keys, or nil; of a key that stands
// twice the first one, as everywhere.
func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		i := 0
		for i < len(n.Content) && n.Content[i].Value != key {
			i += 2
		}
		if i+1 >= len(n.Content) {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

func scalar(n *yaml.Node, path ...string) string {
	if v := get(n, path...); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

func annotation(n *yaml.Node, key string) string { return scalar(n, "metadata", "annotations", key) }

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
