package transformer

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// meshObjects returns the specs of Istio's objects of a replay, by kind and the end of the
// name, in one line each.
func meshObjects(t testing.TB, in *input, r *replay) (map[string]string, Results) {
	t.Helper()
	objects, results := in.replayIstio(r)
	out := map[string]string{}
	for _, o := range objects {
		spec := yaml.CopyYNode(nodes.At(o.Node, "spec"))
		spec.Style = yaml.FlowStyle
		text, err := yaml.String(spec)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "{tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: ", "{")
		out[o.kind()+strings.TrimPrefix(o.name(), r.name)] = strings.TrimSpace(text)
		if err := checkCreated(o); err != nil {
			t.Errorf("%s would not be recognized as our own: %v", o.Ref(), err)
		}
	}
	return out, results
}

const istioNamespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: store, labels: {LABEL}}"

// setLabel gives the pods of a workload a label, as a replay's copy inherits it.
func setLabel(w *workload, key, value string) {
	labels := nodes.At(w.template, "metadata", "labels")
	if i := nodes.KeyIndex(labels, key); i >= 0 {
		labels.Content[i+1] = nodes.New(value)
		return
	}
	labels.Content = append(labels.Content, nodes.New(key), nodes.New(value))
}

// unlabelled removes the label for Istio's injector from the pods of a replay.
func unlabelled(r *replay) {
	for _, w := range []*workload{r.w, r.copied} {
		setLabel(w, "sidecar.istio.io/inject", "")
	}
}

