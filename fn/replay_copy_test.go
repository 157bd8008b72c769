package fn_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A workload that requests a replay. More annotations replace <how>, and more fields replace
// <container> and <pod>.
const replayed = `# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: store
  annotations: # of all kinds
    sidecar.speedscale.com/inject: "true"
    replay.speedscale.com/snapshot-id: 0192e4a0-7f3c-7d2e-9b1a-6f4f5a3c2b1d@sha256:6f4f5a3c2b1d0192e4a07f3c7d2e9b1a6f4f5a3c2b1d0192e4a07f3c7d2e9b1a
    <how>
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels:
        app: shop
    spec:
      containers:
      - name: web
        image: "shop:1"   # {"$imagepolicy": "flux-system:shop"}
        args: [--listen, ':8080']
        <container>
      <pod>
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: store}
spec:
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080, name: http}]
`

func replayInput(how, container, pod string) []byte {
	text := replayed
	for part, value := range map[string]string{"    <how>\n": how, "        <container>\n": container, "      <pod>\n": pod} {
		indent := part[:strings.Index(part, "<")]
		var lines strings.Builder
		for line := range strings.Lines(value) {
			lines.WriteString(indent + strings.TrimSuffix(line, "\n") + "\n")
		}
		text = strings.Replace(text, part, lines.String(), 1)
	}
	return []byte(text)
}

func copyConfig(t testing.TB) transformer.Config {
	cfg := transformer.DefaultConfig()
	cfg.ReplayPlace = "s3://recordings/shop"
	return cfg
}

func renderReplay(t *testing.T, input []byte, cfg transformer.Config) ([]byte, transformer.Results) {
	t.Helper()
	out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out, results
}

// A replay is undone byte for byte, whatever the application contains, and a second render changes
// nothing.
func TestReplaysAreTakenBack(t *testing.T) {
	const proxies = `env:
- name: HTTP_PROXY
  value: "http://proxy.corp:3128"  # the company's
- {name: https_proxy, value: 'http://user:pa$$word@proxy.corp:3128'}
- name: ALL_PROXY
  valueFrom: {secretKeyRef: {name: proxy, key: url}}
- name: NO_PROXY
  value: .corp,db.data:5432
- {name: SSL_CERT_FILE, value: /etc/corp.pem}
- {name: JAVA_TOOL_OPTIONS, value: -Xmx1g}`
	for name, c := range map[string]struct{ how, container, pod, labels string }{
		"a copy":                              {},
		"a copy of what has proxies":          {container: proxies},
		"a copy without a sidecar":            {how: "sidecar.speedscale.com/inject: \"false\""},
		"in place":                            {how: "tapedeck.dev/replay: in-place"},
		"in place, with proxies":              {how: "tapedeck.dev/replay: in-place", container: proxies},
		"in place, with labels of a replay":   {how: "tapedeck.dev/replay: in-place", labels: "tapedeck.dev/replay: 'own'  # by hand\n        tapedeck.dev/replay-part: generator"},
		"in place, with Java's proxy":         {how: "tapedeck.dev/replay: in-place\ntapedeck.dev/java-proxy: \"true\"", container: proxies},
		"in place, captured inbound alone":    {how: "tapedeck.dev/replay: in-place\nsidecar.speedscale.com/proxy-type: reverse", container: proxies},
		"in place, with captured hosts":       {how: "tapedeck.dev/replay: in-place\ntapedeck.dev/capture-hosts: db.data:5432, api.example.com:443", container: proxies, pod: "securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '500'}]}"},
		"in place, with an empty environment": {how: "tapedeck.dev/replay: in-place", container: "env: []", pod: "volumes:\nsecurityContext: {}"},
		"in place, without requests":          {how: "tapedeck.dev/replay: in-place\nreplay.speedscale.com/mode: responder-only"},
		"in place, without mocks":             {how: "tapedeck.dev/replay: in-place\nreplay.speedscale.com/mode: generator-only", container: proxies},
	} {
		for inbound, sidecar := range map[string]string{"sidecar": "native", "service": "classic"} {
			t.Run(name+", inbound "+inbound+", "+sidecar, func(t *testing.T) {
				input := replayInput(c.how, c.container, c.pod)
				if c.labels != "" {
					input = bytes.Replace(input, []byte("        app: shop\n"), []byte("        app: shop\n        "+c.labels+"\n"), 1)
				}
				if strings.Contains(c.how, "inject") {
					input = bytes.Replace(input, []byte("    sidecar.speedscale.com/inject: \"true\"\n"), nil, 1)
				}
				cfg := copyConfig(t)
				cfg.Inbound, cfg.Sidecar = inbound, sidecar
				out, results := renderReplay(t, input, cfg)
				if results.Failed() {
					t.Fatal(results)
				}
				if bytes.Contains(out, []byte("tapedeck.dev/undo")) && bytes.Contains(undoRecords(out), []byte("pa$$word")) {
					t.Error("the record holds a password")
				}
				checkPromises(t, input, out, cfg)
			})
		}
	}
}

