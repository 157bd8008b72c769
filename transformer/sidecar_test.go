package transformer

import (
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A drain ends before the pod's grace period. It never has 0 s, which would cut every connection.
func TestDrainTime(t *testing.T) {
	for grace, want := range map[string]string{
		"30": "", "30.0": "", "null": "", `"a"`: "", ".nan": "",
		"0": "500ms", "5": "500ms", "6": "1s", "60": "55s", "60.5": "55s", "1e300": "2147483643s",
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(grace), &doc); err != nil {
			t.Fatal(err)
		}
		if got := drainTime(doc.Content[0]); got != want {
			t.Errorf("grace period %s: %q, want %q", grace, got, want)
		}
	}
	if got := drainTime(nil); got != "" {
		t.Errorf("no grace period: %q", got)
	}
}
