package transformer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// played is a replay of the workload of a manifest, as renderReplays has it.
type played struct {
	in *input
	r  *replay
}

// play reads a manifest whose first object is the workload, under options, and makes its
// replay. The workload stands for its copy, and the last Service for the copy's.
func play(t testing.TB, manifest string, options map[string]string, change func(*replay)) played {
	t.Helper()
	cfg := DefaultConfig()
	for name, value := range options {
		if err := cfg.SetOption(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.ReplayPlace == "" {
		cfg.ReplayPlace = "s3://recordings/shop?region=eu-central-1"
	}
	var objects []*Object
	for _, text := range strings.Split(manifest, "\n---\n") {
		objects = append(objects, parsed(t, text))
	}
	in := newInput(objects, &cfg)
	r := replayOf(t, shop)
	r.from, r.w = in.workloads[0].Object, in.workloads[0]
	r.copied = r.w
	if change != nil {
		change(r)
	}
	in.nameReplays([]*replay{r})
	if r.copied != nil {
		in.services = map[servicePair][]*service{}
		for _, o := range objects {
			if s := asService(o); s != nil {
				if strAt(o.Node, "metadata", "name") == "copy" {
					setName(o, r.name)
				}
				in.services[s.pair()] = append(in.services[s.pair()], s)
			}
		}
	}
	return played{in, r}
}

func setName(o *Object, name string) { field(o.Node, "metadata", "name").Value = name }

// args returns the arguments of the container of a part, and the object.
func (p played) args(t testing.TB, part string) ([]string, *Object, Results) {
	t.Helper()
	build := map[string]func(*replay) ([]*Object, Results){contract.PartGenerator: p.in.generator, contract.PartResponder: p.in.responder}[part]
	objects, results := build(p.r)
	if len(objects) == 0 {
		return nil, nil, results
	}
	var args []string
	for _, a := range items(field(items(field(objects[0].Node, "spec", "template", "spec", "containers"))[0], "args")) {
		args = append(args, str(a))
	}
	return args, objects[0], results
}

// having returns those of some arguments that begin with a flag.
func argsOf(args []string, flag string) (out []string) {
	for _, a := range args {
		if value, ok := strings.CutPrefix(a, "--"+flag+"="); ok {
			out = append(out, value)
		}
	}
	return out
}

// copyService leads to the shop's pods, and stands for the copy's Service.
const copyService = `
apiVersion: v1
kind: Service
metadata: {name: copy, namespace: store}
spec: {selector: {app: shop}, ports: [{name: tcp-8080, port: 8080, appProtocol: tcp}]}
`

func TestTargets(t *testing.T) {
	const (
		base     = "shop-replay-"
		twoPorts = `
apiVersion: v1
kind: Service
metadata: {name: copy, namespace: store}
spec: {selector: {app: shop}, ports: [{name: tcp-8080, port: 8080}, {name: tcp-9090, port: 9090}, {name: again, port: 80, targetPort: 8080}]}
`
		tls = `
apiVersion: v1
kind: Service
metadata: {name: front, namespace: store}
spec: {selector: {app: shop}, ports: [{name: https, port: 443, targetPort: 8080}]}
`
	)
	for _, c := range []struct {
		what, services, url string
		none                bool // no copy
		want                []string
		code                Code
	}{
		{what: "one port", services: copyService, want: []string{"http://BASE.store:8080"}},
		{what: "several ports", services: twoPorts, want: []string{"http://BASE.store:8080", "9090=http://BASE.store:9090"}},
		{what: "another port", services: twoPorts, url: ":7070", want: []string{"http://BASE.store:7070"}},
		{what: "another scheme", services: twoPorts, url: "h2c://", want: []string{"h2c://BASE.store:8080", "9090=h2c://BASE.store:9090"}},
		{what: "another scheme and port", services: twoPorts, url: "grpc://:7070", want: []string{"grpc://BASE.store:7070"}},
		{what: "another host", services: copyService, url: "new.com", want: []string{"http://new.com"}},
		{what: "another host and port", services: copyService, url: "new.com:81", want: []string{"http://new.com:81"}},
		{what: "a whole URL", services: copyService, url: "https://new.com:444/", want: []string{"https://new.com:444"}},
		{what: "an IPv6 address", services: copyService, url: "http://[2001:db8::1]:444", want: []string{"http://[2001:db8::1]:444"}},
		{what: "an IPv6 address without port", services: copyService, url: "https://[2001:db8::1]", want: []string{"https://[2001:db8::1]"}},
		{what: "no copy", url: "https://new.com", none: true, want: []string{"https://new.com"}},
		{what: "no copy, and a part of a URL", url: ":80", none: true, code: CodeReplayTarget},
		{what: "no port", code: CodeReplayTarget},
		{what: "TLS", services: copyService + "\n---\n" + tls, want: []string{"https://BASE.store:8080"}, code: CodeReplayTLS},
		{what: "TLS that the URL denies", services: copyService + "\n---\n" + tls, url: "http://", want: []string{"http://BASE.store:8080"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := play(t, strings.TrimSuffix(shop+"\n---\n"+c.services, "\n---\n"), nil, func(r *replay) {
				r.URL = c.url
				if c.none {
					r.copied = nil
				}
			})
			args, _, results := p.args(t, contract.PartGenerator)
			var want []string
			for _, w := range c.want {
				want = append(want, strings.Replace(w, "BASE", p.r.name, 1))
			}
			if got := argsOf(args, "target"); !slices.Equal(got, want) {
				t.Errorf("requests go to %v, want %v", got, want)
			}
			if got := codesOf(results); got != string(c.code) {
				t.Errorf("results %v, want %s", got, c.code)
			}
			name := argsOf(args, "tls-server-name")
			if secure := c.code == CodeReplayTLS; secure && !slices.Equal(name, []string{"front.store.svc"}) || !secure && name != nil {
				t.Errorf("the certificate must be for %v", name)
			}
		})
	}
}

func codesOf(results Results) string {
	var codes []string
	for _, r := range results {
		codes = append(codes, string(r.Code()))
	}
	return strings.Join(codes, " ")
}

// A certificate of the sidecar makes TLS of what the Service does not say anything about.
func TestTargetOfASidecarWithTLS(t *testing.T) {
	p := play(t, shop+"\n---\n"+copyService, map[string]string{"upstreamCASecret": "roots"}, func(r *replay) {
		s := &r.copied.settings
		s.ProxyType, s.TLSInSecret, s.TLSInPublic, s.TLSInPrivate = "reverse", "cert", "tls.crt", "tls.key"
		s.routes = []contract.InRoute{{In: 4143, App: 8080}}
		r.copied.injecting = true
	})
	args, job, _ := p.args(t, contract.PartGenerator)
	if got := argsOf(args, "target"); len(got) != 1 || !strings.HasPrefix(got[0], "https://") {
		t.Errorf("requests go to %v", got)
	}
	if got := argsOf(args, "tls-ca"); !slices.Equal(got, []string{"/etc/tapedeck/upstream-ca/ca.crt"}) || !strings.Contains(job.yaml(t), "secretName: roots") {
		t.Errorf("the roots are %v in %s", got, job.yaml(t))
	}
}

func (o *Object) yaml(t testing.TB) string {
	t.Helper()
	text, err := yaml.String(o.Node)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The captured port leads to the sidecar, and recordings have the application's.
func TestTargetsGoByTheApplicationsPorts(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: copy, namespace: store}
spec: {selector: {app: shop}, ports: [{port: 8080, targetPort: 4143}, {port: 9090, targetPort: 4144}]}
`
	p := play(t, shop+"\n---\n"+service, nil, func(r *replay) {
		r.copied.settings.routes = []contract.InRoute{{In: 4143, App: 80}, {In: 4144, App: 90}}
	})
	args, _, _ := p.args(t, contract.PartGenerator)
	if got := argsOf(args, "target"); len(got) != 2 || !strings.HasPrefix(got[1], "90=http://") || !strings.HasSuffix(got[1], ":9090") {
		t.Errorf("requests go to %v", got)
	}
}

// Values are as they stand: Kubernetes expands only what is ours.
func TestNothingOfTheUsersIsExpanded(t *testing.T) {
	const hostile = "$(KUBERNETES_SERVICE_HOST) $$(A)"
	p := play(t, shop+"\n---\n"+copyService, nil, func(r *replay) {
		r.BuildTag = hostile
		r.Tests.Keys, r.Mocks.Keys = []string{hostile}, []string{hostile, "-v"}
		r.GeneratorFlags, r.ResponderFlags = []string{"--fail-if=" + hostile}, []string{"--fault=" + hostile}
		r.Passthrough = []string{"pay.example", "bank.example"}
	})
	for _, part := range []string{contract.PartGenerator, contract.PartResponder} {
		args, _, _ := p.args(t, part)
		seen := 0
		for _, a := range args {
			if !strings.Contains(a, "KUBERNETES") {
				if strings.Contains(a, "$") && !strings.HasPrefix(a, "--run=") && !strings.HasPrefix(a, "--shard=") {
					t.Errorf("%s: %s", part, a)
				}
				continue
			}
			seen++
			if name, value, _ := strings.Cut(a, "="); !strings.HasSuffix(expanded(value), hostile) {
				t.Errorf("%s: Kubernetes makes %q of %s", part, expanded(value), name)
			}
		}
		if seen < 2 {
			t.Errorf("%s has the arguments %q", part, args)
		}
		if got, want := argsOf(args, "passthrough"), []string{"pay.example", "bank.example"}; part == contract.PartResponder && !slices.Equal(got, want) {
			t.Errorf("the responder may reach %v, want %v", got, want)
		}
	}
}

// expanded is what Kubernetes makes of an argument
// (third_party/forked/golang/expansion/expand.go): a reference becomes a value, and $$ a $.
func expanded(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			out.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$(") && strings.Contains(rest, ")"):
			out.WriteString("EXPANDED")
			i += strings.IndexByte(rest, ')')
		default:
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

func TestSelectionOfExchanges(t *testing.T) {
	for _, c := range []struct {
		what string
		traffic
		workload, slices []string
	}{
		{"those of the workload", traffic{}, []string{"shop"}, nil},
		{"all", traffic{All: true}, nil, nil},
		{"some", traffic{Keys: []string{"shop:a:80", "-odd"}}, nil, []string{"shop:a:80", "-odd"}},
	} {
		p := play(t, shop+"\n---\n"+copyService, nil, func(r *replay) { r.Tests, r.Mocks = c.traffic, c.traffic })
		for _, part := range []string{contract.PartGenerator, contract.PartResponder} {
			args, _, _ := p.args(t, part)
			if got := argsOf(args, "workload"); !slices.Equal(got, c.workload) {
				t.Errorf("%s, %s: workloads %v, want %v", part, c.what, got, c.workload)
			}
			if got := argsOf(args, "slice"); !slices.Equal(got, c.slices) {
				t.Errorf("%s, %s: slices %v, want %v", part, c.what, got, c.slices)
			}
		}
	}
}

func TestPartsByMode(t *testing.T) {
	for _, c := range []struct {
		what                 string
		change               func(*replay)
		generates, responds  bool
		waitsForTheResponder bool
	}{
		{"full replay", nil, true, true, true},
		{"generator only", func(r *replay) { r.Mode = generatorOnly }, true, false, false},
		{"responder only", func(r *replay) { r.Mode = responderOnly }, false, true, false},
		{"nothing is mocked", func(r *replay) { r.Mocks.None = true }, true, false, false},
		{"nothing is sent", func(r *replay) { r.Tests.None = true }, false, true, false},
	} {
		p := play(t, shop+"\n---\n"+copyService, nil, c.change)
		args, job, _ := p.args(t, contract.PartGenerator)
		_, deployment, _ := p.args(t, contract.PartResponder)
		if (job != nil) != c.generates || (deployment != nil) != c.responds || (argsOf(args, "responder") != nil) != c.waitsForTheResponder {
			t.Errorf("%s: generator %t, responder %t, arguments %q", c.what, job != nil, deployment != nil, args)
		}
	}
}

// Kubernetes refuses an update of a Job's template, so whatever changes it is another Job.
func TestJobIsAnotherOneForEveryChange(t *testing.T) {
	name := func(options map[string]string, change func(*replay)) string {
		_, job, _ := play(t, shop+"\n---\n"+copyService, options, change).args(t, contract.PartGenerator)
		return job.name()
	}
	was := name(nil, nil)
	for _, options := range []map[string]string{{"image": "other:1"}, {"imagePullPolicy": "Always"}, {"runAsUser": "0"}, {"redactKeySecret": "k"}, {"replayLimits": "cpu=1"}} {
		if name(options, nil) == was {
			t.Errorf("with %v the Job has the same name, %s", options, was)
		}
	}
	if hooked := name(nil, func(r *replay) { r.Hooks = map[string]string{"helm.sh/hook": "test"} }); hooked != was {
		t.Errorf("a hook, which is no part of the template, makes %s of %s", hooked, was)
	}
	if again := name(nil, nil); again != was {
		t.Errorf("the same Job is %s and %s", was, again)
	}
}

// Everything that is built passes the check by which the next render knows it again.
func TestWhatIsBuiltIsKnownAgain(t *testing.T) {
	for _, in := range []played{
		play(t, shop+"\n---\n"+copyService, nil, nil),
		play(t, shop+"\n---\n"+copyService, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place"}, func(r *replay) { r.Shards = 3 }),
		play(t, strings.Replace(shop, "name: shop,", "name: "+longName+".a,", 1)+"\n---\n"+copyService, nil, nil),
	} {
		for _, build := range []func(*replay) ([]*Object, Results){in.in.generator, in.in.responder} {
			objects, results := build(in.r)
			if len(objects) == 0 || len(results) > 0 {
				t.Fatalf("built %v, with %v", objects, results)
			}
			for _, o := range objects {
				if err := checkCreated(o); err != nil {
					t.Errorf("%v in\n%s", err, o.yaml(t))
				}
			}
		}
	}
}

func TestGeneratorWaitsForEnvoyWhereItIsSureToBe(t *testing.T) {
	const namespace = "\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: store, labels: {%s}}}"
	bare := strings.Replace(shop, ` sidecar.istio.io/inject: "true",`, "", 1)
	for _, c := range []struct{ what, manifest, want string }{
		{"the pods ask for it", shop, "wait"},
		{"nothing asks for it", bare, "auto"},
		{"the namespace asks for it", bare + fmt.Sprintf(namespace, "istio-injection: enabled"), "wait"},
		{"a revision of the namespace does", bare + fmt.Sprintf(namespace, "istio.io/rev: stable"), "wait"},
		{"the pods keep it away", strings.Replace(shop, `inject: "true"`, `inject: "false"`, 1) + fmt.Sprintf(namespace, "istio-injection: enabled"), "auto"},
		{"the mesh is ambient", bare + fmt.Sprintf(namespace, "istio.io/dataplane-mode: ambient"), "auto"},
	} {
		args, _, _ := play(t, c.manifest+"\n---\n"+copyService, nil, nil).args(t, contract.PartGenerator)
		if got := argsOf(args, "envoy"); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %v, want %s", c.what, got, c.want)
		}
	}
}

// Pods of a replay may run where those of the workload do, and pull from where they do.
func TestPodsOfAReplayAreWhereTheWorkloadIs(t *testing.T) {
	placed := strings.Replace(shop, "    spec:\n", "    spec:\n      nodeSelector: {pool: shop}\n      tolerations: [{key: shop, operator: Exists}]\n      imagePullSecrets: [{name: registry}]\n", 1)
	windows := strings.Replace(placed, "pool: shop", "kubernetes.io/os: windows", 1)
	for _, c := range []struct {
		what, manifest string
		options        map[string]string
		has, lacks     []string
	}{
		{"placed", placed + "\n---\n" + copyService, nil, []string{"pool: shop", "key: shop", "name: registry"}, []string{"fsGroup", "persistentVolumeClaim", "azure"}},
		{"Windows", windows + "\n---\n" + copyService, nil, []string{"name: registry"}, []string{"nodeSelector", "tolerations"}},
		{"a volume", shop + "\n---\n" + copyService, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place"}, []string{"claimName: place", "mountPath: /var/lib/place", "fsGroup: 2102"}, nil},
		{"a volume on OpenShift", shop + "\n---\n" + copyService, map[string]string{"replayPlace": "/p", "replayClaim": "place", "runAsUser": "0", "runAsGroup": "0"}, []string{"claimName: place"}, []string{"fsGroup", "runAsUser"}},
		{"Azure", shop + "\n---\n" + copyService, map[string]string{"replayPlace": "azblob://recordings", "replayServiceAccount": "replays"}, []string{`azure.workload.identity/use: "true"`, "serviceAccountName: replays"}, nil},
		{"limits", shop + "\n---\n" + copyService, map[string]string{"replayRequests": "cpu=2,memory=1Gi", "replayLimits": "memory=512Mi"}, []string{"cpu: 2", "memory: 512Mi"}, []string{"1Gi"}},
	} {
		p := play(t, c.manifest, c.options, nil)
		for _, part := range []string{contract.PartGenerator, contract.PartResponder} {
			_, o, _ := p.args(t, part)
			text := o.yaml(t)
			for _, want := range c.has {
				if !strings.Contains(strings.ReplaceAll(text, `"`, ""), strings.ReplaceAll(want, `"`, "")) {
					t.Errorf("%s: the %s lacks %q:\n%s", c.what, part, want, text)
				}
			}
			for _, not := range c.lacks {
				if strings.Contains(text, not) {
					t.Errorf("%s: the %s has %q:\n%s", c.what, part, not, text)
				}
			}
		}
	}
}

// The responder holds recorded data, and neither writes to the place nor knows a credential.
func TestResponderHasNoMoreThanItNeeds(t *testing.T) {
	p := play(t, shop+"\n---\n"+copyService, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place", "redactKeySecret": "redaction"}, func(r *replay) { r.Secrets = []string{"login", "b.c"} })
	_, o, _ := p.args(t, contract.PartResponder)
	text := o.yaml(t)
	if strings.Contains(text, "login") || strings.Count(text, "readOnly: true") != 4 {
		t.Errorf("the responder has\n%s", text)
	}
	args, o, _ := p.args(t, contract.PartGenerator)
	if got, want := argsOf(args, "credentials"), []string{"/etc/tapedeck/credentials/login/credentials", "/etc/tapedeck/credentials/b.c/credentials"}; !slices.Equal(got, want) {
		t.Errorf("credentials are %v, want %v", got, want)
	}
	for _, want := range []string{"secretName: login", "secretName: b.c", "secretName: redaction", "mountPath: /etc/tapedeck/credentials/b.c"} {
		if !strings.Contains(o.yaml(t), want) {
			t.Errorf("the generator lacks %s", want)
		}
	}
}

func TestWhatKeepsPodsOfAReplayFromStarting(t *testing.T) {
	const secrets = `
apiVersion: v1
kind: Secret
metadata: {name: speedscale-certs, namespace: store}
data: {tls.crt: "", tls.key: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: store}
stringData: {other: ""}
`
	full := shop + "\n---\n" + copyService + "\n---\n" + secrets
	for _, c := range []struct {
		what, manifest string
		options        map[string]string
		secrets        []string
		want           string
	}{
		{"nothing", full, nil, nil, ""},
		{"no CA", shop + "\n---\n" + copyService, nil, nil, "replay-secret"},
		{"a Secret of another namespace", strings.ReplaceAll(full, "namespace: store}\ndata", "namespace: other}\ndata"), nil, nil, "replay-secret"},
		{"a Secret without the key", full, nil, []string{"login"}, "replay-secret-key"},
		{"a Secret that is not there", full, nil, []string{"token"}, "replay-secret"},
		{"no key for redaction", full, map[string]string{"redactKeySecret": "redaction"}, nil, "replay-secret"},
		{"a directory with one", full, map[string]string{"replayPlace": "/p", "replayClaim": "place"}, nil, ""},
		{"the root directory", full, map[string]string{"replayPlace": "/", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory around one of the pod's", full, map[string]string{"replayPlace": "/var/lib/tapedeck", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory in one of the pod's", full, map[string]string{"replayPlace": "/etc/tapedeck/ca/x", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory beside them", full, map[string]string{"replayPlace": "/var/lib/tapedeck-place", "replayClaim": "place"}, nil, ""},
		{"an old image", full, map[string]string{"imageContract": "2"}, nil, "image-contract"},
	} {
		p := play(t, c.manifest, c.options, func(r *replay) { r.Secrets = c.secrets })
		if got := codesOf(p.in.checkReplayPods(p.r)); got != c.want {
			t.Errorf("%s: results %q, want %q", c.what, got, c.want)
		}
	}
}
