package transformer

import (
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// hideFromOperator makes the ecosystem's operator ignore a rendered workload, because the workload's
// annotations would make it add its sidecar. Tapedeck uses the same annotation. So the render first
// undoes, with the record, the annotation of an earlier render, and then checks whether the workload
// wants to be ignored.
func (in *input) hideFromOperator(e *editor, w *workload) Results {
	if in.cfg.Operator != operatorIgnore {
		return nil
	}
	var results Results
	for _, place := range w.annotated() {
		place = append(slices.Clone(place), "metadata", "annotations")
		annotations, path := nodes.At(w.Node, place...), strings.Join(place, ".")
		switch {
		case nodes.KeyIndex(annotations, contract.SidecarPrefix+"inject") < 0:
		case nodes.KeyIndex(annotations, contract.AnnotationIgnore) < 0:
			e.put(annotations, path, contract.AnnotationIgnore, "true")
		default:
			results = append(results, result(CodeBadCombination, w.Object, "annotation %s: found %q together with the option operator: %s; allowed: one of the two", contract.AnnotationIgnore, nodes.StringAt(annotations, contract.AnnotationIgnore), operatorIgnore).
				At(pathKey(path, contract.AnnotationIgnore), nodes.StringAt(annotations, contract.AnnotationIgnore), ""))
		}
	}
	return results
}
