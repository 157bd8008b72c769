package fn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// write joins the documents again. If marks is set, JSON objects among YAML documents get a separator.
func write(docs []*document, marks bool) ([]byte, transformer.Results, error) {
	settleEnds(docs)
	for i, err := range each(docs, (*document).apply) {
		if err != nil {
			return nil, nil, fmt.Errorf("edit document %d of %s: %w", docs[i].file.Index+1, name(docs[i].file.Path), err)
		}
	}
	var results transformer.Results
	for _, d := range docs {
		if d.reformatted && !d.deleted {
			results = append(results, transformer.NewResult(transformer.CodeReformatted, d.file, "document %d could not be edited line by line, so the whole document was printed; its content is the same", d.file.Index+1))
		}
	}
	out, err := assemble(docs, marks)
	return out, results, err
}

// assemble joins the texts of documents.
func assemble(docs []*document, marks bool) ([]byte, error) {
	var out bytes.Buffer
	size := 0
	for _, d := range docs {
		size += len(d.text) + len(d.after)<<10 // a created object usually has less than 1 KiB
	}
	out.Grow(size)
	json := isJSON(docs)
	begins := false // whether a source begins
	for i, d := range docs {
		begins = begins || d.file.Index == 0
		if d.deleted {
			continue
		}
		text := d.text
		if d.restored != nil {
			text = d.restored
		}
		switch {
		case json && begins && out.Len() > 0:
			endLine(&out, text)
		case begins && out.Len() > 0:
			text = separate(&out, text)
		case d.json && !json && marks:
			endLine(&out, text)
			out.WriteString(jsonMark + lineBreak(text))
		}
		if d.json && !json && d.restored == nil {
			text = splice.JSONAsYAML(text)
		}
		begins = false
		out.Write(text)
		for _, n := range d.after {
			if err := writeNew(&out, n, text, json); err != nil {
				return nil, err
			}
		}
		if len(d.after) > 0 && continues(docs[i+1:]) {
			out.WriteString("..." + lineBreak(text))
		}
	}
	return out.Bytes(), nil
}

// jsonMark is the separator before a JSON object that begins a YAML stream, or follows another object in
// it. Without it, kubectl would read the whole stream as JSON. The comment tells Uninject that the
// separator was not in the input.
const jsonMark = "--- # JSON among YAML"

// unmark removes the separator that a render added before a JSON object.
func (d *document) unmark() {
	if first, rest, ok := bytes.Cut(d.text, []byte("\n")); ok && string(bytes.TrimSuffix(first, []byte("\r"))) == jsonMark && splice.IsJSON(rest) {
		d.text, d.json = rest, true
		d.line++
	}
}

// isJSON reports whether documents are a stream of JSON objects, which has no separators. kubectl reads
// a whole stream in the format of its beginning.
func isJSON(docs []*document) bool {
	found := false
	for _, d := range docs {
		switch {
		case d.deleted || len(bytes.TrimSpace(d.text)) == 0:
		case !d.json:
			return false
		default:
			found = true
		}
	}
	return found
}

// settleEnds adjusts the ends of texts before they are joined. If a deleted document had no line break
// at its end, the document before it loses its line break too.
func settleEnds(docs []*document) {
	var last *document
	for _, d := range docs {
		switch {
		case !d.deleted:
			last = d
		case last != nil && lineEnd(d.text) == "":
			last.text = bytes.TrimSuffix(last.text, []byte(lineEnd(last.text)))
		}
	}
}

// continues reports whether the next document that is written has no `---` at its beginning, because the
// one before it ended with `...`. If so, documents inserted between them must end with `...` too.
func continues(docs []*document) bool {
	for _, d := range docs {
		if !d.deleted {
			return d.file.Index > 0 && !marker(d.text, "---") && !d.json
		}
	}
	return false
}

// apply applies a document's edit to its text.
func (d *document) apply() (err error) {
	if !d.edited || d.deleted {
		return nil
	}
	d.exchange()
	before := d.text
	var spellings []splice.Spelling
	for _, o := range d.objects {
		for n, token := range o.Spelled {
			spellings = append(spellings, splice.Spelling{Node: n, Token: token})
		}
	}
	d.text, d.reformatted, err = splice.Apply(d.text, d.have, d.want, spellings...)
	if !bytes.Equal(d.text, before) {
		d.restored = nil
	}
	d.have, d.want, d.items, d.objects, d.held, d.sources = nil, nil, nil, nil, nil, nil // the trees are most of a render's memory
	return err
}

