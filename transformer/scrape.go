package transformer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Prometheus finds the sidecar's metrics by annotations of the pod. Istio's injector makes its agent
// scrape them, and replaces the annotations with its own:
//
// rendered   prometheus.io/port: "9102"
// injected   prometheus.io/port: "15020", and ISTIO_PROMETHEUS_ANNOTATIONS with 9102 in the agent's environment
//
// Rendering an injected manifest leaves this unchanged.
// Source: https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging.

const (
	scrapePrefix   = "prometheus.io/"
	scrapeVariable = "ISTIO_PROMETHEUS_ANNOTATIONS"
)

var scrapeKeys = []string{scrapePrefix + "scrape", scrapePrefix + "port", scrapePrefix + "path"}

// mergedScrape is the variable in which Istio's injector kept Tapedeck's annotations, and its place.
type mergedScrape struct {
	env, item *yaml.Node
	index     int
}

// takeScrape removes Tapedeck's annotations from the agent's environment if Istio has merged them. It
// keeps the annotations that replaced them, which Istio also writes without Tapedeck's.
func (t *taking) takeScrape() {
	o, own, log := t.o, t.own, &t.log
	w, port := own.w, own.value(contract.EnvPrometheusPort)
	path := w.at("metadata.annotations")
	if port == "" || !slices.Contains(log.Add[path], scrapePrefix+"port") {
		return
	}
	for _, c := range w.allContainers() {
		env := nodes.At(c.Node, "env")
		i := slices.IndexFunc(nodes.Items(env), func(item *yaml.Node) bool { return nodes.StringAt(item, "name") == scrapeVariable })
		if c.name() != envoyContainer || i < 0 || !mergedByIstio(nodes.StringAt(env.Content[i], "value"), port) {
			continue
		}
		o.merged = &mergedScrape{env, env.Content[i], i}
		env.Content = slices.Delete(env.Content, i, i+1)
		t.removed = append(t.removed, pathItem(c.path+".env", scrapeVariable))
		log.Add[path] = slices.DeleteFunc(log.Add[path], func(key string) bool { return slices.Contains(scrapeKeys, key) })
		return
	}
}

// mergedByIstio reports whether Istio's injector made a value from Tapedeck's annotations.
func mergedByIstio(value, port string) bool {
	var noted map[string]string
	return json.Unmarshal([]byte(value), &noted) == nil && maps.Equal(noted, map[string]string{"scrape": "true", "path": "/metrics", "port": port})
}

// annotateScrape makes Prometheus scrape the sidecar if that was requested. Prometheus does not scrape
// a copy: see notAnnotated.
func annotateScrape(e *editor, w *workload) Results {
	if w.settings.PrometheusPort == 0 || !w.settings.PrometheusAnnotation || w.original != nil {
		return nil
	}
	metadata, path := nodes.At(w.template, "metadata"), w.at("metadata")
	values := map[string]string{scrapePrefix + "scrape": "true", scrapePrefix + "port": fmt.Sprint(w.settings.PrometheusPort), scrapePrefix + "path": "/metrics"}
	if m := w.Object.merged; m != nil {
		if !strings.Contains(nodes.StringAt(m.item, "value"), `"port":"`+values[scrapePrefix+"port"]+`"`) {
			m.item = nodes.Mapping("name", scrapeVariable, "value", fmt.Sprintf(`{"scrape":"true","path":"/metrics","port":"%d"}`, w.settings.PrometheusPort))
		}
		m.env.Content = slices.Insert(m.env.Content, m.index, m.item)
		at := pathKey(path, "annotations")
		e.log.Add[at] = append(e.log.Add[at], scrapeKeys...)
		return nil
	}
	existing := nodes.Strings(nodes.At(metadata, "annotations"))
	for _, key := range sortedKeys(existing) {
		if value := existing[key]; strings.HasPrefix(key, scrapePrefix) {
			return Results{result(CodeScrapeKept, w.Object, "the pod already has the annotation %s for the application; scrape the sidecar's port %d with a PodMonitor", key, w.settings.PrometheusPort).
				At(pathKey(w.at("metadata.annotations"), key), value, "")}
		}
	}
	annotations, path := e.collection(metadata, path, "annotations", yaml.MappingNode)
	for _, key := range scrapeKeys {
		e.put(annotations, path, key, values[key])
	}
	return nil
}
