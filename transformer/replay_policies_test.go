package transformer

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// playing returns an input with a replay of the shop and its copy, and with more objects, in
// the state in which policies are built.
func playing(t testing.TB, settings map[string]string, change func(*replay), more ...string) (*input, *replay) {
	t.Helper()
	cfg := DefaultConfig()
	for name, value := range settings {
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	r := replayOf(t, shop)
	r.name = "shop-replay-0acnxl57"
	objects := []*Object{r.from}
	for _, text := range append([]string{`
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-replay-0acnxl57, namespace: store}
spec:
  template:
    metadata: {labels: {tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: copy, sidecar.istio.io/inject: "true"}}
    spec:
      containers:
      - {name: shop, image: shop:1, ports: [{name: web, containerPort: 8080}]}
`, `
apiVersion: v1
kind: Service
metadata: {name: shop-replay-0acnxl57, namespace: store}
spec:
  selector: {tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: copy}
  ports: [{name: http, port: 80, targetPort: web, appProtocol: tcp}]
`}, more...) {
		for _, doc := range strings.Split(text, "\n---\n") {
			objects = append(objects, parsed(t, doc))
		}
	}
	in := newInput(objects, &cfg)
	r.w, r.copied = in.workloads[0], in.workloads[1]
	r.copied.replay, r.copied.original = r, r.w
	r.copied.injecting = true
	if change != nil {
		change(r)
	}
	return in, r
}

// policies returns the specs of the NetworkPolicies of a replay by their names.
func policies(t testing.TB, in *input, r *replay) (map[string]string, Results) {
	t.Helper()
	objects, results := in.replayPolicies(r)
	out := map[string]string{}
	for _, o := range objects {
		text, err := yaml.String(nodes.At(o.Node, "spec"))
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimPrefix(o.name(), r.name)] = text
		if err := checkCreated(o); err != nil {
			t.Errorf("%s would not be recognized as our own: %v", o.Ref(), err)
		}
	}
	return out, results
}

// Only the generator sends requests to the copy, and the copy reaches only the responder.
func TestReplayPolicies(t *testing.T) {
	in, r := playing(t, map[string]string{"replayPlace": "s3://tapes/shop"}, nil)
	got, _ := policies(t, in, r)
	const selector = `podSelector:
  matchExpressions:
  - key: tapedeck.dev/replay
    operator: In
    values:
    - shop-replay-0acnxl57
  - key: tapedeck.dev/replay-part
    operator: In
    values:
    - PART
policyTypes:
- Ingress
- Egress
`
	const peer = `  - podSelector:
      matchExpressions:
      - key: tapedeck.dev/replay
        operator: In
        values:
        - shop-replay-0acnxl57
      - key: tapedeck.dev/replay-part
        operator: In
        values:
        - PART
  ports:
`
	port := func(protocol, number string) string {
		return "  - protocol: " + protocol + "\n    port: " + number + "\n"
	}
	to := func(direction, part string, ports ...string) string {
		text := "- " + direction + ":\n" + strings.ReplaceAll(peer, "PART", part)
		for _, p := range ports {
			text += port("TCP", p)
		}
		return text
	}
	common := "- ports:\n" + port("UDP", "53") + port("TCP", "53") + port("UDP", "5353") + port("TCP", "5353") + "- ports:\n" + port("TCP", "15012")
	place := "- ports:\n" + port("TCP", "443") + "- to:\n  - ipBlock:\n      cidr: 169.254.0.0/16\n  - ipBlock:\n      cidr: fd00:ec2::/32\n  ports:\n" + port("TCP", "80") + port("TCP", "988")
	for name, want := range map[string]string{
		"": strings.ReplaceAll(selector, "PART", "copy") +
			"ingress:\n" + to("from", "generator", "8080", "15008") +
			"egress:\n" + common + to("to", "responder", "4140", "4141", "15008"),
		"-mock": strings.ReplaceAll(selector, "PART", "responder") +
			"ingress:\n" + to("from", "copy", "4140", "4141", "15008") + to("from", "generator", "4141", "15008") +
			"egress:\n" + common + place,
		"-generator": strings.ReplaceAll(selector, "PART", "generator") +
			"ingress: []\n" +
			"egress:\n" + common + to("to", "copy", "8080", "15008") + to("to", "responder", "4141", "15008") + place,
	} {
		if got[name] != want {
			t.Errorf("policy %q:\n%s\nwant:\n%s", name, got[name], want)
		}
	}
}

