package transformer

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// quotaResource is the resource that a quota counts, and the setting for it in the sidecar.
type quotaResource struct {
	resource string
	of       func(amounts) map[string]string
	setting  string
}

// quotaResources are the resources that every container must set if a quota counts them:
// https://kubernetes.io/docs/concepts/policy/resource-quotas/.
var quotaResources = map[string]quotaResource{
	"cpu":             {"cpu", requestsOf, "cpu-request"},
	"requests.cpu":    {"cpu", requestsOf, "cpu-request"},
	"limits.cpu":      {"cpu", limitsOf, "cpu-limit"},
	"memory":          {"memory", requestsOf, "memory-request"},
	"requests.memory": {"memory", requestsOf, "memory-request"},
	"limits.memory":   {"memory", limitsOf, "memory-limit"},
}

// checkQuotas reports ResourceQuotas that will reject the pods with the sidecar.
func (in *input) checkQuotas(w *workload, ours amounts, limits []limitRange) Results {
	var results Results
	pod := w.podResources()
	for _, o := range in.byKind["/ResourceQuota"] {
		if o.namespace() != w.namespace() || !counts(o, w) {
			continue
		}
		hard := quantities(nodes.At(o.Node, "spec", "hard"))
		for _, key := range sortedKeys(hard) {
			q, known := quotaResources[key]
			if !known {
				continue
			}
			if _, has := q.of(ours)[q.resource]; !has {
				if len(pod.requests)+len(pod.limits) > 0 {
					continue // with resources for the whole pod, containers need not set it
				}
				results = append(results, result(CodeQuota, w.Object, "%s rejects the pod: it limits %s, so every container must set it, and the sidecar does not; set %s%s", o.Ref(), key, contract.SidecarPrefix, q.setting).At(w.settings.where(q.setting), "", ""))
				continue
			}
			if before, after := in.usage(w, q); before <= parseQuantity(hard[key]) && after > parseQuantity(hard[key]) {
				results = append(results, result(CodeQuota, w.Object, "%s has no room for all pods: with the sidecars, their %s is more than %s; raise it, or set %s%s", o.Ref(), key, hard[key], contract.SidecarPrefix, q.setting).At(w.settings.where(q.setting), "", ""))
			}
		}
	}
	return results
}

// usage returns what a quota counts for a workload's pods, without and with the sidecar.
func (in *input) usage(w *workload, q quotaResource) (before, after float64) {
	n, limits := w.replicas(), in.limitRanges(w)
	if most, has := q.of(w.podResources())[q.resource]; has {
		return n * parseQuantity(most), n * parseQuantity(most)
	}
	apps, all := w.running()
	return n * total(apps, limits, q.resource, q.of), n * total(all, limits, q.resource, q.of)
}

// checkQuotaSums reports ResourceQuotas that have room for each workload with its sidecar, but not for
// all workloads of the input. It leaves out Jobs and hooks, which seldom run at the same time, and
// pods that other objects of the input own.
func (in *input) checkQuotaSums() Results {
	var results Results
	for _, o := range in.byKind["/ResourceQuota"] {
		hard := quantities(nodes.At(o.Node, "spec", "hard"))
		for _, key := range sortedKeys(hard) {
			q, known := quotaResources[key]
			if !known {
				continue
			}
			most, alone, before, after, copies, n := parseQuantity(hard[key]), false, 0.0, 0.0, 0.0, 0
			for _, w := range in.workloads {
				if _, owner := w.owner(); owner != "" || w.namespace() != o.namespace() || !w.serves() || !counts(o, w) {
					continue
				}
				b, a := in.usage(w, q)
				if w.original != nil {
					copies += a
					continue
				}
				alone = alone || a > most
				before, after, n = before+b, after+a, n+1
			}
			for _, r := range in.replays {
				if r.namespace() == o.namespace() && !scoped(o) {
					copies += r.ownPods() * parseQuantity(q.of(in.replayAmounts(r))[q.resource])
				}
			}
			if before <= most && after > most && n > 1 && !alone {
				results = append(results, result(CodeQuota, o, "%s has no room for all pods of %d workloads: with the sidecars, their %s is more than %s; raise it, or set %s%s", o.Ref(), n, key, hard[key], contract.SidecarPrefix, q.setting).At(pathKey("spec.hard", key), hard[key], ""))
			}
			if after <= most && after+copies > most {
				results = append(results, result(CodeQuota, o, "%s has no room for the pods of replays: with copies, generators and responders, the %s of all pods is more than %s; raise it, or lower the requests of the workloads", o.Ref(), key, hard[key]).At(pathKey("spec.hard", key), hard[key], ""))
			}
		}
	}
	return append(results, in.checkQuotaCounts()...)
}

