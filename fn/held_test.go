package fn_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

const trafficReplay = `# Nightly.
apiVersion: speedscale.com/v1
kind: TrafficReplay
metadata:
  name: 'nightly' # quoted
  namespace: shop
  annotations:
    argocd.argoproj.io/hook: PostSync
spec:
    snapshotID:   "2c1f8a5e-3b0d-4f57-9d0e-6f3f2f1f0c11" # wide
    testConfigID: standard
    mode: generator-only
    customURL: http://shop.example
`

// replayConfig returns a configuration that can render TrafficReplays.
func replayConfig(t testing.TB) transformer.Config {
	t.Helper()
	cfg := transformer.DefaultConfig()
	if err := cfg.Set("replayPlace", "s3://recordings"); err != nil {
		t.Fatal(err)
	}
	return cfg
}

const plainConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\ndata:\n  trafficreplay.yaml: |\n    kind: Nothing\n"

func renderedReplay(t *testing.T, input string) string {
	t.Helper()
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, replayConfig(t))
	if err != nil || results.Failed() {
		t.Fatalf("render: %v %+v", err, results)
	}
	return string(out)
}

// trafficReplayForms are inputs with TrafficReplays, in their usual forms.
func trafficReplayForms(t testing.TB) map[string]string {
	t.Helper()
	one := `{"apiVersion":"speedscale.com/v1","kind":"TrafficReplay","metadata":{"name":"nightly"},"spec":{"snapshotID":"2c1f8a5e-3b0d-4f57-9d0e-6f3f2f1f0c11","testConfigID":"standard","mode":"generator-only","customURL":"http://shop.example"}}`
	flow := `{apiVersion: speedscale.com/v1, kind: TrafficReplay, metadata: {name: nightly}, spec: {snapshotID: 2c1f8a5e-3b0d-4f57-9d0e-6f3f2f1f0c11, testConfigID: 'standard', mode: generator-only, customURL: http://shop.example}}`
	other := func(s string) string { return strings.ReplaceAll(s, "nightly", "daily") }
	scalar := "apiVersion: speedscale.com/v1\nkind: TrafficReplay\nspec: {snapshotID: 2c1f8a5e-3b0d-4f57-9d0e-6f3f2f1f0c11, testConfigID: standard, mode: generator-only, customURL: http://shop.example}\nmetadata:\n  name: nightly\n  annotations:\n    note: |+\n      a\n\n       b\n\n"
	item := "- " + strings.ReplaceAll(strings.TrimSpace(trafficReplay[len("# Nightly.\n"):]), "\n", "\n  ")
	list := func(items ...string) string {
		return "apiVersion: v1\nkind: List\nitems:\n" + strings.Join(items, "\n") + "\n"
	}
	windows := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	escaped := strings.Replace(one, `"name":`, `"annotations":{"note":"\u2028\ud83d\ude80\/"},"name"`+"\n:", 1)
	return map[string]string{
		"alone":                              trafficReplay,
		"without a line break at the end":    strings.TrimSuffix(trafficReplay, "\n"),
		"line ends of Windows":               windows("---\n" + trafficReplay + "---\n" + plainConfigMap),
		"line ends of Windows, no last one":  windows(strings.TrimSuffix(trafficReplay, "\n")),
		"between others":                     plainConfigMap + "---\n" + trafficReplay + "\n\n# trailing\n\n---\n" + plainConfigMap,
		"behind a separator with a comment":  "--- # first\n" + trafficReplay,
		"behind a source of Helm":            "---\n# Source: shop/templates/replay.yaml\n" + trafficReplay + "---\n# Source: shop/templates/x.yaml\n" + plainConfigMap,
		"before an end marker":               trafficReplay + "...\n" + plainConfigMap,
		"before an end marker with blanks":   trafficReplay + "\n\n... # end\n\n---\n" + plainConfigMap,
		"below a directive":                  "%YAML 1.2\n---\n" + trafficReplay,
		"below a byte order mark":            "\ufeff" + trafficReplay,
		"below blank lines":                  "---\n\n\n" + trafficReplay,
		"blanks at line ends":                strings.ReplaceAll(trafficReplay, "replay\n", "replay  \n"),
		"indented":                           "  " + strings.ReplaceAll(strings.TrimSpace(trafficReplay[len("# Nightly.\n"):]), "\n", "\n  ") + "\n",
		"a tab in a comment":                 strings.Replace(trafficReplay, "# wide", "#\twide", 1),
		"letters beyond ASCII":               strings.Replace(trafficReplay, "# wide", "# größer 🚀 \u00a0\ufeff", 1),
		"a line break of YAML in a string":   strings.Replace(trafficReplay, "  annotations:", "  annotations:\n    note: \"a\\u2028b\"", 1),
		"a block scalar at the end":          scalar,
		"no space at the margin":             strings.Replace(trafficReplay, "spec:", "spec: # ---", 1),
		"two":                                trafficReplay + "---\n" + other(trafficReplay),
		"a TestConfig":                       "apiVersion: tapedeck.dev/v1alpha1\nkind: TestConfig\nmetadata: {name: mine}\n",
		"JSON":                               one,
		"JSON and a line break":              one + "\n",
		"JSON on many lines":                 indent(t, one, "  ") + "\n",
		"JSON with tabs, Windows":            windows(indent(t, one, "\t") + "\n"),
		"JSON objects in a row":              one + " " + other(one) + "\n\n" + deployment("a", `"x"`) + "\n",
		"JSON behind a separator":            "--- " + one + "\n---\n" + plainConfigMap,
		"JSON below a separator":             "---\n" + one + "\n---\n" + plainConfigMap,
		"JSON with escapes":                  escaped,
		"JSON with escapes, below YAML":      plainConfigMap + "---\n" + escaped + "\n---\n" + plainConfigMap,
		"JSON with escapes, above YAML":      escaped + "\n---\n" + plainConfigMap,
		"JSON with escapes, on the line":     "--- " + indent(t, escaped, " ") + "\n",
		"braces":                             flow + "\n",
		"braces behind a separator":          "--- " + flow + " # why\n---\n" + plainConfigMap,
		"in a list":                          list("# above", item, "- "+strings.ReplaceAll(strings.TrimSpace(plainConfigMap), "\n", "\n  ")),
		"in a list, Windows":                 windows(list(item)),
		"in a list, no line break":           strings.TrimSuffix(list(item), "\n"),
		"in a list, with comments":           list(item+" # at the end\n  # below it\n\n  # further below\n# of the list", other(item)),
		"in a list, a comment at the margin": list(strings.Replace(item, "spec:", "# margin\n  spec:", 1)),
		"in a list, comments to the left":    list(strings.Replace(item, "\n  spec:", "\n# margin\n  spec:", 1)),
		"in a list, indented": list("  # above\n  "+strings.ReplaceAll(item, "\n", "\n  "), "  - "+strings.ReplaceAll(strings.TrimSpace(plainConfigMap), "\n",
			"\n    ")),
		"in a list, below the dash":   list("-\n   # here\n   " + strings.ReplaceAll(item[2:], "\n  ", "\n   ")),
		"in a list, a block scalar":   list("- "+strings.ReplaceAll(strings.TrimSpace(scalar), "\n", "\n  ")+"\n\n", other(item)),
		"in a list, in braces":        list("- "+flow, "- "+other(flow)),
		"in a list of JSON":           `{"apiVersion":"v1","kind":"List","items":[` + one + `,` + other(one) + "]}\n",
		"in a list of JSON, on lines": indent(t, `{"apiVersion":"v1","kind":"List","items":[`+one+`,`+other(one)+"]}", "  ") + "\n",
	}
}