// rules writes the rules of a policy in one line each, without those that all policies have.
func rules(list []*yaml.Node) string {
	var lines []string
	for _, rule := range list {
		var ports, peers []string
		for _, p := range nodes.Items(nodes.At(rule, "ports")) {
			ports = append(ports, nodes.StringAt(p, "port"))
		}
		for _, key := range []string{"to", "from"} {
			for _, p := range nodes.Items(nodes.At(rule, key)) {
				text := nodes.StringAt(p, "ipBlock", "cidr")
				if pods := nodes.At(p, "podSelector"); pods != nil {
					text = "pods " + labelText(selected(pods))
				}
				if ns := selected(nodes.At(p, "namespaceSelector"))[namespaceName]; ns != "" {
					text += " of " + ns
				}
				peers = append(peers, strings.TrimSpace(text))
			}
		}
		line := strings.Join(peers, " and ") + ": " + strings.Join(ports, " ")
		if line != ": 53 53 5353 5353" && line != ": 15012" {
			lines = append(lines, strings.ReplaceAll(line, "tapedeck.dev/replay=shop-replay-0acnxl57,tapedeck.dev/replay-part=", ""))
		}
	}
	return strings.Join(lines, "\n")
}

func TestReplayPoliciesFollowTheSettings(t *testing.T) {
	const minio = `
apiVersion: v1
kind: Service
metadata: {name: minio, namespace: storage}
spec: {selector: {app: minio}, ports: [{name: s3, port: 80, targetPort: 9000}, {name: console, port: 9001}]}
`
	const payments = `
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: store}
spec: {selector: {app: payments}, ports: [{name: http, port: 80, targetPort: http}, {name: udp, port: 81, protocol: UDP}]}
`
	const metadata = "\n169.254.0.0/16 and fd00:ec2::/32: 80 988"
	for _, c := range []struct {
		name, part string
		settings   map[string]string
		change     func(*replay)
		input      string
		// in and out are the rules; "none" if the direction is not restricted.
		in, out string
	}{
		{name: "a bucket at Google", part: contract.PartGenerator, settings: map[string]string{"replayPlace": "gs://tapes"},
			out: "pods copy: 8080 15008\npods responder: 4141 15008\n: 443" + metadata},
		{name: "a volume needs no network", part: contract.PartGenerator, settings: map[string]string{"replayPlace": "file:///tapes", "replayClaim": "tapes"},
			out: "pods copy: 8080 15008\npods responder: 4141 15008"},
		{name: "a store in the cluster, by the ports of its pods", part: contract.PartResponder, settings: map[string]string{"replayPlace": "s3://tapes?endpoint=http://minio.storage"}, input: minio,
			in: "pods copy: 4140 4141 15008\npods generator: 4141 15008", out: "pods app=minio of storage: 9000 15008" + metadata},
		{name: "a store in the cluster, out of the input", part: contract.PartResponder, settings: map[string]string{"replayPlace": "s3://tapes?endpoint=http://minio.storage.svc:9000"},
			in: "pods copy: 4140 4141 15008\npods generator: 4141 15008", out: "pods  of storage: " + metadata},
		{name: "a store at a name outside", part: contract.PartResponder, settings: map[string]string{"replayPlace": "s3://tapes?endpoint=https://store.example.com:9443"},
			in: "pods copy: 4140 4141 15008\npods generator: 4141 15008", out: ": 9443" + metadata},
		{name: "a store at an address", part: contract.PartResponder, settings: map[string]string{"replayPlace": "s3://tapes?endpoint=http://[fd00::7]:9000"},
			in: "pods copy: 4140 4141 15008\npods generator: 4141 15008", out: "fd00::7/128: 9000" + metadata},
		{name: "hosts that pass", part: contract.PartResponder, change: func(r *replay) {
			r.Passthrough = []string{"api.example.com", "*.example.org:8443", "example.net", "payments", "api.example.com:443"}
		}, input: payments,
			in: "pods copy: 4140 4141 15008\npods generator: 4141 15008", out: ": 443\n: 80\n: 8443\npods app=payments: http 15008"},
		{name: "without a responder the copy calls what it always calls", part: contract.PartCopy, change: func(r *replay) { r.Mode = generatorOnly },
			in: "pods generator: 8080 15008", out: "none"},
		{name: "without a generator whoever likes calls the copy", part: contract.PartCopy, change: func(r *replay) { r.Mode = responderOnly },
			in: "none", out: "pods responder: 4140 4141 15008"},
		{name: "without a generator it calls the responder neither", part: contract.PartResponder, change: func(r *replay) { r.Mode = responderOnly },
			in: "pods copy: 4140 4141 15008", out: ""},
		{name: "in place whoever called the workload still may", part: contract.PartCopy, change: func(r *replay) { r.InPlace = true },
			in: "none", out: "pods responder: 4140 4141 15008"},
		{name: "the copy records to the collector", part: contract.PartCopy, settings: map[string]string{"sink": "http://collector.speedscale:4310"},
			in: "pods generator: 8080 15008", out: "pods responder: 4140 4141 15008\npods app.kubernetes.io/name=tapedeck-collector of speedscale: 4310 15008"},
		{name: "a copy can't be kept from all but a collector outside, and records to its pod", part: contract.PartCopy, settings: map[string]string{"sink": "https://collector.example.com"},
			in: "pods generator: 8080 15008", out: "pods responder: 4140 4141 15008"},
		{name: "the copy records to a collector at an address", part: contract.PartCopy, settings: map[string]string{"sink": "https://10.0.0.7:4310"},
			in: "pods generator: 8080 15008", out: "pods responder: 4140 4141 15008\n10.0.0.7/32: 4310"},
		{name: "a copy without the sidecar records nothing", part: contract.PartCopy, settings: map[string]string{"sink": "https://collector.example.com"}, change: func(r *replay) { r.copied.injecting = false },
			in: "pods generator: 8080 15008", out: "pods responder: 4140 4141 15008"},
		{name: "kubelets probe a copy in an ambient mesh", part: contract.PartCopy, change: func(r *replay) {
			*nodes.At(r.copied.template, "metadata", "labels", "sidecar.istio.io/inject") = *nodes.New("false")
			r.copied.template.Content[1].Content[1].Content = append(r.copied.template.Content[1].Content[1].Content, nodes.New("istio.io/dataplane-mode"), nodes.New("ambient"))
		},
			in: "pods generator: 8080 15008\n169.254.7.127/32 and fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128: ", out: "pods responder: 4140 4141 15008"},
		{name: "requests to a URL outside", part: contract.PartGenerator, change: func(r *replay) { r.URL, r.copied = "https://staging.example.com", nil },
			out: ": 443"},
		{name: "requests to a host and port", part: contract.PartGenerator, change: func(r *replay) { r.URL, r.copied = "staging.example.com:8443", nil },
			out: ": 8443"},
		{name: "requests to a Service of the input", part: contract.PartGenerator, change: func(r *replay) { r.URL, r.copied = "http://payments", nil }, input: payments,
			out: "pods app=payments: http 15008"},
		{name: "requests to a host alone", part: contract.PartGenerator, change: func(r *replay) { r.URL, r.copied = "staging.example.com", nil },
			out: ": 80"},
		{name: "requests to a host by gRPC", part: contract.PartGenerator, change: func(r *replay) { r.URL, r.copied = "grpcs://staging.example.com", nil },
			out: ": 443"},
		{name: "requests to the copy by HTTPS", part: contract.PartGenerator, change: func(r *replay) { r.URL = "https://" },
			out: "pods copy: 8080 15008\npods responder: 4141 15008"},
		{name: "requests to another port of the copy", part: contract.PartGenerator, change: func(r *replay) { r.URL = ":80" },
			out: "pods copy: 8080 15008\npods responder: 4141 15008"},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := []string{}
			if c.input != "" {
				more = append(more, c.input)
			}
			in, r := playing(t, c.settings, c.change, more...)
			all := in.partPolicies(r)
			i := slices.IndexFunc(all, func(p partPolicy) bool { return p.part == c.part })
			if i < 0 {
				t.Fatalf("no policy for the %s", c.part)
			}
			text := func(list []*yaml.Node) string {
				if list == nil {
					return "none"
				}
				return rules(list)
			}
			if got := text(all[i].ingress); got != c.in {
				t.Errorf("ingress:\n%s\nwant:\n%s", got, c.in)
			}
			if got := text(all[i].egress); got != c.out {
				t.Errorf("egress:\n%s\nwant:\n%s", got, c.out)
			}
		})
	}
}

