package fn_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// renderedWith renders a workload that makes outbound calls, together with other objects.
func renderedWith(t *testing.T, input string, options map[string]string) (string, transformer.Results) {
	t.Helper()
	cfg := transformer.DefaultConfig()
	for name, value := range options {
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), results
}

// said returns the results with one code.
func said(results transformer.Results, code transformer.Code) (out transformer.Results) {
	for _, r := range results {
		if r.Code() == code {
			out = append(out, r)
		}
	}
	return out
}

// Over plain HTTP, bodies and the token travel in the clear, unless a mesh encrypts them. The
// input has to show that the pod's calls pass through a mesh.
func TestPlainHTTPToACollectorNeedsAMesh(t *testing.T) {
	const (
		sidecar   = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {egress: [{hosts: ['*/*']}]}\n"
		serving   = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop, annotations: {sidecar.speedscale.com/inject: 'true', sidecar.speedscale.com/proxy-port: '8080'}}\nspec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}}\n"
		inMesh    = "sidecar.istio.io/inject: 'true'"
		fromInput = "nothing in the input says that the pod is in a mesh"
	)
	namespace := func(labels string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {" + labels + "}}\n"
	}
	for _, test := range []struct {
		name, labels, annotations, container, beside, sink, inbound string
		want                                                        string // why it is refused; "" if it is not
	}{
		{name: "nothing is known", want: fromInput},
		{name: "the pod asks for Envoy", labels: inMesh},
		{name: "the pod names a revision", labels: "istio.io/rev: stable"},
		{name: "the namespace is injected", beside: namespace("istio-injection: enabled")},
		{name: "the namespace names a revision", beside: namespace("istio.io/rev: stable")},
		{name: "another namespace is injected", beside: strings.Replace(namespace("istio-injection: enabled"), "shop", "other", 1), want: fromInput},
		{name: "the namespace is not injected", labels: "istio.io/rev: stable", beside: namespace("istio-injection: disabled"), want: "Namespace shop metadata.labels[istio-injection] is disabled"},
		{name: "the pod is kept out", labels: "sidecar.istio.io/inject: 'false'", beside: namespace("istio-injection: enabled"), want: "spec.template.metadata.labels[sidecar.istio.io/inject] is false"},
		{name: "the namespace is ambient", beside: namespace("istio.io/dataplane-mode: ambient")},
		{name: "the namespace is ambient and the pod without Envoy", labels: "sidecar.istio.io/inject: 'false'", beside: namespace("istio.io/dataplane-mode: ambient")},
		{name: "the pod has Envoy", container: "image: x\n      - {name: istio-proxy, image: x}\n"},
		{name: "the namespace has a Sidecar", beside: sidecar},
		{name: "a neighbour is captured by a Sidecar", beside: serving},
		{name: "a neighbour is captured by its Service", beside: serving, inbound: "service", want: fromInput},
		{name: "a captured workload of another namespace", beside: strings.Replace(serving, "shop", "other", 1), want: "nothing"},
		{name: "the port is excluded", labels: inMesh, annotations: "traffic.sidecar.istio.io/excludeOutboundPorts: '443,4310'", want: "excludeOutboundPorts] is \"443,4310\""},
		{name: "all ports are excluded", labels: inMesh, annotations: "traffic.sidecar.istio.io/excludeOutboundPorts: '*'", want: "excludeOutboundPorts] is \"*\""},
		{name: "another port is excluded", labels: inMesh, annotations: "traffic.sidecar.istio.io/excludeOutboundPorts: '443'"},
		{name: "all addresses are excluded", labels: inMesh, annotations: "traffic.sidecar.istio.io/excludeOutboundIPRanges: 0.0.0.0/0", want: "excludeOutboundIPRanges"},
		{name: "some addresses are included", labels: inMesh, annotations: "traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8", want: "includeOutboundIPRanges"},
		{name: "all addresses are included", labels: inMesh, annotations: "traffic.sidecar.istio.io/includeOutboundIPRanges: '*'"},
		{name: "Envoy does not intercept", labels: inMesh, annotations: "sidecar.istio.io/interceptionMode: NONE", want: "interceptionMode"},
		{name: "the pod has no Envoy but the agent for gRPC", labels: inMesh, annotations: "inject.istio.io/templates: grpc-agent", want: "inject.istio.io/templates"},
		{name: "the collector is outside the cluster", labels: inMesh, sink: "http://collector.example.com", want: "the collector is outside the cluster"},
		{name: "the collector is an address", labels: inMesh, sink: "http://10.1.2.3:4310", want: "the collector is outside the cluster"},
		{name: "the collector is a neighbour", labels: inMesh, sink: "http://collector:4310"},
		{name: "the collector's full name", labels: inMesh, sink: "http://collector.speedscale.svc.cluster.local:4310"},
		{name: "TLS needs no mesh", sink: "https://collector.speedscale:4310"},
	} {
		t.Run(test.name, func(t *testing.T) {
			input := strings.Replace(forwarding("", test.container, test.beside), "labels: {app: app}", "labels: {app: app, "+test.labels+"}\n      annotations: {"+test.annotations+"}", 1)
			options := map[string]string{"sink": "http://collector.speedscale:4310"}
			if test.sink != "" {
				options["sink"] = test.sink
			}
			if test.inbound != "" {
				options["inbound"] = test.inbound
			}
			_, results := renderedWith(t, input, options)
			refused := said(results, transformer.CodeSinkPlainHTTP)
			switch {
			case test.want == "" && results.Failed():
				t.Errorf("refused: %v", results)
			case test.want != "" && (len(refused) == 0 || !strings.Contains(refused[0].Message, test.want)):
				t.Errorf("got %v, want a result with %q", refused, test.want)
			}
			options["sinkPlainHTTP"] = "true"
			if _, results := renderedWith(t, input, options); len(said(results, transformer.CodeSinkPlainHTTP)) > 0 {
				t.Error("refused although the option sinkPlainHTTP allows it")
			}
		})
	}
}

