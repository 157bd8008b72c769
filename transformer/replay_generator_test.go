package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// played is a replay of the workload of a manifest, when its copy was injected.
type played struct {
	in *input
	r  *replay
}

// play reads a manifest whose only workload is replayed to, under options.
func play(t testing.TB, manifest string, options map[string]string, change func(*replay)) played {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ReplayPlace = "s3://recordings/shop?region=eu-central-1"
	for name, value := range options {
		if err := cfg.SetOption(name, value); err != nil {
			t.Fatal(err)
		}
	}
	var objects []*Object
	for text := range strings.SplitSeq(manifest, "\n---\n") {
		objects = append(objects, parsed(t, text))
	}
	in := newInput(objects, &cfg)
	w := in.workloads[0]
	r := replayOf(t, shop)
	r.from, r.w = w.Object, w
	if change != nil {
		change(r)
	}
	check := func(results Results) {
		if results.Failed() {
			t.Fatal(results)
		}
	}
	check(in.decide(w))
	check(in.nameReplays([]*replay{r}))
	if !r.elsewhere() {
		check(in.addCopy(r))
	}
	in.replays = []*replay{r}
	in.labelWorkloads()
	for _, w := range in.renderOrder() {
		_, results := in.inject(w)
		check(results)
	}
	return played{in, r}
}

// args returns the arguments of the container of a part, and the object.
func (p played) args(t testing.TB, part string) ([]string, *Object, Results) {
	t.Helper()
	build := map[string]func(*replay) ([]*Object, Results){contract.PartGenerator: p.in.generator, contract.PartResponder: p.in.responder}[part]
	objects, results := build(p.r)
	if len(objects) == 0 {
		return nil, nil, results
	}
	var args []string
	for _, a := range nodes.Items(nodes.At(nodes.Items(nodes.At(objects[0].Node, "spec", "template", "spec", "containers"))[0], "args")) {
		args = append(args, nodes.String(a))
	}
	return args, objects[0], results
}

// argsOf returns the values of a flag among arguments.
func argsOf(args []string, flag string) (out []string) {
	for _, a := range args {
		if value, ok := strings.CutPrefix(a, "--"+flag+"="); ok {
			out = append(out, value)
		}
	}
	return out
}