// Policies add up: another policy of the input may open what a replay's policy keeps closed.
func TestReplayPoliciesThatOpenMore(t *testing.T) {
	policy := func(spec string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: theirs, namespace: store}\nspec: " + spec
	}
	for _, c := range []struct {
		name, policy    string
		egress, ingress bool
	}{
		{"a default deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}", false, false},
		{"DNS for all", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP, port: 53}, {port: dns-tcp}]}]}", false, false},
		{"all pods may call the collector", "{podSelector: {}, egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app.kubernetes.io/name: tapedeck-collector}}}]}]}", false, false},
		{"all pods may call all", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}", true, false},
		{"all pods may call a port", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53}, {port: 443}]}]}", true, false},
		{"all pods may call a range of ports", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, endPort: 65535}]}]}", true, false},
		{"all pods of the namespace may call each other", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}", true, true},
		{"of another namespace", "{podSelector: {matchLabels: {app: shop}}, egress: [{}], ingress: [{}]}", false, false},
		{"all but some", "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}, egress: [{}], ingress: [{}]}", true, true},
		{"all but replays", "{podSelector: {matchExpressions: [{key: tapedeck.dev/replay, operator: DoesNotExist}]}, egress: [{}], ingress: [{}]}", false, false},
		{"what is no list", "{podSelector: {}, egress: all, ingress: {from: x}}", false, false},
		{"what is no policy", "[]", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, r := playing(t, nil, nil, policy(c.policy))
			_, results := policies(t, in, r)
			for code, want := range map[Code]bool{CodeReplayEgressOpen: c.egress, CodeReplayIngressOpen: c.ingress} {
				i := slices.IndexFunc(results, func(r Result) bool { return r.Code() == code })
				if got := i >= 0; got != want {
					t.Errorf("%s is reported: %t, want %t", code, got, want)
				}
				if i >= 0 && !strings.Contains(results[i].Message, "store/NetworkPolicy/theirs") && !strings.Contains(results[i].Message, "NetworkPolicy/theirs") {
					t.Errorf("the result does not name the policy: %s", results[i].Message)
				}
			}
		})
	}
}

