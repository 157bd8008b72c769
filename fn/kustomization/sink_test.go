package kustomization_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/fn/kustomization"
	"github.com/tapedeck/tapedeck/transformer"
)

// A kustomization over rendered manifests may add a label to everything, including selectors. The
// policy that allows the collector still selects its pods, which don't have that label.
func TestAPolicyForTheCollectorOutlastsLabels(t *testing.T) {
	input := `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations: {sidecar.speedscale.com/inject: "true", sidecar.speedscale.com/proxy-type: forward}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53}]}]}
`
	cfg := transformer.DefaultConfig()
	if err := cfg.Set("sink", "https://collector.speedscale:4310"); err != nil {
		t.Fatal(err)
	}
	out, _, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rendered.yaml":      string(out),
		"kustomization.yaml": "resources: [rendered.yaml]\nnamePrefix: my-\nnamespace: shop\nlabels: [{pairs: {team: till}, includeSelectors: true}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	built, _, err := kustomization.Build(dir, kustomization.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(string(built), "name: my-app-tapedeck\n")
	policy, _, _ = strings.Cut(policy, "\n---")
	if policy == "" || strings.Contains(policy[strings.Index(policy, "\nspec:"):], "till") || !strings.Contains(policy, "tapedeck-collector") {
		t.Errorf("the policy selects by the label of all objects:\n%s", policy)
	}
	back, results, err := fn.Uninject([]fn.Source{{Text: built}})
	if err != nil || results.Failed() || strings.Contains(string(back), "tapedeck") {
		t.Errorf("uninject leaves something behind: %v %v\n%s", err, results, back)
	}
}
