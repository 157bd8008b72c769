package transformer

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
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
	// otherwise to mean what they did: aliases, and a block scalar that nothing
	// followed. The path of the object itself is empty.
	Spelled map[string]string `json:"spelled,omitempty"`
}

// edits returns the paths of what was edited.
func (u *undo) edits() []string {
	return slices.Concat(sortedKeys(u.Add), sortedKeys(u.Was), sortedKeys(u.Pairs))
}

// paths returns all paths of the record.
func (u *undo) paths() []string { return append(u.edits(), sortedKeys(u.Spelled)...) }

// editor edits one object and records how to take the edits back. All edits
// go through it, and are additions but for replace and supplant.
type editor struct {
	obj *Object
	log undo
	// last is a block scalar that ends with the text, and with no line break.
	last *yaml.Node
	// gone are the values that were replaced.
	gone []*yaml.Node
	// trail are the nodes on or above which something was edited, once traced.
	trail map[*yaml.Node]bool
}

func newEditor(o *Object) *editor {
	e := &editor{obj: o, log: undo{Add: map[string][]string{}, Was: map[string]*string{}, Pairs: map[string]string{}, Spelled: map[string]string{}}}
	e.keepLast(o.Node, "")
	return e
}

// keepLast records the spelling of a block scalar that ends with the text, and
// with no line break: once something follows, it must say that it has none.
func (e *editor) keepLast(n *yaml.Node, path string) {
	last := len(n.Content) - 1
	switch {
	case n.Kind == yaml.MappingNode && last > 0:
		e.keepLast(n.Content[last], pathKey(path, n.Content[last-1].Value))
	case n.Kind == yaml.SequenceNode && last >= 0:
		e.keepLast(n.Content[last], pathItem(path, fmt.Sprintf("#%d", last)))
	case n.Kind == yaml.ScalarNode && n.Value != "" && !strings.HasSuffix(n.Value, "\n"):
		_, restored := e.obj.Spelled[n]
		if !restored && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			return // the rule, for which no text need be read
		}
		if token, ok := e.obj.spelling(n); ok && unstripped.MatchString(token) {
			e.log.Spelled[path], e.last = token, n
		}
	}
}

// unstripped matches a block scalar that does not say that it has no line break
// at its end. One with a number is left out: alone, it can't be read.
var unstripped = regexp.MustCompile(`^[ \t]*(?:[&!]\S*\s+)*[|>]\+?[ \t]*(?:#.*)?\r?\n`)

