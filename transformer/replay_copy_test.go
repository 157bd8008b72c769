package transformer

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// store returns the Deployment shop and the Service that leads to it, with more instead
// of <parts>.
func store(parts map[string]string) string {
	text := `apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: store
  annotations:
    sidecar.speedscale.com/inject: "<inject>"
    <annotations>
spec:
  replicas: 3
  paused: true
  selector:
    matchLabels:
      app: shop
  template:
    metadata:
      labels:
        app: shop
        sidecar.istio.io/inject: "true"
        <labels>
    spec:
      containers:
      - name: web
        image: shop:1
        ports:
        - containerPort: 8080
        <container>
      <pod>
---
apiVersion: v1
kind: Service
metadata:
  name: shop
  namespace: store
spec:
  selector:
    app: shop
  ports:
  - name: http
    port: 80
    targetPort: 8080
<more>
`
	part := regexp.MustCompile(`( *)(.*)<([a-z]+)>`)
	parts = maps.Clone(parts)
	if parts == nil {
		parts = map[string]string{}
	}
	parts["inject"] = cmp.Or(parts["inject"], "true")
	return part.ReplaceAllStringFunc(text, func(line string) string {
		m := part.FindStringSubmatch(line)
		return m[1] + m[2] + strings.ReplaceAll(parts[m[3]], "\n", "\n"+m[1])
	})
}

// replaying is the result of a render with one replay, which is of the first workload.
type replaying struct {
	*testing.T
	r        *replay
	original *Object
	created  map[string]*Object // by kind and name, with BASE for the base of the replay's names
	results  Results
}

// startReplay renders manifests with a replay of their first workload, up to the point where
// package fn uses the outcome.
func startReplay(t *testing.T, manifests string, cfg Config, change func(*replay)) *replaying {
	t.Helper()
	var objects []*Object
	for _, n := range parse(t, manifests) {
		objects = append(objects, &Object{Node: n})
	}
	in := newInput(objects, &cfg)
	run := &replaying{T: t, original: in.workloads[0].Object, created: map[string]*Object{}}
	for _, w := range in.workloads {
		w.said = in.decide(w)
		run.results = append(run.results, w.said...)
	}
	run.r = &replay{from: in.workloads[0].Object, at: "metadata.annotations[replay.speedscale.com/snapshot-id]", w: in.workloads[0]}
	run.r.Mode, run.r.Replicas = fullReplay, 1
	if change != nil {
		change(run.r)
	}
	run.results = append(run.results, in.nameReplays([]*replay{run.r})...)
	if !run.r.elsewhere() {
		run.results = append(run.results, in.addCopy(run.r)...)
	}
	if run.results.Failed() {
		return run
	}
	in.labelWorkloads()
	in.externals = in.openedHosts()
	var created []*Object
	for _, w := range in.renderOrder() {
		objects, results := in.inject(w)
		created = append(created, objects...)
		results = w.news(results)
		w.said = append(w.said, results...)
		run.results = append(run.results, results...)
	}
	objects, results := in.copyObjects(run.r)
	run.results = append(append(run.results, results...), in.checkQuotaSums()...)
	for _, o := range append(created, objects...) {
		run.created[o.kind()+"/"+strings.ReplaceAll(o.name(), run.r.name, "BASE")] = o
	}
	return run
}

// says returns the messages of the results with a code.
func (run *replaying) says(code Code) (messages []string) {
	for _, r := range run.results {
		if r.Code() == code {
			messages = append(messages, strings.ReplaceAll(r.Message, run.r.name, "BASE"))
		}
	}
	return messages
}

// env returns the variables of a container of a created Deployment, or of another object, as
// NAME=VALUE.
func env(o *Object, container string) (out []string) {
	for _, c := range asWorkload(o).allContainers() {
		if c.name() != container {
			continue
		}
		for _, v := range nodes.Items(nodes.At(c.Node, "env")) {
			out = append(out, nodes.StringAt(v, "name")+"="+nodes.StringAt(v, "value"))
		}
	}
	return out
}

