package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const (
	replayLabel  = "tapedeck.dev/replay"
	replayHook   = "argocd.argoproj.io/hook"
	replayName   = "nightly"
	replayHolder = "ConfigMap/" + replayName + "-trafficreplay"
	replayObject = "TrafficReplay/" + replayName
)

// replayManifests returns the shop with a TrafficReplay.
func replayManifests(t *testing.T) []byte {
	t.Helper()
	return slices.Concat(read(t, "testdata/shop.yaml"), []byte("---\n"), read(t, "testdata/replay.yaml"))
}

// sourceOf converts manifests to the form that each caller needs.
func sourceOf(t *testing.T, manifests []byte) source {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app.yaml": string(manifests), "kustomization.yaml": "resources: [app.yaml]\n"})
	return source{kustomization: dir, manifests: manifests, chart: asChart(t, manifests)}
}

// TestReplayEveryWayIn renders a TrafficReplay through every caller. The replay is in the output
// next to the shop, and rendering the output changes nothing. A new build is a new replay, which
// replaces the old one. If a TrafficReplay is removed, its replay is removed, too, and uninject
// restores the input.
func TestReplayEveryWayIn(t *testing.T) {
	for _, caller := range callers() {
		t.Run(caller.name, func(t *testing.T) {
			if caller.need != nil {
				caller.need(t)
			}
			got := caller.render(t, sourceOf(t, replayManifests(t)))
			checkReplay(t, got.after)
			again := func(manifests []byte) []byte { return pipe(t, source{manifests: manifests}).after }
			if twice := again(got.after); !bytes.Equal(twice, got.after) {
				t.Errorf("rendering what was rendered changed it:\n%s", firstDifference(got.after, twice))
			}

			build := func(manifests []byte) []byte {
				return bytes.ReplaceAll(manifests, []byte("example.com/checkout:1.4.2"), []byte("example.com/checkout:1.5.0"))
			}
			next := caller.render(t, sourceOf(t, build(replayManifests(t)))).after
			checkReplay(t, next)
			for name := range replayParts(t, got.after) {
				if replayParts(t, next)[name] != nil {
					t.Errorf("%s has its name with the next build, too", name)
				}
			}
			same(t, caller, "the next build, on top of what was rendered", next, again(build(got.after)))

			none := caller.render(t, sourceOf(t, read(t, "testdata/shop.yaml"))).after
			same(t, caller, "without the TrafficReplay, on top of what was rendered", none, again(without(t, got.after, replayHolder)))

			back := run(t, "", got.after, tapedeck, "uninject").ok(t)
			same(t, caller, "uninject", got.before, back)
			if want, got := objects(t, got.before)[replayObject], objects(t, back)[replayObject]; got != want {
				t.Errorf("uninject gives a TrafficReplay of another text:\n%s", firstDifference([]byte(want), []byte(got)))
			}
		})
	}
}

// same fails the test unless two streams are equal: as bytes if the caller keeps order and
// text, and otherwise as objects, however they are written.
func same(t *testing.T, c caller, what string, want, got []byte) {
	t.Helper()
	if c.keepsOrder {
		if !bytes.Equal(got, want) {
			t.Errorf("%s gives other bytes:\n%s", what, firstDifference(want, got))
		}
		return
	}
	wanted, found := meanings(t, want), meanings(t, got)
	for name, text := range wanted {
		if found[name] == "" {
			t.Errorf("%s: %s is missing", what, name)
		} else if found[name] != text {
			t.Errorf("%s: %s is another:\n%s", what, name, firstDifference([]byte(text), []byte(found[name])))
		}
	}
	for name := range found {
		if wanted[name] == "" {
			t.Errorf("%s: %s came from nowhere", what, name)
		}
	}
}

// meanings returns a stream's objects as JSON, by their names.
func meanings(t *testing.T, stream []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, node := range parse(t, stream) {
		text, err := node.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		out[id(node)] = strings.ReplaceAll(string(text), ",", ",\n")
	}
	return out
}

// helmComment matches the comment that names the source of an object. Helm 4 writes it for every
// object.
var helmComment = regexp.MustCompile(`(?m)^# Source: .*\n`)

// objects returns the texts of a stream's objects, by their names.
func objects(t *testing.T, stream []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, node := range parse(t, stream) {
		out[id(node)] = helmComment.ReplaceAllString(node.MustString(), "")
	}
	return out
}

// replayParts returns the objects of replays, by their names.
func replayParts(t *testing.T, stream []byte) map[string]*yaml.RNode {
	t.Helper()
	parts := map[string]*yaml.RNode{}
	for _, node := range parse(t, stream) {
		if text(t, node, "metadata", "labels", replayLabel) != "" {
			parts[id(node)] = node
		}
	}
	return parts
}

