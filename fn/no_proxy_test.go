package fn_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// With auto, the application keeps its NO_PROXY, unless it belongs to a proxy that the
// sidecar then uses. In that case it moves to the sidecar.
func TestNoProxyIsCapturedWhereItIsAboutAProxy(t *testing.T) {
	const corporate, byHand = "http://corp.example:3128", "http://127.0.0.1:4140"
	const direct = "localhost,127.0.0.1,169.254.169.254,$(KUBERNETES_SERVICE_HOST),kubernetes.default.svc"
	for _, test := range []struct {
		name, option, proxy, noProxy string
		app, sidecar                 string
	}{
		{"blanks separate entries", "auto", "", ".svc .cluster.local\tdb.example", ".svc,.cluster.local,db.example," + direct, ""},
		{"a list beside a proxy moves to the sidecar", "auto", corporate, ".svc .cluster.local", direct, ".svc,.cluster.local"},
		{"a list without a proxy, next to a sidecar that was set by hand", "auto", byHand, ".svc", ".svc," + direct, ""},
		{"an asterisk beside a proxy moves, too", "auto", corporate, "*", direct, "*"},
		{"the pod's own loopback stays with the application", "auto", corporate, "::1, localhost, a.example", "::1,localhost,127.0.0.1,169.254.169.254,$(KUBERNETES_SERVICE_HOST),kubernetes.default.svc", "::1,localhost,a.example"},
		{"true moves a list without a proxy", "true", "", ".svc", direct, ""},
		{"true moves a list beside a proxy", "true", corporate, ".svc", direct, ".svc"},
		{"false respects a list beside a proxy", "false", corporate, ".svc .local", ".svc,.local," + direct, ".svc,.local"},
		{"false respects a list without a proxy", "false", "", ".svc", ".svc," + direct, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var env strings.Builder
			for name, value := range map[string]string{"HTTP_PROXY": test.proxy, "NO_PROXY": test.noProxy} {
				if value != "" {
					fmt.Fprintf(&env, "        - {name: %s, value: %q}\n", name, value)
				}
			}
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("captureNoProxy", test.option); err != nil {
				t.Fatal(err)
			}
			input := []byte(forwarding("", "env:\n"+env.String(), ""))
			out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			checkPromises(t, input, out, cfg)
			spec := yaml.MustParse(string(out))
			value := func(list, container, name string) string {
				v, err := spec.Pipe(yaml.Lookup("spec", "template", "spec", list, "[name="+container+"]", "env", "[name="+name+"]", "value"))
				if err != nil || v == nil {
					return ""
				}
				return v.YNode().Value
			}
			if got := value("containers", "app", "NO_PROXY"); got != test.app {
				t.Errorf("the application has NO_PROXY=%s, want %s", got, test.app)
			}
			if got := value("initContainers", "tapedeck-proxy", "NO_PROXY"); got != test.sidecar {
				t.Errorf("the sidecar has NO_PROXY=%s, want %s", got, test.sidecar)
			}
		})
	}
}