func text(t *testing.T, n *yaml.Node) string {
	t.Helper()
	text, err := yaml.String(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNothingOfProductionSelectsTheCopy(t *testing.T) {
	run := startReplay(t, store(map[string]string{"labels": "team: red\ntapedeck.dev/replay: forged"}), DefaultConfig(), nil)
	copied := run.created["Deployment/BASE"]
	if copied == nil {
		t.Fatalf("no copy: %v", run.results)
	}
	labels := nodes.Strings(nodes.At(copied.Node, "spec", "template", "metadata", "labels"))
	for _, key := range sortedKeys(labels) {
		allowed := []string{contract.LabelReplay, contract.LabelReplayPart, contract.LabelInjected, contract.LabelWorkload, "sidecar.istio.io/inject"}
		if !slices.Contains(allowed, key) {
			t.Errorf("the copy's pods have the label %s: %s", key, labels[key])
		}
	}
	if got := nodes.Strings(nodes.At(copied.Node, "spec", "selector", "matchLabels")); len(got) != 2 || got[contract.LabelReplay] != run.r.name || got[contract.LabelReplayPart] != contract.PartCopy {
		t.Errorf("the copy selects %v", got)
	}
	for _, key := range []string{"paused", "strategy", "revisionHistoryLimit"} {
		if nodes.At(copied.Node, "spec", key) != nil {
			t.Errorf("the copy has %s", key)
		}
	}
	if nodes.At(copied.Node, "metadata", "annotations", contract.AnnotationUndo) != nil {
		t.Error("the copy has an undo record")
	}
}

func TestTheOriginalIsAsWithoutTheReplay(t *testing.T) {
	for name, parts := range map[string]map[string]string{
		"captured":     {},
		"not captured": {"inject": "false"},
		"with a proxy": {"container": "env:\n- {name: HTTPS_PROXY, value: 'http://proxy.corp:3128'}"},
	} {
		with := startReplay(t, store(parts), DefaultConfig(), nil)
		without := startReplay(t, store(parts), DefaultConfig(), func(r *replay) { r.w = nil })
		if text(t, with.original.Node) != text(t, without.original.Node) {
			t.Errorf("%s: the original differs:\n%s\nwithout the replay:\n%s", name, text(t, with.original.Node), text(t, without.original.Node))
		}
	}
}

func TestTheCopysSidecarGoesThroughTheResponder(t *testing.T) {
	for name, c := range map[string]struct {
		parts map[string]string
		ask   func(*replay)
		want  []string // variables of the sidecar
		lacks []string
	}{
		"by default": {nil, nil, []string{
			"HTTP_PROXY=socks5h://BASE-mock.store:4140", "HTTPS_PROXY=socks5h://BASE-mock.store:4140", "ALL_PROXY=socks5h://BASE-mock.store:4140",
			"TAPEDECK_UPSTREAM_READY=http://BASE-mock.store:4141/healthz", "TLS_OUT_UNWRAP=true", "TAPEDECK_UPSTREAM_CA=/etc/tapedeck/ca/tls.crt", "APP_LABEL=shop",
		}, []string{"NO_PROXY", "TAPEDECK_EDITS", "TAPEDECK_CAPTURE_HOSTS"}},
		"in the place of a proxy and of hosts that went past it": {
			map[string]string{"container": "env:\n- {name: HTTPS_PROXY, value: 'http://user:secret@proxy.corp:3128'}\n- {name: no_proxy, value: '*'}"}, nil,
			[]string{"HTTPS_PROXY=socks5h://BASE-mock.store:4140"}, []string{"NO_PROXY", "TAPEDECK_FORMER_HTTPS_PROXY"},
		},
		"of a workload that is captured inbound alone": {
			map[string]string{"annotations": "sidecar.speedscale.com/proxy-type: reverse\nsidecar.speedscale.com/proxy-protocol: tcp"}, nil,
			[]string{"PROXY_TYPE=dual", "PROXY_PROTOCOL=tcp:http", "PROXY_OUT_PORT=4140", "HTTP_PROXY=socks5h://BASE-mock.store:4140"}, nil,
		},
		"with the hosts that the mocks name": {
			nil, func(r *replay) {
				r.HostsFile, r.Mocks.Keys = true, []string{"shop:api.stripe.com:443", "redis:6379", "shop:a host:1", "payments", ":::", "x:api.stripe.com:443"}
			},
			[]string{"TAPEDECK_CAPTURE_HOSTS=api.stripe.com:443, redis:6379"}, nil,
		},
		"unless nothing is mocked": {nil, func(r *replay) { r.Mode = generatorOnly }, []string{"PROXY_TYPE=dual"}, []string{"HTTP_PROXY", "TAPEDECK_UPSTREAM_READY", "TLS_OUT_UNWRAP"}},
	} {
		run := startReplay(t, store(c.parts), DefaultConfig(), c.ask)
		copied := run.created["Deployment/BASE"]
		if copied == nil {
			t.Errorf("%s: no copy: %v", name, run.results)
			continue
		}
		var got []string
		for _, v := range env(copied, contract.Container) {
			got = append(got, strings.ReplaceAll(v, run.r.name, "BASE"))
		}
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: the sidecar lacks %s, and has %q", name, want, got)
			}
		}
		for _, lacks := range c.lacks {
			if slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, lacks+"=") }) {
				t.Errorf("%s: the sidecar has %s: %q", name, lacks, got)
			}
		}
	}
}

