package fn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// Odd values neither stop a render nor lead to values that the sidecar can't read.
func TestOddValues(t *testing.T) {
	doubled := "[{name: V0, value: %s}"
	for i := 1; i <= 40; i++ {
		doubled += fmt.Sprintf(", {name: V%d, value: $(V%d)$(V%d)}", i, i-1, i-1)
	}
	doubled += `, {name: HTTP_PROXY, value: "http://$(V40)proxy.corp:3128"}]`
	for _, test := range []struct {
		name, annotations, spec, env, beside string
		want, code                           string
	}{
		{name: "references that double nothing", env: fmt.Sprintf(doubled, `""`), want: "value: http://proxy.corp:3128"},
		{name: "references that double a letter", env: fmt.Sprintf(doubled, "x"), code: "proxy-conflict"},
		{name: "a reference to a variable that an object sets again", code: "proxy-conflict",
			env: `[{name: P, value: a}, {name: P, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}, {name: HTTP_PROXY, value: "http://$(P):3128"}]`},
		{name: "more storage than there is", annotations: "sidecar.speedscale.com/ephemeral-storage-limit: 20E", want: "ephemeral-storage: 20E"},
		{name: "a grace period of ages", spec: "terminationGracePeriodSeconds: 9223372036854775807", want: "value: 2147483643s"},
		{name: "a grace period that is no number", spec: "terminationGracePeriodSeconds: .nan", want: "containerPort: 4143"},
		{name: "annotations in a key", want: "containerPort: 4143",
			beside: "apiVersion: x.io/v1\nkind: Odd\nmetadata: {name: odd}\n? {annotations: {sidecar.speedscale.com/inject: \"true\"}}\n: x\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			input := fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations: {sidecar.speedscale.com/inject: "true", %s}
spec:
  template:
    metadata: {labels: {app: app}}
    spec:
      containers: [{name: app, image: x, ports: [{containerPort: 8080}], env: %s}]
      %s
---
%s`, test.annotations, test.env, test.spec, test.beside)
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, r := range results {
				if r.Severity == transformer.Error {
					codes = append(codes, string(r.Code()))
				}
			}
			if code := strings.Join(codes, " "); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("found errors %q in %v\nwant %q, or %q in:\n%s", code, results, test.code, test.want, out)
			}
			if strings.Contains(string(out), "TAPEDECK_SINK_SIZE") {
				t.Errorf("found a limit of the recording, although there is room for everything:\n%s", out)
			}
		})
	}
}
