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
	if !strings.HasPrefix(was, "{") { // else it is the encoder's
		o.spell(key, was)
	}
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

// secondLine matches the indicator that brings the value of a key behind `?`.
var secondLine = regexp.MustCompile(`\n( *):\s`)

// parsePair parses a pair's spelling: one of a block, or of brackets, or with
// the brackets where it is the encoder's.
func parsePair(token string) (key, value *yaml.Node, err error) {
	indent := ""
	if m := secondLine.FindStringSubmatch(token); m != nil && strings.HasPrefix(token, "?") {
		indent = m[1]
	}
	for _, text := range []string{indent + token, "{" + token + "\n}"} {
		n, err := parseToken(text)
		if err == nil && n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Kind == yaml.ScalarNode {
			return n.Content[0], n.Content[1], nil
		}
	}
	return nil, nil, fmt.Errorf("found %q, allowed: a key and its value", token)
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