func TestTargets(t *testing.T) {
	const (
		one   = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: front, namespace: store}, spec: {selector: {app: shop}, ports: [{name: web, port: 80, targetPort: 8080}]}}"
		two   = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: front, namespace: store}, spec: {selector: {app: shop}, ports: [{name: web, port: 80, targetPort: 8080}, {name: rpc, port: 81, targetPort: 9090}, {name: again, port: 82, targetPort: 8080}]}}"
		https = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: front, namespace: store}, spec: {selector: {app: shop}, ports: [{name: https, port: 443, targetPort: 8080}]}}"
	)
	elsewhere := func(r *replay) { r.Mode = generatorOnly }
	for _, c := range []struct {
		what, shop, services, url string
		change                    func(*replay)
		want                      []string
		code                      Code
	}{
		{what: "a container's port", want: []string{"http://BASE.store:8080"}},
		{what: "the port behind a Service", services: one, want: []string{"http://BASE.store:8080"}},
		{what: "several ports", services: two, want: []string{"http://BASE.store:8080", "9090=http://BASE.store:9090"}},
		{what: "another port", services: two, url: ":9090", want: []string{"http://BASE.store:9090"}},
		{what: "another scheme", services: two, url: "h2c://", want: []string{"h2c://BASE.store:8080", "9090=h2c://BASE.store:9090"}},
		{what: "another scheme and port", services: two, url: "grpc://:9090", want: []string{"grpc://BASE.store:9090"}},
		{what: "another host", services: two, url: "new.com", change: elsewhere, want: []string{"http://new.com"}},
		{what: "another host and port", services: two, url: "new.com:81", change: elsewhere, want: []string{"http://new.com:81"}},
		{what: "a whole URL", services: two, url: "https://new.com:444/", change: elsewhere, want: []string{"https://new.com:444"}},
		{what: "an IPv6 address", services: two, url: "http://[2001:db8::1]:444", change: elsewhere, want: []string{"http://[2001:db8::1]:444"}},
		{what: "an IPv6 address without port", services: two, url: "https://[2001:db8::1]", change: elsewhere, want: []string{"https://[2001:db8::1]"}},
		{what: "another host of a workload that is replayed to in place", shop: captured(""), services: two, url: "shop.example.com", change: func(r *replay) { r.InPlace, r.Mocks.None = true, true }, want: []string{"http://shop.example.com"}},
		{what: "TLS", services: https, want: []string{"https://BASE.store:8080"}, code: CodeReplayTLS},
		{what: "TLS that the URL denies", services: https, url: "http://", want: []string{"http://BASE.store:8080"}},
		{what: "TLS of another scheme", services: https, url: "grpcs://", want: []string{"grpcs://BASE.store:8080"}, code: CodeReplayTLS},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := play(t, cmp.Or(c.shop, shop)+c.services, nil, func(r *replay) {
				r.URL = c.url
				if c.change != nil {
					c.change(r)
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

// A Service of the input is recognised by every name that the cluster's DNS has for it.
func TestRequestsToProductionAreReported(t *testing.T) {
	const services = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: front, namespace: store}, spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}}" +
		"\n---\n{apiVersion: v1, kind: Service, metadata: {name: other, namespace: else}, spec: {ports: [{port: 80}]}}"
	for _, c := range []struct {
		url     string
		inPlace bool
		want    string
	}{
		{url: "http://front.store:80", want: "store/Service/front"},
		{url: "front", want: "store/Service/front"},
		{url: "https://FRONT.store.svc.cluster.local", want: "store/Service/front"},
		{url: "other.else.svc", want: "else/Service/other"},
		{url: "other"},
		{url: "front.else"},
		{url: "staging.example.com"},
		{url: ":8080"},
		{url: "front.store", inPlace: true},
		{url: "other.else", inPlace: true, want: "else/Service/other"},
	} {
		t.Run(fmt.Sprint(c.url, c.inPlace), func(t *testing.T) {
			p := play(t, captured("")+services, nil, func(r *replay) {
				r.URL, r.urlAt, r.Mode = c.url, "spec.customURL", generatorOnly
				if c.inPlace {
					r.InPlace, r.Mode = true, fullReplay
				}
			})
			results := p.in.checkProduction(p.r)
			switch {
			case c.want == "" && results == nil:
			case c.want == "" || len(results) != 1 || results[0].Code() != CodeReplayProduction || results[0].Severity != Warning ||
				!strings.Contains(results[0].Message, "go to "+c.want+" of the input") || results[0].Field.Path != "spec.customURL":
				t.Errorf("results %v, want %q", results, c.want)
			}
		})
	}
}

// The copy's Service has only the ports at which the workload accepts requests.
func TestAPortThatNothingListensAtIsAnError(t *testing.T) {
	cfg := DefaultConfig()
	in := newInput([]*Object{parsed(t, shop)}, &cfg)
	r := replayOf(t, shop)
	r.from, r.w, r.URL, r.urlAt = in.workloads[0].Object, in.workloads[0], ":9999", "spec.customURL"
	if results := in.nameReplays([]*replay{r}); results.Failed() {
		t.Fatal(results)
	}
	results := in.addCopy(r)
	if codesOf(results) != string(CodeReplayPorts) || !strings.Contains(results[0].Message, "port 9999, where ") || !strings.Contains(results[0].Message, "allowed: port 8080") {
		t.Errorf("results %v", results)
	}
}

func codesOf(results Results) string {
	var codes []string
	for _, r := range results {
		codes = append(codes, string(r.Code()))
	}
	return strings.Join(codes, " ")
}

// If the sidecar has a certificate, a port speaks TLS unless the Service says otherwise.
func TestTargetOfASidecarWithTLS(t *testing.T) {
	p := play(t, captured("tls-in-secret: cert"), map[string]string{"upstreamCASecret": "roots"}, nil)
	args, job, _ := p.args(t, contract.PartGenerator)
	if got := argsOf(args, "target"); len(got) != 1 || !strings.HasPrefix(got[0], "https://") {
		t.Errorf("requests go to %v", got)
	}
	if got := argsOf(args, "tls-ca"); !slices.Equal(got, []string{"/etc/tapedeck/upstream-ca/ca.crt"}) || !strings.Contains(job.yaml(t), "secretName: roots") {
		t.Errorf("the roots are %v in %s", got, job.yaml(t))
	}
}

// captured returns the shop with a sidecar, and with another setting unless it is empty.
func captured(setting string) string {
	annotations := `sidecar.speedscale.com/inject: "true"`
	if setting != "" {
		annotations += ", sidecar.speedscale.com/" + setting
	}
	return strings.Replace(shop, "metadata: {name: shop,", "metadata: {annotations: {"+annotations+"}, name: shop,", 1)
}

func (o *Object) yaml(t testing.TB) string {
	t.Helper()
	text, err := yaml.String(o.Node)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The Service may lead to the sidecar, and recordings have the application's port.
func TestTargetsGoByTheApplicationsPorts(t *testing.T) {
	service := "\n---\n{apiVersion: v1, kind: Service, metadata: {name: front, namespace: store}, spec: {selector: {app: shop}, ports: [{name: https, port: 443, targetPort: 8080}, {name: rpc, port: 81, targetPort: 9090}]}}"
	p := play(t, captured("")+service, map[string]string{"inbound": "service"}, nil)
	args, _, _ := p.args(t, contract.PartGenerator)
	if got, want := argsOf(args, "target"), []string{"https://" + p.r.name + ".store:8080", "9090=http://" + p.r.name + ".store:9090"}; !slices.Equal(got, want) {
		t.Errorf("requests go to %v, want %v", got, want)
	}
	if got := p.r.service.yaml(t); !strings.Contains(got, "targetPort: 4143") {
		t.Errorf("the Service does not lead to the sidecar:\n%s", got)
	}
}

// A user's values remain unchanged: Kubernetes expands only references that the renderer wrote.
func TestNothingOfTheUsersIsExpanded(t *testing.T) {
	const hostile = "$(KUBERNETES_SERVICE_HOST) $$(A)"
	p := play(t, shop, nil, func(r *replay) {
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
				t.Errorf("%s: Kubernetes expands %[3]s to %[2]q", part, expanded(value), name)
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

// expanded returns an argument as Kubernetes expands it
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
		p := play(t, shop, nil, func(r *replay) { r.Tests, r.Mocks = c.traffic, c.traffic })
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
		p := play(t, shop, nil, c.change)
		args, job, _ := p.args(t, contract.PartGenerator)
		_, deployment, _ := p.args(t, contract.PartResponder)
		if (job != nil) != c.generates || (deployment != nil) != c.responds || (argsOf(args, "responder") != nil) != c.waitsForTheResponder {
			t.Errorf("%s: generator %t, responder %t, arguments %q", c.what, job != nil, deployment != nil, args)
		}
	}
}

// The template of a Job is immutable, so every change of it needs a Job with another
// name.
func TestJobIsAnotherOneForEveryChange(t *testing.T) {
	name := func(options map[string]string, change func(*replay)) string {
		_, job, _ := play(t, shop, options, change).args(t, contract.PartGenerator)
		return job.name()
	}
	was := name(nil, nil)
	for _, options := range []map[string]string{{"image": "other:1"}, {"imagePullPolicy": "Always"}, {"runAsUser": "0"}, {"redactKeySecret": "k"}, {"replayLimits": "cpu=1"}} {
		if name(options, nil) == was {
			t.Errorf("with %v the Job has the same name, %s", options, was)
		}
	}
	if hooked := name(nil, func(r *replay) { r.Hooks = map[string]string{"helm.sh/hook": "test"} }); hooked != was {
		t.Errorf("a hook, which is not part of the template, changes the name to %s from %s", hooked, was)
	}
	if again := name(nil, nil); again != was {
		t.Errorf("the same Job is %s and %s", was, again)
	}
}

// Every object of a replay passes the check by which the next render recognises it.
func TestWhatIsBuiltIsKnownAgain(t *testing.T) {
	for _, in := range []played{
		play(t, shop, nil, nil),
		play(t, shop, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place"}, func(r *replay) { r.Shards = 3 }),
		play(t, strings.Replace(shop, "name: shop,", "name: "+longName+".a,", 1), nil, nil),
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
		args, _, _ := play(t, c.manifest, nil, nil).args(t, contract.PartGenerator)
		if got := argsOf(args, "envoy"); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %v, want %s", c.what, got, c.want)
		}
	}
}

// Pods of a replay may run on the same nodes as those of the workload, and pull from the same
// registries.
func TestPodsOfAReplayAreWhereTheWorkloadIs(t *testing.T) {
	placed := strings.Replace(shop, "    spec:\n", "    spec:\n      nodeSelector: {pool: shop}\n      tolerations: [{key: shop, operator: Exists}]\n      imagePullSecrets: [{name: registry}]\n", 1)
	windows := strings.Replace(placed, "pool: shop", "kubernetes.io/os: windows", 1)
	for _, c := range []struct {
		what, manifest string
		options        map[string]string
		has, lacks     []string
	}{
		{"placed", placed, nil, []string{"pool: shop", "key: shop", "name: registry"}, []string{"fsGroup", "persistentVolumeClaim", "azure"}},
		{"Windows", windows, nil, []string{"name: registry"}, []string{"nodeSelector", "tolerations"}},
		{"a volume", shop, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place"}, []string{"claimName: place", "mountPath: /var/lib/place", "fsGroup: 2102"}, nil},
		{"a volume on OpenShift", shop, map[string]string{"replayPlace": "/p", "replayClaim": "place", "runAsUser": "0", "runAsGroup": "0"}, []string{"claimName: place"}, []string{"fsGroup", "runAsUser"}},
		{"Azure", shop, map[string]string{"replayPlace": "azblob://recordings", "replayServiceAccount": "replays"}, []string{`azure.workload.identity/use: "true"`, "serviceAccountName: replays"}, nil},
		{"limits", shop, map[string]string{"replayRequests": "cpu=2,memory=1Gi", "replayLimits": "memory=512Mi"}, []string{"cpu: 2", "memory: 512Mi"}, []string{"1Gi"}},
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

// The responder holds recorded data. It doesn't write to the place, and has no credentials.
func TestResponderHasNoMoreThanItNeeds(t *testing.T) {
	p := play(t, shop, map[string]string{"replayPlace": "/var/lib/place", "replayClaim": "place", "redactKeySecret": "redaction"}, func(r *replay) { r.Secrets = []string{"login", "b.c"} })
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
data: {tls.crt: eA==, tls.key: eA==}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: store}
stringData: {other: ""}
`
	const (
		quota      = "\n---\n{apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: store}, spec: {hard: {limits.memory: 1Gi, requests.cpu: 4}}}"
		limitRange = "\n---\n{apiVersion: v1, kind: LimitRange, metadata: {name: l, namespace: store}, spec: {limits: [{type: Container, default: {memory: 512Mi}}]}}"
	)
	full := shop + "\n---\n" + secrets
	for _, c := range []struct {
		what, manifest string
		options        map[string]string
		secrets        []string
		want           string
	}{
		{"nothing", full, nil, nil, ""},
		{"no CA", shop, nil, nil, "replay-secret"},
		{"a Secret of another namespace", strings.ReplaceAll(full, "namespace: store}\ndata", "namespace: other}\ndata"), nil, nil, "replay-secret"},
		{"a Secret without the key", strings.Replace(full, "tls.key", "tls.pem", 1), nil, nil, "replay-secret-key"},
		{"a Secret with nothing under the key", strings.Replace(full, "tls.key: eA==", `tls.key: ""`, 1), nil, nil, "replay-secret-key"},
		{"a Secret without credentials", full, nil, []string{"login"}, "replay-secret-key"},
		{"a Secret with credentials", strings.Replace(full, `other: ""`, "credentials: header.Cookie=c", 1), nil, []string{"login"}, ""},
		{"a Secret that is not there", full, nil, []string{"token"}, "replay-secret"},
		{"no key for redaction", full, map[string]string{"redactKeySecret": "redaction"}, nil, "replay-secret"},
		{"a directory with one", full, map[string]string{"replayPlace": "/p", "replayClaim": "place"}, nil, ""},
		{"the root directory", full, map[string]string{"replayPlace": "/", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory around one of the pod's", full, map[string]string{"replayPlace": "/var/lib/tapedeck", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory in one of the pod's", full, map[string]string{"replayPlace": "/etc/tapedeck/ca/x", "replayClaim": "place"}, nil, string(CodeReplayNoPlace)},
		{"a directory beside them", full, map[string]string{"replayPlace": "/var/lib/tapedeck-place", "replayClaim": "place"}, nil, ""},
		{"a quota of limits", full + quota, nil, nil, "quota"},
		{"a quota of limits that there are", full + quota, map[string]string{"replayLimits": "memory=1Gi"}, nil, ""},
		{"a quota of limits, and a LimitRange that gives them", full + quota + limitRange, nil, nil, ""},
		{"a LimitRange with a minimum", full + strings.Replace(limitRange, "default: {memory: 512Mi}", "min: {memory: 1Gi}", 1), nil, nil, "limit-range"},
		{"a LimitRange with a minimum that there is", full + strings.Replace(limitRange, "default: {memory: 512Mi}", "min: {memory: 1Gi}", 1), map[string]string{"replayRequests": "memory=1Gi"}, nil, ""},
		{"a LimitRange with a maximum for pods", full + strings.Replace(limitRange, "type: Container, default: {memory: 512Mi}", "type: Pod, max: {cpu: 50m}", 1), nil, nil, "limit-range"},
		{"a LimitRange for volumes", full + strings.Replace(limitRange, "type: Container, default: {memory: 512Mi}", "type: PersistentVolumeClaim, min: {storage: 1Gi}", 1), nil, nil, ""},
		{"a LimitRange of another namespace", full + strings.Replace(strings.Replace(limitRange, "default: {memory: 512Mi}", "min: {memory: 1Gi}", 1), "store", "other", 1), nil, nil, ""},
		{"an old image", full, map[string]string{"imageContract": "2"}, nil, "image-contract"},
	} {
		p := play(t, c.manifest, c.options, func(r *replay) { r.Secrets = c.secrets })
		if got := codesOf(p.in.checkReplayPods(p.r)); got != c.want {
			t.Errorf("%s: results %q, want %q", c.what, got, c.want)
		}
	}
}

// If a quota has no room for the pods and the Job of a replay, a result says so.
func TestQuotasCountGeneratorAndResponder(t *testing.T) {
	for hard, want := range map[string]string{
		"requests.cpu: 2100m":            "quota",
		"requests.cpu: 4":                "",
		"pods: 1":                        "quota",
		"count/pods: 20":                 "",
		"count/jobs.batch: 0":            "quota",
		"count/jobs.batch: 1":            "",
		"pods: 1}, scopes: [Terminating": "",
	} {
		quota := "\n---\n{apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: store}, spec: {hard: {" + hard + "}}}"
		if strings.Contains(hard, "scopes") {
			quota = strings.Replace(quota, "}}}", "]}}", 1)
		}
		p := play(t, shop+quota, nil, func(r *replay) { r.Shards = 1 })
		if got := codesOf(p.in.checkQuotaSums()); got != want {
			t.Errorf("%s: results %q, want %q", hard, got, want)
		}
	}
}