// The copy's variables for proxies and certificates lead it to the sidecar, no matter where the
// application gets them from.
func TestNoVariableLeadsTheCopyPastItsSidecar(t *testing.T) {
	parts := map[string]string{
		"container": `env:
- {name: HTTP_PROXY, valueFrom: {secretKeyRef: {name: proxy, key: url}}}
- {name: ALL_PROXY, value: 'socks5://proxy.corp:1080'}
- {name: NO_PROXY, valueFrom: {configMapKeyRef: {name: proxy, key: direct}}}
- {name: SSL_CERT_FILE, value: /etc/corp.pem}
envFrom:
- secretRef: {name: all}`,
		"more": `---
apiVersion: v1
kind: Secret
metadata: {name: all, namespace: store}
stringData: {https_proxy: 'http://proxy.corp:3128', no_proxy: '.corp'}
`,
	}
	cfg := DefaultConfig()
	cfg.NoProxy = []string{".direct"}
	run := startReplay(t, store(parts), cfg, nil)
	got := env(run.created["Deployment/BASE"], "web")
	direct := "localhost,127.0.0.1,169.254.169.254,$(KUBERNETES_SERVICE_HOST),kubernetes.default.svc"
	for _, want := range []string{
		"HTTP_PROXY=http://127.0.0.1:4140", "http_proxy=http://127.0.0.1:4140", "HTTPS_PROXY=http://127.0.0.1:4140", "https_proxy=http://127.0.0.1:4140",
		"ALL_PROXY=http://127.0.0.1:4140", "NO_PROXY=" + direct, "no_proxy=" + direct, "SSL_CERT_FILE=" + contract.CABundle,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("the copy lacks %s, and has %q", want, got)
		}
	}
}

func TestACopyWithoutASidecarIsLedToTheResponder(t *testing.T) {
	run := startReplay(t, store(map[string]string{"inject": "false", "container": "env:\n- {name: ALL_PROXY, value: 'http://proxy.corp:3128'}\n- {name: SSL_CERT_FILE, value: /etc/corp.pem}", "pod": "initContainers:\n- {name: seed, image: shop:1}"}), DefaultConfig(), nil)
	copied := run.created["Deployment/BASE"]
	for _, container := range []string{"web", "seed"} {
		var got []string
		for _, v := range env(copied, container) {
			got = append(got, strings.ReplaceAll(v, run.r.name, "BASE"))
		}
		for _, want := range []string{"HTTP_PROXY=http://BASE-mock.store:4140", "https_proxy=http://BASE-mock.store:4140", "SSL_CERT_FILE=/etc/ssl/speedscale/tls.crt", "NODE_EXTRA_CA_CERTS=/etc/ssl/speedscale/tls.crt", "NODE_USE_ENV_PROXY=1"} {
			if !slices.Contains(got, want) {
				t.Errorf("container %s lacks %s, and has %q", container, want, got)
			}
		}
		if has := slices.Contains(got, "ALL_PROXY=http://BASE-mock.store:4140"); has != (container == "web") {
			t.Errorf("container %s has ALL_PROXY: %t", container, has)
		}
	}
	volume := nodes.Named(nodes.At(copied.Node, "spec", "template", "spec", "volumes"), contract.TrustVolume)
	if keys := nodes.Items(nodes.At(volume, "secret", "items")); len(keys) != 1 || nodes.StringAt(keys[0], "key") != "tls.crt" {
		t.Errorf("the copy gets more of the CA than its certificate: %s", text(t, volume))
	}
	if len(run.says(CodeReplayNoSidecar)) != 1 {
		t.Errorf("nothing says that the copy has no sidecar: %v", run.results)
	}
}

