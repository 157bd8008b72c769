package transformer

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// workloadKind is one row of the table of kinds that have pods.
type workloadKind struct {
	group, kind string
	// template is the path of the pod template. It is empty for a Pod, which is its own template.
	template []string
	// ends reports whether the pods always run to completion.
	ends bool
}

var workloadKinds = []workloadKind{
	{"apps", "Deployment", []string{"spec", "template"}, false},
	{"apps", "StatefulSet", []string{"spec", "template"}, false},
	{"apps", "DaemonSet", []string{"spec", "template"}, false},
	{"apps", "ReplicaSet", []string{"spec", "template"}, false},
	{"extensions", "Deployment", []string{"spec", "template"}, false},
	{"extensions", "DaemonSet", []string{"spec", "template"}, false},
	{"extensions", "ReplicaSet", []string{"spec", "template"}, false},
	{"batch", "Job", []string{"spec", "template"}, true},
	{"batch", "CronJob", []string{"spec", "jobTemplate", "spec", "template"}, true},
	{"apps.openshift.io", "DeploymentConfig", []string{"spec", "template"}, false},
	{"argoproj.io", "Rollout", []string{"spec", "template"}, false},
	{"", "ReplicationController", []string{"spec", "template"}, false},
	{"", "Pod", nil, false},
}

// rank returns the position of the kind's row in the table.
func (k workloadKind) rank() int {
	return slices.IndexFunc(workloadKinds, func(row workloadKind) bool { return row.group == k.group && row.kind == k.kind })
}

// workload is an object that has pods.
type workload struct {
	*Object
	kind workloadKind
	// template is the pod template, or for a Pod the object itself; nil if it is missing.
	template *yaml.Node
	// path is the template's field path; "" for a Pod.
	path string

	settings Settings
	// injecting reports whether the workload asks for the sidecar and gets it.
	injecting bool
	// known has facts about the workload from the input; set if the caller requests captures.
	known *known
	// late are the init containers that start after the sidecar and are captured.
	late []container

	// replay is the replay whose requests the workload receives, as a copy or in place. original is
	// the workload that it copies. Either may be nil.
	replay   *replay
	original *workload
	// said has the results that were reported about the workload.
	said Results
}

// asWorkload returns the object as a workload, or nil if it has no pods.
func asWorkload(o *Object) *workload {
	for _, k := range workloadKinds {
		if o.is(k.group, k.kind) {
			return &workload{Object: o, kind: k, template: nodes.At(o.Node, k.template...), path: strings.Join(k.template, ".")}
		}
	}
	return nil
}

// annotated returns the paths of the objects that may have the workload's annotations. The weakest
// comes first: the pod template, a CronJob's template of Jobs, the workload.
func (w *workload) annotated() [][]string {
	switch template := w.kind.template; {
	case len(template) == 0:
		return [][]string{nil}
	case len(template) > 2:
		return [][]string{template, template[:2], nil}
	default:
		return [][]string{template, nil}
	}
}

// at returns the field path of a field in the pod template.
func (w *workload) at(path string) string {
	if w.path == "" {
		return path
	}
	return w.path + "." + path
}

func (w *workload) podSpec() *yaml.Node { return nodes.At(w.template, "spec") }
func (w *workload) podLabels() map[string]string {
	return nodes.Strings(nodes.At(w.template, "metadata", "labels"))
}
func (w *workload) podAnnotation(k string) string {
	return nodes.StringAt(w.template, "metadata", "annotations", k)
}

// ends reports whether the pods run to completion.
func (w *workload) ends() bool {
	policy := nodes.StringAt(w.podSpec(), "restartPolicy")
	return w.kind.ends || w.path == "" && policy != "" && policy != "Always"
}

// helmHook is the annotation of objects that Helm runs separately, such as a chart's test.
const helmHook = "helm.sh/hook"

// serves reports whether the pods may answer calls. Pods that run to completion, and those of Helm's
// hooks, only make calls, even if they share a Service's labels.
func (w *workload) serves() bool {
	return !w.ends() && (w.path != "" || w.annotation(helmHook) == "")
}

// owner returns the place where a workload names the object that created it.
func (w *workload) owner() (path, found string) {
	for i, o := range nodes.Items(nodes.At(w.Node, "metadata", "ownerReferences")) {
		if nodes.IsTrue(nodes.At(o, "controller")) {
			return pathIndex("metadata.ownerReferences", i), nodes.StringAt(o, "kind") + "/" + nodes.StringAt(o, "name")
		}
	}
	return "", ""
}

// container is one container of the pod, with its field path.
type container struct {
	*yaml.Node
	path string
}

func (c container) name() string { return nodes.StringAt(c.Node, "name") }

// meshContainers are the containers that a mesh injects. They get no variables.
var meshContainers = map[string]bool{envoyContainer: true, "linkerd-proxy": true}

// appContainers returns the containers of the application.
func (w *workload) appContainers() []container {
	var out []container
	for _, c := range nodes.Items(nodes.At(w.podSpec(), "containers")) {
		if !meshContainers[nodes.StringAt(c, "name")] {
			out = append(out, container{c, pathItem(w.at("spec.containers"), nodes.ID(c))})
		}
	}
	return out
}

// allContainers returns every container, init containers first.
func (w *workload) allContainers() []container {
	var out []container
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range nodes.Items(nodes.At(w.podSpec(), list)) {
			out = append(out, container{c, pathItem(w.at("spec."+list), nodes.ID(c))})
		}
	}
	return out
}

// containersOf returns the containers of a pod's spec, init containers first.
func containersOf(spec *yaml.Node) []*yaml.Node {
	return slices.Concat(nodes.Items(nodes.At(spec, "initContainers")), nodes.Items(nodes.At(spec, "containers")))
}

// takenPorts returns the TCP ports that the pod's containers declare, with their owners.
func (w *workload) takenPorts() map[int]string {
	taken := map[int]string{}
	for _, c := range w.allContainers() {
		for _, p := range nodes.Items(nodes.At(c.Node, "ports")) {
			if n := nodes.Int(nodes.At(p, "containerPort")); n != 0 && nodes.StringAt(p, "protocol") != "UDP" {
				taken[n] = "container " + c.name()
			}
		}
	}
	return taken
}

// runningContainers returns the containers that run as long as the pod, in the order in which
// Kubernetes looks up a named port: native sidecars come last.
func (w *workload) runningContainers() []container {
	var running, sidecars []container
	for _, c := range w.allContainers() {
		switch {
		case strings.HasPrefix(c.path, w.at("spec.containers")):
			running = append(running, c)
		case nodes.StringAt(c.Node, "restartPolicy") == "Always":
			sidecars = append(sidecars, c)
		}
	}
	return append(running, sidecars...)
}

// portNumber returns the number of a container's named TCP port; 0 if no container has it.
func (w *workload) portNumber(name string) int {
	for _, c := range w.runningContainers() {
		for _, p := range nodes.Items(nodes.At(c.Node, "ports")) {
			if nodes.StringAt(p, "name") == name && isTCP(p) {
				return nodes.Int(nodes.At(p, "containerPort"))
			}
		}
	}
	return 0
}

// isTCP reports whether a port uses TCP, which is the default.
func isTCP(port *yaml.Node) bool {
	protocol := nodes.StringAt(port, "protocol")
	return protocol == "" || protocol == "TCP"
}
