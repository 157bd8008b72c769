package nodes_test

import (
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// TestIdentity covers lists of Kubernetes and Istio. Splice aligns items by this identity, and an undo
// record uses it to name them.
func TestIdentity(t *testing.T) {
	for item, want := range map[string][2]string{
		`{name: app, image: x}`:                                     {"name", "app"},
		`{name: data, mountPath: /a}`:                               {"mountPath", "/a"},      // the volume may be mounted twice
		`{name: disk, devicePath: /dev/a}`:                          {"devicePath", "/dev/a"}, // a volume may also be a device
		`{name: http, containerPort: 80}`:                           {"name", "http"},
		`{containerPort: 80, protocol: TCP}`:                        {"containerPort", "80"},
		`{port: 80, targetPort: 8080}`:                              {"port", "80"},
		`{port: {number: 80, name: http}, hosts: [a]}`:              {"port", "80"}, // a listener
		`{number: 80, protocol: HTTP}`:                              {"number", "80"},
		`{hosts: [./*, b/*]}`:                                       {"hosts", "./*"}, // an egress listener
		`{key: destination.port, values: ["80"]}`:                   {"key", "destination.port"},
		`{ip: 10.0.0.1, hostnames: [a]}`:                            {"ip", "10.0.0.1"},
		`{topologyKey: zone, maxSkew: 1}`:                           {"topologyKey", "zone"},
		`{metadata: {name: data}, spec: {}}`:                        {"metadata", "data"}, // a claim of a StatefulSet
		`{apiVersion: v1, kind: Pod, metadata: {name: a}, name: b}`: {"metadata", "v1/Pod/a"},
		`{kind: Pod, metadata: {name: a, namespace: shop}}`:         {"metadata", "Pod/shop/a"},
		`{name: ~, port: 80}`:                                       {"port", "80"},
		`{name: {first: a}, hosts: []}`:                             {"", ""},
		`{from: [{source: {}}]}`:                                    {"", ""},
		`[a]`:                                                       {"", ""},
		`a`:                                                         {"", ""},
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(item), &doc); err != nil {
			t.Fatal(err)
		}
		if field, id := nodes.Identity(doc.Content[0]); [2]string{field, id} != want {
			t.Errorf("%s: identified by %q, %q, want %q", item, field, id, want)
		}
	}
}