func TestReplayInAMesh(t *testing.T) {
	const (
		copyAdmits      = "{selector: {matchLabels: {copy}}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/store/sa/default]}}]}]}"
		responderAdmits = `{selector: {matchLabels: {responder}}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/store/sa/default]}}], to: [{operation: {ports: ["4140", "4141"]}}]}, {from: [{source: {principals: [cluster.local/ns/store/sa/default]}}], to: [{operation: {ports: ["4141"]}}]}]}`
		confined        = "{workloadSelector: {labels: {copy}}, egress: [{hosts: [./shop-replay-0acnxl57-mock.store.svc.cluster.local]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
		bucket          = "{hosts: [tapes.s3.eu-central-1.amazonaws.com, s3.eu-central-1.amazonaws.com, sts.eu-central-1.amazonaws.com], location: MESH_EXTERNAL, ports: [{name: https, number: 443, protocol: TLS}], resolution: NONE, exportTo: [.]}"
		agent           = "{hosts: [eks-pod-identity-agent.internal], location: MESH_EXTERNAL, ports: [{name: tcp, number: 80, protocol: TCP}], resolution: NONE, addresses: [169.254.170.23, 'fd00:ec2::23'], exportTo: [.]}"
	)
	const narrow = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: store}\nspec: {egress: [{hosts: [istio-system/*]}], ingress: [{port: {number: 1}}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
	policy := func(kind, spec string) string {
		return "apiVersion: security.istio.io/v1\nkind: " + kind + "\nmetadata: {name: theirs, namespace: store}\nspec: " + spec
	}
	for _, c := range []struct {
		name     string
		settings map[string]string
		change   func(*replay)
		input    []string
		// want has objects, and "" for those that must not exist.
		want  map[string]string
		codes []Code
	}{
		{name: "each part is admitted by its principal, and the copy reaches its responder alone",
			settings: map[string]string{"replayPlace": "s3://tapes?region=eu-central-1"},
			want: map[string]string{"AuthorizationPolicy": copyAdmits, "AuthorizationPolicy-mock": responderAdmits, "Sidecar": confined,
				"Sidecar-mock": "", "Sidecar-generator": "", "ServiceEntry-generator-store": bucket, "ServiceEntry-generator-identity": agent},
			codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen}},
		{name: "a service account with a role needs no credentials of the node", settings: map[string]string{"replayPlace": "s3://tapes?region=eu-central-1", "replayServiceAccount": "replay"},
			input: []string{"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: replay, namespace: store, annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/replay'}}"},
			want:  map[string]string{"ServiceEntry-generator-store": bucket, "ServiceEntry-generator-identity": ""}, codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen}},
		{name: "at Google the node hands out all credentials", settings: map[string]string{"replayPlace": "gs://tapes"},
			input: []string{"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: store, annotations: {eks.amazonaws.com/role-arn: x}}"},
			want:  map[string]string{"ServiceEntry-generator-identity": "{hosts: [metadata.google.internal], location: MESH_EXTERNAL, ports: [{name: tcp, number: 80, protocol: TCP}], resolution: NONE, addresses: [169.254.169.254], exportTo: [.]}"}, codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen}},
		{name: "service accounts of their own",
			settings: map[string]string{"replayServiceAccount": "replay"},
			change: func(r *replay) {
				nodes.At(r.copied.template, "spec").Content = append(nodes.At(r.copied.template, "spec").Content, nodes.New("serviceAccountName"), nodes.New("shop-copy"))
			},
			want: map[string]string{
				"AuthorizationPolicy":      strings.Replace(copyAdmits, "sa/default", "sa/replay", 1),
				"AuthorizationPolicy-mock": strings.Replace(strings.Replace(responderAdmits, "sa/default", "sa/shop-copy", 1), "sa/default", "sa/replay", 1),
			}},
		{name: "no mesh", change: unlabelled,
			want: map[string]string{"AuthorizationPolicy": "", "AuthorizationPolicy-mock": "", "Sidecar": "", "ServiceEntry-generator-store": ""}, settings: map[string]string{"replayPlace": "s3://tapes"}, input: []string{strings.Replace(istioNamespace, "LABEL", "team: a", 1)}},
		{name: "nobody knows of a mesh", change: unlabelled, want: map[string]string{"AuthorizationPolicy": "", "Sidecar": ""}, codes: []Code{CodeReplayMesh}},
		{name: "nor of one for a generator alone", change: func(r *replay) { unlabelled(r); r.copied, r.URL = nil, "http://staging.example.com" }, codes: []Code{CodeReplayMesh}},
		{name: "pods that want no mesh", change: func(r *replay) {
			setLabel(r.w, "sidecar.istio.io/inject", "false")
			setLabel(r.copied, "sidecar.istio.io/inject", "false")
		}},
		{name: "no Istio", change: unlabelled, settings: map[string]string{"inbound": "service"}},
		{name: "ztunnel does not know cluster.local, and has no Sidecars",
			change: unlabelled, input: []string{strings.Replace(istioNamespace, "LABEL", "istio.io/dataplane-mode: ambient", 1)}, settings: map[string]string{"replayPlace": "s3://tapes"},
			want:  map[string]string{"AuthorizationPolicy": strings.Replace(copyAdmits, "cluster.local/ns/store/sa/default", "'*/ns/store/sa/default'", 1), "Sidecar": "", "ServiceEntry-generator-store": ""},
			codes: []Code{CodeReplayAccount}},
		{name: "a generator alone admits nobody to a responder", change: func(r *replay) { r.Mode = generatorOnly },
			want: map[string]string{"AuthorizationPolicy": copyAdmits, "AuthorizationPolicy-mock": "", "Sidecar": ""}, codes: []Code{CodeReplayAccount}},
		{name: "in place the workload admits whom it did", change: func(r *replay) { r.InPlace, r.copied, r.w.replay = true, r.w, r },
			want: map[string]string{"AuthorizationPolicy": "", "AuthorizationPolicy-mock": responderAdmits, "Sidecar": confined}, codes: []Code{CodeReplayAccount}},
		{name: "an older API", settings: map[string]string{"istioAPIVersion": "v1beta1"},
			want: map[string]string{"AuthorizationPolicy": copyAdmits}, codes: []Code{CodeReplayAccount}},
		{name: "a Sidecar of the namespace that restricts egress", input: []string{narrow}, settings: map[string]string{"replayPlace": "s3://tapes?endpoint=http://minio.storage:9000"},
			want: map[string]string{
				"Sidecar":                      confined,
				"Sidecar-mock":                 "{workloadSelector: {labels: {responder}}, egress: [{hosts: [istio-system/*, ./*, storage/*]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
				"Sidecar-generator":            "{workloadSelector: {labels: {generator}}, egress: [{hosts: [istio-system/*, ./*, storage/*]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
				"ServiceEntry-generator-store": "",
			}, codes: []Code{CodeReplayAccount}},
		{name: "a Sidecar of the namespace that is not in the input", settings: map[string]string{"egress": "istio-system/*"},
			want:  map[string]string{"Sidecar-generator": "{workloadSelector: {labels: {generator}}, egress: [{hosts: [istio-system/*, ./*]}]}"},
			codes: []Code{CodeReplayAccount}},
		{name: "a Sidecar that selects all pods", input: []string{strings.Replace(narrow, "{egress", "{workloadSelector: {}, egress", 1)},
			want:  map[string]string{"Sidecar": "", "Sidecar-mock": "", "Sidecar-generator": ""},
			codes: []Code{CodeReplayAccount, CodeReplayEgressClosed, CodeReplayEgressClosed, CodeReplayEgressClosed}},
		{name: "the copy records to a collector", settings: map[string]string{"sink": "http://collector.speedscale:4310"},
			want:  map[string]string{"Sidecar": strings.Replace(confined, "cluster.local]", "cluster.local, speedscale/collector.speedscale.svc.cluster.local]", 1)},
			codes: []Code{CodeReplayAccount}},
		{name: "hosts that are open already", settings: map[string]string{"replayPlace": "s3://tapes?region=eu-central-1"},
			input: []string{"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: aws, namespace: egress}\nspec: {hosts: ['*.amazonaws.com'], ports: [{number: 443, name: tls, protocol: TLS}]}"},
			want:  map[string]string{"ServiceEntry-generator-store": "", "ServiceEntry-generator-identity": agent}, codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen}},
		{name: "a bucket in a region that is not known", settings: map[string]string{"replayPlace": "s3://tapes"},
			want:  map[string]string{"ServiceEntry-generator-store": "{hosts: ['*.amazonaws.com'], location: MESH_EXTERNAL, ports: [{name: https, number: 443, protocol: TLS}], resolution: NONE, exportTo: [.]}"},
			codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen, CodeReplayPlaceOpen}},
		{name: "hosts that are open to others", settings: map[string]string{"replayPlace": "s3://tapes?region=eu-central-1"},
			input: []string{"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: aws, namespace: egress}\nspec: {exportTo: ['.'], hosts: ['*.amazonaws.com'], ports: [{number: 443, name: tls, protocol: TLS}]}"},
			want:  map[string]string{"ServiceEntry-generator-store": bucket}, codes: []Code{CodeReplayAccount, CodeReplayPlaceOpen}},
		{name: "no mutual TLS in the namespace", input: []string{policy("PeerAuthentication", "{mtls: {mode: DISABLE}}")},
			want: map[string]string{"AuthorizationPolicy": "", "AuthorizationPolicy-mock": ""}, codes: []Code{CodeReplayIdentity, CodeReplayIdentity, CodeReplayAccount}},
		{name: "mutual TLS that a namespace has again", input: []string{policy("PeerAuthentication", "{mtls: {mode: STRICT}}"), strings.Replace(policy("PeerAuthentication", "{mtls: {mode: DISABLE}}"), "namespace: store", "namespace: istio-system", 1)},
			want: map[string]string{"AuthorizationPolicy": copyAdmits}, codes: []Code{CodeReplayAccount}},
		{name: "callers without mutual TLS", input: []string{"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: off, namespace: store}\nspec: {host: '*.store.svc.cluster.local', trafficPolicy: {tls: {mode: DISABLE}}}"},
			want: map[string]string{"AuthorizationPolicy": "", "AuthorizationPolicy-mock": ""}, codes: []Code{CodeReplayIdentity, CodeReplayIdentity, CodeReplayAccount}},
		{name: "a policy that denies", input: []string{policy("AuthorizationPolicy", "{action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}")},
			codes: []Code{CodeReplayAccount, CodeReplayDenied}},
		{name: "a policy that allows nothing", input: []string{policy("AuthorizationPolicy", "{}")}, codes: []Code{CodeReplayAccount}},
		{name: "a policy that allows the namespace", input: []string{policy("AuthorizationPolicy", "{rules: [{from: [{source: {namespaces: [store]}}]}]}")},
			codes: []Code{CodeReplayAccount, CodeReplayIngressOpen}},
		{name: "a policy of the original alone", input: []string{policy("AuthorizationPolicy", "{selector: {matchLabels: {app: shop}}, action: DENY, rules: [{}]}")},
			codes: []Code{CodeReplayAccount}},
		{name: "tokens that are checked", input: []string{policy("RequestAuthentication", "{jwtRules: [{issuer: x}]}")}, codes: []Code{CodeReplayAccount, CodeReplayDenied}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, r := playing(t, c.settings, c.change, c.input...)
			got, results := meshObjects(t, in, r)
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s:\n%s\nwant:\n%s", name, got[name], want)
				}
			}
			var codes []Code
			for _, result := range results {
				codes = append(codes, result.Code())
			}
			if !slices.Equal(codes, c.codes) {
				t.Errorf("results %v, want %v:\n%v", codes, c.codes, results)
			}
		})
	}
}

