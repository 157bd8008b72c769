package transformer

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// A container more changes what the API server, the kubelet and an autoscaler make
// of a pod: a namespace may refuse it, its QoS class may change, and an average over
// its containers is another one.

// amounts are what a container requests and what it is limited to, by resource, as
// quantities.
type amounts struct{ requests, limits map[string]string }

// resourcesOf returns what a container has once the LimitRanges of its namespace
// have given it their defaults.
func resourcesOf(c *yaml.Node, limits []limitRange) amounts {
	a := amounts{quantities(field(c, "resources", "requests")), quantities(field(c, "resources", "limits"))}
	fill(a.requests, a.limits)
	for _, l := range limits {
		if l.kind == "Container" {
			fill(a.requests, l.defaultRequest)
			fill(a.limits, l.defaultLimit)
		}
	}
	return a
}

// quantities reads quantities by resource. What is none is left out: the API server
// refuses it, whatever a render adds.
func quantities(n *yaml.Node) map[string]string {
	out := map[string]string{}
	for resource, value := range strMap(n) {
		if quantityKind.Check(value) == nil {
			out[resource] = value
		}
	}
	return out
}

// fill adds what a map lacks.
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

// limitRanges returns the entries that hold for a workload's pods, with what the
// API server makes of missing defaults:
// https://kubernetes.io/docs/concepts/policy/limit-range/.
func (in *input) limitRanges(w *workload) []limitRange {
	var out []limitRange
	for _, o := range in.byKind["/LimitRange"] {
		if o.namespace() != w.namespace() {
			continue
		}
		for _, entry := range items(field(o.Node, "spec", "limits")) {
			part := func(key string) map[string]string { return quantities(field(entry, key)) }
			l := limitRange{o, strAt(entry, "type"), part("min"), part("max"), part("maxLimitRequestRatio"), part("defaultRequest"), part("default")}
			fill(l.defaultLimit, l.highest)
			fill(l.defaultRequest, l.defaultLimit)
			fill(l.defaultRequest, l.lowest)
			out = append(out, l)
		}
	}
	return out
}

// checkResources says what becomes of a workload's pods by the sidecar's resources.
func (in *input) checkResources(w *workload) Results {
	limits := in.limitRanges(w)
	var ours amounts
	var apps, all []*yaml.Node  // those that run at the same time
	before, after := true, true // whether each has what the QoS class Guaranteed asks for
	for _, c := range w.allContainers() {
		has := resourcesOf(c.Node, limits)
		after = after && has.guaranteed()
		if c.name() == contract.Container {
			ours, all = has, append(all, c.Node)
			continue
		}
		before = before && has.guaranteed()
		if strings.HasPrefix(c.path, w.at("spec.containers")) || strAt(c.Node, "restartPolicy") == "Always" {
			apps, all = append(apps, c.Node), append(all, c.Node)
		}
	}
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
					results = append(results, result(CodeLimitRange, w.Object, "%s refuses the pod: with the sidecar's, its %s %s are more than the maximum of %s; raise that, or lower those of the pod", l.Ref(), resource, sum.word, l.highest[resource]))
					break
				}
			}
		}
	}
	results = append(results, in.checkQuotas(w, ours, apps, all, limits)...)
	if field(w.podSpec(), "resources") == nil && before && !after {
		results = append(results, result(CodeQoS, w.Object, "%s %s", reasons[CodeQoS].Sentence, reasons[CodeQoS].Help).At(w.settings.where("memory-limit"), w.settings.MemoryLimit, ""))
	}
	return append(results, in.checkAutoscalers(w)...)
}

func limitsOf(a amounts) map[string]string   { return a.limits }
func requestsOf(a amounts) map[string]string { return a.requests }

// checkLimitRanges reports what of the sidecar's own resources a LimitRange refuses,
// and what it adds to them.
func checkLimitRanges(w *workload, ours amounts, limits []limitRange) Results {
	var results Results
	s := &w.settings
	refused := func(l limitRange, name, found, message string, args ...any) {
		r := result(CodeLimitRange, w.Object, "%s refuses the pod: the sidecar's "+message, append([]any{l.Ref()}, args...)...)
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
		for _, resource := range sortedKeys(l.lowest) {
			lowest := parseQuantity(l.lowest[resource])
			if v := ours.requests[resource]; parseQuantity(v) < lowest {
				refused(l, resource+"-request", v, "%s request is %s, and the minimum is %s", resource, orNone(v), l.lowest[resource])
			} else if v, has := ours.limits[resource]; has && parseQuantity(v) < lowest {
				refused(l, resource+"-limit", v, "%s limit is %s, and the minimum is %s", resource, v, l.lowest[resource])
			}
		}
		for _, resource := range sortedKeys(l.highest) {
			highest := parseQuantity(l.highest[resource])
			if v := ours.limits[resource]; parseQuantity(v) > highest {
				refused(l, resource+"-limit", v, "%s limit is %s, and the maximum is %s", resource, v, l.highest[resource])
			} else if v := ours.requests[resource]; parseQuantity(v) > highest {
				refused(l, resource+"-request", v, "%s request is %s, and the maximum is %s", resource, v, l.highest[resource])
			}
		}
		for _, resource := range sortedKeys(l.ratio) {
			request, limit := ours.requests[resource], ours.limits[resource]
			switch r, m := parseQuantity(request), parseQuantity(limit); {
			case r == 0 || m == 0:
				refused(l, resource+"-limit", limit, "%s has the request %s and the limit %s, and their ratio may be at most %s: both are needed", resource, orNone(request), orNone(limit), l.ratio[resource])
			case m > r*parseQuantity(l.ratio[resource]):
				refused(l, resource+"-request", request, "%s limit of %s is more than %s times its request of %s", resource, limit, l.ratio[resource], request)
			}
		}
		var given []string
		for _, resource := range sortedKeys(l.defaultLimit) {
			if limit := l.defaultLimit[resource]; limit == ours.limits[resource] && !s.set(resource+"-limit") {
				given = append(given, resource+" "+limit)
				if parseQuantity(ours.requests[resource]) > parseQuantity(limit) {
					refused(l, resource+"-limit", "", "%s request of %s is more than the limit of %s that it gives by default", resource, ours.requests[resource], limit)
				}
				if resource == "memory" && parseQuantity(limit) < contract.MinMemoryLimit {
					results = append(results, result(CodeMemoryLimit, w.Object, "%s gives the sidecar a memory limit of %s, with which it will be killed as soon as there is traffic; set %smemory-limit to %dMi or more", l.Ref(), limit, contract.SidecarPrefix, contract.MinMemoryLimit>>20))
				}
			}
		}
		if given != nil {
			results = append(results, result(CodeLimitsGiven, w.Object, "%s gives the sidecar limits that no annotation sets: %s", l.Ref(), strings.Join(given, ", ")))
		}
	}
	return results
}

