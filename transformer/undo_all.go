package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Rendering again and undoing a render begin with the same step:
//
// objects ──▶ created by a render?  ──▶ deleted, or updated in place
//         ├─▶ kept in a ConfigMap?  ──▶ opened by the reader of the input
//         └─▶ edited by a render?   ──▶ the edits undone ──▶ rendered again, or written

// Uninject undoes in the objects what Render did. The rules of Render apply to it too.
func Uninject(objects []*Object) Output {
	former, undone, results := takeAllBack(objects)
	if results.Failed() {
		return Output{Results: results}
	}
	edited, more := release(objects)
	results = append(results, more...)
	for _, o := range objects {
		if t := undone[o]; t != nil {
			edited = append(edited, o)
			results = append(results, t.uninjected())
		}
	}
	return Output{Edited: edited, Deleted: former, Results: append(results, deleted(former)...)}
}

func (t *taking) uninjected() Result {
	return result(CodeUninjected, t.o, "an earlier render was undone: %s", t.did())
}

// did says in a few words what was undone. It shows no values, which may be secrets. Names of what a
// render adds to pods are fixed, so for pods it gives a count. For other objects it names each
// addition.
func (t *taking) did() string {
	removed := fmt.Sprintf("%d additions removed", len(t.removed))
	if len(t.removed) == 1 {
		removed = "1 addition removed"
	}
	if t.own == nil && len(t.removed) > 0 {
		removed = "removed " + strings.Join(t.removed, ", ")
	}
	if len(t.restored) == 0 {
		return removed
	}
	return removed + ", restored " + strings.Join(t.restored, ", ")
}

func deleted(gone []*Object) Results {
	var results Results
	for _, o := range gone {
		results = append(results, result(CodeDeleted, o, "%s was deleted; an earlier render had created it for %s", o.Ref(), o.annotation(contract.AnnotationFor)))
	}
	return results
}

// takeAllBack undoes earlier renders in all objects. It returns the objects that an earlier render
// created, and the undo of each object that it had edited.
func takeAllBack(objects []*Object) (created []*Object, undone map[*Object]*taking, results Results) {
	undone = map[*Object]*taking{}
	results = checkHolders(objects)
	var takings []*taking
	for _, o := range objects {
		results = append(results, misplaced(o)...)
		if nodes.At(o.Node, "metadata", "annotations", contract.AnnotationFor) != nil {
			if err := cmp.Or(checkCreated(o), checkCopied(o, objects)); err == nil {
				results = append(results, checkRenamed(o)...)
			} else {
				results = append(results, result(CodeNotCreated, o, "annotation %s: %v; remove the annotation, or render from the original manifest", contract.AnnotationFor, err).
					At(pathKey("metadata.annotations", contract.AnnotationFor), o.annotation(contract.AnnotationFor), ""))
			}
			created = append(created, o)
			continue
		}
		log, had, err := readUndo(o)
		if err != nil {
			results = append(results, result(CodeUndo, o, "read annotation %s: %v; render from the original manifest", contract.AnnotationUndo, err).At(undoPath, "", ""))
		} else if had {
			takings = append(takings, &taking{o: o, log: log})
		}
	}
	if len(takings) == 0 {
		return created, undone, results
	}
	in := newInput(objects, &Config{})
	all := in.injectedWorkloads() // before any undo
	for _, t := range takings {
		t.in, t.all = in, all
		if i := slices.IndexFunc(all, func(i *injected) bool { return i.w.Object == t.o }); i >= 0 {
			t.own = all[i]
		}
		undone[t.o] = t
	}
	// Workloads come last, because the objects that lead to them are checked against their present
	// state.
	slices.SortStableFunc(takings, func(a, b *taking) int { return cmp.Compare(a.rank(), b.rank()) })
	for _, t := range takings {
		t.takeBack()
		results = append(results, t.results...)
	}
	return created, undone, results
}

func (t *taking) rank() int {
	if asWorkload(t.o) != nil {
		return 1
	}
	return 0
}

// misplaced reports Tapedeck's marks on the templates of a workload. No render puts them there, because
// the objects made from a template would get them.
func misplaced(o *Object) Results {
	w := asWorkload(o)
	if w == nil {
		return nil
	}
	var results Results
	for _, place := range w.annotated() {
		for _, a := range []struct {
			key  string
			code Code
		}{{contract.AnnotationUndo, CodeUndoRefused}, {contract.AnnotationFor, CodeNotCreated}} {
			annotations := append(slices.Clone(place), "metadata", "annotations")
			if len(place) > 0 && nodes.At(o.Node, append(annotations, a.key)...) != nil {
				at := pathKey(strings.Join(annotations, "."), a.key)
				results = append(results, result(a.code, o, "annotation %s: found it on a template, allowed: on an object; remove it", a.key).At(at, "", ""))
			}
		}
	}
	return results
}

// reuse updates objects that an earlier render created, so that they keep their place. It returns the
// new, the reused and the deleted objects.
func reuse(created []Created, former []*Object) (added []Created, reused, gone []*Object) {
	identity := func(o *Object) string { return o.group() + "/" + o.Ref().String() }
	byIdentity := map[string]*Object{}
	for _, o := range former {
		byIdentity[identity(o)] = o
	}
	for _, c := range created {
		old := byIdentity[identity(c.Object)]
		if old == nil {
			added = append(added, c)
			continue
		}
		delete(byIdentity, identity(c.Object))
		keepForeign(old.Node, c.Node)
		*old.Node = *c.Node
		reused = append(reused, old)
	}
	return added, reused, without(former, reused) // if an object occurs twice, one of the two is deleted
}

// keepForeign keeps the labels and annotations that others put on an object that a render created, such
// as an orchestrator's path and index. It does not keep the hooks of a Job, because these come from its
// replay.
func keepForeign(old, fresh *yaml.Node) {
	for _, key := range []string{"labels", "annotations"} {
		theirs, ours := nodes.At(old, "metadata", key), nodes.At(fresh, "metadata", key)
		for i := 0; theirs != nil && i+1 < len(theirs.Content); i += 2 {
			if name := theirs.Content[i].Value; nodes.KeyIndex(ours, name) < 0 && !(nodes.StringAt(fresh, "kind") == "Job" && isHook(name)) {
				ours.Content = append(ours.Content, theirs.Content[i], theirs.Content[i+1])
			}
		}
	}
}
