package e2e

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// TestEveryWayIn renders every application through every caller. The right workloads are injected
// and nothing else changes, the report says so, and the text or at least the comments are kept. A
// second run gives the same bytes, rendering the output changes nothing, and uninject undoes all of
// it.
func TestEveryWayIn(t *testing.T) {
	for _, app := range apps() {
		t.Run(app.name, func(t *testing.T) {
			from := app.source(t)
			for _, caller := range callers() {
				t.Run(caller.name, func(t *testing.T) {
					if caller.need != nil {
						caller.need(t)
					}
					got := caller.render(t, from)
					checkInjected(t, got.before, got.after, app.want)
					if caller.keepsOrder {
						checkOrder(t, got.after, app.want)
					}
					checkText(t, caller, got)
					if caller.keepsResults {
						checkReport(t, got.report, app.want)
					}
					if again := caller.render(t, from); !bytes.Equal(again.after, got.after) {
						t.Errorf("a second run gave other bytes:\n%s", firstDifference(got.after, again.after))
					}
					if twice := pipe(t, source{manifests: got.after}); !bytes.Equal(twice.after, got.after) {
						t.Errorf("rendering what was rendered changed it:\n%s", firstDifference(got.after, twice.after))
					}
					checkUninject(t, caller, got)
				})
			}
		})
	}
}

// checkText fails the test if a line is lost and the caller keeps text, or if a comment is lost.
func checkText(t *testing.T, c caller, got rendering) {
	t.Helper()
	keep := comment
	if c.keepsText {
		keep = anyLine
	}
	for _, line := range missingLines(got.before, got.after, keep) {
		t.Errorf("a line of the input is not in the output, or not in its place: %q", line)
	}
}

// checkUninject fails the test unless uninject restores the input: byte for
// byte if the caller keeps text, and object by object otherwise.
func checkUninject(t *testing.T, c caller, got rendering) {
	t.Helper()
	back := run(t, "", got.after, tapedeck, "uninject").ok(t)
	if c.keepsOrder {
		if !bytes.Equal(back, got.before) {
			t.Errorf("uninject doesn't give the input back:\n%s", firstDifference(got.before, back))
		}
		return
	}
	checkInjected(t, got.before, back, nil)
}

// checkReport fails the test unless the results say for each workload that it
// is injected, and have a severity and a reason code throughout.
func checkReport(t *testing.T, report []byte, want []workload) {
	t.Helper()
	var injected []string
	for _, r := range parseResults(t, report) {
		if r.Severity == "" || r.Tags.Code == "" {
			t.Errorf("a result has no severity or no reason code: %+v", r)
		}
		if r.Tags.Code == "injected" {
			injected = append(injected, r.ResourceRef.Kind+"/"+r.ResourceRef.Name)
		}
	}
	for _, w := range want {
		if !slices.Contains(injected, w.String()) {
			t.Errorf("the results don't say that %s is injected:\n%s", w, report)
		}
	}
	if len(injected) != len(want) {
		t.Errorf("the results name %s as injected, want %s", injected, want)
	}
}

// functionResult is what the KRM function specification calls a result.
type functionResult struct {
	Message     string
	Severity    string
	ResourceRef struct{ Kind, Name string } `yaml:"resourceRef"`
	Tags        struct{ Code string }
}

// parseResults reads Tapedeck's own report, a list of results, and kpt's,
// which has a list for each function that ran.
func parseResults(t *testing.T, report []byte) []functionResult {
	t.Helper()
	var own []functionResult
	if yaml.Unmarshal(report, &own) == nil {
		return own
	}
	var kpt struct {
		Items []struct{ Results []functionResult }
	}
	if err := yaml.Unmarshal(report, &kpt); err != nil {
		t.Fatalf("the report is neither Tapedeck's nor kpt's: %v\n%s", err, report)
	}
	for _, function := range kpt.Items {
		own = append(own, function.Results...)
	}
	return own
}

