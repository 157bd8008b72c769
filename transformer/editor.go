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

// undo is the record, kept in an annotation, of what an edit added to an
// object and of what stood where it replaced something. Taking it back needs
// nothing else, and leaves alone what others have added since.
type undo struct {
	// Add lists, by the path of a mapping or sequence, the keys or items that
	// were added to it.
	Add map[string][]string `json:"add,omitempty"`
	// Was keeps, by path, how a replaced value was spelled; null means that
	// nothing was there.
	Was map[string]*string `json:"was,omitempty"`
	// Pairs keeps, by the path of a pair that took another's place, how that
	// other pair was spelled.
	Pairs map[string]string `json:"pairs,omitempty"`
	// Spelled keeps, by path, how values were spelled that had to be spelled
	// otherwise to mean what they did: aliases. Earlier versions kept the
	// first line of a block scalar that nothing followed as well.
	Spelled map[string]string `json:"spelled,omitempty"`
	// Now keeps, by path, a digest of what a render wrote where the value does not
	// show whether others changed it since: a list of hosts, the sidecar's container
	// and its volumes.
	Now map[string]string `json:"now,omitempty"`
	// Image is the sidecar's image as the render wrote it.
	Image string `json:"image,omitempty"`
}

// edits returns the paths of what was edited.
func (u *undo) edits() []string {
	return slices.Concat(sortedKeys(u.Add), sortedKeys(u.Was), sortedKeys(u.Pairs))
}

// paths returns all paths of the record.
func (u *undo) paths() []string { return append(u.edits(), sortedKeys(u.Spelled)...) }

// blockScalar matches a block scalar.
var blockScalar = regexp.MustCompile(`^[ \t]*(?:[&!]\S*\s+)*[|>][-+]?[ \t]*(?:#.*)?\r?\n`)

// editor edits one object and records how to take the edits back. All edits
// go through it, and are additions but for replace and supplant.
type editor struct {
	obj *Object
	log undo
	// gone are the values that were replaced.
	gone []*yaml.Node
	// trail are the nodes on or above which something was edited, once traced.
	trail map[*yaml.Node]bool
	// options are the texts that were added to JAVA_TOOL_OPTIONS.
	options []string
}

func newEditor(o *Object) *editor {
	return &editor{obj: o, log: undo{Add: map[string][]string{}, Was: map[string]*string{}, Pairs: map[string]string{}, Spelled: map[string]string{}, Now: map[string]string{}}}
}

// collection returns the mapping or sequence at a key of parent, and its path;
// it makes one where there is none, or an empty one.
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
		e.log.Was[at] = nil // they go before the user sees the output
		return parent.Content[i+1], at
	case nodes.IsNull(parent.Content[i+1]) || len(parent.Content[i+1].Content) == 0:
		e.replaced(at, parent.Content[i+1])
		parent.Content[i+1] = fresh
		return fresh, at
	default:
		return parent.Content[i+1], at
	}
}

// bookkeeping are annotations by which an orchestrator keeps track of objects
// while it calls a function or post-renderer; it takes them off afterwards.
// Sources: the KRM functions specification, kpt's and Helm 4's code.
var bookkeeping = regexp.MustCompile(`^(internal\.config\.kubernetes\.io/.*|config\.kubernetes\.io/(path|index|id)|config\.k8s\.io/id|kustomize\.config\.k8s\.io/id|internal\.kpt\.dev/.*|postrenderer\.helm\.sh/.*)$`)

// onlyBookkeeping tells that annotations are none of the user's.
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

// wrote records what an added item is, so that an undo can tell whether others edited
// it since.
func (e *editor) wrote(path string, item *yaml.Node) {
	e.log.Now[pathItem(path, nodes.ID(item))] = digest(plain(item))
}

// plain writes a value without its style and the order of its keys: kustomize changes
// both. The image of a container is left out: whether that was changed is for keepImage
// to say.
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

// replace gives an existing key another scalar.
func (e *editor) replace(m *yaml.Node, path, key string, value any) {
	i := nodes.KeyIndex(m, key)
	e.replaced(pathKey(path, key), m.Content[i+1])
	now := nodes.New(value)
	if old := m.Content[i+1]; old.Kind == yaml.ScalarNode && now.Kind == yaml.ScalarNode {
		now.Style = old.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	m.Content[i+1] = now
}

// replaced records a value that another takes the place of.
func (e *editor) replaced(at string, old *yaml.Node) {
	was := e.obj.token(old)
	if isAlias(was) {
		e.log.Spelled[at], was = was, printed(old)
	}
	e.log.Was[at] = &was
	e.gone = append(e.gone, old)
}

// supplant puts a pair in the place of another.
func (e *editor) supplant(m *yaml.Node, path, old, key string, value any) {
	i := nodes.KeyIndex(m, old)
	e.log.Pairs[pathKey(path, key)] = e.obj.pair(m.Content[i], m.Content[i+1])
	e.gone = append(e.gone, m.Content[i+1])
	m.Content[i], m.Content[i+1] = nodes.New(key), nodes.New(value)
}

// finish writes the record into the object, if anything was edited. One without metadata
// has no place for a record, and no name.
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

// addedUnder tells whether something was added at a path or below it.
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
