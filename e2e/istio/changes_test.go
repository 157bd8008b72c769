package istio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/transformer"
)

// TestWhatASidecarChanges checks the two other differences in Envoy besides the
// destination of the captured port. docs/istio.md describes both: the name of the
// server's spans, and the address that Envoy calls from, which is loopback,
// because it calls the sidecar.
func TestWhatASidecarChanges(t *testing.T) {
	without, with := readCase(t, "testdata/ports-one.txtar").judge(t)
	type facts struct{ Operation, Source string }
	look := func(c *control) facts {
		e := c.envoy(t, c.pod(t, "app"))
		var f facts
		for _, fc := range e.inboundChains(application) {
			text := fmt.Sprint(findAll(chainAsIs(t, fc), "operation"))
			f.Operation = strings.Trim(text, "[]")
		}
		f.Source = e.clusters["inbound|8080||"].GetUpstreamBindConfig().GetSourceAddress().GetAddress()
		return f
	}
	if diff := cmp.Diff(facts{"app.default.svc.cluster.local:80/*", "127.0.0.6"}, look(without)); diff != "" {
		t.Errorf("without us (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(facts{"app-tapedeck.default:8080/*", ""}, look(with)); diff != "" {
		t.Errorf("with us (-want +got):\n%s", diff)
	}
}

// TestOrder checks the table of docs/istio.md.
func TestOrder(t *testing.T) {
	const manifest = `apiVersion: v1
kind: Pod
metadata:
  name: app
  labels: {app: app}
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: reverse
    sidecar.speedscale.com/proxy-port: "8080"
spec:
  initContainers:
  - {name: own, image: registry.example/own:1}
  containers:
  - {name: app, image: registry.example/app:1}
`
	for _, c := range []struct {
		mode  mode
		order string
	}{
		{mode{true, false, "native"}, "istio-init istio-proxy own tapedeck-proxy | app"},
		{mode{true, true, "native"}, "istio-init istio-proxy own tapedeck-proxy | app"},
		{mode{true, false, "classic"}, "istio-init istio-proxy own | tapedeck-proxy app"},
		{mode{true, true, "classic"}, "istio-init istio-proxy own | tapedeck-proxy app"},
		{mode{false, true, "native"}, "own tapedeck-proxy istio-init | istio-proxy app"},
		{mode{false, true, "classic"}, "own istio-init | istio-proxy tapedeck-proxy app"},
		{mode{false, false, "native"}, "own tapedeck-proxy istio-init | app istio-proxy"},
		{mode{false, false, "classic"}, "own istio-init | tapedeck-proxy app istio-proxy"},
	} {
		t.Run(c.mode.String(), func(t *testing.T) {
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("sidecar", c.mode.sidecar); err != nil {
				t.Fatal(err)
			}
			out, _ := render(t, manifest, cfg)
			var got []string
			for _, s := range starts(podsOf(t, c.mode.injector(t), out)["Pod/app"].admitted) {
				if !s.init && !strings.Contains(strings.Join(got, " "), "|") {
					got = append(got, "|")
				}
				got = append(got, s.Name)
			}
			if diff := cmp.Diff(c.order, strings.Join(got, " ")); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}
