package transformer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// taking is the undo of one object's record.
type taking struct {
	o   *Object
	in  *input
	all []*injected
	// own is the object itself if it is a workload with the sidecar, or nil.
	own *injected
	log undo

	removed  []string // paths
	restored []string // paths
	missing  map[string]bool
	results  Results
	// later are checks that must run after the whole object is undone.
	later []func()
}

// site is the place to which an entry of a record leads.
type site struct {
	path   string
	steps  []string
	trail  []*yaml.Node // the object, and the node after each step
	holder *yaml.Node   // the map or list that contains now
	id     string       // the key or the item's identity
	now    *yaml.Node
}

// step returns the step of the path at a negative index, which counts from its end.
func (s site) step(i int) string { return s.steps[len(s.steps)+i] }
func (s site) last() string      { return s.step(-1) }

// sibling returns a scalar next to the list that contains the site.
func (s site) sibling(key string) (string, bool) {
	v := nodes.At(s.trail[len(s.trail)-2], key)
	return nodes.String(v), v != nil
}

// list returns the list that contains the holder of the site as an item.
func (s site) list() *yaml.Node { return s.trail[len(s.trail)-3] }

// others returns the holder's list without the site.
func (s site) others() *yaml.Node {
	return nodes.Sequence(slices.DeleteFunc(slices.Clone(s.holder.Content), func(n *yaml.Node) bool { return n == s.now })...)
}

// readUndo reads an object's undo record and removes it.
func readUndo(o *Object) (log undo, had bool, err error) {
	annotations := nodes.At(o.Node, "metadata", "annotations")
	i := nodes.KeyIndex(annotations, contract.AnnotationUndo)
	if i < 0 {
		return log, false, nil
	}
	text := nodes.String(annotations.Content[i+1])
	if err := json.Unmarshal([]byte(text), &log); err != nil {
		return log, true, err
	}
	strict := json.NewDecoder(strings.NewReader(text))
	strict.DisallowUnknownFields()
	switch err := strict.Decode(&undo{}); {
	case err != nil:
		return log, true, err
	case len(log.paths()) == 0:
		return log, true, errors.New("found no edit, allowed: what a render writes")
	case slices.Contains(log.edits(), ""):
		return log, true, errors.New("found an empty path, allowed: the path of a field")
	}
	annotations.Content = append(annotations.Content[:i], annotations.Content[i+2:]...)
	return log, true, nil
}

// takeBack inverts those edits of an object's record that the table of edits allows, and reports what
// it did.
func (t *taking) takeBack() {
	for _, path := range t.log.edits() {
		if at := lostItem(t.o.Node, path); at != "" {
			t.lost(at)
		}
	}
	if t.own != nil {
		t.takeScrape()
		t.keepImage()
	}
	for _, path := range sortedKeys(t.log.Add) {
		t.remove(path, t.log.Add[path])
	}
	for _, path := range sortedKeys(t.log.Pairs) {
		t.restorePair(path, t.log.Pairs[path])
	}
	// Inner values come first, so that an outer one is empty when it is its turn.
	paths := sortedKeys(t.log.Was)
	sort.SliceStable(paths, func(i, j int) bool { return len(paths[i]) > len(paths[j]) })
	for _, path := range paths {
		t.restore(path, t.log.Was[path])
	}
	for _, check := range t.later {
		check()
	}
	for path, token := range t.log.Spelled {
		t.spellAgain(path, token)
	}
}

// keepImage makes a render keep the sidecar's image if others, such as kustomize's `images:`, changed
// it after an earlier render.
func (t *taking) keepImage() {
	if is, was := t.own.image, t.log.Image; was != "" && is != "" && is != was {
		t.o.image, t.o.written = is, was
		path := t.own.sidecar.path + ".image"
		t.results = append(t.results, result(CodeUndoChanged, t.o, "the image of container %s is %s, and an earlier render wrote %s. A render keeps the present image, and an undo removes it with the container", contract.Container, is, was).
			At(path, is, was))
	}
}

// refuse reports an entry that no render writes as an error.
func (t *taking) refuse(path string, err error) {
	t.results = append(t.results, result(CodeUndoRefused, t.o, "annotation %s: %s: %v; allowed: what a render writes. Remove the annotation, or render from the original manifest", contract.AnnotationUndo, path, err).
		At(undoPath, path, ""))
}