// A host that a mesh opens for a replay is open to production too. A place that does not say
// where it is opens a whole cloud.
func TestAWidePlaceIsAWarning(t *testing.T) {
	for place, want := range map[string]string{
		"s3://tapes":                         "write s3://tapes?region=REGION",
		"s3://tapes?profile=x":               "write s3://tapes?profile=x&region=REGION",
		"azblob://tapes":                     "write azblob://tapes?storage_account=ACCOUNT",
		"s3://tapes?region=eu-central-1":     "",
		"azblob://tapes?storage_account=abc": "",
	} {
		in, r := playing(t, map[string]string{"replayPlace": place}, nil)
		_, results := in.placeEntries(r)
		got := ""
		for _, result := range results {
			if result.Code() == CodeReplayPlaceOpen && result.Severity == Warning {
				got = result.Message
			}
		}
		if want == "" && got != "" || !strings.HasSuffix(got, want) {
			t.Errorf("%s: warned of %q, want %q", place, got, want)
		}
	}
}

// A forged annotation must not make a render delete an object that protects or opens something
// else.
func TestReplayMeshObjectsAreNotAnothers(t *testing.T) {
	objects := map[string]string{
		"AuthorizationPolicy": "apiVersion: security.istio.io/v1\nspec: {selector: {matchLabels: {SELECTOR}}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/store/sa/default]}}], to: [{operation: {ports: ['4140']}}]}]}",
		"Sidecar":             "apiVersion: networking.istio.io/v1\nspec: {workloadSelector: {labels: {SELECTOR}}}",
		"ServiceEntry":        "apiVersion: networking.istio.io/v1\nspec: {hosts: [a.example.com], location: MESH_EXTERNAL, ports: [{name: https, number: 443, protocol: TLS}], resolution: NONE, exportTo: ['.']}",
	}
	for kind, text := range objects {
		for _, c := range []struct {
			what, old, new string
			own            bool
		}{
			{"as it is", "", "", true},
			{"for all pods", "{SELECTOR}", "{}", false},
			{"for others", "{SELECTOR}", "{app: db}", false},
			{"for fewer", "{SELECTOR}", "{SELECTOR, app: db}", false},
			{"of all namespaces", "exportTo: ['.']", "exportTo: ['*']", false},
			{"with endpoints", "resolution: NONE", "resolution: STATIC, endpoints: [{address: 10.0.0.1}]", false},
			{"without the labels", "replay-part: responder}\n  annotations", "x: y}\n  annotations", false},
			{"that refuses", "ALLOW", "DENY", false},
			{"without rules", "[{from: [{source: {principals: [cluster.local/ns/store/sa/default]}}], to: [{operation: {ports: ['4140']}}]}]", "[]", false},
			{"by paths", "ports: ['4140']", "paths: [/admin]", false},
			{"by namespaces", "principals: [cluster.local/ns/store/sa/default]", "namespaces: [store]", false},
			{"of another name", "name: shop-replay-0acnxl57-mock\n", "name: deny-all\n", false},
		} {
			full := text + "\nkind: " + kind + `
metadata:
  name: shop-replay-0acnxl57-mock
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: responder}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
`
			changed := strings.Replace(full, c.old, c.new, 1)
			if c.old != "" && changed == full {
				continue // the kind has no such field
			}
			changed = strings.Replace(changed, "SELECTOR", "tapedeck.dev/replay: shop-replay-0acnxl57, tapedeck.dev/replay-part: responder", 1)
			if err := checkCreated(parsed(t, changed)); (err == nil) != c.own {
				t.Errorf("%s %s is mistaken for our own: %t, want %t (%v)", kind, c.what, err == nil, c.own, err)
			}
		}
	}
}

