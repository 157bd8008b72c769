package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An additional container affects how the API server, the kubelet and an autoscaler treat a pod: the
// namespace may reject it, its QoS class may change, and averages over its containers change.

// amounts are the requests and limits of a container, as quantities by resource.
type amounts struct{ requests, limits map[string]string }

// resourcesOf returns a container's resources after the LimitRanges of its namespace have set their
// defaults.
func resourcesOf(c *yaml.Node, limits []limitRange) amounts {
	a := amounts{quantities(nodes.At(c, "resources", "requests")), quantities(nodes.At(c, "resources", "limits"))}
	fill(a.requests, a.limits)
	for _, l := range limits {
		if l.kind == "Container" {
			fill(a.requests, l.defaultRequest)
			fill(a.limits, l.defaultLimit)
		}
	}
	return a
}

// quantities reads quantities by resource. It omits invalid ones, because the API server rejects them
// with or without a render.
func quantities(n *yaml.Node) map[string]string {
	out := map[string]string{}
	for resource, value := range nodes.Strings(n) {
		if quantityKind.Check(value) == nil {
			out[resource] = value
		}
	}
	return out
}

// fill adds the entries that a map lacks.
func fill(to, from map[string]string) {
	for key, value := range from {
		if _, has := to[key]; !has {
			to[key] = value
		}
	}
}

// limitRange is one entry of a LimitRange.
type limitRange struct {
	*Object
	kind                         string // Container or Pod
	lowest, highest, ratio       map[string]string
	defaultRequest, defaultLimit map[string]string
}

// limitRanges returns the LimitRange entries that apply to a workload's pods, with the values that the
// API server fills in for missing defaults: https://kubernetes.io/docs/concepts/policy/limit-range/.
func (in *input) limitRanges(w *workload) []limitRange {
	var out []limitRange
	for _, o := range in.byKind["/LimitRange"] {
		if o.namespace() != w.namespace() {
			continue
		}
		for _, entry := range nodes.Items(nodes.At(o.Node, "spec", "limits")) {
			part := func(key string) map[string]string { return quantities(nodes.At(entry, key)) }
			l := limitRange{o, nodes.StringAt(entry, "type"), part("min"), part("max"), part("maxLimitRequestRatio"), part("defaultRequest"), part("default")}
			fill(l.defaultLimit, l.highest)
			fill(l.defaultRequest, l.defaultLimit)
			fill(l.defaultRequest, l.lowest)
			out = append(out, l)
		}
	}
	return out
}

// checkResources reports the effects of the sidecar's resources on a workload's pods.
func (in *input) checkResources(w *workload) Results {
	limits := in.limitRanges(w)
	var ours amounts
	before, after := true, true // whether all containers qualify for the QoS class Guaranteed, without and with the sidecar
	for _, c := range w.allContainers() {
		has := resourcesOf(c.Node, limits)
		after = after && has.guaranteed()
		if c.name() == contract.Container {
			ours = has
		}
		if c.name() == contract.Container || c.name() == contract.HostsContainer {
			continue
		}
		before = before && has.guaranteed()
	}
	apps, all := w.running()
	results := checkLimitRanges(w, ours, limits)
	for _, l := range limits {
		if l.kind != "Pod" {
			continue
		}
		for _, resource := range sortedKeys(l.highest) {
			highest := parseQuantity(l.highest[resource])
			for _, sum := range []struct {
				word string
				of   func(amounts) map[string]string
			}{{"limits", limitsOf}, {"requests", requestsOf}} {
				if total(apps, limits, resource, sum.of) <= highest && total(all, limits, resource, sum.of) > highest {
					results = append(results, result(CodeLimitRange, w.Object, "%s rejects the pod: with the sidecar, its %s %s are more than the maximum of %s; raise it, or lower those of the pod", l.Ref(), resource, sum.word, l.highest[resource]))
					break
				}
			}
		}
	}
	results = append(results, checkPodResources(w, ours, apps, all, limits)...)
	results = append(results, in.checkQuotas(w, ours, limits)...)
	if nodes.At(w.podSpec(), "resources") == nil && before && !after {
		results = append(results, result(CodeQoS, w.Object, "%s %s", reasons[CodeQoS].Sentence, reasons[CodeQoS].Help).At(w.settings.where("memory-limit"), w.settings.MemoryLimit, ""))
	}
	return append(results, in.checkAutoscalers(w)...)
}

// running returns the containers that run at the same time: those of the application, and all with the
// sidecar.
func (w *workload) running() (apps, all []*yaml.Node) {
	for _, c := range w.runningContainers() {
		all = append(all, c.Node)
		if c.name() != contract.Container {
			apps = append(apps, c.Node)
		}
	}
	return apps, all
}

// podResources returns the resources that are set for a whole pod:
// https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/.
func (w *workload) podResources() amounts {
	r := nodes.At(w.podSpec(), "resources")
	return amounts{quantities(nodes.At(r, "requests")), quantities(nodes.At(r, "limits"))}
}