// checkQuotaCounts reports ResourceQuotas that have no room for the pods or Jobs that replays add.
func (in *input) checkQuotaCounts() Results {
	pods := func(w *workload) float64 {
		if _, owner := w.owner(); owner != "" || !w.serves() {
			return 0
		}
		return w.replicas()
	}
	jobs := func(w *workload) float64 {
		if w.is("batch", "Job") {
			return 1
		}
		return 0
	}
	generators := func(r *replay) float64 {
		if r.generates() {
			return 1
		}
		return 0
	}
	var results Results
	for _, o := range in.byKind["/ResourceQuota"] {
		for _, c := range []struct {
			key string
			of  func(*workload) float64
			own func(*replay) float64
		}{{"pods", pods, (*replay).ownPods}, {"count/pods", pods, (*replay).ownPods}, {"count/jobs.batch", jobs, generators}} {
			text := nodes.StringAt(o.Node, "spec", "hard", c.key)
			if quantityKind.Check(text) != nil || scoped(o) {
				continue
			}
			before, after := 0.0, 0.0
			for _, w := range in.workloads {
				switch {
				case w.namespace() != o.namespace():
				case w.original != nil:
					after += c.of(w)
				default:
					before += c.of(w)
				}
			}
			for _, r := range in.replays {
				if r.namespace() == o.namespace() {
					after += c.own(r)
				}
			}
			if most := parseQuantity(text); before <= most && before+after > most {
				results = append(results, result(CodeQuota, o, "%s has no room for replays: with them there are %[3]g %[2]s, and %[4]s are allowed; raise it, or render fewer replays", o.Ref(), c.key, before+after, text).At(pathKey("spec.hard", c.key), text, ""))
			}
		}
	}
	return results
}

// scoped reports whether a quota counts only some pods of its namespace.
func scoped(o *Object) bool {
	return len(nodes.Items(nodes.At(o.Node, "spec", "scopes"))) > 0 || nodes.At(o.Node, "spec", "scopeSelector") != nil
}

// replicas returns how many pods a workload has at the same time, according to its manifest.
func (w *workload) replicas() float64 {
	for _, key := range []string{"replicas", "parallelism"} {
		if n := nodes.At(w.Node, "spec", key); n != nil && nodes.String(n) != "" {
			return float64(nodes.Int(n))
		}
	}
	return 1
}

// counts reports whether a quota, with its scopes, counts a workload's pods.
func counts(o *Object, w *workload) bool {
	spec := w.podSpec()
	deadline := nodes.At(spec, "activeDeadlineSeconds") != nil
	in := func(scope, operator string, values []*yaml.Node) bool {
		class := nodes.StringAt(spec, "priorityClassName")
		among := slices.ContainsFunc(values, func(v *yaml.Node) bool { return nodes.String(v) == class })
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
	for _, s := range nodes.Items(nodes.At(o.Node, "spec", "scopes")) {
		if !in(nodes.String(s), "Exists", nil) {
			return false
		}
	}
	for _, e := range nodes.Items(nodes.At(o.Node, "spec", "scopeSelector", "matchExpressions")) {
		if !in(nodes.StringAt(e, "scopeName"), nodes.StringAt(e, "operator"), nodes.Items(nodes.At(e, "values"))) {
			return false
		}
	}
	return true
}
