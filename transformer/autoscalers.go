package transformer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An autoscaler that scales by the resources of pods adds up all their containers, so the sidecar's
// requests and usage change the average. They don't if the autoscaler names the application's container:
// https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#container-resource-metrics.

// checkAutoscalers reports autoscalers of a workload whose average changes.
func (in *input) checkAutoscalers(w *workload) Results {
	var results Results
	concerns := func(o *Object) bool {
		ref := nodes.At(o.Node, "spec", "scaleTargetRef")
		return o.namespace() == w.namespace() && nodes.StringAt(ref, "name") == w.name() && cmp.Or(nodes.StringAt(ref, "kind"), "Deployment") == w.Object.kind()
	}
	changes := func(o *Object, path, metric, remedy string) {
		results = append(results, result(CodeAverage, o, "%s scales %s by the %[3]s of its pods, which now includes the sidecar's; %[4]s", o.Ref(), w.id(), metric, remedy).At(path, metric, ""))
	}
	app := "the application's container"
	if apps := w.appContainers(); len(apps) == 1 || len(apps) == 2 && slices.ContainsFunc(apps, func(c container) bool { return c.name() == contract.Container }) {
		for _, c := range apps {
			if c.name() != contract.Container {
				app = "container " + c.name()
			}
		}
	}
	for _, o := range in.byKind["autoscaling/HorizontalPodAutoscaler"] {
		if !concerns(o) {
			continue
		}
		metrics, inAnnotation := nodes.Items(nodes.At(o.Node, "spec", "metrics")), nodes.At(o.Node, "metadata", "annotations", "autoscaling.alpha.kubernetes.io/metrics") != nil
		switch {
		case nodes.At(o.Node, "spec", "targetCPUUtilizationPercentage") != nil:
			changes(o, "spec.targetCPUUtilizationPercentage", "cpu", "use autoscaling/v2 with a metric of type ContainerResource for "+app)
		case len(metrics) == 0 && !inAnnotation: // Kubernetes then uses 80 % of the CPU
			changes(o, "spec.metrics", "cpu", "it names no metric, and cpu is the default; use autoscaling/v2 with a metric of type ContainerResource for "+app)
		}
		for i, m := range metrics {
			if nodes.StringAt(m, "type") == "Resource" {
				changes(o, pathIndex("spec.metrics", i), nodes.StringAt(m, "resource", "name"), "use type ContainerResource for "+app)
			}
		}
	}
	for _, o := range in.byKind["keda.sh/ScaledObject"] {
		if !concerns(o) {
			continue
		}
		for i, t := range nodes.Items(nodes.At(o.Node, "spec", "triggers")) {
			if kind := nodes.StringAt(t, "type"); (kind == "cpu" || kind == "memory") && nodes.StringAt(t, "metadata", "containerName") == "" {
				changes(o, pathIndex("spec.triggers", i), kind, fmt.Sprintf("set the trigger's metadata.containerName to that of %s", app))
			}
		}
	}
	return results
}
