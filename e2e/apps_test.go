package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// app is an application to render, and the expected result.
type app struct {
	name string
	// kustomization returns a directory that `kustomize build` reads, with
	// the annotations on the workloads of want.
	kustomization func(t *testing.T, want []workload) string
	// file is the application as one stream, if it comes as one; otherwise
	// the stream is the output of the kustomization.
	file string
	// chart returns the application's chart, if it comes as one.
	chart func(t *testing.T) chart
	// want are the workloads that ask for the sidecar; nothing else may change.
	want []workload
}

// workload is a workload that should be injected.
type workload struct {
	kind, name string
	// port is where the application listens: the annotation proxy-port, and
	// the listener that the Istio Sidecar hands over. 0: outbound only, so
	// there is no Istio Sidecar.
	port int
}

func (w workload) String() string { return w.kind + "/" + w.name }

// sidecar is the Istio object that is created for w.
func (w workload) sidecar() string { return "Sidecar/" + w.name + "-tapedeck" }

// annotations returns the annotations by which a user asks for w's sidecar.
func (w workload) annotations() map[string]string {
	return map[string]string{
		"sidecar.speedscale.com/inject":         "true",
		"sidecar.speedscale.com/capture-mode":   "proxy",
		"sidecar.speedscale.com/proxy-type":     "dual",
		"sidecar.speedscale.com/proxy-protocol": "tcp:http",
		"sidecar.speedscale.com/proxy-port":     fmt.Sprint(w.port),
	}
}

// chart is Helm's input.
type chart struct{ dir, values string }

func apps() []app {
	return []app{
		{
			name:          "shop",
			kustomization: ownManifests("testdata/shop.yaml"),
			file:          "testdata/shop.yaml",
			want:          []workload{{"Deployment", "checkout", 8080}},
		},
		{
			name:          "bookinfo",
			kustomization: overlay("bookinfo", "."),
			want:          []workload{{"Deployment", "productpage-v1", 9080}, {"Deployment", "reviews-v2", 9080}},
		},
		{
			name:          "online-boutique",
			kustomization: overlay("online-boutique", "kustomize/base"),
			want:          []workload{{"Deployment", "frontend", 8080}, {"Deployment", "checkoutservice", 5050}},
		},
		{
			name:          "podinfo",
			kustomization: renderedChart,
			chart:         podinfo,
			want:          []workload{{"Deployment", "app-podinfo", 9898}},
		},
	}
}

// ownManifests is a kustomization of a file that has its annotations already.
func ownManifests(file string) func(*testing.T, []workload) string {
	return func(t *testing.T, _ []workload) string {
		dir := t.TempDir()
		write(t, dir, map[string]string{
			"app.yaml":           string(read(t, file)),
			"kustomization.yaml": "resources: [app.yaml]\n",
		})
		return dir
	}
}

// overlay is a kustomization of an unchanged copy of a part of the corpus
// that adds the annotations with a patch, like a team that doesn't own the base.
func overlay(part, base string) func(*testing.T, []workload) string {
	return func(t *testing.T, want []workload) string {
		dir := t.TempDir()
		copyDir(t, filepath.Join(dir, "base"), filepath.Join(needCorpus(t, part), base))
		if _, err := os.Stat(filepath.Join(dir, "base/kustomization.yaml")); err != nil {
			files, err := filepath.Glob(filepath.Join(dir, "base/*.yaml"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no manifests in %s (%v)", part, err)
			}
			var resources strings.Builder
			for _, file := range files {
				fmt.Fprintf(&resources, "- %s\n", filepath.Base(file))
			}
			write(t, dir, map[string]string{"base/kustomization.yaml": "resources:\n" + resources.String()})
		}
		var patches strings.Builder
		for _, w := range want {
			fmt.Fprintf(&patches, "- target: {kind: %s, name: %s}\n", w.kind, w.name)
			fmt.Fprintf(&patches, "  patch: |\n    kind: %s\n    metadata:\n      name: %s\n      annotations:\n", w.kind, w.name)
			for key, value := range w.annotations() {
				fmt.Fprintf(&patches, "        %s: %q\n", key, value)
			}
		}
		write(t, dir, map[string]string{"kustomization.yaml": "resources: [base]\npatches:\n" + patches.String()})
		return dir
	}
}

// podinfo is the chart as published; its values put the annotations on the
// pod template.
func podinfo(t *testing.T) chart {
	values := "podAnnotations:\n"
	for key, value := range (workload{port: 9898}).annotations() {
		values += fmt.Sprintf("  %s: %q\n", key, value)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"values.yaml": values})
	return chart{needCorpus(t, "podinfo-chart"), filepath.Join(dir, "values.yaml")}
}

// renderedChart is podinfo for the callers that read manifests.
func renderedChart(t *testing.T, _ []workload) string {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"podinfo.yaml":       string(helmTemplate(t, dir, "helm3", podinfo(t)).ok(t)),
		"kustomization.yaml": "resources: [podinfo.yaml]\n",
	})
	return dir
}

// source returns the application in the form that each caller needs.
func (a app) source(t *testing.T) source {
	from := source{kustomization: a.kustomization(t, a.want)}
	if a.file != "" {
		from.manifests = read(t, a.file)
	} else {
		from.manifests = run(t, from.kustomization, nil, tool(t, "kustomize"), "build", ".").ok(t)
	}
	if a.chart != nil {
		from.chart = a.chart(t)
	} else {
		from.chart = asChart(t, from.manifests)
	}
	return from
}

// asChart wraps manifests into a chart of one template.
func asChart(t *testing.T, manifests []byte) chart {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"values.yaml":        "{}\n",
		"templates/app.yaml": string(manifests),
	})
	return chart{dir, filepath.Join(dir, "values.yaml")}
}