// Without a namespace the mesh's objects can't name one, and a result says so.
func TestWhatAMeshOpensWithoutANamespace(t *testing.T) {
	for _, namespace := range []string{"store", ""} {
		in, r := playing(t, nil, nil)
		for _, o := range in.objects {
			nodes.Set(nodes.At(o.Node, "metadata"), "namespace", nodes.New(namespace))
		}
		in = newInput(in.objects, in.cfg)
		_, results := in.authorizations(r)
		if got := slices.ContainsFunc(results, func(r Result) bool { return r.Code() == CodeReplayNamespace }); got != (namespace == "") {
			t.Errorf("in namespace %q there is a result: %t: %v", namespace, got, results)
		}
	}
}

// A VirtualService with a wildcard and TCP or TLS routes leads requests away from the replay.
func TestRoutesOfBytesByAWildcard(t *testing.T) {
	for spec, want := range map[string]bool{
		"{hosts: ['*.store.svc.cluster.local'], tcp: [{route: [{destination: {host: shop}}]}]}":        true,
		"{hosts: ['*'], tls: [{match: [{sniHosts: [a.test]}], route: [{destination: {host: shop}}]}]}": true,
		"{hosts: ['*.store.svc.cluster.local'], http: [{route: [{destination: {host: shop}}]}]}":       false,
		"{hosts: ['*.other.svc.cluster.local'], tcp: [{route: [{destination: {host: shop}}]}]}":        false,
		"{hosts: [shop], tcp: [{route: [{destination: {host: shop}}]}]}":                               false,
		"{hosts: ['*'], gateways: [edge], tcp: [{route: [{destination: {host: shop}}]}]}":              false,
	} {
		in, r := playing(t, nil, nil, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: theirs, namespace: store}\nspec: "+spec)
		_, results := in.authorizations(r)
		if got := slices.ContainsFunc(results, func(r Result) bool { return r.Code() == CodeReplayDenied && strings.Contains(r.Message, "/theirs") }); got != want {
			t.Errorf("%s is named: %t, want %t: %v", spec, got, want, results)
		}
	}
}