// leave reports a value that was changed after the render.
func (t *taking) leave(path string) {
	t.results = append(t.results, result(CodeUndoChanged, t.o, "%s was changed after the render, so the undo kept it", path).At(path, "", ""))
}

func (t *taking) lost(path string) {
	if t.missing[path] {
		return
	}
	if t.missing == nil {
		t.missing = map[string]bool{}
	}
	t.missing[path] = true
	t.results = append(t.results, result(CodeUndoPath, t.o, "an earlier render changed %s, which no longer exists; if it was renamed, it keeps the additions of that render", path).At(path, "", ""))
}

// undoPath is the field path of the undo record.
var undoPath = pathKey("metadata.annotations", contract.AnnotationUndo)

// place finds the row of the table of edits for a path, among the rows that satisfy does. It refuses a
// path without a row.
func (t *taking) place(path string, does func(*place) bool) *place {
	steps := splitPath(path)
	below, inTemplate := steps, false
	w := asWorkload(t.o)
	if w != nil && len(steps) >= len(w.kind.template) && slices.Equal(steps[:len(w.kind.template)], w.kind.template) {
		below, inTemplate = steps[len(w.kind.template):], true
	}
	for i := range places {
		p, at, here := &places[i], steps, false
		switch p.of {
		case podKinds:
			at, here = below, inTemplate
		case workloadItself:
			here = w != nil
		case anyKind, t.o.group() + "/" + t.o.kind():
			here = true
		}
		if !here {
			continue
		}
		if !does(p) || !slices.EqualFunc(splitPath(p.path), at, func(want, step string) bool { return want == "*" || want == step }) {
			continue
		}
		if p.of == podKinds && t.own == nil {
			t.refuse(path, fmt.Errorf("no render wrote the object: it has no rendered container %s", contract.Container))
			return nil
		}
		return p
	}
	t.refuse(path, errors.New("no render edits this"))
	return nil
}

// find follows a path. It returns false if the path leads to nothing. Only lists have items, and only
// maps have keys.
func (t *taking) find(path string) (s site, ok bool) {
	s = site{path: path, steps: splitPath(path), trail: []*yaml.Node{t.o.Node}}
	n := t.o.Node
	for _, step := range s.steps {
		if n = walk(n, []string{step}); n == nil {
			return s, false
		}
		s.trail = append(s.trail, n)
	}
	s.now = n
	return s, true
}

// remove removes keys or items that a render added.
func (t *taking) remove(path string, ids []string) {
	p := t.place(path, func(p *place) bool { return p.added != nil })
	s, ok := t.find(path)
	if p == nil || !ok {
		if p != nil && strings.Contains(path, "[#") { // an item that is named by its index may have moved
			t.lost(path)
		}
		return
	}
	s.holder = s.now
	for _, id := range ids {
		s.id, s.now = id, walk(s.holder, []string{id})
		if s.now == nil {
			s.now = orNull(nil)
			switch _, err := p.added(t, s); {
			case err != nil && !errors.Is(err, errNotRendered):
				t.refuse(pathItem(path, id), err)
			case strings.Contains(path, "[#"): // as above
				t.lost(pathItem(path, id))
			}
			continue
		}
		_, filled := t.log.Was[path]
		switch ok, err := p.added(t, s); {
		case err != nil:
			t.refuse(pathItem(path, id), err)
		case !ok:
			t.leave(pathItem(path, id))
		case s.holder.Kind == yaml.SequenceNode && len(s.holder.Content) == 1 && !(p.filled && filled):
			t.refuse(pathItem(path, id), errors.New("it is the only item of a list that no render fills"))
		default:
			if at := pathItem(path, id); s.now.Kind == yaml.MappingNode && !t.unchanged(at, plain(s.now)) {
				t.results = append(t.results, result(CodeUndoEdited, t.o, "%s was edited after the render, and that edit is discarded; use an annotation or an option instead", at).At(at, "", ""))
			}
			t.removed = append(t.removed, pathItem(path, id))
			removeChild(s.holder, id)
		}
	}
}

