package transformer

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// undo is the record, in an annotation, of the additions and replaced values of an edit. An undo needs
// nothing else, and keeps what others have added since.
type undo struct {
	// Add lists, by the path of a mapping or sequence, the keys or items that were added to it.
	Add map[string][]string `json:"add,omitempty"`
	// Was has, by path, the spelling of replaced values; null means that there was no value.
	Was map[string]*string `json:"was,omitempty"`
	// Pairs has, by the path of a pair that replaced another one, the spelling of the replaced pair.
	Pairs map[string]string `json:"pairs,omitempty"`
	// Spelled has, by path, the spelling of aliases that had to be written out to keep their meaning.
	// Earlier versions also kept the first line of a block scalar that was followed by nothing.
	Spelled map[string]string `json:"spelled,omitempty"`
	// Now has, by path, a digest of what the render wrote. It is for values that do not show whether
	// others changed them since: a list of hosts, the sidecar's container and its volumes.
	Now map[string]string `json:"now,omitempty"`
	// Image is the sidecar's image that the render wrote.
	Image string `json:"image,omitempty"`
}

// edits returns the paths that were edited.
func (u *undo) edits() []string {
	return slices.Concat(sortedKeys(u.Add), sortedKeys(u.Was), sortedKeys(u.Pairs))
}

// paths returns all paths of the record.
func (u *undo) paths() []string { return append(u.edits(), sortedKeys(u.Spelled)...) }

// blockScalar matches a block scalar.
var blockScalar = regexp.MustCompile(`^[ \t]*(?:[&!]\S*\s+)*[|>][-+]?[ \t]*(?:#.*)?\r?\n`)

// editor edits one object and records how to undo the edits. All edits of existing objects use it.
// They only add, except for replace and supplant.
type editor struct {
	obj *Object
	log undo
	// gone has the values that were replaced.
	gone []*yaml.Node
	// trail has the nodes that were edited, or below which something was edited. trace sets it.
	trail map[*yaml.Node]bool
	// options has the texts that were added to JAVA_TOOL_OPTIONS.
	options []string
}

func newEditor(o *Object) *editor {
	return &editor{obj: o, log: undo{Add: map[string][]string{}, Was: map[string]*string{}, Pairs: map[string]string{}, Spelled: map[string]string{}, Now: map[string]string{}}}
}

// collection returns the mapping or sequence at a key of parent, and its path. It creates one if there
// is none, and replaces an empty one.
func (e *editor) collection(parent *yaml.Node, path, key string, kind yaml.Kind) (*yaml.Node, string) {
	at := pathKey(path, key)
	fresh := &yaml.Node{Kind: kind, Tag: yaml.NodeTagMap}
	if kind == yaml.SequenceNode {
		fresh.Tag = yaml.NodeTagSeq
	}
	i := nodes.KeyIndex(parent, key)
	switch {
	case i < 0:
		parent.Content = append(parent.Content, nodes.New(key), fresh)
		e.log.Was[at] = nil
		return fresh, at
	case key == "annotations" && onlyBookkeeping(parent.Content[i+1]):
		e.log.Was[at] = nil // the orchestrator removes these before the user sees the output
		return parent.Content[i+1], at
	case nodes.IsNull(parent.Content[i+1]) || len(parent.Content[i+1].Content) == 0:
		e.replaced(at, parent.Content[i+1])
		parent.Content[i+1] = fresh
		return fresh, at
	default:
		return parent.Content[i+1], at
	}
}

// bookkeeping matches the annotations with which an orchestrator tracks objects while it calls a
// function or post-renderer. It removes them afterwards. Sources: the KRM functions specification,
// kpt's and Helm 4's code.
var bookkeeping = regexp.MustCompile(`^(internal\.config\.kubernetes\.io/.*|config\.kubernetes\.io/(path|index|id)|config\.k8s\.io/id|kustomize\.config\.k8s\.io/id|internal\.kpt\.dev/.*|postrenderer\.helm\.sh/.*)$`)

// onlyBookkeeping reports whether there are annotations, and none is the user's.
func onlyBookkeeping(annotations *yaml.Node) bool {
	if annotations.Kind != yaml.MappingNode || len(annotations.Content) == 0 {
		return false
	}
	for i := 0; i < len(annotations.Content); i += 2 {
		if !bookkeeping.MatchString(annotations.Content[i].Value) {
			return false
		}
	}
	return true
}