func TestACopyWritesIntoNobodysVolume(t *testing.T) {
	const claim = "volumes:\n- {name: data, persistentVolumeClaim: {claimName: data}}"
	for name, c := range map[string]struct {
		container, pod string
		keep, empty    Code // of the result with each value of the option replayVolumes; "" if the volume remains
	}{
		"a claim":                               {"volumeMounts:\n- {name: data, mountPath: /data}", claim, CodeReplayVolume, CodeReplayEmptied},
		"a claim, mounted read-only":            {"volumeMounts:\n- {name: data, mountPath: /data, readOnly: true}", claim, "", ""},
		"a claim, mounted both ways":            {"volumeMounts:\n- {name: data, mountPath: /data, readOnly: true}\n- {name: data, mountPath: /out}", claim, CodeReplayVolume, CodeReplayEmptied},
		"a claim that is read-only":             {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, persistentVolumeClaim: {claimName: data, readOnly: true}}", "", ""},
		"a claim that nobody mounts":            {"", claim, "", ""},
		"a claim as a block device":             {"volumeDevices:\n- {name: data, devicePath: /dev/xvda}", claim, CodeReplayVolume, CodeReplayVolume},
		"a claim of an initContainer":           {"", claim + "\ninitContainers:\n- {name: seed, image: x, volumeMounts: [{name: data, mountPath: /data}]}", CodeReplayVolume, CodeReplayEmptied},
		"a share":                               {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, nfs: {server: nas, path: /}}", CodeReplayVolume, CodeReplayEmptied},
		"a driver's":                            {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, csi: {driver: files.example}}", CodeReplayVolume, CodeReplayEmptied},
		"a driver's, read-only":                 {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, csi: {driver: secrets-store.csi.k8s.io, readOnly: true}}", "", ""},
		"the node's, read-only":                 {"volumeMounts:\n- {name: data, mountPath: /data, readOnly: true}", "volumes:\n- {name: data, hostPath: {path: /var/run}}", CodeReplayNode, CodeReplayNode},
		"the node's, with a forged readOnly":    {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, hostPath: {path: /, readOnly: true}}", CodeReplayVolume, CodeReplayEmptied},
		"two kinds under one name":              {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, emptyDir: {}, nfs: {server: nas, path: /}}", CodeReplayVolume, CodeReplayEmptied},
		"each pod's own":                        {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, ephemeral: {volumeClaimTemplate: {spec: {}}}}", "", ""},
		"a Secret, which no pod can write to":   {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data, secret: {secretName: x}}", "", ""},
		"one without a kind, which is emptyDir": {"volumeMounts:\n- {name: data, mountPath: /data}", "volumes:\n- {name: data}", "", ""},
	} {
		for option, want := range map[string]Code{volumesKeep: c.keep, volumesEmpty: c.empty} {
			cfg := DefaultConfig()
			cfg.ReplayVolumes = option
			run := startReplay(t, store(map[string]string{"container": c.container, "pod": c.pod}), cfg, nil)
			var said []Code
			for _, code := range []Code{CodeReplayVolume, CodeReplayEmptied, CodeReplayNode} {
				if len(run.says(code)) > 0 {
					said = append(said, code)
				}
			}
			if !slices.Equal(said, slices.DeleteFunc([]Code{want}, func(c Code) bool { return c == "" })) {
				t.Errorf("%s, with replayVolumes %s: said %q, want %q", name, option, said, want)
			}
			if copied := run.created["Deployment/BASE"]; (copied == nil) != (want == CodeReplayVolume) {
				t.Errorf("%s, with replayVolumes %s: there is a copy: %t", name, option, copied != nil)
			} else if copied != nil {
				volume := nodes.Named(nodes.At(copied.Node, "spec", "template", "spec", "volumes"), "data")
				if emptied := onlyKeys(volume, "name", "emptyDir"); want == CodeReplayEmptied && !emptied {
					t.Errorf("%s, with replayVolumes %s: the copy has %s", name, option, text(t, volume))
				}
			}
		}
	}
}

