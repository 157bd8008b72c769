package istio

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The ports of the cases: the sidecar's, and the application's that is captured.
const (
	sidecar     = 4143
	application = 8080
)

// TestPoliciesHold compares, for every pod of every case, the filter chains
// that Istio generates with us to those without: mutual TLS, authorization,
// tokens, telemetry and all other filters are the same. Only where a chain
// sends its bytes may differ, which the cases show.
func TestPoliciesHold(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	compared := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c := readCase(t, file)
			without, with := c.judge(t)
			if with == nil {
				return
			}
			for _, p := range with.pods {
				if strings.Contains(p.Name, "-at-") || !p.injected() || len(p.Spec.Containers) == 0 {
					continue
				}
				was := without.pod(t, p.Name)
				if !was.injected() {
					continue
				}
				before, after := without.envoy(t, was), with.envoy(t, p)
				for port := range before.listedPorts() {
					compared++
					at := port
					if port == application && c.cfg.Inbound == "service" && after.listedPorts()[sidecar] {
						at = sidecar
					}
					if diff := cmp.Diff(before.enforced(t, port, sidecar, application), after.enforced(t, at, sidecar, application)); diff != "" {
						t.Errorf("%s port %d (-without +with):\n%s", p.Name, port, diff)
					}
				}
			}
		})
	}
	if compared == 0 {
		t.Error("no filter chain was compared")
	}
}

// listedPorts returns the ports that a pod's inbound listener has chains for.
func (e *envoy) listedPorts() map[int]bool {
	ports := map[int]bool{}
	for _, l := range e.Listeners {
		if l.Name != "virtualInbound" {
			continue
		}
		for _, fc := range l.FilterChains {
			if port := int(fc.GetFilterChainMatch().GetDestinationPort().GetValue()); port != 0 {
				ports[port] = true
			}
		}
	}
	return ports
}