// appendItem adds an item at the end of a sequence.
func (e *editor) appendItem(seq *yaml.Node, path string, item *yaml.Node) {
	e.insertItem(seq, path, len(seq.Content), item)
}

// insertItem adds an item at an index of a sequence.
func (e *editor) insertItem(seq *yaml.Node, path string, index int, item *yaml.Node) {
	seq.Content = append(seq.Content, nil)
	copy(seq.Content[index+1:], seq.Content[index:])
	seq.Content[index] = item
	e.log.Add[path] = append(e.log.Add[path], nodes.ID(item))
}

// put adds a key to a mapping that lacks it.
func (e *editor) put(m *yaml.Node, path, key string, value any) {
	m.Content = append(m.Content, nodes.New(key), nodes.New(value))
	e.log.Add[path] = append(e.log.Add[path], key)
}

// wrote records a digest of an added item, so that an undo can report whether others edited it since.
func (e *editor) wrote(path string, item *yaml.Node) {
	e.log.Now[pathItem(path, nodes.ID(item))] = digest(plain(item))
}

// plain formats a value without its style and the order of its keys, both of which kustomize changes.
// It leaves out the image of a container, because keepImage handles changes of that.
func plain(n *yaml.Node) string { return string(appendPlain(nil, n)) }

func appendPlain(out []byte, n *yaml.Node) []byte {
	out = strconv.AppendQuote(append(out, '('), n.Value)
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			out = appendPlain(append(out, ' '), c)
		}
		return append(out, ')')
	}
	keys := make([]int, 0, 16)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "image" {
			keys = append(keys, i)
		}
	}
	slices.SortStableFunc(keys, func(a, b int) int { return strings.Compare(n.Content[a].Value, n.Content[b].Value) })
	for _, i := range keys {
		out = strconv.AppendQuote(append(out, ' '), n.Content[i].Value)
		out = appendPlain(out, n.Content[i+1])
	}
	return append(out, ')')
}

// replace replaces the value of an existing key with a scalar.
func (e *editor) replace(m *yaml.Node, path, key string, value any) {
	i := nodes.KeyIndex(m, key)
	e.replaced(pathKey(path, key), m.Content[i+1])
	now := nodes.New(value)
	if old := m.Content[i+1]; old.Kind == yaml.ScalarNode && now.Kind == yaml.ScalarNode {
		now.Style = old.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	m.Content[i+1] = now
}

// replaced records the value that an edit replaces.
func (e *editor) replaced(at string, old *yaml.Node) {
	was := e.obj.token(old)
	if isAlias(was) {
		e.log.Spelled[at], was = was, printed(old)
	}
	e.log.Was[at] = &was
	e.gone = append(e.gone, old)
}

// supplant replaces a pair with another one.
func (e *editor) supplant(m *yaml.Node, path, old, key string, value any) {
	i := nodes.KeyIndex(m, old)
	e.log.Pairs[pathKey(path, key)] = e.obj.pair(m.Content[i], m.Content[i+1])
	e.gone = append(e.gone, m.Content[i+1])
	m.Content[i], m.Content[i+1] = nodes.New(key), nodes.New(value)
}

// finish writes the record into the object if anything was edited. An object without metadata has no
// name and no place for a record, so finish returns an error.
func (e *editor) finish() Results {
	if len(e.log.paths()) == 0 {
		return nil
	}
	metadata := nodes.At(e.obj.Node, "metadata")
	if metadata == nil || metadata.Kind != yaml.MappingNode {
		return Results{result(CodeMalformed, e.obj, "metadata: found %s, allowed: a map with a name, because the render edits the object", describeKind(orNull(metadata))).At("metadata", "", "")}
	}
	annotations, _ := e.collection(metadata, "metadata", "annotations", yaml.MappingNode)
	for path, was := range e.obj.outlived {
		if _, known := e.log.Was[path]; !known && e.addedUnder(path) {
			e.log.Was[path] = was // so that rendering again gives the same record
		}
	}
	record, _ := json.Marshal(e.log) // maps and strings: it can't fail
	value := nodes.New(string(record))
	value.Style = yaml.SingleQuotedStyle // JSON is full of double quotes
	annotations.Content = append(annotations.Content, nodes.New(contract.AnnotationUndo), value)
	return nil
}

// addedUnder reports whether something was added at a path or below it.
func (e *editor) addedUnder(path string) bool {
	if path == "metadata.annotations" {
		return true // the record itself
	}
	for at := range e.log.Add {
		if at == path || strings.HasPrefix(at, path+".") {
			return true
		}
	}
	return false
}
