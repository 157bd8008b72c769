package fn_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

const pod = `apiVersion: v1
kind: Pod
metadata:
  name: batch # nightly
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: forward
spec:
  containers:
  - name: app
    image: registry.example/app:1
`

// Render edits annotated workloads, and reports on every workload.
func ExampleRender() {
	out, results, err := fn.Render([]fn.Source{{Name: "pod.yaml", Text: []byte(pod)}}, transformer.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("comment kept:", strings.Contains(string(out), "name: batch # nightly"))
	fmt.Println("sidecar added:", strings.Contains(string(out), "name: tapedeck-proxy"))
	_ = fn.WriteText(os.Stdout, results)
	// Output:
	// comment kept: true
	// sidecar added: true
	// info  injected  Pod/batch  injected: outbound HTTP proxy on port 4140 (pod.yaml)
	// 1 workload injected, 0 workloads skipped; 0 errors, 0 warnings
}

// Uninject restores the input of Render, byte for byte.
func ExampleUninject() {
	rendered, _, _ := fn.Render([]fn.Source{{Text: []byte(pod)}}, transformer.DefaultConfig())
	back, _, _ := fn.Uninject([]fn.Source{{Text: rendered}})
	fmt.Println(string(back) == pod)
	// Output: true
}

// LoadConfig reads a file on top of the defaults. An error names the wrong field.
func ExampleLoadConfig() {
	_, err := fn.LoadConfig(transformer.DefaultConfig(), fn.Source{Name: "tapedeck.yaml", Text: []byte(`
apiVersion: tapedeck.dev/v1alpha1
kind: Tapedeck
spec:
  inbound: gateway
`)})
	fmt.Println(err)
	// Output: configuration tapedeck.yaml: spec.inbound: option inbound: found "gateway", allowed: sidecar, service or none
}

// WriteJSON writes results in the format of KRM functions.
func ExampleWriteJSON() {
	_, results, _ := fn.Render([]fn.Source{{Text: []byte(pod)}}, transformer.DefaultConfig())
	_ = fn.WriteJSON(os.Stdout, results)
	// Output:
	// [
	//   {
	//     "message": "injected: outbound HTTP proxy on port 4140",
	//     "severity": "info",
	//     "resourceRef": {
	//       "apiVersion": "v1",
	//       "kind": "Pod",
	//       "name": "batch"
	//     },
	//     "field": {
	//       "path": "metadata.annotations[sidecar.speedscale.com/inject]",
	//       "currentValue": "true"
	//     },
	//     "tags": {
	//       "code": "injected"
	//     }
	//   }
	// ]
}

// Schema describes the configuration for editors and validators.
func ExampleSchema() {
	spec := fn.Schema()["properties"].(map[string]any)["spec"].(map[string]any)
	inbound := spec["properties"].(map[string]any)["inbound"].(map[string]any)
	fmt.Println(inbound["enum"], inbound["default"])
	// Output: [sidecar service none] sidecar
}