// TestTrafficReplayInEveryForm checks that rendering twice equals rendering once, and uninject restores the
// input, in whatever form a TrafficReplay is written.
func TestTrafficReplayInEveryForm(t *testing.T) {
	for name, input := range trafficReplayForms(t) {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, replayConfig(t))
			if err != nil || results.Failed() {
				t.Fatalf("render: %v %+v", err, results)
			}
			objects := strings.Count(input, "TrafficReplay") + strings.Count(input, "TestConfig")
			if n := bytes.Count(out, []byte("tapedeck.dev/holds")); n != objects {
				t.Errorf("%d ConfigMaps hold %d objects:\n%s", n, objects, out)
			}
			for _, r := range results {
				if r.Code() == transformer.CodeReformatted {
					t.Errorf("reformatted: %s\n%s", r.Message, out)
				}
			}
			checkPromises(t, []byte(input), out, replayConfig(t))
		})
	}
}

// heldConfigMap returns the ConfigMap that a render writes for trafficReplay, with other data.
func heldConfigMap(data string) string {
	return `apiVersion: v1
kind: ConfigMap
metadata:
  name: nightly-trafficreplay
  namespace: shop
  labels:
    app.kubernetes.io/managed-by: tapedeck
  annotations:
    tapedeck.dev/holds: TrafficReplay/nightly
` + data
}