// A Secret in the input is read as the sidecar will read it. An error about it does not quote its
// content.
func TestTheSecretOfTheCollectorsTokenIsChecked(t *testing.T) {
	token := contract.CollectorToken([]byte("a key of sixteen bytes, or more"), "c1", "shop")
	secret := func(fields string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: tapedeck-collector-token, namespace: shop}\n" + fields
	}
	for _, test := range []struct{ name, beside, want string }{
		{"a Secret that is elsewhere", "", ""},
		{"a token as text", secret("stringData: {token: " + token + "}"), ""},
		{"a token as bytes", secret("data: {token: " + base64.StdEncoding.EncodeToString([]byte(token)) + "}"), ""},
		{"a token with a newline", secret("stringData: {token: \"" + token + "\\n\"}"), ""},
		{"half a token", secret("stringData: {token: " + token[:30] + "}"), "stringData.token: found 30 bytes that are not a token"},
		{"another key of the Secret", secret("stringData: {key: " + token + "}"), "data.token: found nothing, allowed: what `tapedeck collect token` prints"},
		{"what is not base64", secret("data: {token: " + token + "}"), "data.token: found text that is not base64"},
		{"a Secret of another namespace", strings.Replace(secret(""), "shop", "other", 1), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, results := renderedWith(t, forwarding("", "", test.beside), map[string]string{"sink": "https://collector.speedscale:4310"})
			wrong := said(results, transformer.CodeSinkToken)
			switch {
			case test.want == "" && len(wrong) > 0, test.want != "" && len(wrong) != 1:
				t.Fatalf("got %v, want %q", wrong, test.want)
			case test.want != "" && !strings.Contains(wrong[0].Message, test.want):
				t.Errorf("got %q, want %q in it", wrong[0].Message, test.want)
			}
			for _, r := range results {
				if strings.Contains(r.Message, token[:20]) {
					t.Errorf("the result has the token: %s", r.Message)
				}
			}
		})
	}
	t.Run("one Secret for both keys", func(t *testing.T) {
		_, results := renderedWith(t, forwarding("", "", secret("stringData: {other: x}")), map[string]string{
			"sink": "https://collector.speedscale:4310", "redactKeySecret": "tapedeck-collector-token",
		})
		if len(said(results, transformer.CodeSinkToken)) != 1 || len(said(results, transformer.CodeRedactKey)) != 1 {
			t.Errorf("want a result for the token and one for the key, got %v", results)
		}
	})
	t.Run("a Secret with kustomize's hash", func(t *testing.T) {
		_, results := renderedWith(t, forwarding("", "", strings.Replace(secret(""), "token,", "token-6fmc9hffgt,", 1)), map[string]string{"sink": "https://collector.speedscale:4310"})
		if hashed := said(results, transformer.CodeNameHashed); len(hashed) != 1 || !strings.Contains(hashed[0].Message, "option sinkTokenSecret") {
			t.Errorf("got %v", hashed)
		}
	})
}

// An error about an invalid sink says what is allowed, and never shows a password.
func TestSinksThatAreRefused(t *testing.T) {
	for value, want := range map[string]string{
		"s3://bucket/recordings":              "a pod can't write to a bucket, because its service account would need rights to it",
		"gs://bucket":                         "a pod can't write to a bucket",
		"azblob://container":                  "a pod can't write to a bucket",
		"https://u:hush@collector.speedscale": "a user or a password",
		"https://collector.speedscale/hush/x": "nothing else",
		"https://Collector.speedscale":        "in lower case",
		"https://":                            "want https://collector:port",
		"https://collector:0":                 "want https://collector:port",
		"recordings":                          "not the URL of a directory",
		"file:///":                            "not the URL of a directory",
		"ftp://collector":                     "unknown scheme",
	} {
		cfg := transformer.DefaultConfig()
		err := cfg.Set("sink", value)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "https://host[:port] or http://host[:port] of a collector") {
			t.Errorf("%s: got %v, want %q and what is allowed", value, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "u:hush") {
			t.Errorf("%s: the error has the password: %v", value, err)
		}
	}
}