func TestWhatCannotBeCopied(t *testing.T) {
	long := strings.Repeat("n", 253)
	for name, c := range map[string]struct {
		manifest string
		ask      func(*replay)
		want     Code // "" if it can
	}{
		"a StatefulSet":                             {strings.Replace(store(nil), "kind: Deployment", "kind: StatefulSet", 1), nil, CodeReplayKind},
		"an old Deployment":                         {strings.Replace(store(nil), "apps/v1", "extensions/v1beta1", 1), nil, ""},
		"a Deployment without a selector":           {strings.Replace(store(nil), "  selector:\n    matchLabels:\n      app: shop\n", "", 1), nil, ""},
		"a name of 253 bytes":                       {strings.Replace(store(nil), "name: shop\n", "name: "+long+"\n", 1), nil, ""},
		"pods in the node's network":                {store(map[string]string{"inject": "false", "pod": "hostNetwork: true"}), nil, CodeReplayHost},
		"no containers":                             {strings.Replace(store(map[string]string{"inject": "false"}), "      containers:\n      - name: web\n        image: shop:1\n        ports:\n        - containerPort: 8080\n", "", 1), nil, CodeMalformed},
		"containers that are a map":                 {strings.Replace(store(map[string]string{"inject": "false"}), "      - name: web\n        image: shop:1\n        ports:\n        - containerPort: 8080\n", "        web: {}\n", 1), nil, CodeMalformed},
		"a Service that selects by the mesh's":      {store(map[string]string{"more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {sidecar.istio.io/inject: 'true'}, ports: [{port: 80}]}"}), nil, CodeReplaySelected},
		"a Service that selects copies":             {store(map[string]string{"more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {tapedeck.dev/replay-part: copy}, ports: [{port: 80}]}"}), nil, CodeReplaySelected},
		"a Service that selects captured pods":      {store(map[string]string{"more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {sidecar.speedscale.com/injected: 'true'}, ports: [{port: 80}]}"}), nil, CodeReplaySelected},
		"one that selects them, and nothing is":     {store(map[string]string{"inject": "false", "more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {sidecar.speedscale.com/injected: 'true'}, ports: [{port: 80}]}"}), nil, ""},
		"a Service that selects captured copies":    {store(map[string]string{"more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {sidecar.speedscale.com/injected: 'true', tapedeck.dev/replay-part: copy}, ports: [{port: 80}]}"}), nil, CodeReplaySelected},
		"a Service that selects responders":         {store(map[string]string{"more": "---\napiVersion: v1\nkind: Service\nmetadata: {name: all, namespace: store}\nspec: {selector: {tapedeck.dev/replay-part: responder}, ports: [{port: 80}]}"}), nil, CodeReplaySelected},
		"a ServiceEntry that selects captured pods": {store(map[string]string{"more": "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: all, namespace: store}\nspec: {hosts: [shop.test], ports: [{number: 80, name: http, protocol: HTTP}], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {sidecar.speedscale.com/injected: 'true'}}}"}), nil, CodeReplaySelected},
		"no port that anybody knows":                {strings.Replace(strings.Replace(store(nil), "app: shop\n  ports", "app: other\n  ports", 1), "        ports:\n        - containerPort: 8080\n", "", 1), nil, CodeReplayPorts},
		"no port, and nothing is sent":              {strings.Replace(strings.Replace(store(nil), "app: shop\n  ports", "app: other\n  ports", 1), "        ports:\n        - containerPort: 8080\n", "", 1), func(r *replay) { r.Mode = responderOnly }, ""},
		"no port, and requests are sent elsewhere":  {strings.Replace(strings.Replace(store(nil), "app: shop\n  ports", "app: other\n  ports", 1), "        ports:\n        - containerPort: 8080\n", "", 1), func(r *replay) { r.URL = "http://gateway.test" }, ""},
		"a StatefulSet whose requests go elsewhere": {strings.Replace(store(nil), "kind: Deployment", "kind: StatefulSet", 1), func(r *replay) { r.Mode, r.URL = generatorOnly, "https://gateway.test" }, ""},
		"in place, without a sidecar":               {store(map[string]string{"inject": "false"}), func(r *replay) { r.InPlace = true }, CodeReplaySidecar},
		"in place, a StatefulSet":                   {strings.Replace(store(nil), "kind: Deployment", "kind: StatefulSet", 1), func(r *replay) { r.InPlace = true }, ""},
	} {
		run := startReplay(t, c.manifest, DefaultConfig(), c.ask)
		var failed []Code
		for _, r := range run.results {
			if r.Severity == Error {
				failed = append(failed, r.Code())
			}
			if r.Code() == CodeReplaySelected && r.ResourceRef.Kind == "ServiceEntry" && r.Field.Path != "spec.workloadSelector.labels" {
				t.Errorf("%s: the error is at %s", name, r.Field.Path)
			}
		}
		if want := slices.DeleteFunc([]Code{c.want}, func(c Code) bool { return c == "" }); !slices.Equal(slices.Compact(failed), want) {
			t.Errorf("%s: errors %q, want %q: %v", name, failed, want, run.results)
		}
	}
}

func TestTheCopyTakesNothingFromTheOriginal(t *testing.T) {
	run := startReplay(t, store(map[string]string{
		"annotations": "replay.speedscale.com/snapshot-id: x",
		"labels":      "team: red",
		"container": `env:
- {name: TEAM, valueFrom: {fieldRef: {fieldPath: "metadata.labels['team']"}}}
- {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}`,
		"pod": `priorityClassName: system-cluster-critical
dnsPolicy: None
readinessGates:
- {conditionType: target-health.example}
affinity:
  nodeAffinity: {}
  podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: shop}}, topologyKey: kubernetes.io/hostname}]}
serviceAccountName: shop`,
	}), DefaultConfig(), nil)
	spec := nodes.At(run.created["Deployment/BASE"].Node, "spec", "template", "spec")
	for _, key := range []string{"priorityClassName", "dnsPolicy", "readinessGates"} {
		if nodes.At(spec, key) != nil {
			t.Errorf("the copy has %s", key)
		}
	}
	if got := nodes.At(spec, "affinity"); nodes.At(got, "nodeAffinity") == nil || nodes.At(got, "podAntiAffinity") != nil {
		t.Errorf("the copy has the affinity %s", text(t, got))
	}
	if len(run.says(CodeReplayLeftOut)) != 1 {
		t.Errorf("nothing says what is left out: %v", run.results)
	}
	if got := env(run.created["Deployment/BASE"], "web"); !slices.Contains(got, "TEAM=red") || !slices.Contains(got, "POD=") {
		t.Errorf("the copy's variables are %q", got)
	}
	if got := nodes.StringAt(spec, "serviceAccountName"); got != "shop" {
		t.Errorf("the service account is %s", got)
	}
}