// heldText returns data that holds a text.
func heldText(text string) string {
	value, err := json.Marshal(text) // a JSON string is a YAML one
	if err != nil {
		panic(err) // strings always encode
	}
	return "data:\n  trafficreplay.yaml: " + string(value) + "\n"
}

// TestForeignHolders has ConfigMaps that no render wrote. Neither a render nor uninject
// uses their content, and both say why.
func TestForeignHolders(t *testing.T) {
	changed := func(old, fresh string) string {
		return heldConfigMap(heldText(strings.Replace(trafficReplay, old, fresh, 1)))
	}
	good := heldConfigMap(heldText(trafficReplay))
	for name, tt := range map[string]struct{ input, want string }{
		"no data":                    {heldConfigMap(""), "found 0 keys under data"},
		"data that is a list":        {heldConfigMap("data: [x]\n"), "found 0 keys under data"},
		"two keys":                   {good + "  other: x\n", "found 2 keys under data"},
		"binary data":                {good + "binaryData: {x: eA==}\n", "found binaryData"},
		"another key":                {strings.Replace(good, "trafficreplay.yaml", "application.yaml", 1), `found key "application.yaml"`},
		"the key of another kind":    {strings.Replace(good, "trafficreplay.yaml", "testconfig.yaml", 1), "found a TrafficReplay under data.testconfig.yaml"},
		"a text that is a number":    {heldConfigMap("data: {trafficreplay.yaml: 1}\n"), "allowed: a text"},
		"a text that is a map":       {heldConfigMap("data: {trafficreplay.yaml: {kind: TrafficReplay}}\n"), "found a map, allowed: a text"},
		"an empty text":              {heldConfigMap(heldText("")), "found a document separator, a directive or nothing"},
		"comments alone":             {heldConfigMap(heldText("# x\n")), "found no object"},
		"a scalar":                   {heldConfigMap(heldText("TrafficReplay\n")), "found no object"},
		"a list":                     {heldConfigMap(heldText("- kind: TrafficReplay\n")), "found no object"},
		"two documents":              {changed("spec:", "---\nspec:"), "allowed: one document"},
		"two documents, the second":  {heldConfigMap(heldText(trafficReplay + "---\n" + trafficReplay)), "allowed: one document"},
		"two documents of JSON":      {heldConfigMap(heldText(`{"kind":"a"}{"kind":"b"}`)), "allowed: one document"},
		"an end marker":              {heldConfigMap(heldText(trafficReplay + "...\nkind: Secret\n")), "allowed: one document"},
		"a separator":                {heldConfigMap(heldText("---\n" + trafficReplay)), "allowed: one document"},
		"a directive":                {heldConfigMap(heldText("%TAG ! tag:x,2000:\n---\n" + trafficReplay)), "allowed: one document"},
		"no YAML":                    {changed("spec:", "spec: ]"), "line 8: did not find expected node content"},
		"control characters":         {changed("nightly", "night\x01ly"), "control character"},
		"half a surrogate pair":      {heldConfigMap("data:\n  trafficreplay.yaml: \"\\ud800\"\n"), "invalid Unicode"},
		"another kind":               {changed("kind: TrafficReplay", "kind: Secret"), "found an object of kind Secret"},
		"another version":            {changed("speedscale.com/v1", "speedscale.com/v2"), "found an object of kind TrafficReplay in speedscale.com/v2"},
		"another group":              {changed("speedscale.com/v1", "evil.example/v1"), "in evil.example/v1"},
		"a list of objects":          {heldConfigMap(heldText("apiVersion: v1\nkind: List\nitems: []\n")), "found an object of kind List"},
		"another name":               {changed("'nightly'", "other"), "found TrafficReplay/other"},
		"no name":                    {changed("name: 'nightly'", "generateName: nightly"), "found a TrafficReplay without metadata.name"},
		"another namespace":          {changed("namespace: shop", "namespace: kube-system"), `in namespace "kube-system"`},
		"no namespace":               {changed("  namespace: shop\n", ""), `in namespace ""`},
		"a namespace of its own":     {strings.Replace(good, "  namespace: shop\n", "", 1), `the ConfigMap is in namespace ""`},
		"a name twice":               {changed("  name: 'nightly'", "  name: 'nightly'\n  name: 'nightly'"), "key metadata.name occurs twice"},
		"an alias":                   {changed("mode: generator-only", "mode: &m generator-only\n    buildTag: *m"), "found an anchor or an alias"},
		"a merge key":                {changed("mode: generator-only", "<<: {mode: generator-only}"), "found an anchor or an alias"},
		"an alias bomb":              {heldConfigMap(heldText("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n" + trafficReplay)), "found an anchor or an alias"},
		"the record of a render":     {changed("annotations:", "annotations:\n    tapedeck.dev/undo: '{}'"), "has annotation tapedeck.dev/undo"},
		"an object of a render":      {changed("annotations:", "annotations:\n    tapedeck.dev/created-for: Deployment/app"), "has annotation tapedeck.dev/created-for"},
		"a ConfigMap in a ConfigMap": {heldConfigMap(heldText(heldConfigMap(heldText(trafficReplay)))), "found an object of kind ConfigMap"},
		"too much":                   {changed("# Nightly.", "#"+strings.Repeat("x", 1<<20)), "allowed: 1048576"},
		"nothing recorded":           {strings.Replace(good, "TrafficReplay/nightly", "", 1), `says ""`},
		"on a Secret":                {strings.Replace(good, "kind: ConfigMap", "kind: Secret", 1), "found it on kind Secret"},
		"on a TrafficReplay":         {strings.Replace(trafficReplay, "annotations:", "annotations:\n    tapedeck.dev/holds: TrafficReplay/nightly", 1), "found it on kind TrafficReplay"},
		"two names of the ConfigMap": {strings.Replace(good, "kind: ConfigMap", "kind: ConfigMap\nkind: ConfigMap", 1), "occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, run := range map[string]func([]fn.Source) ([]byte, transformer.Results, error){
				"render": func(s []fn.Source) ([]byte, transformer.Results, error) {
					return fn.Render(s, replayConfig(t))
				},
				"uninject": fn.Uninject,
			} {
				out, results, err := run([]fn.Source{{Text: []byte(tt.input)}})
				if err != nil {
					t.Fatal(err)
				}
				if out != nil || !results.Failed() {
					t.Errorf("%s accepts it:\n%s", what, out)
				}
				var report bytes.Buffer
				if err := fn.WriteText(&report, results); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(report.String(), tt.want) {
					t.Errorf("%s does not say %q:\n%s", what, tt.want, report.String())
				}
			}
		})
	}
}

