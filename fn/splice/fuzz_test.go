package splice_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn/splice"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// FuzzApply makes random edits to arbitrary documents. The result must mean what was wanted,
// whatever the edits are. The undo must restore the bytes, except in the cases that Apply's
// documentation names.
func FuzzApply(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for i, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(readCase(archive).input, uint64(i))
		f.Add(readCase(archive).input, uint64(i+1000))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		if len(text) > 1<<14 {
			t.Skip("too long to be interesting")
		}
		have, err := splice.Parse(text)
		if err != nil || have == nil {
			return
		}
		former, err := splice.Expand(have)
		if err != nil {
			return
		}
		want := expand(t, have)
		e := editor{reshaped: bytes.Contains(text, []byte("*")), rand: rand.New(rand.NewPCG(seed, 1))}
		e.deleted = len(former.Content) == 0 // nothing but a scalar or an empty collection
		edits := 1 + e.rand.IntN(3)
		for range edits {
			e.edit(want)
		}
		// A block scalar that began below its indicator, and that was replaced, may not fit after
		// the indicator.
		e.deleted = e.deleted || e.reshaped && bytes.ContainsAny(text, "|>")
		// Blanks on a line after a block scalar may become part of another.
		e.deleted = e.deleted || bytes.ContainsAny(text, "|>") && blankLine.Match(text)
		// The parser does not report a tag `!` without a name.
		e.deleted = e.deleted || loneTag.Match(text)
		// A key without a colon keeps the colon that it got.
		e.deleted = e.deleted || e.filled && bytes.ContainsAny(text, "?{[")
		// A comment gets the missing space before it.
		e.reshaped = e.reshaped || glued.Match(text)
		// If several items without an identity are changed or new, Apply guesses which is which,
		// and the undo may guess differently.
		e.deleted = e.deleted || e.inserted && edits > 1
		out, reformatted, err := splice.Apply(text, have, want)
		if err != nil {
			b, _ := yaml.Marshal(want)
			t.Fatalf("%v\n%s%s", err, e.log, b)
		}
		// An edit may turn text into JSON. After that it remains JSON, so the undo can't restore
		// the text.
		e.deleted = e.deleted || splice.IsJSON(out) && !splice.IsJSON(text)
		if splice.IsJSON(text) && !splice.IsJSON(out) {
			t.Fatalf("%smade of JSON\n%s", e.log, out)
		}
		after := parse(t, out)
		if !splice.Equal(expand(t, after), want) {
			t.Fatalf("%sgave\n%s", e.log, out)
		}
		spelled, err := spellings(text, have, former)
		if err != nil && !reformatted {
			t.Fatal(err)
		}
		undone, undoReformatted, err := splice.Apply(out, after, former, spelled...)
		if err != nil {
			t.Fatalf("undo: %v\n%s%q\ngave\n%q", err, e.log, text, out)
		}
		if !splice.Equal(expand(t, parse(t, undone)), former) {
			t.Fatalf("undo of %sgave\n%s", e.log, undone)
		}
		if !reformatted && !undoReformatted && !e.deleted && !bytes.Contains(text, []byte("<<")) && !bytes.Equal(e.comparable(undone), e.comparable(text)) {
			t.Fatalf("%s%q\ngave\n%q\nand the undo\n%q", e.log, text, out, undone)
		}
	})
}

var (
	blankLine = regexp.MustCompile(`(?m)^[ \t]+\r?$`)
	glued     = regexp.MustCompile(`["'\]}]#`)
	loneTag   = regexp.MustCompile(`!([\s,}\]]|$)`)
)

// editor makes random edits and notes what matters to the undo.
type editor struct {
	rand     *rand.Rand
	log      string
	deleted  bool // something whose former text the undo can't know
	inserted bool // an item was inserted or changed
	filled   bool // a null written as nothing
	reshaped bool // a value on its indicator's line
}

