package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestHelmHooks renders a chart with a hook that asks for the sidecar. Helm 4
// shows hooks to its post-renderers, so it is injected; Helm 3 doesn't, so it
// remains unchanged.
func TestHelmHooks(t *testing.T) {
	shop := []workload{{"Deployment", "checkout", 8080}}
	from := source{chart: asChart(t, read(t, "testdata/shop.yaml"))}
	write(t, from.chart.dir, map[string]string{"templates/hook.yaml": string(read(t, "testdata/hook.yaml"))})

	t.Run("helm 4", func(t *testing.T) {
		got := helm4(t, from)
		want := append(shop, workload{kind: "Job", name: "migrate"})
		checkInjected(t, got.before, got.after, want)
		checkReport(t, got.report, want)
	})
	t.Run("helm 3", func(t *testing.T) {
		got := helm3(t, from)
		checkInjected(t, got.before, got.after, shop)
		checkReport(t, got.report, shop)
	})
}

// TestHelmPublishedHooks turns on the hooks of a published chart with Helm 4.
// They don't ask for the sidecar, and remain unchanged next to an injected Deployment.
func TestHelmPublishedHooks(t *testing.T) {
	chart := podinfo(t)
	values := string(read(t, chart.values)) + "hooks:\n"
	for _, hook := range []string{"preInstall", "postInstall", "preUpgrade"} {
		values += "  " + hook + ":\n    job:\n      enabled: true\n"
	}
	write(t, filepath.Dir(chart.values), map[string]string{"values.yaml": values})

	got := helm4(t, source{chart: chart})
	checkInjected(t, got.before, got.after, []workload{{"Deployment", "app-podinfo", 9898}})
	for _, job := range []string{"app-podinfo-pre-install", "app-podinfo-post-install", "app-podinfo-pre-upgrade"} {
		if !strings.Contains(string(got.after), "name: "+job+"\n") {
			t.Errorf("the hook %s is lost", job)
		}
		if !strings.Contains(string(got.report), job) {
			t.Errorf("the hook %s has no line in the report:\n%s", job, got.report)
		}
	}
}

// TestHelm4KeepsSources: Helm 4 marks each document with its file before a post-renderer runs, and
// treats a document without the mark as new. So every original is still under its own name, and
// only a created object isn't.
func TestHelm4KeepsSources(t *testing.T) {
	from := source{chart: asChart(t, read(t, "testdata/shop.yaml"))}
	got := helm4(t, from)
	if strings.Contains(string(got.after), "postrenderer.helm.sh") {
		t.Error("Helm's own annotation is left in the output")
	}
	for _, node := range parse(t, got.after) {
		if node.GetKind() == "Sidecar" {
			continue
		}
		if doc := node.MustString(); !strings.Contains(doc, "# Source: app/templates/app.yaml") {
			t.Errorf("%s lost the name of its file:\n%s", id(node), doc)
		}
	}
}

// TestHelmStandardError checks docs/helm.md about standard error and arguments. Helm 3 shows
// standard error only on failure, and Helm 4 never does. Only Helm 3 passes the command's name as
// an argument correctly.
func TestHelmStandardError(t *testing.T) {
	shop := asChart(t, append(read(t, "testdata/shop.yaml"), "\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: misspelt\n  annotations:\n    sidecar.speedscale.com/injekt: \"true\"\n"...))
	home := t.TempDir()
	installPlugin(t, home)
	for _, tt := range []struct {
		name, helm, renderer string
		args                 []string
		succeeds, says       bool
	}{
		{"Helm 3 keeps warnings to itself", "helm3", tapedeck, nil, true, false},
		{"Helm 3 shows why it failed", "helm3", tapedeck, []string{"--strict"}, false, true},
		{"Helm 3 passes the command", "helm3", tapedeck, []string{"render"}, true, false},
		{"Helm 4 keeps warnings to itself", "helm4", "tapedeck", nil, true, false},
		{"Helm 4 keeps errors to itself", "helm4", "tapedeck", []string{"--strict"}, false, false},
		{"Helm 4 fails on the command", "helm4", "tapedeck", []string{"render"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own := home
			if tt.helm == "helm3" {
				own = t.TempDir()
			}
			report := filepath.Join(own, "report.txt")
			got := helmTemplate(t, own, tt.helm, shop, postRenderer(tt.renderer, append(tt.args, "--report", report)...)...)
			if succeeds := got.err == nil; succeeds != tt.succeeds {
				t.Errorf("succeeds: %t, want %t\n%s", succeeds, tt.succeeds, got.stderr)
			}
			if says := strings.Contains(string(got.stderr), "injekt"); says != tt.says {
				t.Errorf("names the annotation on standard error: %t, want %t\n%s", says, tt.says, got.stderr)
			}
		})
	}
}