// checkPodResources reports a pod whose own resources have no room for the sidecar. The requests of
// its containers may not exceed the pod's request, and no container's limit may exceed the pod's.
func checkPodResources(w *workload, ours amounts, apps, all []*yaml.Node, limits []limitRange) Results {
	var results Results
	refused := func(resource, setting, message string, args ...any) {
		results = append(results, result(CodePodResources, w.Object, message+"; raise it, or set %s%s-%s", append(args, contract.SidecarPrefix, resource, setting)...).At(w.settings.where(resource+"-"+setting), "", ""))
	}
	pod := w.podResources()
	for _, resource := range sortedKeys(pod.requests) {
		most := parseQuantity(pod.requests[resource])
		if total(apps, limits, resource, requestsOf) <= most && total(all, limits, resource, requestsOf) > most {
			refused(resource, "request", "the containers request more %s with the sidecar than the %s of the pod, so Kubernetes refuses it", resource, pod.requests[resource])
		}
	}
	for _, resource := range sortedKeys(pod.limits) {
		if limit := ours.limits[resource]; parseQuantity(limit) > parseQuantity(pod.limits[resource]) {
			refused(resource, "limit", "the sidecar's %s limit of %s is more than the %s of the pod, so Kubernetes refuses it", resource, limit, pod.limits[resource])
		}
	}
	return results
}

func limitsOf(a amounts) map[string]string   { return a.limits }
func requestsOf(a amounts) map[string]string { return a.requests }

// checkLimitRanges reports which of the sidecar's resources a LimitRange rejects, and what it adds to
// them.
func checkLimitRanges(w *workload, ours amounts, limits []limitRange) Results {
	var results Results
	s := &w.settings
	refused := func(l limitRange, name, found, message string, args ...any) {
		r := result(CodeLimitRange, w.Object, "%s rejects the pod: the sidecar's "+message, append([]any{l.Ref()}, args...)...)
		if row, _ := annotation(name); row != nil {
			r.Message += "; set " + row.Key()
			r = r.At(s.where(name), found, "")
		}
		results = append(results, r)
	}
	for _, l := range limits {
		if l.kind != "Container" {
			continue
		}
		for _, r := range l.refusals(ours) {
			refused(l, r.name, r.found, "%s", r.message)
		}
		var given []string
		for _, resource := range sortedKeys(l.defaultLimit) {
			if limit := l.defaultLimit[resource]; limit == ours.limits[resource] && !s.set(resource+"-limit") {
				given = append(given, resource+" "+limit)
				if parseQuantity(ours.requests[resource]) > parseQuantity(limit) {
					refused(l, resource+"-limit", "", "%s request of %s is more than the limit of %s that it gives by default", resource, ours.requests[resource], limit)
				}
				if resource == "memory" && parseQuantity(limit) < contract.MinMemoryLimit {
					results = append(results, result(CodeMemoryLimit, w.Object, "%s gives the sidecar a memory limit of %s, which kills it as soon as there is traffic; set %smemory-limit to %dMi or more", l.Ref(), limit, contract.SidecarPrefix, contract.MinMemoryLimit>>20))
				}
			}
		}
		if given != nil {
			results = append(results, result(CodeLimitsGiven, w.Object, "%s gives the sidecar limits that no annotation sets: %s", l.Ref(), strings.Join(given, ", ")))
		}
	}
	return results
}

// refusal says why a LimitRange rejects a container: the setting, such as cpu-limit, its value, and a
// message.
type refusal struct{ name, found, message string }

// refusals returns why a LimitRange rejects a container with the given resources.
func (l limitRange) refusals(ours amounts) (out []refusal) {
	refused := func(name, found, message string, args ...any) {
		out = append(out, refusal{name, found, fmt.Sprintf(message, args...)})
	}
	for _, resource := range sortedKeys(l.lowest) {
		lowest := parseQuantity(l.lowest[resource])
		if v := ours.requests[resource]; parseQuantity(v) < lowest {
			refused(resource+"-request", v, "%s request is %s, and the minimum is %s", resource, orNone(v), l.lowest[resource])
		} else if v, has := ours.limits[resource]; has && parseQuantity(v) < lowest {
			refused(resource+"-limit", v, "%s limit is %s, and the minimum is %s", resource, v, l.lowest[resource])
		}
	}
	for _, resource := range sortedKeys(l.highest) {
		highest := parseQuantity(l.highest[resource])
		if v := ours.limits[resource]; parseQuantity(v) > highest {
			refused(resource+"-limit", v, "%s limit is %s, and the maximum is %s", resource, v, l.highest[resource])
		} else if v := ours.requests[resource]; parseQuantity(v) > highest {
			refused(resource+"-request", v, "%s request is %s, and the maximum is %s", resource, v, l.highest[resource])
		}
	}
	for _, resource := range sortedKeys(l.ratio) {
		request, limit := ours.requests[resource], ours.limits[resource]
		switch r, m := parseQuantity(request), parseQuantity(limit); {
		case r == 0 || m == 0:
			refused(resource+"-limit", limit, "%s has the request %s and the limit %s, and their ratio may be at most %s: both are needed", resource, orNone(request), orNone(limit), l.ratio[resource])
		case m > r*parseQuantity(l.ratio[resource]):
			refused(resource+"-request", request, "%s limit of %s is more than %s times its request of %s", resource, limit, l.ratio[resource], request)
		}
	}
	return out
}

func orNone(quantity string) string {
	if quantity == "" {
		return "none"
	}
	return quantity
}

// total returns the sum of a resource over the containers of a pod, including native sidecars. Other
// init containers end before these run.
func total(containers []*yaml.Node, limits []limitRange, resource string, of func(amounts) map[string]string) float64 {
	sum := 0.0
	for _, c := range containers {
		sum += parseQuantity(of(resourcesOf(c, limits))[resource])
	}
	return sum
}

// guaranteed reports whether a container meets the requirements of the QoS class Guaranteed:
// https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/.
func (a amounts) guaranteed() bool {
	return !slices.ContainsFunc([]string{"cpu", "memory"}, func(r string) bool {
		limit := parseQuantity(a.limits[r])
		return limit == 0 || limit != parseQuantity(a.requests[r])
	})
}
