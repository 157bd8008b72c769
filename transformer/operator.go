package transformer

import (
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// hideFromOperator has the ecosystem's operator leave a rendered workload alone,
// which has the annotations that ask it for its own sidecar. Its word for that is
// ours too, so an earlier render's is taken back, by its record, before a workload
// is asked whether it wants to be ignored.
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
