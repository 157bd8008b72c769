package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestIstioAccepts runs istioctl on every rendered application: its findings are those of the
// input.
func TestIstioAccepts(t *testing.T) {
	for _, app := range apps() {
		t.Run(app.name, func(t *testing.T) {
			got := pipe(t, app.source(t))
			before, after := analyze(t, got.before), analyze(t, got.after)
			for _, message := range slices.Sorted(maps.Keys(after)) {
				if !before[message] {
					t.Errorf("istioctl analyze has a new finding: %s", message)
				}
			}
			if err := validate(t, got.after).err; err != nil {
				t.Error(err)
			}
			// Istio accepts only the addresses 127.0.0.1, 0.0.0.0 and [::]. If it
			// rejects another one, it has checked the Sidecar.
			elsewhere := strings.ReplaceAll(string(got.after), "defaultEndpoint: 127.0.0.1:", "defaultEndpoint: 192.0.2.1:")
			if validate(t, []byte(elsewhere)).err == nil {
				t.Error("istioctl validate takes any endpoint, so it says nothing about this one")
			}
		})
	}
}

// analyze returns the findings of istioctl on a stream.
func analyze(t *testing.T, stream []byte) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app.yaml": string(stream)})
	// A finding is an exit code too; what matters is which findings.
	out := run(t, dir, nil, tool(t, "istioctl"), "analyze", "--use-kube=false", "--output", "json", "app.yaml")
	var messages []struct{ Code, Level, Message, Origin string }
	if err := json.Unmarshal(out.stdout, &messages); err != nil {
		t.Fatalf("istioctl analyze gave no JSON: %v\n%s%s", err, out.stdout, out.stderr)
	}
	findings := make(map[string]bool)
	for _, m := range messages {
		findings[fmt.Sprintf("%s [%s] %s: %s", m.Level, m.Code, m.Origin, m.Message)] = true
	}
	return findings
}

func validate(t *testing.T, stream []byte) result {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app.yaml": string(stream)})
	return run(t, dir, nil, tool(t, "istioctl"), "validate", "--filename", filepath.Join(dir, "app.yaml"))
}
