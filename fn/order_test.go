package fn_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestOrder shuffles the documents of every case of testdata/render. The render
// must give the same objects in any order, even if the documents come
// from an earlier render.
func TestOrder(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	shuffled := 0
	for _, file := range files {
		c := readCase(t, file)
		docs, ok := documents(c["input.yaml"])
		if !ok || len(docs) < 2 {
			continue
		}
		shuffled++
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			checkOrder(t, docs, c.config(t))
		})
	}
	if shuffled < 60 {
		t.Errorf("only %d cases were shuffled", shuffled)
	}
}

// TestOrderOfCreated covers what the cases of testdata/render do not: workloads
// that share a name, and versions of Istio's objects that differ.
func TestOrderOfCreated(t *testing.T) {
	statefulSet := strings.Replace(serving, "kind: Deployment", "kind: StatefulSet", 1)
	gateway := func(name, version string) string {
		return "apiVersion: networking.istio.io/" + version + "\nkind: Gateway\nmetadata:\n  name: " + name + "\nspec:\n  servers: []\n"
	}
	envoyFilter := "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata:\n  name: filter\nspec:\n  configPatches: []\n"
	tests := map[string]struct {
		docs []string
		want []string // kinds, names and selectors of what was created
	}{
		"a StatefulSet and a Deployment of one name": {
			[]string{statefulSet, serving},
			[]string{"v1 app-tapedeck deployment.app", "v1 app-tapedeck-statefulset statefulset.app"},
		},
		"the newest version wins": {
			[]string{gateway("one", "v1alpha3"), serving, gateway("two", "v1beta1"), gateway("three", "v1alpha3")},
			[]string{"v1beta1 app-tapedeck deployment.app"},
		},
		"a version that Istio does not have": {
			[]string{gateway("one", "v2"), gateway("two", "v1alpha3"), serving},
			[]string{"v1alpha3 app-tapedeck deployment.app"},
		},
		"a kind that has one version alone": {
			[]string{envoyFilter, serving},
			[]string{"v1 app-tapedeck deployment.app"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := checkOrder(t, tt.docs, transformer.DefaultConfig())
			if diff := cmp.Diff(tt.want, sidecars(t, out)); diff != "" {
				t.Errorf("Sidecars (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOneLabelTwice has pods of two workloads with one tapedeck.dev/workload
// label, by which a Sidecar would select both.
func TestOneLabelTwice(t *testing.T) {
	copied := strings.Replace(serving, "  name: app\n", "  name: copy\n", 1)
	copied = strings.Replace(copied, "sidecar.speedscale.com/inject: \"true\"", "sidecar.speedscale.com/inject: \"false\"", 1)
	tests := map[string]struct{ input, says string }{
		"the same workload twice": {serving + "---\n" + serving, "more than once (document 1, document 2)"},
		"once with another half":  {serving + "---\n" + annotated, "more than once (document 1, document 2)"},
		"a label by hand":         {serving + "---\n" + strings.Replace(copied, "app: app", "tapedeck.dev/workload: deployment.app", 1), "remove the label"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, results, err := fn.Render([]fn.Source{{Text: []byte(tt.input)}}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(results, func(r transformer.Result) bool { return r.Code() == transformer.CodeSidecarConflict })
			if i < 0 || results[i].Severity != transformer.Error || !strings.Contains(results[i].Message, tt.says) || results.Count(transformer.Error) != 1 {
				t.Errorf("results: %v", results)
			}
		})
	}
}

// TestPrefixedCopies renders a rendered base after kustomize: two overlays with name prefixes,
// whose pods have the label of the base. Rendered again, each has its own.
func TestPrefixedCopies(t *testing.T) {
	base := rendered(t, serving)
	var all []string
	for _, prefix := range []string{"stable-", "canary-"} {
		docs, _ := documents([]byte(base))
		for _, doc := range docs {
			all = append(all, regexp.MustCompile(`(?m)^(metadata:\n  name: )`).ReplaceAllString(doc, "${1}"+prefix))
		}
	}
	want := []string{"v1 canary-app-tapedeck deployment.canary-app", "v1 stable-app-tapedeck deployment.stable-app"}
	if diff := cmp.Diff(want, sidecars(t, checkOrder(t, all, transformer.DefaultConfig()))); diff != "" {
		t.Errorf("Sidecars (-want +got):\n%s", diff)
	}
}

// checkOrder renders documents in their order, reversed and shuffled, the latter
// again in another order, and returns the first result.
func checkOrder(t *testing.T, docs []string, cfg transformer.Config) []byte {
	t.Helper()
	render := func(docs []string) ([]byte, bool) {
		out, results, err := fn.Render([]fn.Source{{Text: []byte(strings.Join(docs, "---\n"))}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return out, results.Failed()
	}
	first, failed := render(docs)
	want, texts := objects(t, first), pieces(first)
	same := func(how string, docs []string) []byte {
		out, fails := render(docs)
		if failed != fails {
			t.Fatalf("an error in only one order, %s:\n%s", how, strings.Join(docs, "---\n"))
		}
		if slices.Equal(texts, pieces(out)) {
			return out // not even the spelling differs
		}
		if diff := cmp.Diff(want, objects(t, out)); diff != "" {
			t.Errorf("%s (-first +this):\n%s", how, diff)
		}
		return out
	}
	random := rand.New(rand.NewPCG(1, 1))
	shuffle := func(docs []string) []string {
		random.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		return docs
	}
	other := slices.Clone(docs)
	slices.Reverse(other)
	out := same("reversed", other)
	if len(docs) > 2 {
		out = same("shuffled", shuffle(other))
	}
	if again, ok := documents(out); ok && !failed {
		same("rendered, shuffled and rendered again", shuffle(again))
	}
	return first
}

// documents splits a stream. It returns false if the stream can't be put together in another
// order, as with JSON, a document end marker or a ResourceList.
func documents(stream []byte) ([]string, bool) {
	for _, not := range []string{"kind: ResourceList", "\n...", "{\n", "%YAML"} {
		if bytes.Contains(stream, []byte(not)) {
			return nil, false
		}
	}
	text := strings.TrimPrefix(string(stream), "---\n")
	if strings.HasPrefix(text, "{") || text != "" && !strings.HasSuffix(text, "\n") {
		return nil, false
	}
	docs := strings.Split(text, "\n---\n")
	for i := range docs[:len(docs)-1] {
		docs[i] += "\n"
	}
	return docs, true
}

var between = regexp.MustCompile(`(?m)^---.*\n|^\.\.\.\n`)

// pieces returns the texts of a stream's documents, sorted.
func pieces(stream []byte) []string {
	out := between.Split(string(stream), -1)
	slices.Sort(out)
	return out
}

// objects returns the objects of a stream as YAML without style or order.
func objects(t *testing.T, stream []byte) []string {
	t.Helper()
	var out []string
	for _, doc := range pieces(stream) {
		var value any
		if err := yaml.Unmarshal([]byte(doc), &value); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if value != nil {
			out = append(out, string(text))
		}
	}
	slices.Sort(out)
	return out
}

// sidecars returns the version, name and label of every Sidecar, sorted.
func sidecars(t *testing.T, stream []byte) []string {
	t.Helper()
	var out []string
	for _, text := range objects(t, stream) {
		var o struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
			Spec             struct {
				WorkloadSelector struct{ Labels map[string]string }
			}
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "Sidecar" {
			out = append(out, filepath.Base(o.APIVersion)+" "+o.Metadata.Name+" "+o.Spec.WorkloadSelector.Labels["tapedeck.dev/workload"])
		}
	}
	slices.Sort(out)
	return out
}