// without returns a stream without one object. Separators divide the documents.
func without(t *testing.T, stream []byte, name string) []byte {
	t.Helper()
	kind, object, _ := strings.Cut(name, "/")
	docs := strings.SplitAfter(string(stream), "\n---\n")
	kept := slices.DeleteFunc(slices.Clone(docs), func(doc string) bool {
		return strings.Contains(doc, "kind: "+kind+"\n") && strings.Contains(doc, "\n  name: "+object+"\n")
	})
	if len(kept) != len(docs)-1 {
		t.Fatalf("%d documents are %s, want one:\n%s", len(docs)-len(kept), name, stream)
	}
	return []byte(strings.TrimSuffix(strings.Join(kept, ""), "---\n"))
}

// checkReplay fails the test unless the stream has a whole replay and no TrafficReplay,
// and can be applied any number of times.
func checkReplay(t *testing.T, stream []byte) {
	t.Helper()
	all := objects(t, stream)
	if all[replayObject] != "" || all[replayHolder] == "" {
		t.Errorf("%s is there, or %s is not", replayObject, replayHolder)
	}
	kinds := map[string]int{}
	for name, node := range replayParts(t, stream) {
		kinds[node.GetKind()]++
		if hook := text(t, node, "metadata", "annotations", replayHook); (hook != "") != (node.GetKind() == "Job") {
			t.Errorf("%s has the hook %q; want it on the Job alone", name, hook)
		}
	}
	for kind, want := range map[string]int{"Job": 1, "Deployment": 2, "Service": 2, "NetworkPolicy": 3} {
		if kinds[kind] != want {
			t.Errorf("the replay has %d of kind %s, want %d", kinds[kind], kind, want)
		}
	}
	for name, text := range all {
		if name != replayHolder && strings.Contains(text, replayHook) && !strings.HasPrefix(name, "Job/") {
			t.Errorf("%s has the hook:\n%s", name, text)
		}
		for _, never := range []string{"generateName", "ttlSecondsAfterFinished"} {
			if strings.Contains(text, never) {
				t.Errorf("%s has %s:\n%s", name, never, text)
			}
		}
	}
}

// TestReplayBehindAnOverlay applies a kustomize overlay to rendered manifests. The parts of the
// replay don't find each other then, so the next render says so. uninject removes the replay all
// the same where this can harm nothing else: it takes no TrafficReplay of another namespace, and
// deletes nothing that selects other pods.
func TestReplayBehindAnOverlay(t *testing.T) {
	rendered := pipe(t, source{manifests: replayManifests(t)}).after
	for name, tt := range map[string]struct {
		overlay  string
		says     string
		succeeds bool
	}{
		"a prefix":            {"namePrefix: eu-", "replay-renamed", true},
		"a suffix":            {"nameSuffix: -eu", "replay-renamed", true},
		"a namespace":         {"namespace: staging", "a namespace that an overlay sets must come before Tapedeck", false},
		"labels of selectors": {"labels:\n- pairs: {team: checkout}\n  includeSelectors: true", "created-for-refused", false},
		"annotations":         {"commonAnnotations: {team: checkout}", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"app.yaml": string(rendered), "kustomization.yaml": "resources: [app.yaml]\n" + tt.overlay + "\n"})
			changed := kustomizeBuild(t, dir).ok(t)
			back := run(t, "", changed, tapedeck, "uninject")
			if said := string(back.stderr); !strings.Contains(said, tt.says) || tt.says == "" && !strings.Contains(said, " 0 warnings") {
				t.Errorf("uninject says %q, want %q in it", said, tt.says)
			}
			if (back.err == nil) != tt.succeeds {
				t.Fatalf("uninject succeeds: %t, want %t\n%s", back.err == nil, tt.succeeds, back.stderr)
			}
			if parts := replayParts(t, back.stdout); tt.succeeds && (len(parts) > 0 || objects(t, back.stdout)[replayObject] == "") {
				t.Errorf("uninject leaves %d objects of the replay:\n%s", len(parts), back.stdout)
			}
		})
	}
}