// A render adds a NetworkPolicy if those of the input block the collector, or
// might block it. The added policy allows more, and forbids nothing.
func TestAPolicyForTheCollectorIsAddedWhereOneIsNeeded(t *testing.T) {
	const collectorsNamespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: speedscale, labels: {team: tools}}\n---\n"
	egress := func(rule string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: shop}\n" +
			"spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP, port: 53}]}, " + rule + "]}\n"
	}
	to := func(peer string) string { return egress("{to: [" + peer + "], ports: [{port: 4310}]}") }
	const byName = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: speedscale}}"
	for _, test := range []struct {
		name, beside string
		added        bool
	}{
		{"no policy", "", false},
		{"a policy for ingress", strings.Replace(egress("{}"), "policyTypes: [Egress], egress", "policyTypes: [Ingress], ingress", 1), false},
		{"a policy of other pods", strings.Replace(egress("{ports: [{port: 1}]}"), "podSelector: {}", "podSelector: {matchLabels: {app: other}}", 1), false},
		{"a policy of another namespace", strings.Replace(egress("{ports: [{port: 1}]}"), "namespace: shop", "namespace: other", 1), false},
		{"everything is allowed", egress("{}"), false},
		{"the port is allowed", egress("{ports: [{port: 4310}]}"), false},
		{"a range with the port is allowed", egress("{ports: [{port: 4000, endPort: 5000}]}"), false},
		{"another port is allowed", egress("{ports: [{port: 443}]}"), true},
		{"the port is allowed by UDP", egress("{ports: [{protocol: UDP, port: 4310}]}"), true},
		{"the namespace is allowed by its name", to("{" + byName + "}"), false},
		{"the namespace is allowed by a label that the input has", collectorsNamespace + to("{namespaceSelector: {matchLabels: {team: tools}}}"), false},
		{"the namespace is allowed by a label that the input has not", to("{namespaceSelector: {matchLabels: {team: tools}}}"), true},
		{"all namespaces are allowed", to("{namespaceSelector: {}}"), false},
		{"the collector's pods are allowed", to("{" + byName + ", podSelector: {matchLabels: {app.kubernetes.io/name: tapedeck-collector}}}"), false},
		{"other pods of the namespace are allowed", to("{" + byName + ", podSelector: {matchLabels: {app: other}}}"), true},
		{"pods of the policy's namespace are allowed", to("{podSelector: {}}"), true},
		{"addresses are allowed", to("{ipBlock: {cidr: 0.0.0.0/0}}"), true},
		{"two policies allow it together", egress("{ports: [{port: 443}]}") + "---\n" + strings.Replace(egress("{ports: [{port: 4310}]}"), "name: n,", "name: m,", 1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, results := renderedWith(t, forwarding("", "", test.beside), map[string]string{"sink": "https://collector.speedscale:4310"})
			if results.Failed() {
				t.Fatal(results)
			}
			added := strings.Contains(out, "name: app-tapedeck\n")
			if added != test.added || added != (len(said(results, transformer.CodeSinkPolicy)) == 1) {
				t.Errorf("added: %v, want %v; %v", added, test.added, said(results, transformer.CodeSinkPolicy))
			}
		})
	}
}

// The sidecar looks up the collector's name even if the application looks up no names.
func TestTheCollectorsNameNeedsDNS(t *testing.T) {
	deny := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress]}\n"
	input := strings.Replace(forwarding("", "", deny), "proxy-type: forward", "proxy-type: reverse\n    sidecar.speedscale.com/proxy-port: '8080'", 1)
	for sink, want := range map[string]string{
		"https://collector.speedscale:4310": "DNS: the sidecar looks up the collector's name; allow",
		"https://10.1.2.3:4310":             "port 4310, on which recordings go to 10.1.2.3",
	} {
		_, results := renderedWith(t, input, map[string]string{"sink": sink})
		if lacks := said(results, transformer.CodeEgressPolicy); len(lacks) != 1 || !strings.Contains(lacks[0].Message, want) {
			t.Errorf("%s: got %v, want one result with %q", sink, lacks, want)
		}
	}
}

// A result that applies to many workloads appears once.
func TestPoliciesForTheCollectorAreSaidOnce(t *testing.T) {
	deny := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}, egress: [{ports: [{port: 53}]}]}\n"
	input := forwarding("", "", "")
	for _, name := range []string{"b", "c", "d"} {
		input += "---\n" + strings.Replace(forwarding("", "", ""), "name: app", "name: "+name, 1)
	}
	out, results := renderedWith(t, input+"---\n"+deny, map[string]string{"sink": "https://collector.speedscale:4310"})
	one := said(results, transformer.CodeSinkPolicy)
	if n := strings.Count(out, "kind: NetworkPolicy"); n != 5 || len(one) != 1 || one[0].Tags["count"] != "4" {
		t.Errorf("%d policies, want 5; results %v, want one with a count of 4", n, one)
	}
}