// collection returns the mapping or sequence at a key of parent, and its path;
// it makes one where there is none, or an empty one.
func (e *editor) collection(parent *yaml.Node, path, key string, kind yaml.Kind) (*yaml.Node, string) {
	at := pathKey(path, key)
	fresh := &yaml.Node{Kind: kind, Tag: yaml.NodeTagMap}
	if kind == yaml.SequenceNode {
		fresh.Tag = yaml.NodeTagSeq
	}
	i := keyIndex(parent, key)
	switch {
	case i < 0:
		parent.Content = append(parent.Content, node(key), fresh)
		e.log.Was[at] = nil
		return fresh, at
	case key == "annotations" && onlyBookkeeping(parent.Content[i+1]):
		e.log.Was[at] = nil // they go before the user sees the output
		return parent.Content[i+1], at
	case isNull(parent.Content[i+1]) || len(parent.Content[i+1].Content) == 0:
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
	e.log.Add[path] = append(e.log.Add[path], itemID(item))
}

// put adds a key to a mapping that lacks it.
func (e *editor) put(m *yaml.Node, path, key string, value any) {
	m.Content = append(m.Content, node(key), node(value))
	e.log.Add[path] = append(e.log.Add[path], key)
}

// replace gives an existing key another scalar.
func (e *editor) replace(m *yaml.Node, path, key string, value any) {
	i := keyIndex(m, key)
	e.replaced(pathKey(path, key), m.Content[i+1])
	now := node(value)
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
	i := keyIndex(m, old)
	e.log.Pairs[pathKey(path, key)] = e.obj.pair(m.Content[i], m.Content[i+1])
	e.gone = append(e.gone, m.Content[i+1])
	m.Content[i], m.Content[i+1] = node(key), node(value)
}

// finish writes the record into the object, if anything was edited.
func (e *editor) finish() {
	if len(e.log.paths()) == 0 {
		return
	}
	delete(e.obj.Spelled, e.last) // something may follow it now
	metadata := field(e.obj.Node, "metadata")
	if metadata == nil {
		return // every object that is edited has a name
	}
	annotations, _ := e.collection(metadata, "metadata", "annotations", yaml.MappingNode)
	for path, was := range e.obj.outlived {
		if _, known := e.log.Was[path]; !known && e.addedUnder(path) {
			e.log.Was[path] = was // so that rendering again gives the same record
		}
	}
	record, _ := json.Marshal(e.log) // maps and strings: it can't fail
	value := node(string(record))
	value.Style = yaml.SingleQuotedStyle // JSON is full of double quotes
	annotations.Content = append(annotations.Content, node(contract.AnnotationUndo), value)
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

// takeBack undoes what an editor recorded in the object. It tells whether there
// was a record, and which items are lost that it names.
func takeBack(o *Object) (had bool, lost []string, err error) {
	annotations := field(o.Node, "metadata", "annotations")
	i := keyIndex(annotations, contract.AnnotationUndo)
	if i < 0 {
		return false, nil, nil
	}
	var log undo
	if err := json.Unmarshal([]byte(str(annotations.Content[i+1])), &log); err != nil {
		return false, nil, fmt.Errorf("read annotation %s: %w", contract.AnnotationUndo, err)
	}
	if slices.Contains(log.edits(), "") {
		return false, nil, fmt.Errorf("read annotation %s: found an empty path, allowed: the path of a field", contract.AnnotationUndo)
	}
	annotations.Content = append(annotations.Content[:i], annotations.Content[i+2:]...)
	for _, path := range log.edits() {
		if at := lostItem(o.Node, path); at != "" && !slices.Contains(lost, at) {
			lost = append(lost, at)
		}
	}
	takeScrape(o, &log)
	for _, path := range sortedKeys(log.Add) {
		for _, id := range log.Add[path] {
			removeChild(lookup(o.Node, path), id)
		}
	}
	for _, path := range sortedKeys(log.Pairs) {
		if err := restorePair(o, path, log.Pairs[path]); err != nil {
			return false, nil, err
		}
	}
	// Inner values first, so that an outer one is empty when its turn comes.
	paths := sortedKeys(log.Was)
	sort.SliceStable(paths, func(i, j int) bool { return len(paths[i]) > len(paths[j]) })
	for _, path := range paths {
		if err := restore(o, path, log.Was[path]); err != nil {
			return false, nil, err
		}
	}
	for path, token := range log.Spelled {
		n := lookup(o.Node, path)
		if n == nil {
			continue
		}
		if was, err := parseToken(token); isAlias(token) || err == nil && same(was, n) {
			o.spell(n, token)
		}
	}
	return true, lost, nil
}

// lostItem returns the path of the first item on a path that is not there, "" if
// all are.
func lostItem(n *yaml.Node, path string) string {
	at := ""
	for _, step := range splitPath(path) {
		item := n != nil && n.Kind == yaml.SequenceNode
		if item {
			at = pathItem(at, step)
		} else {
			at = pathKey(at, step)
		}
		if n = walk(n, []string{step}); n == nil && item {
			return at
		}
	}
	return ""
}

// restore puts back how a value was spelled, unless what stands there now has
// been filled by others.
func restore(o *Object, path string, was *string) error {
	steps := splitPath(path)
	parent := walk(o.Node, steps[:len(steps)-1])
	key := steps[len(steps)-1]
	if parent == nil || parent.Kind != yaml.MappingNode {
		return nil
	}
	i := keyIndex(parent, key)
	if was == nil {
		switch {
		case i < 0:
		case len(parent.Content[i+1].Content) == 0:
			parent.Content = append(parent.Content[:i], parent.Content[i+2:]...)
		default:
			o.outlive(path, was)
		}
		return nil
	}
	old, err := parseToken(*was)
	if err != nil {
		return fmt.Errorf("read annotation %s: %s: %w", contract.AnnotationUndo, path, err)
	}
	o.spell(old, strings.TrimSuffix(*was, "\n"))
	switch {
	case i < 0:
		parent.Content = append(parent.Content, node(key), old)
	case len(parent.Content[i+1].Content) > 0 && len(old.Content) == 0 && old.Kind != yaml.ScalarNode, len(parent.Content[i+1].Content) > 0 && isNull(old):
		// An empty list was filled, by us and by somebody else: it stays.
		o.outlive(path, was)
	default:
		parent.Content[i+1] = old
	}
	return nil
}

// restorePair puts a pair back where another has taken its place, or at the
// end if that one is gone.
func restorePair(o *Object, path, was string) error {
	key, value, err := parsePair(was)
	if err != nil {
		return fmt.Errorf("read annotation %s: %s: %w", contract.AnnotationUndo, path, err)
	}
	steps := splitPath(path)
	parent := walk(o.Node, steps[:len(steps)-1])
	if parent == nil || parent.Kind != yaml.MappingNode || keyIndex(parent, key.Value) >= 0 {
		return nil
	}
	o.spell(key, was)
	if i := keyIndex(parent, steps[len(steps)-1]); i >= 0 {
		parent.Content[i], parent.Content[i+1] = key, value
	} else {
		parent.Content = append(parent.Content, key, value)
	}
	return nil
}

// outlive notes that a collection which an earlier render made could not be
// taken back, since others, such as Istio's injector, have filled it since.
func (o *Object) outlive(path string, was *string) {
	if o.outlived == nil {
		o.outlived = map[string]*string{}
	}
	o.outlived[path] = was
}

// spell notes how a restored value is to be spelled.
func (o *Object) spell(n *yaml.Node, token string) {
	if o.Spelled == nil {
		o.Spelled = map[*yaml.Node]string{}
	}
	if n != nil {
		o.Spelled[n] = token
	}
}

// parseToken parses a value's spelling.
func parseToken(token string) (*yaml.Node, error) {
	if token == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull}, nil
	}
	n, err := yaml.Parse(token)
	if err != nil {
		return nil, err
	}
	unplace(n.YNode())
	return n.YNode(), nil
}

