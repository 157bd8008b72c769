package fn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/transformer"
)

// write puts the documents together again.
func write(docs []*document) ([]byte, transformer.Results, error) {
	settleEnds(docs)
	for i, err := range each(docs, (*document).apply) {
		if err != nil {
			return nil, nil, fmt.Errorf("edit document %d of %s: %w", docs[i].file.Index+1, name(docs[i].file.Path), err)
		}
	}
	var out bytes.Buffer
	var results transformer.Results
	begins := false // a source
	for i, d := range docs {
		begins = begins || d.file.Index == 0
		if d.deleted {
			continue
		}
		if d.reformatted {
			results = append(results, transformer.NewResult(transformer.CodeReformatted, d.file, "document %d could not be edited line by line and was printed anew; its content is the same", d.file.Index+1))
		}
		if begins {
			d.text, begins = separate(&out, d.text), false
		}
		out.Write(d.text)
		for _, n := range d.after {
			if err := writeNew(&out, n, d.text); err != nil {
				return nil, results, err
			}
		}
		if len(d.after) > 0 && continues(docs[i+1:]) {
			out.WriteString("..." + lineBreak(d.text))
		}
	}
	return out.Bytes(), results, nil
}

// settleEnds has the texts of documents end as they will: without a line break
// where one that goes had taken over the lack of it.
func settleEnds(docs []*document) {
	var last *document
	for _, d := range docs {
		switch {
		case !d.deleted:
			last = d
		case last != nil && lineEnd(d.text) == "":
			last.text = bytes.TrimSuffix(last.text, []byte(lineEnd(last.text)))
			last.reread(false)
		}
	}
	last = nil
	for _, d := range docs {
		if d.deleted {
			continue
		}
		if last != nil && lineEnd(last.text) == "" {
			last.reread(true)
		}
		if last = d; len(d.after) > 0 && lineEnd(d.text) == "" {
			d.reread(true)
		}
	}
}

// reread prepares for another line break at the end than the document was read
// with. To a block scalar that ends there it belongs, so that the document must
// be edited to say what it did.
func (d *document) reread(followed bool) {
	if d.have == nil || !endsInBlockScalar(d.have) {
		return
	}
	if d.want == nil {
		var err error
		if d.want, err = splice.Expand(d.have); err != nil {
			return // aliases that multiply; they pass unseen
		}
	}
	d.edited, d.stale, d.followed = true, true, followed
}

func endsInBlockScalar(n *yaml.Node) bool {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// continues tells that the next document that is written has no `---` to begin
// with: the one before it ended with `...`, and so must what is put between.
func continues(docs []*document) bool {
	for _, d := range docs {
		if !d.deleted {
			return d.file.Index > 0 && !marker(d.text, "---")
		}
	}
	return false
}

// apply carries a document's edit to its text.
func (d *document) apply() (err error) {
	if !d.edited || d.deleted {
		return nil
	}
	var spellings []splice.Spelling
	for _, o := range d.objects {
		for n, token := range o.Spelled {
			spellings = append(spellings, splice.Spelling{Node: n, Token: token})
		}
	}
	text, added := d.text, ""
	if d.followed {
		added = lineBreak(text)
		text = append(bytes.Clone(text), added...)
	}
	if d.stale {
		if d.have, err = splice.Parse(text); err != nil {
			return err
		}
	}
	text, d.reformatted, err = splice.Apply(text, d.have, d.want, spellings...)
	d.text = bytes.TrimSuffix(text, []byte(added))
	d.have, d.want, d.items, d.objects = nil, nil, nil, nil // the trees are most of a render's memory
	return err
}

// Join puts sources together into one stream, as Render does with what it has
// made of them.
func Join(sources []Source) []byte {
	var out bytes.Buffer
	for _, src := range sources {
		if len(src.Text) > 0 {
			out.Write(separate(&out, src.Text))
		}
	}
	return out.Bytes()
}

// separate keeps a source's text apart from what is written before it, where it
// has no separator of its own, and returns it without a byte order mark, which
// may only stand at the very beginning.
func separate(out *bytes.Buffer, text []byte) []byte {
	if out.Len() == 0 {
		return text
	}
	text = bytes.TrimPrefix(text, byteOrderMark)
	newline := lineBreak(text)
	if lineEnd(out.Bytes()) == "" {
		out.WriteString(newline)
	}
	switch {
	case marker(text, "---"):
	case directive(text): // it may not follow an open document
		out.WriteString("..." + newline)
	default:
		out.WriteString("---" + newline)
	}
	return text
}

// writeNew appends a document, in the format of the one before it. Its separator
// stands on a line of its own; it ends as the text before it ends, with a line
// break or without, so that removing it later leaves that text.
func writeNew(out *bytes.Buffer, n *yaml.Node, before []byte) error {
	print := printYAML
	if style := jsonStyle(before); style != nil {
		print = style.print
	}
	text, err := print(n)
	if err != nil {
		return fmt.Errorf("print %s %s: %w", scalar(n, "kind"), scalar(n, "metadata", "name"), err)
	}
	newline := lineBreak(before)
	added := strings.ReplaceAll("---\n"+text, "\n", newline)
	if lineEnd(before) == "" {
		out.WriteString(newline)
		added = strings.TrimSuffix(added, newline)
	}
	out.WriteString(added)
	return nil
}

func printYAML(n *yaml.Node) (string, error) {
	var text strings.Builder
	enc := yaml.NewEncoderWithOptions(&text, &yaml.EncoderOptions{SeqIndent: yaml.CompactSequenceStyle})
	if err := enc.Encode(n); err != nil {
		return "", err
	}
	return text.String(), enc.Close()
}

// jsonStart matches how a JSON object begins: its first key.
var jsonStart = regexp.MustCompile(`^(?:---\s*)?(\{\s*)"(?:[^"\\]|\\.)*"(\s*:\s*)`)

// jsonSample is a JSON object that is written in some style.
type jsonSample []byte

// jsonStyle returns a sample of how a document is written, nil where it is not
// JSON.
func jsonStyle(text []byte) jsonSample {
	m := jsonStart.FindSubmatch(text)
	if m == nil || !json.Valid(bytes.TrimPrefix(text, []byte("---"))) {
		return nil
	}
	end := "}"
	if bytes.Contains(m[1], []byte("\n")) {
		end = "\n}"
	}
	sample := string(m[1]) + `"x"` + string(m[2]) + "1" + end
	return jsonSample(strings.ReplaceAll(sample, "\r\n", "\n"))
}

// print makes a node of the sample, which keeps its style.
func (sample jsonSample) print(n *yaml.Node) (string, error) {
	have, err := splice.Parse(sample)
	if err != nil {
		return "", err
	}
	text, _, err := splice.Apply(sample, have, n)
	return string(text) + "\n", err
}

// lineBreak returns the line break that a text uses: that of its first line.
func lineBreak(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// lineEnd returns the line break that a text ends with, "" if it has none.
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
