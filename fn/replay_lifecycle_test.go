package fn_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

const replayedShop = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: store
  annotations:
    replay.speedscale.com/snapshot-id: 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    tapedeck.dev/replay-annotations: argocd.argoproj.io/hook=PostSync
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: "shop:1", ports: [{containerPort: 8080}]}]}
`

// renderReplayed renders a manifest whose replays have their place in a bucket.
func renderReplayed(t *testing.T, input string, options ...string) string {
	t.Helper()
	cfg := transformer.DefaultConfig()
	for _, o := range append([]string{"replayPlace=s3://recordings"}, options...) {
		name, value, _ := strings.Cut(o, "=")
		if err := cfg.SetOption(name, value); err != nil {
			t.Fatal(err)
		}
	}
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil || results.Failed() {
		t.Fatalf("%v, %v", err, results)
	}
	return string(out)
}

// partNames returns the names of the objects of a replay, by their kinds.
func partNames(rendered string) map[string]bool {
	names := map[string]bool{}
	for _, doc := range strings.Split(rendered, "\n---\n") {
		if !strings.Contains(doc, "tapedeck.dev/created-for") {
			continue
		}
		kind := regexp.MustCompile(`(?m)^kind: (\S+)$`).FindStringSubmatch(doc)[1]
		names[kind+"/"+regexp.MustCompile(`(?m)^  name: (\S+)$`).FindStringSubmatch(doc)[1]] = true
	}
	return names
}

// A rendered manifest that is edited and rendered again has the replay of the edit, and nothing from
// the former one. If it is applied with pruning, only the new replay runs.
func TestReplayOfARenderedManifestThatChanged(t *testing.T) {
	rendered := renderReplayed(t, replayedShop)
	was := partNames(rendered)
	if len(was) < 5 {
		t.Fatalf("a replay consists of %v", was)
	}
	for _, c := range []struct {
		what, old, new string
		option         string
		// kept are the objects that are the same; nil for none.
		kept func(name string) bool
		gone bool
	}{
		{what: "nothing", kept: func(string) bool { return true }},
		{what: "a new build", old: "shop:1\", ports", new: "shop:2\", ports"},
		{what: "a setting", old: "    tapedeck.dev/replay-annotations", new: "    replay.speedscale.com/mode: generator-only\n    tapedeck.dev/replay-annotations"},
		{what: "another image of Tapedeck", option: "image=other:1", kept: func(name string) bool { return !strings.HasPrefix(name, "Job/") }},
		{what: "the hook", old: "    tapedeck.dev/replay-annotations: argocd.argoproj.io/hook=PostSync\n", new: "", kept: func(string) bool { return true }},
		{what: "the request", old: "    replay.speedscale.com/snapshot-id", new: "    other.example.com/snapshot-id", gone: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			edited := strings.Replace(rendered, c.old, c.new, 1)
			if c.gone {
				edited = strings.Replace(edited, "    tapedeck.dev/replay-annotations: argocd.argoproj.io/hook=PostSync\n", "", 1)
			}
			if edited == rendered && c.old != "" {
				t.Fatalf("%q is not in the manifest", c.old)
			}
			var options []string
			if c.option != "" {
				options = []string{c.option}
			}
			again := renderReplayed(t, edited, options...)
			now := partNames(again)
			for name := range now {
				if was[name] != (c.kept != nil && c.kept(name)) {
					t.Errorf("%s was there: %t", name, was[name])
				}
			}
			if (len(now) == 0) != c.gone {
				t.Errorf("there are %v", slices.Sorted(maps.Keys(now)))
			}
			// The same manifest without a former render has the same replay.
			fresh := strings.Replace(replayedShop, c.old, c.new, 1)
			if c.gone {
				fresh = strings.Replace(fresh, "    tapedeck.dev/replay-annotations: argocd.argoproj.io/hook=PostSync\n", "", 1)
			}
			if want := renderReplayed(t, fresh, options...); !sameObjects(want, again) {
				t.Errorf("rendered from scratch it is\n%s\nand rendered again\n%s", want, again)
			}
		})
	}
}

// sameObjects reports whether two streams have the same documents, in any order.
func sameObjects(a, b string) bool {
	sorted := func(text string) []string {
		docs := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "---\n"), "\n"), "\n---\n")
		slices.Sort(docs)
		return docs
	}
	return slices.Equal(sorted(a), sorted(b))
}

// TestReplayAfterANamespaceOverlay applies kustomize's namespace after the render: URLs have the
// former namespace, and the next render and uninject say so.
func TestReplayAfterANamespaceOverlay(t *testing.T) {
	once := renderReplayed(t, replayedShop)
	moved := strings.ReplaceAll(once, "namespace: store", "namespace: other")
	if moved == once {
		t.Fatal("nothing was moved")
	}
	_, rendered, err := fn.Render([]fn.Source{{Text: []byte(moved)}}, replayConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	_, taken, err := fn.Uninject([]fn.Source{{Text: []byte(moved)}})
	if err != nil {
		t.Fatal(err)
	}
	for by, results := range map[string]transformer.Results{"render": rendered, "uninject": taken} {
		if !slices.ContainsFunc(results, func(r transformer.Result) bool {
			return r.Code() == transformer.CodeReplayRenamed && strings.Contains(r.Message, "have the namespace store") && strings.Contains(r.Message, "in other")
		}) {
			t.Errorf("%s does not say that the replay was moved: %v", by, results)
		}
	}
}