// TestUnheldTrafficReplays has TrafficReplays that no ConfigMap can keep.
func TestUnheldTrafficReplays(t *testing.T) {
	changed := func(old, fresh string) string { return strings.Replace(trafficReplay, old, fresh, 1) }
	for name, tt := range map[string]struct{ input, want string }{
		"an alias":                    {changed("mode: generator-only", "mode: &m generator-only\n    buildTag: *m"), "found an anchor or an alias"},
		"an alias in a list":          {"apiVersion: v1\nkind: List\nitems:\n- &x {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n- <<: *x\n  apiVersion: speedscale.com/v1\n  kind: TrafficReplay\n", "alias *x has no anchor"},
		"an item that is an alias":    {"apiVersion: v1\nkind: List\nx: &x {apiVersion: speedscale.com/v1, kind: TrafficReplay, metadata: {name: x}}\nitems:\n- *x\n", "it is part of an alias"},
		"a list that is an alias":     {"apiVersion: v1\nkind: List\nx: &x [{apiVersion: speedscale.com/v1, kind: TrafficReplay, metadata: {name: x}}]\nitems: *x\n", "it is in a list that is an alias"},
		"a list of TrafficReplays":    {"apiVersion: speedscale.com/v1\nkind: TrafficReplayList\nitems:\n- metadata: {name: x}\n", "it is in a TrafficReplayList"},
		"no name":                     {changed("name: 'nightly'", "generateName: nightly-"), "found no name"},
		"a name that none can have":   {changed("'nightly'", "Nightly"), `found "Nightly"`},
		"a name that is too long":     {changed("'nightly'", strings.Repeat("n", 240)), "at most 239"},
		"the ConfigMap's name, taken": {trafficReplay + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: nightly-trafficreplay, namespace: shop}\n", "the input has a ConfigMap nightly-trafficreplay"},
		"a TestConfig's name, twice":  {"apiVersion: tapedeck.dev/v1alpha1\nkind: TestConfig\nmetadata: {name: x}\n---\napiVersion: tapedeck.dev/v1alpha1\nkind: TestConfig\nmetadata: {name: x}\n", "or another TestConfig with its name"},
		"too much":                    {changed("# Nightly.", "#"+strings.Repeat("x", 1<<20)), "allowed: 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(tt.input)}}, replayConfig(t))
			if err != nil {
				t.Fatal(err)
			}
			var report bytes.Buffer
			if err := fn.WriteText(&report, results); err != nil {
				t.Fatal(err)
			}
			if out != nil || !strings.Contains(report.String(), tt.want) {
				t.Errorf("it does not say %q:\n%s\n%s", tt.want, report.String(), out)
			}
		})
	}
}

