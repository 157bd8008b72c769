package fn_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestRenderAgainAfterEdits edits rendered text as a user would. A second render gives the same as
// a render of the original with that edit, and an undo gives the original with the edit.
func TestRenderAgainAfterEdits(t *testing.T) {
	const original = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: forward
    sidecar.speedscale.com/tls-out: "true"
spec:
  template:
    metadata:
      labels:
        app: app
    spec:
      containers:
      - name: app
        image: registry.example/app:1
        env:
        - name: LOG
          value: debug
        ports:
        - containerPort: 8080
      volumes:
      - name: cache
        emptyDir: {}
`
	const (
		variable = "        # Read at startup.\n        - name: MINE # keep me\n          value: \"x\"   # why\n"
		volume   = "      - name: mine # keep me\n        emptyDir: {} # why\n"
	)
	tests := map[string]struct {
		added           string
		before          string // the line of the rendered manifest before which it is inserted
		originallyAfter string // the line of the original after which it belongs
	}{
		"a variable among those of the render":  {variable, "        - name: http_proxy\n", "          value: debug\n"},
		"a variable behind those of the render": {variable, "        ports:\n", "          value: debug\n"},
		"a volume among those of the render":    {volume, "      - name: tapedeck-ca\n", "        emptyDir: {}\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			edited := strings.Replace(rendered(t, original), tt.before, tt.added+tt.before, 1)
			source := strings.Replace(original, tt.originallyAfter, tt.originallyAfter+tt.added, 1)
			again := rendered(t, edited)
			if diff := cmp.Diff(rendered(t, source), again); diff != "" {
				t.Errorf("rendered again (-want +got):\n%s", diff)
			}
			back, _, err := fn.Uninject([]fn.Source{{Text: []byte(again)}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(source, string(back)); diff != "" {
				t.Errorf("undone (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRenamedContainer renames a container in rendered text. Its record then has no container, and
// both a render and an uninject say so.
func TestRenamedContainer(t *testing.T) {
	renamed := strings.Replace(rendered(t, annotated), "- name: app\n", "- name: web\n", 1)
	for name, run := range map[string]func([]fn.Source) ([]byte, transformer.Results, error){
		"render": func(s []fn.Source) ([]byte, transformer.Results, error) {
			return fn.Render(s, transformer.DefaultConfig())
		},
		"uninject": fn.Uninject,
	} {
		t.Run(name, func(t *testing.T) {
			_, results, err := run([]fn.Source{{Text: []byte(renamed)}})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Code() == transformer.CodeUndoPath && strings.Contains(r.Message, "spec.template.spec.containers[app],") {
					return
				}
			}
			t.Errorf("no result names the lost path: %+v", results)
		})
	}
}

func rendered(t *testing.T, input string) string {
	t.Helper()
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
	if err != nil || results.Failed() {
		t.Fatalf("render: %v %+v", err, results)
	}
	return string(out)
}
