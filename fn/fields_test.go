package fn_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestUnknownFields checks that the render names the unknown fields of Istio objects, and no others.
func TestUnknownFields(t *testing.T) {
	const (
		virtualService = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: app\nspec:\n"
		envoyFilter    = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata:\n  name: app\nspec:\n"
	)
	tests := map[string]struct {
		input string
		want  []string // the results about the fields, up to the release
	}{
		"misspelt, in a list": {
			virtualService + "  hosts: [app]\n  http:\n  - name: one\n    rout: []\n",
			[]string{"VirtualService/app: spec.http[#0].rout is not a field of Istio 1.31; did you mean route?"},
		},
		"at the top": {
			"apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {name: app}\naction: DENY\nspec: {}\n",
			[]string{"AuthorizationPolicy/app: action is not a field of Istio 1.31"},
		},
		"as protobuf spells it": {
			"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: app}\nspec: {ingress: [{port: {number: 80}, default_endpoint: 127.0.0.1:80}]}\n",
			[]string{"Sidecar/app: spec.ingress[#0].default_endpoint is not a field of Istio 1.31; did you mean defaultEndpoint?"},
		},
		"in a map's value": {
			"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: app}\nspec: {portLevelMtls: {8080: {mod: STRICT}}}\n",
			[]string{"PeerAuthentication/app: spec.portLevelMtls.8080.mod is not a field of Istio 1.31; did you mean mode?"},
		},
		"the same in several objects": {
			virtualService + "  host: [app]\n---\n" + strings.Replace(virtualService, "name: app", "name: other", 1) + "  host: [other]\n",
			[]string{"VirtualService/app: spec.host is not a field of Istio 1.31; did you mean hosts?; also in 1 more"},
		},
		"two in one object": {
			virtualService + "  host: [app]\n  http:\n  - timout: 1s\n  - timout: 2s\n",
			[]string{
				"VirtualService/app: spec.host is not a field of Istio 1.31; did you mean hosts?",
				"VirtualService/app: spec.http[#0].timout is not a field of Istio 1.31; did you mean timeout?",
			},
		},
		"what Envoy reads": {
			envoyFilter + "  configPatches:\n  - applyTo: CLUSTER\n    patch:\n      operation: MERGE\n      value: {anything: {goes: here}}\n", nil,
		},
		"an old spelling that Kubernetes takes": {
			virtualService + "  hosts: [app]\n  http:\n  - mirror_percent: 3\n    timeout: 3s\n    headers: {request: {set: {x-any: y}}}\n", nil,
		},
		"a shape that no field has":       {virtualService + "  hosts: {a: b}\n  http: app\n  tcp:\n  - null\n  - [a]\n", nil},
		"a group that is not Istio's":     {strings.Replace(virtualService, "istio.io", "example.com", 1) + "  any: thing\n", nil},
		"a kind that Istio has not (yet)": {strings.Replace(virtualService, "VirtualService", "Virtual", 1) + "  any: thing\n", nil},
		"an empty object":                 {"apiVersion: networking.istio.io/v1\nkind: Gateway\n", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, strict := range []bool{false, true} {
				cfg := transformer.DefaultConfig()
				cfg.Strict = strict
				_, results, err := fn.Render([]fn.Source{{Text: []byte(tt.input)}}, cfg)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, r := range results {
					if r.Code() != transformer.CodeUnknownField {
						continue
					}
					says, rest, _ := strings.Cut(r.Message, "; Kubernetes")
					if got = append(got, says); !strings.Contains(rest, "unless the cluster's Istio is newer") {
						t.Errorf("the result does not mention newer versions: %s", r.Message)
					}
				}
				slices.Sort(got)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("fields (-want +got):\n%s", diff)
				}
				if results.Failed() != (strict && tt.want != nil) {
					t.Errorf("strict %t, results: %v", strict, results)
				}
			}
		})
	}
}
