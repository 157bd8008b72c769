package fn_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A render for an image of the first contract version uses only what that image has: one program,
// and the variables of that version.
func TestAnOldImageGetsWhatItUnderstands(t *testing.T) {
	for _, sidecar := range []string{"native", "classic"} {
		cfg := transformer.DefaultConfig()
		digest := "registry.example/tapedeck@sha256:" + strings.Repeat("0123456789abcdef", 4)
		for name, value := range map[string]string{"image": digest, "imageContract": "1", "sidecar": sidecar, "upstreamCASecret": "roots", "sinkSize": "1Gi", "bodyLimit": "1Mi",
			"redactHeaders": "x-secret", "cluster": "c", "logLevel": "debug"} {
			if err := cfg.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
		input := []byte(strings.Replace(plainDeployment, "  annotations:\n", `  annotations:
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-protocol: tcp:http
    sidecar.speedscale.com/proxy-port: "8080"
    sidecar.speedscale.com/tls-out: "true"
    sidecar.speedscale.com/tls-in-secret: server
    sidecar.speedscale.com/tls-mutual-secret: client
    sidecar.speedscale.com/memory-limit: 64Mi
    sidecar.speedscale.com/ephemeral-storage-limit: 1Gi
    sidecar.speedscale.com/prometheus-port: "9101"
    sidecar.speedscale.com/extra-container-env-vars: |
      HTTP_PROXY=http://corp.example:3128
`, 1))
		out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
		if err != nil || results.Failed() {
			t.Fatal(err, results)
		}
		checkPromises(t, input, out, cfg)
		first, _, _ := strings.Cut(string(out), "\n---\n")
		list := map[string]string{"native": "initContainers", "classic": "containers"}[sidecar]
		ours, err := yaml.MustParse(first).Pipe(yaml.Lookup("spec", "template", "spec", list, "[name=tapedeck-proxy]"))
		if err != nil || ours == nil {
			t.Fatalf("%s: no sidecar: %v\n%s", sidecar, err, first)
		}
		text := ours.MustString()
		if strings.Contains(text, contract.ProxyBinary+"\n") || strings.Contains(text, "\ncommand:") || !strings.Contains(text, "args:\n- proxy\n") || !strings.Contains(text, "- /tapedeck\n") || !strings.Contains(text, "image: "+digest) {
			t.Errorf("%s: the sidecar is not run as the image of version 1 runs:\n%s", sidecar, text)
		}
		env, err := ours.Field("env").Value.Elements()
		if err != nil || len(env) < 30 {
			t.Fatalf("%s: only %d variables were rendered: %v", sidecar, len(env), err)
		}
		known := []string{contract.EnvEdits} // no sidecar reads it
		for _, e := range contract.Envs() {
			if contract.Since(e.Name) == 1 {
				known = append(known, e.Name)
			}
		}
		for _, e := range env {
			if name := e.Field("name").Value.YNode().Value; !slices.Contains(known, name) {
				t.Errorf("%s: variable %s is rendered for an image that does not know it", sidecar, name)
			}
		}
	}
}

// A setting that the image would silently ignore is an error.
func TestSettingsThatAnOldImageDoesNotKnowAreErrors(t *testing.T) {
	for name, value := range map[string]string{
		"capture": "off", "capture-exclude": "path=/healthz", "capture-include": "host=a.example", "capture-sample": "0.1", "capture-config": "filters", "opaqueBytes": "true", "redact": "grpc", "redactKeySecret": "keys",
	} {
		for version, want := range map[string]bool{"1": true, "2": false} {
			cfg := transformer.DefaultConfig()
			for name, value := range map[string]string{name: value, "imageContract": version, "proxy-type": "forward"} {
				if err := cfg.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			_, results, err := fn.Render([]fn.Source{{Text: []byte(plainDeployment)}}, cfg)
			if err != nil || results.Failed() != want {
				t.Errorf("%s with imageContract %s: %v, %v; want an error: %t", name, version, err, results, want)
			}
			if want && !slices.ContainsFunc(results, func(r transformer.Result) bool { return r.Code() == transformer.CodeImageContract }) {
				t.Errorf("%s: %v; want %s", name, results, transformer.CodeImageContract)
			}
		}
	}
}

// plainDeployment requests the sidecar. Its configuration says which kind.
const plainDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.speedscale.com/inject: "true"
spec:
  template:
    spec:
      containers:
      - name: app
`

func TestImagesArePinnedByTagOrDigest(t *testing.T) {
	for image, want := range map[string]bool{
		"tapedeck":                              true,
		"registry.example:5000/tapedeck:v1.2.3": true,
		"registry.example/tapedeck@sha256:" + strings.Repeat("a", 64):    true,
		"registry.example/tapedeck:v1@sha256:" + strings.Repeat("0", 64): true,
		"registry.example/tapedeck@sha256:abc":                           false,
		"registry.example/tapedeck@" + strings.Repeat("a", 64):           false,
		"registry.example/tapedeck:v1 ":                                  false,
		"":                                                               false,
	} {
		cfg := transformer.DefaultConfig()
		if err := cfg.Set("image", image); (err == nil) != want {
			t.Errorf("image %q: %v, want it accepted: %t", image, err, want)
		}
	}
	for version, want := range map[string]bool{"0": false, "1": true, "2": true, "99": false, "v1": false, "": false} {
		cfg := transformer.DefaultConfig()
		if err := cfg.Set("imageContract", version); (err == nil) != want {
			t.Errorf("imageContract %q: %v, want it accepted: %t", version, err, want)
		}
	}
}
