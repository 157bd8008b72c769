package manifests_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestAgreesWithRender checks the inputs of all cases of package fn: a check finds a sidecar
// where a render writes one, with the ports that it writes; it has a problem where a render
// has an error, and a fix for whatever isn't fine.
func TestAgreesWithRender(t *testing.T) {
	files, err := filepath.Glob("../../fn/testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	injected := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(t, archive)
			input := []fn.Source{{Text: []byte(section(archive, "input.yaml"))}}
			out, results, err := fn.Render(input, cfg)
			if err != nil {
				t.Fatal(err)
			}
			report, err := manifests.Check(input, cfg)
			if err != nil {
				if err != manifests.ErrNoWorkload {
					t.Fatal(err)
				}
				return
			}
			for _, f := range report.Findings {
				if f.State != check.OK && f.Fix == "" || f.Found == "" || f.Subject == "" || f.Area == "" || strings.Contains(f.Found+f.Fix, "%!") {
					t.Errorf("finding without a fix, or another part: %+v", f)
				}
			}
			if results.Failed() {
				if report.ExitCode() == check.Fine {
					t.Errorf("a render has errors, and the check is fine:\n%s", text(t, report))
				}
				return
			}
			injected += len(sidecarsOf(results))
			if diff := cmp.Diff(sidecarsOf(results), sidecarsIn(report)); diff != "" {
				t.Errorf("sidecars (-render +check):\n%s", diff)
			}
			if len(sidecarsOf(results)) > 0 && cfg.Inbound == "sidecar" && !strings.Contains(string(out), "kind: TrafficReplay") && !strings.Contains(string(out), contract.LabelReplay) {
				if diff := cmp.Diff(portsOf(out), portsIn(report)); diff != "" {
					t.Errorf("captured ports (-render +check):\n%s\n%s", diff, text(t, report))
				}
			}
		})
	}
	if injected < 100 {
		t.Errorf("found %d sidecars in all cases, want 100 or more", injected)
	}
}

// sidecarsOf names the workloads that a render gave a sidecar.
func sidecarsOf(results transformer.Results) (names []string) {
	for _, r := range results {
		if r.Code() == transformer.CodeInjected {
			names = append(names, strings.TrimSpace(r.ResourceRef.Kind+" "+strings.TrimPrefix(r.ResourceRef.Namespace+"/"+r.ResourceRef.Name, "/")))
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(n string) bool { return strings.Contains(n, "-replay-") }) // a copy is not in the input
}

func sidecarsIn(report check.Report) (names []string) {
	for _, f := range report.Findings {
		sidecar := f.Code == string(transformer.CodeInjected) || f.Code == string(transformer.CodeUndone)
		if f.Area == check.Capture && sidecar {
			names = append(names, f.Subject)
		}
	}
	slices.Sort(names)
	return names
}

var (
	one     = regexp.MustCompile(`name"?: ?"?` + contract.EnvReverseProxyPort + `"?,?\s*"?value"?: ?"?(\d+)`) // JSON, too
	several = regexp.MustCompile(`name"?: ?"?` + contract.EnvInPorts + `"?,?\s*"?value"?: ?"?([-:,>=\d ]+)`)
	found   = regexp.MustCompile(`^port (\d+).*? is captured`)
)

// portsOf counts the captured ports of the rendered sidecars.
func portsOf(out []byte) (ports []string) {
	routes := several.FindAllSubmatch(out, -1)
	for _, m := range routes {
		list, err := contract.ParseInRoutes(strings.TrimSpace(string(m[1])))
		if err != nil {
			continue
		}
		for _, r := range list[1:] { // the first one is in the other variable
			ports = append(ports, fmt.Sprint(r.App))
		}
	}
	for _, m := range one.FindAllSubmatch(out, -1) {
		ports = append(ports, string(m[1]))
	}
	slices.Sort(ports)
	return ports
}

func portsIn(report check.Report) (ports []string) {
	for _, f := range report.Findings {
		m := found.FindStringSubmatch(f.Found)
		if m == nil {
			m = toBe.FindStringSubmatch(f.Found)
		}
		if f.Area == check.Inbound && m != nil {
			ports = append(ports, m[1])
		}
	}
	slices.Sort(ports)
	return ports
}

// toBe matches a port on which the sidecar listens, but at which no call arrives.
var toBe = regexp.MustCompile(`^port (\d+).*? should be captured`)

func ExampleCheck() {
	report, err := manifests.Check([]fn.Source{{Text: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - {name: app, image: "registry.example/cart:1", ports: [{containerPort: 8080}]}
`)}}, transformer.DefaultConfig())
	if err != nil {
		panic(err)
	}
	form, err := check.FormNamed("text")
	if err != nil {
		panic(err)
	}
	if err := form.Write(os.Stdout, report, check.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// input
	//   ✗ problem   capture  nothing is captured: no workload asks for the sidecar
	//                        → annotate one with sidecar.speedscale.com/inject: "true", or set inject: "true" under the configuration's defaults
	//
	// Deployment shop/cart
	//   – left out  capture  not captured: nothing asks for the sidecar. One annotation would capture inbound calls of port 8080, and outbound HTTP, HTTPS and gRPC of container app
	//                        → set sidecar.speedscale.com/inject: "true"
	//
	// 2 subjects: 1 problem, 1 left out
}

// manyWorkloads is a stream of Deployments with a Service each. Every second one asks for the
// sidecar.
func manyWorkloads(n int) []byte {
	var b strings.Builder
	for i := range n {
		annotations := ""
		if i%2 == 0 {
			annotations = `, annotations: {sidecar.speedscale.com/inject: "true"}`
		}
		fmt.Fprintf(&b, `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app-%[1]d%[2]s}
spec:
  template:
    metadata: {labels: {app: app-%[1]d}}
    spec:
      containers:
      - {name: app, image: "registry.example/app:1", ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: app-%[1]d}
spec:
  selector: {app: app-%[1]d}
  ports: [{name: http, port: 80, targetPort: http}]
`, i, annotations)
	}
	return []byte(b.String())
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{100, 1000, 4000} {
		input := manyWorkloads(n)
		b.Run(fmt.Sprintf("workloads=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := manifests.Check([]fn.Source{{Text: input}}, transformer.DefaultConfig()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The same input gives the same report, down to the order.
func TestSameReport(t *testing.T) {
	input := []fn.Source{{Text: manyWorkloads(20)}}
	first := ""
	for range 5 {
		report, err := manifests.Check(input, transformer.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, report); first == "" {
			first = got
		} else if diff := cmp.Diff(first, got); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}