// TestHolderKeepsWhatOthersPutThere: labels and annotations that others add to the
// ConfigMap remain, and an edit of the text is an edit of the TrafficReplay.
func TestHolderKeepsWhatOthersPutThere(t *testing.T) {
	once := renderedReplay(t, trafficReplay)
	theirs := strings.Replace(once, "  annotations:\n", "    app.kubernetes.io/instance: shop # theirs\n  annotations:\n    argocd.argoproj.io/tracking-id: shop:/ConfigMap:shop/nightly-trafficreplay\n", 1)
	theirs = strings.Replace(theirs, "# wide", "# wider", 1)
	if again := renderedReplay(t, theirs); again != theirs {
		t.Errorf("rendering it again changed it (-want +got):\n%s", cmp.Diff(theirs, again))
	}
	back, _, err := fn.Uninject([]fn.Source{{Text: []byte(theirs)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Replace(trafficReplay, "# wide", "# wider", 1), string(back)); diff != "" {
		t.Errorf("undone (-want +got):\n%s", diff)
	}
}

// TestHolderAfterAnOverlay applies kustomize's namePrefix after the render: the next render says
// so, and restores the name of the ConfigMap.
func TestHolderAfterAnOverlay(t *testing.T) {
	once := renderedReplay(t, trafficReplay)
	renamed := strings.Replace(once, "name: nightly-trafficreplay", "name: eu-nightly-trafficreplay", 1)
	out, results, err := fn.Render([]fn.Source{{Text: []byte(renamed)}}, replayConfig(t))
	if err != nil || results.Failed() {
		t.Fatal(err, results)
	}
	if diff := cmp.Diff(once, string(out)); diff != "" {
		t.Errorf("rendered again (-want +got):\n%s", diff)
	}
	said := false
	for _, r := range results {
		said = said || r.Code() == transformer.CodeReplayRenamed && strings.Contains(r.Message, "eu-nightly-trafficreplay")
	}
	if !said {
		t.Errorf("no result says that the ConfigMap was renamed: %+v", results)
	}
}

// TestTrafficReplaysAside: a TrafficReplay that is ignored, or never applied, remains unchanged.
func TestTrafficReplaysAside(t *testing.T) {
	for _, annotation := range []string{`operator.speedscale.com/ignore: "true"`, `config.kubernetes.io/local-config: "true"`} {
		input := strings.Replace(trafficReplay, "argocd.argoproj.io/hook: PostSync", annotation, 1)
		if out := renderedReplay(t, input); out != input {
			t.Errorf("%s: it changed (-want +got):\n%s", annotation, cmp.Diff(input, out))
		}
		held := strings.Replace(renderedReplay(t, trafficReplay), "argocd.argoproj.io/hook: PostSync", annotation, 1)
		if out := renderedReplay(t, held); out != input {
			t.Errorf("%s, written into the ConfigMap: want the object again (-want +got):\n%s", annotation, cmp.Diff(input, out))
		}
	}
}

// TestTrafficReplayInResourceList: the annotations with which an orchestrator tracks
// the object are on the ConfigMap, and not part of the text.
func TestTrafficReplayInResourceList(t *testing.T) {
	item := "- " + strings.ReplaceAll(strings.TrimSpace(trafficReplay[len("# Nightly.\n"):]), "\n", "\n  ") + "\n"
	books := "      internal.config.kubernetes.io/path: 'replays/nightly.yaml'\n      internal.config.kubernetes.io/index: '3'\n"
	const head = "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n"
	for name, tt := range map[string]struct{ without, with string }{
		"beside others": {item, strings.Replace(item, "PostSync\n", "PostSync\n"+books, 1)},
		"none beside": {strings.Replace(item, "    annotations:\n      argocd.argoproj.io/hook: PostSync\n", "", 1),
			strings.Replace(item, "      argocd.argoproj.io/hook: PostSync\n", books, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(head + tt.with)}}, replayConfig(t))
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			text, _, _ := strings.Cut(strings.TrimPrefix(tt.without, "- "), "\x00")
			text = "      " + strings.TrimSpace(strings.ReplaceAll(text, "\n", "\n    ")) + "\n"
			if n := strings.Count(string(out), "internal.config.kubernetes.io/path: 'replays/nightly.yaml'"); n != 1 || !strings.Contains(string(out), text) {
				t.Errorf("the ConfigMap does not hold the text without the annotations:\n%s\nwant:\n%s", out, text)
			}
			again, results, err := fn.Render([]fn.Source{{Text: out}}, replayConfig(t))
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			if diff := cmp.Diff(string(out), string(again)); diff != "" {
				t.Errorf("rendering twice differs from rendering once (-once +twice):\n%s", diff)
			}
			back, results, err := fn.Uninject([]fn.Source{{Text: out}})
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			back, _, _ = bytes.Cut(back, []byte("results:\n"))
			if diff := cmp.Diff(facts(t, []byte(head+tt.with)), facts(t, back)); diff != "" {
				t.Errorf("undone (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzHeldText has ConfigMaps with texts that no render wrote. No text causes a panic, or
// an error that the user can't fix. It yields at most one TrafficReplay, with the recorded name and
// in the ConfigMap's own namespace.
func FuzzHeldText(f *testing.F) {
	f.Add(trafficReplay)
	for _, text := range trafficReplayForms(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		input := []byte(heldConfigMap(heldText(text)))
		again, results, err := fn.Render([]fn.Source{{Text: input}}, replayConfig(t))
		if err != nil {
			t.Fatalf("render: %v", err)
		}
		if !results.Failed() && !bytes.Contains(again, []byte("TrafficReplay/nightly")) {
			for id := range facts(t, again) { // the text may say that it must not be rendered
				if id != "TrafficReplay/shop/nightly<nil>" {
					t.Errorf("a render turns it into %s:\n%s", id, again)
				}
			}
		}
		back, results, err := fn.Uninject([]fn.Source{{Text: input}})
		if err != nil {
			t.Fatalf("uninject: %v", err)
		}
		if results.Failed() {
			return
		}
		objects := 0
		for id := range facts(t, back) {
			objects++
			if id != "TrafficReplay/shop/nightly<nil>" {
				t.Errorf("uninject turns it into %s:\n%s", id, back)
			}
		}
		if objects != 1 {
			t.Errorf("uninject turns it into %d objects:\n%s", objects, back)
		}
	})
}