// TestReplayBelowAnOverlay applies the overlay first. As a transformer, Tapedeck runs after
// namespaces, labels and images. kustomize corrects references to names that it changes only at
// the very end, so with a prefix Tapedeck gets kustomize's output.
func TestReplayBelowAnOverlay(t *testing.T) {
	const overlay = "resources: [app.yaml]\nnamespace: staging\nlabels:\n- pairs: {team: checkout}\n  includeSelectors: true\nimages:\n- {name: example.com/checkout, newTag: 1.5.0}\n"
	for name, tt := range map[string]struct {
		overlay, prefix string
		render          func(*testing.T, source) rendering
	}{
		"as a transformer": {overlay, "", kustomize(execFunction)},
		"render -k":        {overlay + "namePrefix: eu-\nconfigurations: [refs.yaml]\n", "eu-", renderK},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{
				"app.yaml":           string(replayManifests(t)),
				"refs.yaml":          "nameReference:\n- kind: Deployment\n  fieldSpecs:\n  - {group: speedscale.com, kind: TrafficReplay, path: spec/workloads/ref/name}\n",
				"kustomization.yaml": tt.overlay,
			})
			got := tt.render(t, source{kustomization: dir})
			parts := replayParts(t, got.after)
			if len(parts) == 0 || objects(t, got.after)["ConfigMap/"+tt.prefix+"nightly-trafficreplay"] == "" {
				t.Errorf("no replay comes out:\n%s", got.after)
			}
			for name, node := range parts {
				if _, object, _ := strings.Cut(name, "/"); !strings.HasPrefix(object, tt.prefix+"checkout-replay-") || node.GetNamespace() != "staging" {
					t.Errorf("%s is in namespace %s; want it to be named after %scheckout, in staging", name, node.GetNamespace(), tt.prefix)
				}
			}
			if twice := pipe(t, source{manifests: got.after}).after; !bytes.Equal(twice, got.after) {
				t.Errorf("rendering what was rendered changed it:\n%s", firstDifference(got.after, twice))
			}
			back := run(t, "", got.after, tapedeck, "uninject").ok(t)
			same(t, caller{}, "uninject", got.before, back)
		})
	}
}

// TestReplayHelmHooks: Helm 4 shows hooks to its post-renderers, so a TrafficReplay can
// be one; the Job gets the hook, and nothing else does. Helm 3 keeps hooks to itself, and
// the cluster would have to know their kinds.
func TestReplayHelmHooks(t *testing.T) {
	hooked := strings.Replace(string(replayManifests(t)), "argocd.argoproj.io/hook: PostSync # the gate\n    argocd.argoproj.io/hook-delete-policy: BeforeHookCreation", "helm.sh/hook: post-upgrade", 1)
	from := source{chart: asChart(t, []byte(hooked))}
	got := helm4(t, from)
	hooks := 0
	for _, node := range parse(t, got.after) {
		hook := text(t, node, "metadata", "annotations", "helm.sh/hook")
		if hook != "" {
			hooks++
		}
		if (hook != "") != (node.GetKind() == "Job") {
			t.Errorf("%s has the hook %q; want it on the Job alone", id(node), hook)
		}
	}
	if hooks != 1 {
		t.Errorf("%d objects are hooks, want the Job:\n%s", hooks, got.after)
	}
	if after := helm3(t, from).after; objects(t, after)[replayObject] == "" || len(replayParts(t, after)) > 0 {
		t.Errorf("Helm 3 shows the hook to its post-renderer; say so in docs/helm.md:\n%s", after)
	}
}

// TestReplayInAKptPackage renders a package in place, as kpt does, several times. The files of
// deleted objects are removed, too, and the ConfigMap remains in the TrafficReplay's file.
func TestReplayInAKptPackage(t *testing.T) {
	needKpt(t)
	dir := kptPackage(t, read(t, "testdata/shop.yaml"), pipeline(execFunction))
	write(t, dir, map[string]string{"app/replay.yaml": string(read(t, "testdata/replay.yaml"))})
	render := func() []byte {
		kptFnRender(t, dir, t.TempDir()).ok(t)
		return packageYAML(t, dir)
	}
	before := packageYAML(t, dir)
	first := render()
	checkReplay(t, first)
	holder := string(read(t, filepath.Join(dir, "app/replay.yaml")))
	if !strings.Contains(holder, "kind: ConfigMap\n") || strings.Contains(holder, "config.kubernetes.io") {
		t.Errorf("replay.yaml is:\n%s", holder)
	}
	if again := render(); !bytes.Equal(again, first) {
		t.Errorf("rendering the package again changed it:\n%s", firstDifference(first, again))
	}

	shop := string(read(t, filepath.Join(dir, "app/main.yaml")))
	write(t, dir, map[string]string{"app/main.yaml": strings.Replace(shop, "checkout:1.4.2", "checkout:1.5.0", 1)})
	next := render()
	checkReplay(t, next)
	for name := range replayParts(t, first) {
		if replayParts(t, next)[name] != nil {
			t.Errorf("%s has its name with the next build, too", name)
		}
	}

	if err := os.Remove(filepath.Join(dir, "app/replay.yaml")); err != nil {
		t.Fatal(err)
	}
	if parts := replayParts(t, render()); len(parts) > 0 {
		t.Errorf("without the TrafficReplay there still are %d objects of its replay", len(parts))
	}

	write(t, dir, map[string]string{"app/main.yaml": shop, "app/replay.yaml": holder})
	render()
	back := run(t, "", packageYAML(t, dir), tapedeck, "uninject").ok(t)
	same(t, caller{}, "uninject", before, back)
}