// restore restores the former spelling of a value, unless others have changed or filled it since.
func (t *taking) restore(path string, was *string) {
	p := t.place(path, func(p *place) bool { return p.filled || p.was != nil })
	if p == nil {
		return
	}
	steps := splitPath(path)
	key := steps[len(steps)-1]
	parent := walk(t.o.Node, steps[:len(steps)-1])
	if parent == nil || parent.Kind != yaml.MappingNode {
		return // lost, or removed with an addition
	}
	i := nodes.KeyIndex(parent, key)
	if p.filled {
		t.empty(parent, i, path, key, was)
		return
	}
	s, found := t.find(path)
	if s.holder, s.id = parent, key; !found {
		s.now = orNull(nil)
		s.trail = append(s.trail, s.now)
	}
	if was == nil {
		t.refuse(path, errors.New("it removes a value that no render adds"))
		return
	}
	token, err := t.fill(s, *was)
	if err != nil {
		t.refuse(path, err)
		return
	}
	old, err := parseToken(token)
	if err != nil {
		t.refuse(path, err)
		return
	}
	switch ok, err := p.was(t, s, old); {
	case err != nil:
		t.refuse(path, err)
	case !ok || !found:
		t.leave(path)
	default:
		t.restored = append(t.restored, path)
		t.o.spell(old, strings.TrimSuffix(token, "\n"))
		parent.Content[i+1] = old
	}
}

// empty removes a map or list that a render created, or restores the empty one that was there.
func (t *taking) empty(parent *yaml.Node, i int, path, key string, was *string) {
	old, token := (*yaml.Node)(nil), ""
	if was != nil {
		var err error
		if old, err = parseToken(*was); err == nil && !nodes.IsNull(old) && (old.Kind == yaml.ScalarNode || len(old.Content) > 0) {
			err = errors.New("it restores more than an empty map or list")
		}
		if err != nil {
			t.refuse(path, err)
			return
		}
		token = strings.TrimSuffix(*was, "\n")
		t.o.spell(old, token)
	}
	switch {
	case i < 0 && old == nil:
	case i < 0:
		parent.Content = append(parent.Content, nodes.New(key), old)
	case len(parent.Content[i+1].Content) > 0: // others have filled it too, so it remains
		t.o.outlive(path, was)
	case old == nil:
		parent.Content = append(parent.Content[:i], parent.Content[i+2:]...)
	default:
		parent.Content[i+1] = old
	}
}

// restorePair restores a pair that another one replaced.
func (t *taking) restorePair(path, was string) {
	p := t.place(path, func(p *place) bool { return p.pair != nil })
	if p == nil {
		return
	}
	key, value, err := parsePair(was)
	if err != nil {
		t.refuse(path, err)
		return
	}
	s, ok := t.find(path)
	if !ok {
		if lostItem(t.o.Node, path) == "" {
			t.leave(path)
		}
		return
	}
	s.holder, s.id = s.trail[len(s.trail)-2], s.last()
	switch ok, err := p.pair(t, s, key, value); {
	case err != nil:
		t.refuse(path, err)
	case !ok || s.holder.Kind != yaml.MappingNode || nodes.KeyIndex(s.holder, key.Value) >= 0:
		t.leave(path)
	default:
		t.restored = append(t.restored, path)
		if !strings.HasPrefix(was, "{") { // otherwise the encoder wrote it
			t.o.spell(key, was)
		}
		i := nodes.KeyIndex(s.holder, s.id)
		s.holder.Content[i], s.holder.Content[i+1] = key, value
	}
}

// spellAgain records that a value was an alias that an edit wrote out. It does not change the value,
// because package fn writes only spellings with the same meaning.
func (t *taking) spellAgain(path, token string) {
	switch n := lookup(t.o.Node, path); {
	case alias.MatchString(token):
		if n != nil {
			t.o.spell(n, token)
		}
	case !blockScalar.MatchString(token): // records of earlier versions have block scalars, which are now ignored
		t.refuse(path, errors.New("its spelling is not that of an alias"))
	}
}

// alias matches how an alias is spelled.
var alias = regexp.MustCompile(`^\s*\*[-_.A-Za-z0-9]+[ \t]*#?$`)

// outlive records that a collection that an earlier render created could not be removed, because
// others, such as Istio's injector, have filled it since.
func (o *Object) outlive(path string, was *string) {
	if o.outlived == nil {
		o.outlived = map[string]*string{}
	}
	o.outlived[path] = was
}

// spell records the spelling for a restored value.
func (o *Object) spell(n *yaml.Node, token string) {
	if o.Spelled == nil {
		o.Spelled = map[*yaml.Node]string{}
	}
	if n != nil {
		o.Spelled[n] = token
	}
}