func TestTheCopyHasItsOwnServiceAccount(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ReplayCopyAccount = "copies"
	run := startReplay(t, store(map[string]string{"pod": "serviceAccount: shop"}), cfg, nil)
	spec := nodes.At(run.created["Deployment/BASE"].Node, "spec", "template", "spec")
	if nodes.StringAt(spec, "serviceAccountName") != "copies" || nodes.At(spec, "serviceAccount") != nil {
		t.Errorf("the copy has %s", text(t, spec))
	}
}

// A result that applies to the original is not repeated for its copy.
func TestNothingIsSaidTwice(t *testing.T) {
	for inbound, parts := range map[string]map[string]string{
		inboundSidecar: {"annotations": "sidecar.speedscale.com/tls-out: \"true\"\nsidecar.speedscale.com/memory-limit: 16Mi", "container": "envFrom:\n- secretRef: {name: unseen}"},
		inboundService: {"container": "envFrom:\n- secretRef: {name: unseen}", "more": "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: all, namespace: store}\nspec: {podSelector: {}, ingress: [{ports: [{port: 8080}]}], egress: [{to: [{podSelector: {}}]}]}"},
	} {
		cfg := DefaultConfig()
		cfg.Inbound = inbound
		run := startReplay(t, store(parts), cfg, nil)
		allowed := []Code{CodeReplayRendered, CodeReplayHosts, CodeReplayInit}
		for _, r := range run.results {
			if strings.Contains(r.Message, run.r.name) && !slices.Contains(allowed, r.Code()) {
				t.Errorf("inbound %s: %s: %s", inbound, r.Code(), r.Message)
			}
		}
	}
}

func TestPoliciesOfTheOriginalAreNotEditedForTheCopy(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Inbound = inboundService
	run := startReplay(t, store(map[string]string{"more": "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: others, namespace: store}\nspec: {podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}, ingress: [{ports: [{port: 8080}]}]}"}), cfg, nil)
	if got := run.says(CodePortFollowed); len(got) > 0 {
		t.Errorf("%q", got)
	}
	ports := nodes.Items(nodes.At(run.created["Service/BASE"].Node, "spec", "ports"))
	if len(ports) != 1 || nodes.StringAt(ports[0], "port") != "8080" || nodes.StringAt(ports[0], "targetPort") != "4143" || nodes.StringAt(ports[0], "appProtocol") != "tcp" {
		t.Errorf("the copy's Service is %s", text(t, run.created["Service/BASE"].Node))
	}
}

// In production somebody configured which calls bypass Envoy and policies, and what is scraped.
// Nobody did so for the copy.
func TestTheCopyGoesThroughEnvoyAndPolicies(t *testing.T) {
	text := strings.Replace(store(map[string]string{"annotations": "sidecar.speedscale.com/prometheus-port: '9102'\nsidecar.speedscale.com/prometheus-enable-scrape-annotations: 'true'"}), "    metadata:\n      labels:",
		"    metadata:\n      annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '5432', k8s.v1.cni.cncf.io/networks: storage, cni.projectcalico.org/ipAddrs: '[\"10.0.0.1\"]', ovn.kubernetes.io/ip_address: 10.0.0.1, prometheus.io/scrape: 'true', team: web}\n      labels:", 1)
	run := startReplay(t, text, DefaultConfig(), nil)
	template := nodes.At(run.created["Deployment/BASE"].Node, "spec", "template")
	annotations := nodes.Strings(nodes.At(template, "metadata", "annotations"))
	said := strings.Join(run.says(CodeReplayLeftOut), "\n")
	for _, key := range []string{"traffic.sidecar.istio.io/excludeOutboundPorts", "k8s.v1.cni.cncf.io/networks", "cni.projectcalico.org/ipAddrs", "ovn.kubernetes.io/ip_address", "prometheus.io/scrape"} {
		if _, has := annotations[key]; has || !strings.Contains(said, key) {
			t.Errorf("the copy's annotations are %v, and the results say %q", annotations, said)
		}
	}
	if annotations["prometheus.io/port"] != "" || annotations["team"] != "web" {
		t.Errorf("the copy's annotations are %v", annotations)
	}
}

func TestQuotasCountTheCopies(t *testing.T) {
	quota := "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: all, namespace: store}\nspec: {hard: {requests.cpu: '4'}}"
	for replicas, want := range map[int]int{0: 0, 2: 1} {
		run := startReplay(t, store(map[string]string{"container": "resources: {requests: {cpu: '1'}}", "more": quota}), DefaultConfig(), func(r *replay) {
			if r.Replicas = replicas; replicas == 0 {
				r.w = nil
			}
		})
		if got := run.says(CodeQuota); len(got) != want {
			t.Errorf("with %d copies: %q", replicas, got)
		}
	}
}