// undoRecords returns the lines of a render with a record.
func undoRecords(out []byte) (records []byte) {
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("tapedeck.dev/undo")) {
			records = append(records, line...)
		}
	}
	return records
}

// The original of a copy is the same as without a replay, except for the annotations that request
// it.
func TestTheOriginalOfACopyStaysAsItIs(t *testing.T) {
	input := replayInput("", "", "")
	with, _ := renderReplay(t, input, copyConfig(t))
	asking := regexpSnapshot.Find(input)
	without, _ := renderReplay(t, bytes.Replace(input, asking, nil, 1), copyConfig(t))
	original, _, _ := bytes.Cut(with, []byte("\n---\n"))
	plain, _, _ := bytes.Cut(without, []byte("\n---\n"))
	if got := bytes.Replace(original, asking, nil, 1); !bytes.Equal(got, plain) {
		t.Errorf("with a replay the original is\n%s\nwithout one\n%s", got, plain)
	}
}

// A forged record can't make an undo write a proxy that the sidecar does not have.
func TestARecordOfAReplayInPlaceIsNotTrusted(t *testing.T) {
	input := replayInput("tapedeck.dev/replay: in-place", "env:\n- {name: HTTP_PROXY, value: 'http://proxy.corp:3128'}\n- {name: HOME, value: /home}", "")
	out, results := renderReplay(t, input, copyConfig(t))
	if results.Failed() {
		t.Fatal(results)
	}
	for name, forge := range map[string][2]string{
		"another proxy in the record":        {`${held-by-the-pod}`, `'http://evil.example:1'`},
		"a label that is not a render's":     {`"tapedeck.dev/replay"`, `"app"`},
		"a value for the label of a replay":  {`"was":{`, `"was":{"spec.template.metadata.labels[tapedeck.dev/replay]":"{a: b}",`},
		"a variable that no render replaces": {`"was":{`, `"was":{"spec.template.spec.containers[web].env[HOME].value":"/evil",`},
	} {
		forged := bytes.Replace(out, []byte(forge[0]), []byte(forge[1]), 1)
		if bytes.Equal(forged, out) {
			t.Errorf("%s: nothing was forged in\n%s", name, undoRecords(out))
			continue
		}
		back, results, err := fn.Uninject([]fn.Source{{Text: forged}})
		if err != nil {
			t.Fatal(err)
		}
		if !results.Failed() {
			t.Errorf("%s: it was undone to\n%s\n%v", name, back, results)
		}
	}
}

var regexpSnapshot = regexp.MustCompile(`    replay\.speedscale\.com/snapshot-id: .*\n`)

