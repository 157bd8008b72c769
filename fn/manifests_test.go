package fn_test

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestDirectories shows which files of a directory are manifests. A manifest with an error remains
// an error.
func TestDirectories(t *testing.T) {
	const template = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n{{- if .Values.x }}\n  labels:\n    {{- include \"labels\" . | nindent 4 }}\n{{- end }}\n"
	tests := map[string]struct {
		name, text string
		manifest   bool
		fails      string // part of the error
	}{
		"a manifest":                      {"a.yaml", annotated, true, ""},
		"a comment alone":                 {"a.yaml", "# nothing\n", true, ""},
		"an empty file":                   {"a.json", "", true, ""},
		"a list":                          {"a.yaml", "apiVersion: v1\nkind: List\nitems: []\n", true, ""},
		"a manifest and something else":   {"a.yaml", "a: b\n---\n" + annotated, true, ""},
		"JSON with comments":              {"tsconfig.json", "{\n  // a comment\n  \"compilerOptions\": {\"strict\": true,},\n}\n", false, ""},
		"JSON with blocks of comments":    {".vscode/settings.json", "/* mine */\n{\n  \"a\": 1 /* b */\n}\n", false, ""},
		"a package's JSON":                {"package.json", "{\"name\": \"a\", \"dependencies\": {}}\n", false, ""},
		"an array":                        {"a.json", "[1, 2]\n", false, ""},
		"a chart's values":                {"values.yaml", "image: a\nkind: Deployment\n", false, ""},
		"a chart's name":                  {"Chart.yaml", "apiVersion: v2\nname: a\n", false, ""},
		"a template":                      {"a.yaml", template, false, ""},
		"a template with a comment":       {"a.yaml", "{{/*\n two lines\n*/}}\n" + template, false, ""},
		"a kustomization of another name": {"component.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n", false, ""},
		"a kustomization":                 {"a/kustomization.yml", "resources: [", false, ""},
		"a workflow":                      {"ci.yml", "on: push\njobs: {a: {runs-on: x}}\n", false, ""},
		"a broken workflow":               {"ci.yml", "on: push\n jobs: {a\n", false, ""},
		"a broken manifest":               {"a.yaml", annotated + "  a: b\n bad\n", true, "line "},
		"a broken manifest in JSON":       {"a.json", "{\"apiVersion\": \"v1\",\n\"kind\": \"Service\",\n\"metadata\": {}},\n", true, "line 3"},
		"a manifest in JSON, commented":   {"a.json", "{\n  // c\n  \"apiVersion\": \"v1\",\n \"kind\": \"Service\"}\n", true, "line 2"},
		"a broken manifest with actions":  {"a.yaml", annotated + "  a: |\n    {{ .x }}\n bad\n", true, "line "},
		"a manifest in UTF-16":            {"a.yaml", "\xff\xfe" + wide("apiVersion: v1\nkind: Service\n"), true, "UTF-16"},
		"a manifest without apiVersion":   {"a.yaml", strings.Replace(annotated, "apiVersion: apps/v1\n", "", 1), true, "found kind Deployment without apiVersion"},
		"a manifest without kind":         {"a.yaml", strings.Replace(annotated, "kind: Deployment\n", "", 1), true, "found apiVersion apps/v1 without kind"},
		"two keys that are no manifest's": {"a.yaml", "kind: x\nspec: y\n", false, ""},
	}
	other := fn.Source{Name: "z.yaml", Text: []byte("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: z\n"), Found: true}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src := fn.Source{Name: tt.name, Text: []byte(tt.text), Found: true}
			out, results, err := fn.Render([]fn.Source{src, other}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			checkError(t, results, tt.fails)
			left := find(results, transformer.CodeNotManifest)
			switch {
			case (left == nil) != tt.manifest:
				t.Errorf("left out: %v", left)
			case left != nil && (left.Severity != transformer.Info || !strings.HasSuffix(left.Message, "was skipped: "+tt.name)):
				t.Errorf("the result is %+v", left)
			case left != nil && string(out) != string(other.Text):
				t.Errorf("the output is %q", out)
			}

			// If the file is named, it is an error.
			src.Found = false
			_, results, err = fn.Render([]fn.Source{src}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			if !tt.manifest && tt.name != "component.yaml" && !results.Failed() {
				t.Error("no error, although the file was named")
			}
		})
	}
}

// TestDirectoryOfAChart skips a chart's templates, whatever they contain, and reports that once.
func TestDirectoryOfAChart(t *testing.T) {
	found := func(name, text string) fn.Source { return fn.Source{Name: name, Text: []byte(text), Found: true} }
	chart := []fn.Source{
		found("app/Chart.yaml", "apiVersion: v2\nname: app\n"), found("app/values.yaml", "a: 1\n"),
		found("app/templates/a.yaml", annotated), found("app/templates/tests/b.yaml", "{{ broken"),
		found("app/ci/values.yaml", "a: 1\n"), found("app/tsconfig.json", "{ // c\n}"), found("app/x.json", "[]"),
	}
	out, results, err := fn.Render(append(chart, found("templates/c.yaml", annotated)), transformer.DefaultConfig())
	if err != nil || results.Failed() {
		t.Fatalf("render: %v %+v", err, results)
	}
	if n := strings.Count(string(out), "kind: Deployment"); n != 1 {
		t.Errorf("found %d Deployments, want the one that is not a template:\n%s", n, out)
	}
	const want = "7 files that are not Kubernetes manifests were skipped: app/Chart.yaml, app/values.yaml, app/templates/a.yaml, app/templates/tests/b.yaml, app/ci/values.yaml and 2 more"
	if r := find(results, transformer.CodeNotManifest); r == nil || r.Message != want {
		t.Errorf("the result is %+v", r)
	}
	_, results, err = fn.Render(chart, transformer.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, results, "found no manifest")
}

func wide(text string) string {
	var out strings.Builder
	for _, c := range text {
		out.WriteString(string(c) + "\x00")
	}
	return out.String()
}

func find(results transformer.Results, code transformer.Code) *transformer.Result {
	for i := range results {
		if results[i].Code() == code {
			return &results[i]
		}
	}
	return nil
}

// checkError checks that an error contains a text, or that there is none.
func checkError(t *testing.T, results transformer.Results, says string) {
	t.Helper()
	for _, r := range results {
		if r.Severity == transformer.Error && (says == "" || strings.Contains(r.Message, says)) {
			if says == "" {
				t.Errorf("unexpected error: %+v", r)
			}
			return
		}
	}
	if says != "" {
		t.Errorf("no error says %q: %+v", says, results)
	}
}
