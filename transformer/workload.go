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
	// template is the path of the pod template, empty for a Pod, which is its
	// own.
	template []string
	// ends tells that the pods are meant to end, whatever they say.
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

// rank is the kind's row in the table.
func (k workloadKind) rank() int {
	return slices.IndexFunc(workloadKinds, func(row workloadKind) bool { return row.group == k.group && row.kind == k.kind })
}

// workload is an object that has pods, seen from its pods.
type workload struct {
	*Object
	kind workloadKind
	// template is the pod template, and for a Pod the object itself; nil
	// where it is missing.
	template *yaml.Node
	// path is the template's field path, "" for a Pod.
	path string

	settings Settings
	// injecting tells that the workload asks for the sidecar and gets it.
	injecting bool
	// known is what the input said of it, where somebody wants to know what is captured.
	known *known
	// late are the init containers that start after the sidecar and are captured.
	late []container

	// replay is that for which the workload takes requests, as a copy or in place, and
	// original the workload of which it is a copy; nil if there is none.
	replay   *replay
	original *workload
	// said is what was reported of it.
	said Results
}

// asWorkload returns the object as a workload, or nil if it is none.
func asWorkload(o *Object) *workload {
	for _, k := range workloadKinds {
		if o.is(k.group, k.kind) {
			return &workload{Object: o, kind: k, template: nodes.At(o.Node, k.template...), path: strings.Join(k.template, ".")}
		}
	}
	return nil
}

// annotated returns the paths of what may carry the workload's annotations, the
// weakest first: the pod template, a CronJob's template of Jobs, the workload.
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

// at returns the field path of something in the pod template.
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

// ends tells that the pods are meant to end.
func (w *workload) ends() bool {
	policy := nodes.StringAt(w.podSpec(), "restartPolicy")
	return w.kind.ends || w.path == "" && policy != "" && policy != "Always"
}

// helmHook is the annotation of what Helm runs at a time of its own, such as a
// chart's test.
const helmHook = "helm.sh/hook"

// serves tells that the pods may answer calls. Those that are meant to end, and the
// pods of Helm's hooks, make calls, even where they share a Service's labels.
func (w *workload) serves() bool {
	return !w.ends() && (w.path != "" || w.annotation(helmHook) == "")
}

// owner tells where a workload names the object that made it.
func (w *workload) owner() (path, found string) {
	for i, o := range nodes.Items(nodes.At(w.Node, "metadata", "ownerReferences")) {
		if nodes.IsTrue(nodes.At(o, "controller")) {
			return pathIndex("metadata.ownerReferences", i), nodes.StringAt(o, "kind") + "/" + nodes.StringAt(o, "name")
		}
	}
	return "", ""
}

// container is one container of the pod and the path of its list.
type container struct {
	*yaml.Node
	path string
}

func (c container) name() string { return nodes.StringAt(c.Node, "name") }

// meshContainers are containers that a mesh injects: they get no variables.
var meshContainers = map[string]bool{envoyContainer: true, "linkerd-proxy": true}

// appContainers returns the containers that the application consists of.
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

// takenPorts returns the TCP ports that the pod's containers declare, and whose
// they are.
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

// runningContainers returns the containers that run as long as the pod, in the order
// in which Kubernetes looks for a named port: native sidecars come last.
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

// portNumber resolves a named TCP port of a container, 0 if no container has it.
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

// isTCP tells whether a port is one of TCP, which is what it is unless it says other.
func isTCP(port *yaml.Node) bool {
	protocol := nodes.StringAt(port, "protocol")
	return protocol == "" || protocol == "TCP"
}