func orNone(quantity string) string {
	if quantity == "" {
		return "none"
	}
	return quantity
}

// quotaResources are those that every container must have where a quota counts
// them: https://kubernetes.io/docs/concepts/policy/resource-quotas/.
var quotaResources = map[string]struct {
	resource string
	of       func(amounts) map[string]string
	setting  string
}{
	"cpu":             {"cpu", requestsOf, "cpu-request"},
	"requests.cpu":    {"cpu", requestsOf, "cpu-request"},
	"limits.cpu":      {"cpu", limitsOf, "cpu-limit"},
	"memory":          {"memory", requestsOf, "memory-request"},
	"requests.memory": {"memory", requestsOf, "memory-request"},
	"limits.memory":   {"memory", limitsOf, "memory-limit"},
}

// checkQuotas reports ResourceQuotas that will refuse the pods with the sidecar.
func (in *input) checkQuotas(w *workload, ours amounts, apps, all []*yaml.Node, limits []limitRange) Results {
	var results Results
	for _, o := range in.byKind["/ResourceQuota"] {
		if o.namespace() != w.namespace() || !counts(o, w) {
			continue
		}
		hard := quantities(field(o.Node, "spec", "hard"))
		for _, key := range sortedKeys(hard) {
			q, known := quotaResources[key]
			if !known {
				continue
			}
			if _, has := q.of(ours)[q.resource]; !has {
				results = append(results, result(CodeQuota, w.Object, "%s refuses the pod: it counts %s, which every container must have then, and the sidecar has none; set %s%s", o.Ref(), key, contract.SidecarPrefix, q.setting).At(w.settings.where(q.setting), "", ""))
				continue
			}
			n, most := w.replicas(), parseQuantity(hard[key])
			if before, after := n*total(apps, limits, q.resource, q.of), n*total(all, limits, q.resource, q.of); before <= most && after > most {
				results = append(results, result(CodeQuota, w.Object, "%s has no room for all pods: with the sidecars' their %s is more than %s; raise that, or set %s%s", o.Ref(), key, hard[key], contract.SidecarPrefix, q.setting).At(w.settings.where(q.setting), "", ""))
			}
		}
	}
	return results
}

// replicas returns how many pods a workload has at once, as far as it says.
func (w *workload) replicas() float64 {
	for _, key := range []string{"replicas", "parallelism"} {
		if n := field(w.Node, "spec", key); n != nil && str(n) != "" {
			return float64(number(n))
		}
	}
	return 1
}

// counts tells whether a quota with scopes counts a workload's pods.
func counts(o *Object, w *workload) bool {
	spec := w.podSpec()
	deadline := field(spec, "activeDeadlineSeconds") != nil
	in := func(scope, operator string, values []*yaml.Node) bool {
		class := strAt(spec, "priorityClassName")
		among := slices.ContainsFunc(values, func(v *yaml.Node) bool { return str(v) == class })
		switch {
		case scope == "BestEffort": // the sidecar has requests
			return false
		case scope == "Terminating":
			return deadline
		case scope == "NotTerminating":
			return !deadline
		case scope != "PriorityClass":
			return scope == "NotBestEffort"
		}
		return operator == "In" && among || operator == "NotIn" && !among || operator == "Exists" && class != "" || operator == "DoesNotExist" && class == ""
	}
	for _, s := range items(field(o.Node, "spec", "scopes")) {
		if !in(str(s), "Exists", nil) {
			return false
		}
	}
	for _, e := range items(field(o.Node, "spec", "scopeSelector", "matchExpressions")) {
		if !in(strAt(e, "scopeName"), strAt(e, "operator"), items(field(e, "values"))) {
			return false
		}
	}
	return true
}

// total returns what the containers of a pod have together of a resource, native
// sidecars included. Other init containers are done before those run.
func total(containers []*yaml.Node, limits []limitRange, resource string, of func(amounts) map[string]string) float64 {
	sum := 0.0
	for _, c := range containers {
		sum += parseQuantity(of(resourcesOf(c, limits))[resource])
	}
	return sum
}

// guaranteed tells whether a container has what the QoS class Guaranteed asks of
// each: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/.
func (a amounts) guaranteed() bool {
	return !slices.ContainsFunc([]string{"cpu", "memory"}, func(r string) bool {
		limit := parseQuantity(a.limits[r])
		return limit == 0 || limit != parseQuantity(a.requests[r])
	})
}