// An Istio Sidecar that selects all pods applies to the original and to the copy, and is the same
// for both.
func TestOneSidecarMayHoldForOriginalAndCopy(t *testing.T) {
	run := startReplay(t, store(map[string]string{"more": "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: all, namespace: store}\nspec: {workloadSelector: {labels: {sidecar.istio.io/inject: 'true'}}, egress: [{hosts: [istio-system/*]}]}"}), DefaultConfig(), nil)
	if run.results.Failed() || run.created["Deployment/BASE"] == nil {
		t.Fatal(run.results)
	}
	if got := run.says(CodeSidecarPatched); len(got) != 1 {
		t.Errorf("%q", got)
	}
	if got := run.says(CodeReplayEgressClosed); len(got) != 1 {
		t.Errorf("nothing says that the copy does not reach the responder: %v", run.results)
	}
}

func TestTheCopysSidecarOfIstioReachesTheResponder(t *testing.T) {
	run := startReplay(t, store(map[string]string{"more": "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: store}\nspec: {egress: [{hosts: [istio-system/*]}]}"}), DefaultConfig(), nil)
	got := text(t, nodes.At(run.created["Sidecar/BASE-tapedeck"].Node, "spec", "egress"))
	if !strings.Contains(got, "-mock.store.svc.cluster.local") {
		t.Errorf("the copy's egress is %s", got)
	}
	if got := text(t, nodes.At(run.created["Sidecar/shop-tapedeck"].Node, "spec", "egress")); strings.Contains(got, "store/*") {
		t.Errorf("the original's egress is %s", got)
	}
}

// If an Envoy redirects a pod's calls, an init container that runs before Envoy would wait for
// ever.
func TestACopyWithoutASidecarWaitsForTheResponderWhereItCan(t *testing.T) {
	for label, waits := range map[string]bool{`"true"`: false, `"false"`: true} {
		manifest := strings.Replace(store(map[string]string{"inject": "false", "pod": "initContainers:\n- {name: seed, image: shop:1}"}), `sidecar.istio.io/inject: "true"`, "sidecar.istio.io/inject: "+label, 1)
		run := startReplay(t, manifest, DefaultConfig(), nil)
		first := nodes.Items(nodes.At(run.created["Deployment/BASE"].Node, "spec", "template", "spec", "initContainers"))[0]
		if got := nodes.StringAt(first, "name") == contract.WaitContainer; got != waits {
			t.Errorf("with the label %s it waits: %t, want %t", label, got, waits)
		}
		if command := text(t, first); waits && !strings.Contains(command, "http://"+run.r.name+"-mock.store:4141/healthz") {
			t.Errorf("it waits for %s", command)
		}
	}
}

func TestWhatReachesTheNodeIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		container, pod string
		said           bool
	}{
		"an ordinary pod":             {"", "", false},
		"a privileged container":      {"securityContext: {privileged: true}", "", true},
		"a capability":                {"securityContext: {capabilities: {add: [CHOWN, CAP_SYS_ADMIN]}}", "", true},
		"no capability of the node's": {"securityContext: {capabilities: {add: [CHOWN], drop: [ALL]}}", "", false},
		"the node's processes":        {"", "hostPID: true", true},
		"a socket of the node's":      {"volumeMounts:\n- {name: run, mountPath: /run, readOnly: true}", "volumes:\n- {name: run, hostPath: {path: /var/run/docker.sock}}", true},
	} {
		run := startReplay(t, store(map[string]string{"container": c.container, "pod": c.pod}), DefaultConfig(), nil)
		if got := len(run.says(CodeReplayNode)) > 0; got != c.said {
			t.Errorf("%s: there is a result: %t: %v", name, got, run.results)
		}
	}
}

