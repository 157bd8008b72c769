package e2e

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubectlReadsJSON renders JSON, and JSON among YAML, and lets kubectl read the
// output. kubectl needs no cluster to annotate local objects.
func TestKubectlReadsJSON(t *testing.T) {
	kubectl := needPath(t, "kubectl")
	deployment := strings.NewReplacer("\n", "", "\t", "").Replace(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "annotations": {
		"note": "rocket \ud83d\ude80 \/", "sidecar.speedscale.com/inject": "true", "sidecar.speedscale.com/proxy-type": "reverse", "sidecar.speedscale.com/proxy-port": "8080"}},
		"spec": {"selector": {"matchLabels": {"app": "app"}}, "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}}}`)
	const service = `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8080}]}}`
	const yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n"
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(deployment), "", "\t"); err != nil {
		t.Fatal(err)
	}
	list := `{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [` + deployment + "]}"
	tests := map[string]struct {
		files map[string]string
		names []string
	}{
		"an object":              {map[string]string{"a.json": pretty.String()}, []string{"deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck"}},
		"an object on each line": {map[string]string{"a.json": deployment + "\n" + service + "\n"}, []string{"deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck", "service/app"}},
		"objects on one line":    {map[string]string{"a.json": deployment + service}, []string{"deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck", "service/app"}},
		"a list of one kind":     {map[string]string{"a.json": list}, []string{"deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck"}},
		"JSON among YAML":        {map[string]string{"a.json": service, "b.yaml": yaml, "c.json": deployment}, []string{"service/app", "configmap/app", "deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck"}},
		"separators":             {map[string]string{"a.json": service + "\n---\n" + deployment + "\n"}, []string{"service/app", "deployment.apps/app", "sidecar.networking.istio.io/app-tapedeck"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, tt.files)
			write(t, dir, map[string]string{"out/all": string(run(t, "", nil, tapedeck, "render", dir).ok(t))})
			got := run(t, "", nil, kubectl, "annotate", "--local", "-f", filepath.Join(dir, "out/all"), "-o", "name", "a=b").ok(t)
			if want := strings.Join(tt.names, "\n"); strings.TrimSpace(string(got)) != want {
				t.Errorf("kubectl reads:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