func (e *editor) edit(root *yaml.Node) {
	var nodes []*yaml.Node
	naming := map[*yaml.Node]bool{} // nodes that identify an item: a change makes another item
	items := map[*yaml.Node]bool{}  // in a list
	var visit func(n *yaml.Node, names bool)
	visit = func(n *yaml.Node, names bool) {
		nodes = append(nodes, n)
		naming[n] = names
		for i, c := range n.Content {
			if n.Kind == yaml.SequenceNode {
				items[c] = true
				visit(c, names)
			} else if i%2 == 1 {
				items[c] = items[n]
				visit(c, names || identifying[n.Content[i-1].Value])
			}
		}
	}
	visit(root, false)
	n := nodes[e.rand.IntN(len(nodes))]
	e.deleted = e.deleted || naming[n]
	e.inserted = e.inserted || items[n]
	switch n.Kind {
	case yaml.ScalarNode:
		e.log += fmt.Sprintf("change %q, line %d\n", n.Value, n.Line)
		e.filled = e.filled || n.Tag == yaml.NodeTagNull && n.Value == ""
		*n = *e.value(1)
		e.reshaped = e.reshaped || n.Kind != yaml.ScalarNode || n.Tag == yaml.NodeTagNull
	case yaml.MappingNode:
		i := 2 * e.rand.IntN(len(n.Content)/2+1)
		if e.delete(n, i, 2) {
			return
		}
		e.reshaped = e.reshaped || len(n.Content) == 0
		e.log += fmt.Sprintf("add a key at %d, line %d\n", i/2, n.Line)
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: fmt.Sprintf("added %d", e.rand.IntN(1000))}
		n.Content = append(n.Content[:i:i], append([]*yaml.Node{key, e.value(0)}, n.Content[i:]...)...)
	case yaml.SequenceNode:
		i := e.rand.IntN(len(n.Content) + 1)
		if e.delete(n, i, 1) {
			return
		}
		e.reshaped = e.reshaped || len(n.Content) == 0
		e.inserted = true
		e.log += fmt.Sprintf("insert an item at %d, line %d\n", i, n.Line)
		n.Content = append(n.Content[:i:i], append([]*yaml.Node{e.value(0)}, n.Content[i:]...)...)
	}
}

var identifying = map[string]bool{
	"metadata": true, "apiVersion": true, "kind": true, "mountPath": true, "devicePath": true, "name": true,
	"containerPort": true, "port": true, "number": true, "key": true, "ip": true, "topologyKey": true,
}

func (e *editor) delete(n *yaml.Node, i, size int) bool {
	if i >= len(n.Content) || e.rand.IntN(4) > 0 {
		return false
	}
	e.log += fmt.Sprintf("delete entry %d, line %d\n", i/size, n.Line)
	n.Content = append(n.Content[:i:i], n.Content[i+size:]...)
	e.deleted = true
	return true
}

var values = []string{"", "x", "a b", "1", "true", "null", "~", "yes", "it's", `"`, "a: b", "a #b", "- x", "#", "a\nb", "a\nb\n", "\n", " ", "é", "{}", "[", "? a", "\t", "a\u2028b", "<<", "a,b", "http://x", "trailing ", "- "}

// value returns a random value, nested up to three levels.
func (e *editor) value(depth int) *yaml.Node {
	switch k := e.rand.IntN(6); {
	case k == 0 && depth < 3:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		for i := range e.rand.IntN(3) {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: fmt.Sprintf("%s%d", values[e.rand.IntN(len(values))], i)}
			n.Content = append(n.Content, key, e.value(depth+1))
		}
		return n
	case k == 1 && depth < 3:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
		for range e.rand.IntN(3) {
			n.Content = append(n.Content, e.value(depth+1))
		}
		return n
	case k == 2:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull}
	case k == 3:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagInt, Value: "42"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: values[e.rand.IntN(len(values))]}
}

// comparable removes white space. It also removes order if a value was replaced by a block
// or removed, because an undo does not restore its line or its side of a comment.
func (e *editor) comparable(text []byte) []byte {
	if !e.reshaped {
		return text
	}
	rest := []rune(strings.Join(strings.Fields(string(text)), ""))
	slices.Sort(rest)
	return []byte(string(rest))
}