// Every value of a manifest may have any shape. The result is an error or a copy, and no panic.
func TestACopyOfAnything(t *testing.T) {
	parts := map[string]string{
		"annotations": "sidecar.speedscale.com/capture-hosts: auto",
		"labels":      "tapedeck.dev/replay-part: copy",
		"container":   "env:\n- {name: HTTP_PROXY, value: 'http://proxy:1'}\n- {name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}\nenvFrom: [{secretRef: {name: x}}]\nvolumeMounts: [{name: data, mountPath: /data}]\nvolumeDevices: [{name: raw, devicePath: /dev/x}]\nsecurityContext: {privileged: true}\nreadinessProbe: {httpGet: {port: 8080}}",
		"pod":         "hostPID: true\ndnsPolicy: None\npriority: 1\nreadinessGates: []\nserviceAccount: x\ninitContainers: [{name: seed, image: x, ports: [{containerPort: 1, hostPort: 1}]}]\nvolumes: [{name: data, persistentVolumeClaim: {claimName: x, readOnly: true}}, {name: raw, projected: {sources: [{serviceAccountToken: {path: x}}]}}]",
		"more":        "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: all, namespace: store}\nspec: {hard: {requests.cpu: '4'}}\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: all, namespace: store}\nspec: {workloadSelector: {labels: {app: shop}}, ingress: [{port: {number: 8080}, defaultEndpoint: 127.0.0.1:8080}], egress: [{hosts: [istio-system/*]}]}",
	}
	shapes := []string{"null", "text", "[]", "{}", "[a, {b: c}]", "{name: data, '*': [1]}", "-1", "99999999999999999999", "'a\n\n  b'", "true"}
	asks := []func(*replay){func(r *replay) { r.HostsFile = true }, func(r *replay) { r.InPlace = true }}
	cfg := DefaultConfig()
	cfg.ReplayVolumes = volumesEmpty
	copies := 0
	for i := range values(parse(t, store(parts))) {
		for j := i % 2; j < len(shapes); j += 2 {
			docs := parse(t, store(parts))
			*values(docs)[i] = *parse(t, shapes[j])[0]
			var manifests []string
			for _, n := range docs {
				manifests = append(manifests, text(t, n))
			}
			manifest := strings.Join(manifests, "---\n")
			if !strings.Contains(manifest, "kind: Deployment") || !strings.Contains(manifest, "apiVersion: apps/v1") {
				continue // there is nothing to replay to
			}
			if run := startReplay(t, manifest, cfg, asks[j/2%2]); run.created["Deployment/BASE"] != nil {
				copies++
			}
		}
	}
	if copies < 100 {
		t.Errorf("%d manifests had a copy: the shapes are too odd", copies)
	}
}

// parse returns the documents of a stream.
func parse(t *testing.T, text string) (docs []*yaml.Node) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		switch err := decoder.Decode(&n); {
		case errors.Is(err, io.EOF):
			return docs
		case err != nil:
			t.Fatal(err)
		}
		docs = append(docs, n.Content[0])
	}
}

// values returns every value below some nodes.
func values(nodes []*yaml.Node) (all []*yaml.Node) {
	for _, n := range nodes {
		for i, c := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				all = append(all, c)
			}
		}
		all = append(all, values(n.Content)...)
	}
	return all
}

// Init containers that start after the sidecar reach the responder through it.
func TestInitContainersOfACopy(t *testing.T) {
	for annotation, behind := range map[string]bool{"": false, `sidecar.speedscale.com/insert-init-first: "true"`: true} {
		run := startReplay(t, store(map[string]string{"annotations": annotation, "pod": "initContainers:\n- {name: seed, image: shop:1, env: [{name: HTTP_PROXY, value: 'http://proxy.corp:3128'}]}"}), DefaultConfig(), nil)
		if got := slices.Contains(env(run.created["Deployment/BASE"], "seed"), "HTTP_PROXY=http://127.0.0.1:4140"); got != behind {
			t.Errorf("with %q the init container goes through the sidecar: %t", annotation, got)
		}
		if got := len(run.says(CodeReplayInit)) == 0; got != behind {
			t.Errorf("with %q a result says that nothing answers it: %v", annotation, run.results)
		}
	}
}

// A policy that opened a port for every address would make the real dependencies reachable.
func TestAReplayedWorkloadRecordsWhereAPolicyCanKeepIt(t *testing.T) {
	for _, c := range []struct {
		name, sink string
		inPlace    bool
		want       string // the sink of the copy or workload
	}{
		{"to a collector in the cluster", "http://collector.speedscale:4310", false, "http://collector.speedscale:4310"},
		{"to a collector at an address", "https://10.0.0.7", false, "https://10.0.0.7"},
		{"to its pod where the collector is a name outside", "https://collector.example.com", false, contract.DefaultSink},
		{"in place, too", "https://collector.example.com", true, contract.DefaultSink},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Sink, cfg.SinkPlainHTTP = c.sink, true
			run := startReplay(t, store(nil), cfg, func(r *replay) { r.InPlace = c.inPlace })
			if run.results.Failed() {
				t.Fatal(run.results)
			}
			replayed := run.r.copied.Object
			records := func(o *Object, sink string) {
				if got := env(o, contract.Container); !slices.Contains(got, contract.EnvSink+"="+sink) {
					t.Errorf("%s does not record to %s: %q", o.Ref(), sink, got)
				}
			}
			records(replayed, c.want)
			if !c.inPlace {
				records(run.original, c.sink)
			}
			token := nodes.Named(nodes.At(asWorkload(replayed).podSpec(), "volumes"), contract.SinkTokenVolume)
			if local := c.want == contract.DefaultSink; local != (token == nil) {
				t.Errorf("it mounts the collector's token: %t", token != nil)
			}
		})
	}
}