// unplace takes away where nodes stand: it is not in the input that they do.
func unplace(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		unplace(c)
	}
}

// parsePair parses a pair's spelling.
func parsePair(token string) (key, value *yaml.Node, err error) {
	n, err := parseToken(token)
	if err != nil {
		return nil, nil, err
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return nil, nil, fmt.Errorf("found %q, allowed: a key and its value", token)
	}
	return n.Content[0], n.Content[1], nil
}

// lookup returns what stands at a path, or nil.
func lookup(n *yaml.Node, path string) *yaml.Node { return walk(n, splitPath(path)) }

func walk(n *yaml.Node, steps []string) *yaml.Node {
	for _, step := range steps {
		switch {
		case n == nil:
			return nil
		case n.Kind == yaml.SequenceNode:
			i := childIndex(n, step)
			if i < 0 {
				return nil
			}
			n = n.Content[i]
		default:
			n = field(n, step)
		}
	}
	return n
}

// childIndex returns the index of a sequence's item: of the last with that
// identity, which is the one that counts for variables set twice. Items of no
// identity are counted: #0 is the first.
func childIndex(seq *yaml.Node, id string) int {
	if digits, ok := strings.CutPrefix(id, "#"); ok {
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 && i < len(seq.Content) {
			return i
		}
	}
	for i := len(seq.Content) - 1; i >= 0; i-- {
		if itemID(seq.Content[i]) == id {
			return i
		}
	}
	return -1
}

func removeChild(parent *yaml.Node, id string) {
	switch {
	case parent == nil:
	case parent.Kind == yaml.SequenceNode:
		if i := childIndex(parent, id); i >= 0 {
			parent.Content = append(parent.Content[:i], parent.Content[i+1:]...)
		}
	case parent.Kind == yaml.MappingNode:
		if i := keyIndex(parent, id); i >= 0 {
			parent.Content = append(parent.Content[:i], parent.Content[i+2:]...)
		}
	}
}

// splitPath splits a field path: `a.b[c.d].e` is a, b, c.d, e.
func splitPath(path string) []string {
	var steps []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			step, after, _ := strings.Cut(rest, "]")
			steps, path = append(steps, step), strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(steps, path)
		}
		steps = append(steps, path[:end])
		path = path[end:]
		path = strings.TrimPrefix(path, ".")
	}
	return steps
}