// TestBareBinary calls the binary without a command, like kustomize, kpt and Helm.
// It distinguishes a ResourceList from a stream.
func TestBareBinary(t *testing.T) {
	manifests := read(t, "testdata/shop.yaml")
	want := run(t, "", manifests, tapedeck, "render").ok(t)
	if got := run(t, "", manifests, tapedeck).ok(t); !bytes.Equal(got, want) {
		t.Errorf("a stream comes out of the bare binary as it does not of render:\n%s", firstDifference(want, got))
	}
	home := t.TempDir()
	chart := asChart(t, manifests)
	before := helmTemplate(t, home, "helm3", chart).ok(t)
	after := helmTemplate(t, home, "helm3", chart, postRenderer(tapedeck)...).ok(t)
	if missing := missingLines(before, after, anyLine); missing != nil || !bytes.Contains(after, []byte(container)) {
		t.Errorf("Helm 3 with the bare path gives:\n%s", after)
	}
	list := run(t, "", []byte("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\n"), tapedeck).ok(t)
	if nodes := parse(t, list); len(nodes) != 0 || !bytes.Contains(list, []byte("kind: ResourceList")) {
		t.Errorf("a ResourceList comes out of the bare binary as:\n%s", list)
	}
}

// TestMistakesStop: if a workload asks for something impossible, every caller fails and nothing is
// half-written. The user can read why: on the caller's standard error, or in the report, since
// Helm 4 never shows a post-renderer's messages.
func TestMistakesStop(t *testing.T) {
	bad := strings.Replace(string(read(t, "testdata/shop.yaml")), `proxy-port: "8080"`, `proxy-port: "eighty"`, 1)
	home := t.TempDir()
	report := filepath.Join(home, "report.txt")
	for name, call := range map[string]func(t *testing.T) (said string, r result){
		"pipe": func(t *testing.T) (string, result) {
			r := run(t, "", []byte(bad), tapedeck, "render")
			return string(r.stderr), r
		},
		"kustomize": func(t *testing.T) (string, result) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"app.yaml": bad, "kustomization.yaml": "resources: [app.yaml]\n"})
			addTransformer(t, dir, execFunction)
			r := kustomizeBuild(t, dir)
			return string(r.stderr), r
		},
		"kpt": func(t *testing.T) (string, result) {
			needKpt(t)
			dir := kptPackage(t, []byte(bad), pipeline(execFunction))
			r := kptFnRender(t, dir, t.TempDir())
			if got := string(packageYAML(t, dir)); got != bad {
				t.Errorf("the package was written to:\n%s", got)
			}
			return string(r.stderr), r
		},
		"helm 3": func(t *testing.T) (string, result) {
			r := helmTemplate(t, home, "helm3", asChart(t, []byte(bad)), postRenderer(tapedeck, "render", "--report", report)...)
			return string(read(t, report)), r
		},
		"helm 4": func(t *testing.T) (string, result) {
			installPlugin(t, home)
			r := helmTemplate(t, home, "helm4", asChart(t, []byte(bad)), postRenderer("tapedeck", "--report", report)...)
			return string(read(t, report)), r
		},
	} {
		t.Run(name, func(t *testing.T) {
			said, r := call(t)
			if r.err == nil {
				t.Error("it exits with 0")
			}
			if bytes.Contains(r.stdout, []byte("kind:")) {
				t.Errorf("manifests come out all the same:\n%s", r.stdout)
			}
			for _, part := range []string{"checkout", "proxy-port", "eighty"} {
				if !strings.Contains(said, part) {
					t.Errorf("the user isn't told of %q:\n%s", part, said)
				}
			}
		})
	}
}

// firstDifference returns the place where two texts begin to differ.
func firstDifference(want, got []byte) string {
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "- " + a[i] + "\n+ " + b[i]
		}
	}
	return "one is the beginning of the other"
}
