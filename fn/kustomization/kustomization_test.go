package kustomization_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/fn/kustomization"
)

// tree has a base, an overlay, and kustomizations that need more than is allowed.
const tree = `
-- base/kustomization.yaml --
resources: [objects.yaml]
configMapGenerator:
- name: settings
  literals: [url=https://example.com]
-- base/objects.yaml --
apiVersion: v1
kind: Service
metadata: {name: app}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
-- overlay/kustomization.yaml --
namePrefix: my-
resources: [../base]
-- unsorted/kustomization.yaml --
sortOptions: {order: fifo}
resources: [../base]
-- outside/kustomization.yaml --
resources: [../base/objects.yaml]
-- below/kustomization.yaml --
resources: [../remote]
-- remote/kustomization.yaml --
resources: ["https://example.com/objects.yaml"]
-- clone/kustomization.yaml --
resources: ["github.com/owner/name"]
-- clone/github.com/owner/name/kustomization.yaml --
resources: []
-- component/kustomization.yaml --
components: ["git@example.com:owner/name"]
-- missing/kustomization.yaml --
resources: [objects.yaml]
-- fetched/kustomization.yaml --
configMapGenerator:
- {name: settings, files: ["a=http://ADDRESS/a"]}
-- chart/kustomization.yaml --
helmCharts: [{name: app}]
-- function/kustomization.yaml --
transformers: [function.yaml]
resources: [../base]
-- function/function.yaml --
apiVersion: v1
kind: Function
metadata:
  name: function
  annotations: {config.kubernetes.io/function: "exec: {path: ./function.sh}"}
-- broken/kustomization.yml --
resources: [
-- empty/readme --
`

func extract(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(strings.ReplaceAll(tree, "ADDRESS", address))).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestBuild shows what a kustomization may do, and the errors for what it may not do.
func TestBuild(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from afar") }))
	defer server.Close()
	dir := extract(t, server.Listener.Addr().String())
	tests := []struct {
		dir  string
		opts kustomization.Options
		file string   // that the error or the source names
		says []string // in the text, or in the error
		fail bool
	}{
		{dir: "overlay", file: "kustomization.yaml", says: []string{"kind: Namespace", "kind: ConfigMap", "name: my-app"}},
		{dir: "unsorted", file: "kustomization.yaml", says: []string{"kind: Service", "kind: Namespace"}},
		{dir: "outside", file: "kustomization.yaml", fail: true, says: []string{"is not in or below", "--load-restrictor LoadRestrictionsNone"}},
		{dir: "outside", opts: kustomization.Options{AnyFile: true}, file: "kustomization.yaml", says: []string{"kind: Namespace"}},
		{dir: "remote", file: "kustomization.yaml", fail: true, says: []string{`resources: "https://example.com/objects.yaml" is not a local file`, "--load-remote"}},
		{dir: "below", file: "kustomization.yaml", fail: true, says: []string{"remote/kustomization.yaml", "--load-remote"}},
		{dir: "clone", file: "kustomization.yaml", fail: true, says: []string{`"github.com/owner/name" is not a local file`}},
		{dir: "component", file: "kustomization.yaml", fail: true, says: []string{"components", "--load-remote"}},
		{dir: "missing", file: "kustomization.yaml", fail: true, says: []string{`"objects.yaml" is not a local file`}},
		{dir: "fetched", file: "kustomization.yaml", fail: true, says: []string{"--load-remote"}},
		{dir: "fetched", opts: kustomization.Options{Remote: true}, file: "kustomization.yaml", says: []string{"a: from afar"}},
		{dir: "chart", file: "kustomization.yaml", fail: true, says: []string{"helm template"}},
		{dir: "function", file: "kustomization.yaml", fail: true, says: []string{"--enable-alpha-plugins"}},
		{dir: "function", opts: kustomization.Options{Exec: true}, file: "kustomization.yaml", fail: true, says: []string{"--enable-alpha-plugins"}},
		{dir: "broken", file: "kustomization.yml", fail: true, says: []string{"broken/kustomization.yml"}},
		{dir: "empty", file: "empty", fail: true, says: []string{"found no kustomization"}},
		{dir: "nowhere", file: "nowhere", fail: true, says: []string{"found no directory"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %+v", tt.dir, tt.opts), func(t *testing.T) {
			before := http.DefaultTransport
			text, file, err := kustomization.Build(filepath.Join(dir, tt.dir), tt.opts)
			if (err != nil) != tt.fail || filepath.Base(file) != tt.file {
				t.Fatalf("got file %s, error %v", file, err)
			}
			said := string(text)
			if err != nil {
				if said = err.Error(); !strings.Contains(said, file) {
					t.Errorf("the error does not name %s: %v", file, err)
				}
			}
			at := 0
			for _, want := range tt.says { // in this order
				i := strings.Index(said[at:], want)
				if i < 0 {
					t.Fatalf("found no %q in its place in:\n%s", want, said)
				}
				at += i
			}
			if http.DefaultTransport != before {
				t.Error("the default transport was not restored")
			}
		})
	}
}