// The policies of a network plugin are not evaluated, and a result says so.
func TestPoliciesOfOtherKindsAreNamed(t *testing.T) {
	for policy, want := range map[string]bool{
		"{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: theirs, namespace: store}}":   true,
		"{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: theirs}}":          true,
		"{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: theirs}}":             true,
		"{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: theirs}}": true,
		"{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: theirs, namespace: other}}":   false,
		"{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: theirs}}":                          false,
		"{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: theirs, namespace: store}}": false,
		"{apiVersion: example.com/v1, kind: OfficeNetworkPolicy, metadata: {name: theirs, namespace: store}}": false,
	} {
		in, r := playing(t, nil, nil, policy)
		_, results := policies(t, in, r)
		if got := slices.ContainsFunc(results, func(r Result) bool {
			return r.Code() == CodeReplayOtherPolicy && strings.Contains(r.Message, "/theirs")
		}); got != want {
			t.Errorf("%s is named: %t, want %t: %v", policy, got, want, results)
		}
	}
}

func TestReplayPolicyResults(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*replay)
		code   Code
		says   string
	}{
		{"that the network plugin has to enforce them", nil, CodeReplayPolicy, "network plugin enforces"},
		{"that nothing is mocked", func(r *replay) { r.Mode = generatorOnly }, CodeReplayEgressOpen, "nothing is mocked"},
		{"that no policy holds", func(r *replay) {
			r.copied.podSpec().Content = append(r.copied.podSpec().Content, nodes.New("hostNetwork"), nodes.New(true))
		}, CodeReplayEgressOpen, "network of its nodes"},
		{"that a policy names no hosts", func(r *replay) { r.Passthrough = []string{"api.example.com", "10.0.0.7:443"} }, CodeReplayPassthrough, "can't name api.example.com,"},
		{"that a policy names no host of a URL", func(r *replay) { r.Mode, r.URL = generatorOnly, "https://staging.example.com" }, CodeReplayPassthrough, "can't name staging.example.com, so that of the generator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, r := playing(t, nil, c.change)
			_, results := policies(t, in, r)
			if !slices.ContainsFunc(results, func(r Result) bool { return r.Code() == c.code && strings.Contains(r.Message, c.says) }) {
				t.Errorf("no result %s says %q: %v", c.code, c.says, results)
			}
		})
	}
}