// A replay is undone in every form in which manifests are written.
func TestReplaysInEveryForm(t *testing.T) {
	plain := string(replayInput("", "env: [{name: DB, value: 'postgres://db.data:5432/shop'}]\nports: [{containerPort: 8080}]", "initContainers:\n- {name: seed, image: shop:1}"))
	const asJSON = `{
  "apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": {"name": "shop", "annotations": {"sidecar.speedscale.com/inject": "true", "replay.speedscale.com/snapshot-id": "0192e4a0-7f3c-7d2e-9b1a-6f4f5a3c2b1d"}},
  "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "web", "image": "shop:1", "args": ["a\nb", "yes"], "ports": [{"containerPort": 8080}]}]}}}
}
`
	const anchored = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  labels: &labels {app: shop}
  annotations: {sidecar.speedscale.com/inject: "true", replay.speedscale.com/snapshot-id: 0192e4a0-7f3c-7d2e-9b1a-6f4f5a3c2b1d}
spec:
  selector: {matchLabels: *labels}
  template:
    metadata: {labels: *labels}
    spec:
      containers:
      - &web
        name: web
        image: shop:1
        ports: [{containerPort: 8080}]
        command: # the shell's
        - sh
        - -c
        - |
          # not a comment
          exec shop "$@"
      - {<<: *web, name: second, ports: []}
`
	for name, input := range map[string]string{
		"as most write it":         plain,
		"line ends of Windows":     strings.ReplaceAll(plain, "\n", "\r\n"),
		"no line break at the end": strings.TrimSuffix(plain, "\n"),
		"JSON":                     asJSON,
		"JSON, then YAML":          asJSON + "---\n" + plain,
		"anchors and aliases":      anchored,
		"in place, with aliases":   strings.Replace(anchored, `annotations: {`, `annotations: {tapedeck.dev/replay: in-place, `, 1),
		"an old apiVersion":        strings.Replace(plain, "apps/v1", "extensions/v1beta1", 1),
		"a generated name":         strings.Replace(plain, "  name: shop\n  namespace", "  generateName: shop-\n  namespace", 1),
		"a name of 253 letters":    strings.Replace(plain, "  name: shop\n  namespace", "  name: "+strings.Repeat("n", 253)+"\n  namespace", 1),
		"a list":                   "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.SplitN(plain, "---\n", 2)[0][len("# the shop\n"):], "\n", "\n  ") + "\n",
		"two replays of one":       strings.Replace(plain, "---\n", "---\napiVersion: speedscale.com/v1\nkind: TrafficReplay\nmetadata: {name: nightly, namespace: store}\nspec:\n  snapshotID: 0192e4a0-7f3c-7d2e-9b1a-6f4f5a3c2b1d\n  testConfigID: standard\n  workloads: [{ref: {name: shop}, mocks: ['*'], routing: hostalias}]\n---\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := copyConfig(t)
			out, results := renderReplay(t, []byte(input), cfg)
			if results.Failed() {
				t.Fatal(results)
			}
			checkPromises(t, []byte(input), out, cfg)
			if !bytes.Contains(out, []byte("tapedeck.dev/replay-part")) {
				t.Errorf("there is no replay in\n%s", out)
			}
		})
	}
}

// A replay in place edits the policies around its workload in place, and its undo reverts these
// edits.
func TestWhatStandsAroundAReplayInPlaceIsTakenBack(t *testing.T) {
	const (
		sidecar = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: shop, namespace: store}\nspec:\n  workloadSelector: {labels: {app: shop}}\n  egress:\n  - hosts:\n    - istio-system/*\n"
		policy  = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shop, namespace: store}\nspec:\n  podSelector: {matchLabels: {app: shop}}\n  ingress:\n  - ports:\n    - port: 8080\n"
	)
	for name, c := range map[string]struct{ inbound, more, want string }{
		"a Sidecar":                        {"sidecar", sidecar, "    - store/*\n"},
		"a Sidecar that has no namespace":  {"sidecar", strings.Replace(sidecar, ", namespace: store", "", 1), "    - ./*\n"},
		"a NetworkPolicy of the pods":      {"service", policy, "      port: 4143\n"},
		"a Service that leads to the pods": {"service", "", "targetPort: 4143"},
	} {
		t.Run(name, func(t *testing.T) {
			input := append(replayInput("tapedeck.dev/replay: in-place", "", ""), c.more...)
			if !bytes.Contains([]byte(c.more), []byte("namespace: store")) && c.more != "" {
				input = bytes.ReplaceAll(bytes.ReplaceAll(input, []byte("  namespace: store\n"), nil), []byte(", namespace: store"), nil)
			}
			cfg := copyConfig(t)
			cfg.Inbound = c.inbound
			out, results := renderReplay(t, input, cfg)
			if results.Failed() {
				t.Fatal(results)
			}
			if !bytes.Contains(out, []byte(c.want)) {
				t.Errorf("it lacks %q:\n%s", c.want, out)
			}
			checkPromises(t, input, out, cfg)
		})
	}
}

// An undo finds only one proxy in the sidecar, so a replay in place can't replace several. A copy can,
// because no undo reads it.
func TestReplaysReplaceProxies(t *testing.T) {
	two := "env: [{name: HTTP_PROXY, value: 'http://one.corp:3128'}]\n"
	other := "containers:\n      - {name: other, image: x, env: [{name: http_proxy, value: 'http://two.corp:3128'}]}\n"
	for _, c := range []struct {
		how, inject string
		fails       bool
	}{{"copy", "false", false}, {"in-place", "true", true}} {
		input := replayInput("tapedeck.dev/replay: "+c.how, two, "")
		input = bytes.Replace(input, []byte("      containers:\n"), []byte("      "+other), 1)
		input = bytes.Replace(input, []byte(`inject: "true"`), []byte(`inject: "`+c.inject+`"`), 1)
		out, results := renderReplay(t, input, copyConfig(t))
		if results.Failed() != c.fails {
			t.Errorf("%s: %v", c.how, results)
		}
		if !c.fails {
			checkPromises(t, input, out, copyConfig(t))
		}
	}
}

// An image that others set for all sidecars after a render remains in the copy too.
func TestACopyKeepsAnImageThatOthersChanged(t *testing.T) {
	cfg := copyConfig(t)
	cfg.Image = "registry.example/tapedeck:1"
	out, results := renderReplay(t, replayInput("replay.speedscale.com/mode: generator-only", "", ""), cfg)
	if results.Failed() {
		t.Fatal(results)
	}
	changed := bytes.ReplaceAll(out, []byte("        image: "+cfg.Image+"\n        command:\n        - /tapedeck-proxy\n"), []byte("        image: mirror.example/tapedeck:1\n        command:\n        - /tapedeck-proxy\n"))
	if got := bytes.Count(changed, []byte("mirror.example")); got != 2 {
		t.Fatalf("%d sidecars in\n%s", got, out)
	}
	again, _ := renderReplay(t, changed, cfg)
	if got := bytes.Count(again, []byte("image: mirror.example/tapedeck:1")); got != 3 { // with the generator's
		t.Errorf("%d containers have the other image in\n%s", got, again)
	}
}

// An image that others set for all containers also remains in the generator and the responder.
func TestAReplayKeepsAnImageThatOthersChanged(t *testing.T) {
	cfg := copyConfig(t)
	cfg.Image = "registry.example/tapedeck:1"
	out, results := renderReplay(t, replayInput("", "", ""), cfg)
	if results.Failed() {
		t.Fatal(results)
	}
	changed := bytes.ReplaceAll(out, []byte("image: "+cfg.Image+"\n"), []byte("image: mirror.example/tapedeck:1\n"))
	again, _ := renderReplay(t, changed, cfg)
	if got := bytes.Count(again, []byte("image: "+cfg.Image+"\n")); got != 0 {
		t.Errorf("%d containers have the image of the option again in\n%s", got, again)
	}
}

// If others changed a label of a replay in place after the render, the label is theirs: it remains,
// and a result says so.
func TestALabelThatOthersChangedStays(t *testing.T) {
	out, results := renderReplay(t, replayInput("tapedeck.dev/replay: in-place", "", ""), copyConfig(t))
	if results.Failed() {
		t.Fatal(results)
	}
	label := regexp.MustCompile(`(?m)^        tapedeck.dev/replay: .*$`).FindIndex(out) // the workload's comes first
	changed := slices.Concat(out[:label[0]], []byte("        tapedeck.dev/replay: mine"), out[label[1]:])
	back, results, err := fn.Uninject([]fn.Source{{Text: changed}})
	said := slices.ContainsFunc(results, func(r transformer.Result) bool {
		return r.Code() == transformer.CodeUndoChanged && strings.Contains(r.Message, "labels[tapedeck.dev/replay]")
	})
	if err != nil || results.Failed() || !said || !bytes.Contains(back, []byte("tapedeck.dev/replay: mine")) || bytes.Contains(back, []byte("replay-part")) {
		t.Errorf("%v, %v, undone to\n%s", err, results, back)
	}
}
