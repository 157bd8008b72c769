package istio

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xdstest"
)

// inboundChains returns the filter chains for a port of a pod, or those for
// ports that nothing lists.
func (e *envoy) inboundChains(port int) []*listenerv3.FilterChain {
	l := xdstest.ExtractListener(model.VirtualInboundListenerName, e.Listeners)
	var listed, rest []*listenerv3.FilterChain
	for _, fc := range l.GetFilterChains() {
		switch int(fc.GetFilterChainMatch().GetDestinationPort().GetValue()) {
		case port:
			listed = append(listed, fc)
		case 0:
			rest = append(rest, fc)
		}
	}
	if listed == nil {
		return rest
	}
	return listed
}

// chain returns a filter chain as JSON, without names: those of the Sidecar that
// it comes from, of statistics, of routes, one of which is the name of spans, and
// of the one cluster.
func chain(t *testing.T, fc *listenerv3.FilterChain) map[string]any {
	t.Helper()
	m := chainAsIs(t, fc)
	for _, key := range []string{"name", "metadata"} {
		delete(m, key)
	}
	strip(m, "statPrefix")
	for _, routes := range findAll(m, "routeConfig") {
		strip(routes, "name", "cluster", "operation")
	}
	return m
}

// upstream returns the cluster for a port of the pod in its JSON form, without the parts that
// Tapedeck changes: its name and its endpoints, and what depends on them.
func (e *envoy) upstream(t *testing.T, port int) map[string]any {
	t.Helper()
	m := map[string]any{}
	c := e.clusters[fmt.Sprintf("inbound|%d||", port)]
	if c == nil {
		return m
	}
	text, err := protojson.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "altStatName", "metadata", "type", "loadAssignment", "lbPolicy", "cleanupInterval", "upstreamBindConfig"} {
		delete(m, key)
	}
	return m
}

func chainAsIs(t *testing.T, fc *listenerv3.FilterChain) map[string]any {
	t.Helper()
	text, err := protojson.Marshal(fc)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func strip(v any, keys ...string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys {
			delete(v, k)
		}
		for _, child := range v {
			strip(child, keys...)
		}
	case []any:
		for _, child := range v {
			strip(child, keys...)
		}
	}
}

// policies describes what a port's filter chains enforce.
func (e *envoy) policies(t *testing.T, port int) []string {
	t.Helper()
	var out []string
	for _, fc := range e.inboundChains(port) {
		m := chain(t, fc)
		parts := []string{"plaintext"}
		if context := find(m, "transportSocket"); context != nil {
			parts[0] = "TLS"
			if find(m, "requireClientCertificate") == true {
				parts[0] = "mTLS"
			}
		}
		kind := "bytes"
		for _, f := range fc.Filters {
			if f.Name == "envoy.filters.network.http_connection_manager" {
				kind = "HTTP"
			}
		}
		parts = append(parts, kind)
		for _, rbac := range rbacFilters(m) {
			parts = append(parts, describeRBAC(rbac["rules"]))
		}
		if jwt := find(m, "providers"); jwt != nil {
			parts = append(parts, "JWT")
		}
		if text := strings.Join(parts, ", "); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	sort.Strings(out)
	return out
}

// rbacFilters returns the configurations of a chain's RBAC filters.
func rbacFilters(v any) []map[string]any {
	var out []map[string]any
	for _, f := range findAll(v, "typedConfig") {
		m, _ := f.(map[string]any)
		if kind, _ := m["@type"].(string); strings.HasSuffix(kind, ".RBAC") {
			out = append(out, m)
		}
	}
	return out
}

// describeRBAC names the policies of one RBAC filter.
func describeRBAC(rules any) string {
	m, _ := rules.(map[string]any)
	action, _ := m["action"].(string)
	if action == "" {
		action = "ALLOW"
	}
	policies, _ := m["policies"].(map[string]any)
	var names []string
	for name := range policies {
		names = append(names, strings.NewReplacer("ns[default]-policy[", "", "]-rule[", " rule ", "]", "").Replace(name))
	}
	sort.Strings(names)
	if len(names) == 0 {
		names = []string{"nothing"}
	}
	return fmt.Sprintf("%s %s", action, strings.Join(names, " and "))
}

func find(v any, key string) any {
	if all := findAll(v, key); len(all) > 0 {
		return all[0]
	}
	return nil
}

func findAll(v any, key string) []any {
	var out []any
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if k == key {
				out = append(out, v[k])
			}
			out = append(out, findAll(v[k], key)...)
		}
	case []any:
		for _, child := range v {
			out = append(out, findAll(child, key)...)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// enforced returns everything that a port's filter chains do, for comparison. It replaces each
// sidecar's port with that of its application, as sidecars maps them, and drops a number that a
// policy then lists twice.
func (e *envoy) enforced(t *testing.T, port int, sidecars map[int]int) []string {
	t.Helper()
	var out []string
	for _, fc := range e.inboundChains(port) {
		m := chain(t, fc)
		var followed any = m
		for sidecar, application := range sidecars {
			followed = mergePorts(followed, sidecar, application)
		}
		text, err := json.MarshalIndent(followed, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}

// mergePorts writes one port for the other, and drops entries of a list that are then duplicates.
func mergePorts(v any, from, to int) any {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if n, ok := child.(float64); ok && k == "destinationPort" && int(n) == from {
				v[k] = float64(to)
				continue
			}
			v[k] = mergePorts(child, from, to)
		}
		return v
	case []any:
		var out []any
		seen := map[string]bool{}
		for _, child := range v {
			child = mergePorts(child, from, to)
			text, _ := json.Marshal(child)
			if strings.Contains(string(text), `"destinationPort"`) && seen[string(text)] {
				continue
			}
			seen[string(text)] = true
			out = append(out, child)
		}
		return out
	}
	return v
}