// A forged annotation must not make a render delete a policy that protects something else.
func TestReplayPolicyIsNotAnothers(t *testing.T) {
	const ours = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: shop-replay-0acnxl57
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: copy}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
spec:
  podSelector: {matchExpressions: [{key: tapedeck.dev/replay, operator: In, values: [shop-replay-0acnxl57]}, {key: tapedeck.dev/replay-part, operator: In, values: [copy]}]}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchExpressions: [{key: tapedeck.dev/replay, operator: In, values: [shop-replay-0acnxl57]}, {key: tapedeck.dev/replay-part, operator: In, values: [generator]}]}}], ports: [{protocol: TCP, port: 8080}]}]
  egress:
  - ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}, {protocol: UDP, port: 5353}, {protocol: TCP, port: 5353}]
  - ports: [{protocol: TCP, port: 15012}]
`
	for _, c := range []struct {
		what, old, new string
		own            bool
	}{
		{"as it is", "", "", true},
		{"with a prefix", "name: shop-replay", "name: dev-shop-replay", true},
		{"that selects all pods", "podSelector: {matchExpressions: [{key: tapedeck.dev/replay, operator: In, values: [shop-replay-0acnxl57]}, {key: tapedeck.dev/replay-part, operator: In, values: [copy]}]}", "podSelector: {}", false},
		{"that selects others too", "values: [copy]", "values: [copy, db]", false},
		{"that selects by what replays have not", "operator: In", "operator: NotIn", false},
		{"that selects another replay", "values: [shop-replay-0acnxl57]", "values: [shop-replay-00000000]", false},
		{"with a type less", "[Ingress, Egress]", "[Ingress]", false},
		{"that opens everything", "egress:", "egress:\n  - {}", false},
		{"that opens a host for everything", "port: 15012}]", "port: 15012}]\n  - to: [{ipBlock: {cidr: 10.0.0.0/8}}]", false},
		{"that lets others in", "ports: [{protocol: TCP, port: 8080}]", "ports: [{protocol: TCP, port: 8080}]}, {from: [{podSelector: {}}], ports: [{protocol: TCP, port: 80}]", false},
		{"of another name", "name: shop-replay-0acnxl57", "name: deny-all", false},
		{"without the labels", "tapedeck.dev/replay-part: copy}", "x: y}", false},
		{"with a further part of the selector", "podSelector: {", "podSelector: {matchLabels: {app: db}, ", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := strings.Replace(ours, c.old, c.new, 1)
			if c.old != "" && text == ours {
				t.Fatal("nothing was changed")
			}
			if err := checkCreated(parsed(t, text)); (err == nil) != c.own {
				t.Errorf("it is mistaken for our own: %t, want %t (%v)", err == nil, c.own, err)
			}
		})
	}
}
