package fn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A result that applies to many workloads appears once, with a count and the first names. The same is
// true in a ResourceList.
func TestWhatHoldsForManyIsSaidOnce(t *testing.T) {
	var docs, items strings.Builder
	for i := range 5 {
		fmt.Fprintf(&docs, `---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%d
  namespace: shop
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-protocol: tcp:socks
    sidecar.speedscale.com/proxy-port: "8080"
    sidecar.speedscale.com/tls-out: "true"
spec:
  template:
    metadata:
      labels: {app: app-%d}
    spec:
      containers:
      - name: app
        envFrom:
        - secretRef: {name: one}
        - secretRef: {name: two}
`, i, i)
	}
	for _, doc := range strings.Split(docs.String(), "---\n")[1:] {
		items.WriteString("- " + strings.ReplaceAll(strings.TrimSpace(doc), "\n", "\n  ") + "\n")
	}
	list := "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n" + items.String()
	for name, input := range map[string]string{"a stream": docs.String(), "a ResourceList": list} {
		out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
		if err != nil || results.Failed() {
			t.Fatal(err, results)
		}
		said := map[transformer.Code][]transformer.Result{}
		for _, r := range results {
			said[r.Code()] = append(said[r.Code()], r)
		}
		if len(said[transformer.CodeInjected]) != 5 {
			t.Errorf("%s: %d workloads have a result, want 5", name, len(said[transformer.CodeInjected]))
		}
		for code, want := range map[transformer.Code][2]string{
			transformer.CodeCASecret: {"5", "shop/Deployment/app-0, shop/Deployment/app-1, shop/Deployment/app-2 and 2 more."},
			transformer.CodeEgress:   {"5", "shop/Deployment/app-0, shop/Deployment/app-1, shop/Deployment/app-2 and 2 more."},
			transformer.CodeSocks:    {"5", "shop/Deployment/app-0, shop/Deployment/app-1, shop/Deployment/app-2 and 2 more."},
			transformer.CodeEnvFrom:  {"10", "shop/Deployment/app-0 from one, shop/Deployment/app-0 from two, shop/Deployment/app-1 from one and 7 more."},
		} {
			rs := said[code]
			if len(rs) != 1 || rs[0].Tags["count"] != want[0] || !strings.HasSuffix(rs[0].Message, want[1]) {
				t.Errorf("%s: %s: got %v; want one with a count of %s", name, code, rs, want[0])
			}
		}
		if name == "a ResourceList" && strings.Count(string(out), "code: "+string(transformer.CodeCASecret)) != 1 {
			t.Errorf("%s: it does not say this exactly once:\n%s", name, out)
		}
	}
}

// A result about the surroundings of many workloads also appears once, and so does one about
// something that many lack.
func TestSurroundingsOfManyAreSaidOnce(t *testing.T) {
	input := `apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec: {limits: [{type: Container, default: {memory: 16Mi}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Egress]}
`
	for name, ports := range map[string]string{
		"one-a": "{containerPort: 8080}", "one-b": "{containerPort: 9090}",
		"no-a": "", "no-b": "",
		"two-a": "{containerPort: 1}, {containerPort: 2}", "two-b": "{containerPort: 1}, {containerPort: 2}",
	} {
		input += fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, annotations: {sidecar.speedscale.com/inject: "true"}}
spec: {template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: app, ports: [%s]}]}}}
`, name, name, ports)
	}
	_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
	if err != nil || results.Failed() {
		t.Fatal(err, results)
	}
	counts := map[transformer.Code][]string{}
	for _, r := range results {
		counts[r.Code()] = append(counts[r.Code()], r.Tags["count"])
	}
	for code, want := range map[transformer.Code]string{
		transformer.CodeNoService:    "2",
		transformer.CodeOutboundOnly: "2",
		transformer.CodePortsUnclear: "2",
		transformer.CodeEgressPolicy: "6",
		transformer.CodeMemoryLimit:  "6",
	} {
		if got := counts[code]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: results with the counts %q, want one with %s", code, got, want)
		}
	}
}

// A result about one object with a fault in two places has no number of objects.
func TestWhatHoldsForOneObjectNamesIt(t *testing.T) {
	input := `
apiVersion: speedscale.com/v1
kind: TrafficReplay
metadata: {name: nightly, namespace: shop}
spec:
  snapshotID: 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e
  workloads:
  - {ref: {name: cart}, mocks: ["*"]}
  - {ref: {name: till}, mocks: ["*"]}
`
	for _, name := range []string{"cart", "till"} {
		input += fmt.Sprintf("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: shop}\nspec: {template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}}\n", name, name)
	}
	cfg := transformer.DefaultConfig()
	cfg.ReplayPlace = "s3://recordings/shop"
	_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, r := range results {
		if r.Code() == transformer.CodeReplaySecret {
			found++
			if r.ResourceRef == nil || r.ResourceRef.Name != "nightly" || strings.Contains(r.Message, "objects") {
				t.Errorf("found %v: %s", r.ResourceRef, r.Message)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d results say which Secrets are missing, want 1: %v", found, results)
	}
}