// Join joins sources into one stream, in the same way as Render joins its results.
func Join(sources []Source) []byte {
	docs, _ := readAll(sources, false)
	out, _ := assemble(docs, false) // only new documents can fail
	return out
}

// separate adds a separator before a source's text, if the text has none. It returns the text without
// a byte order mark, which is only allowed at the very beginning.
func separate(out *bytes.Buffer, text []byte) []byte {
	text = bytes.TrimPrefix(text, byteOrderMark)
	newline := lineBreak(text)
	endLine(out, text)
	switch {
	case marker(text, "---"):
	case directive(text): // a directive must not follow an open document
		out.WriteString("..." + newline)
	default:
		out.WriteString("---" + newline)
	}
	return text
}

// endLine ends the last line with the line break that another text uses.
func endLine(out *bytes.Buffer, like []byte) {
	if out.Len() > 0 && lineEnd(out.Bytes()) == "" {
		out.WriteString(lineBreak(like))
	}
}

// writeNew appends a document in the format of the one before it. Its separator is on a separate line,
// and JSON among JSON has none. It ends with or without a line break, like the text before it, so that
// removing it later restores that text.
func writeNew(out *bytes.Buffer, n *yaml.Node, before []byte, json bool) error {
	print := printYAML
	if style := jsonStyle(before); style != nil {
		print = style.print
	}
	text, err := print(n)
	if err != nil {
		return fmt.Errorf("print %s %s: %w", nodes.StringAt(n, "kind"), nodes.StringAt(n, "metadata", "name"), err)
	}
	newline := lineBreak(before)
	if !json {
		text = "---\n" + text
	}
	added := strings.ReplaceAll(text, "\n", newline)
	if lineEnd(before) == "" {
		out.WriteString(newline)
		added = strings.TrimSuffix(added, newline)
	}
	out.WriteString(added)
	return nil
}

func printYAML(n *yaml.Node) (string, error) {
	quoteMisread(n)
	var text strings.Builder
	enc := yaml.NewEncoderWithOptions(&text, &yaml.EncoderOptions{SeqIndent: yaml.CompactSequenceStyle})
	if err := enc.Encode(n); err != nil {
		return "", err
	}
	return text.String(), enc.Close()
}

// quoteMisread quotes strings that the encoder, which follows YAML 1.2, leaves unquoted, and that
// kubectl and kustomize would misread.
func quoteMisread(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Style == 0 && n.ShortTag() == yaml.NodeTagString && splice.Misread(n.Value) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		quoteMisread(c)
	}
}

// separator matches the line of a document separator. jsonStart matches the beginning of a JSON
// object, up to its first key.
var (
	separator = regexp.MustCompile(`^---[ \t]*(?:#.*)?\r?(?:\n|$)|^---[ \t]+`)
	jsonStart = regexp.MustCompile(`^\s*(\{\s*)"(?:[^"\\]|\\.)*"(\s*:\s*)`)
)

// jsonSample is a JSON object in the style to write.
type jsonSample []byte

// jsonStyle returns a sample of a document's style; nil if the document is not JSON.
func jsonStyle(text []byte) jsonSample {
	text = text[len(separator.Find(text)):]
	m := jsonStart.FindSubmatch(text)
	if m == nil || !json.Valid(text) {
		return nil
	}
	end := "}"
	if bytes.Contains(m[1], []byte("\n")) {
		end = "\n}"
	}
	sample := string(m[1]) + `"x"` + string(m[2]) + "1" + end
	return jsonSample(strings.ReplaceAll(sample, "\r\n", "\n"))
}

// print writes a node in the style of the sample.
func (sample jsonSample) print(n *yaml.Node) (string, error) {
	have, err := splice.Parse(sample)
	if err != nil {
		return "", err
	}
	text, _, err := splice.Apply(sample, have, n)
	return string(text) + "\n", err
}

// lineBreak returns the line break that a text uses in its first line.
func lineBreak(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// lineEnd returns the line break at the end of a text; "" if there is none.
func lineEnd(text []byte) string {
	switch {
	case bytes.HasSuffix(text, []byte("\r\n")):
		return "\r\n"
	case bytes.HasSuffix(text, []byte("\n")):
		return "\n"
	}
	return ""
}

func name(path string) string {
	if path == "" {
		return "standard input"
	}
	return strings.TrimSpace(path)
}
