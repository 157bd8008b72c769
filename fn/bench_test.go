package fn_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/kio"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// manyWorkloads is a stream of annotated Deployments with a Service each.
func manyWorkloads(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%[1]d
  labels:
    app: app-%[1]d
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-protocol: tcp:http
    sidecar.speedscale.com/proxy-port: "8080"
spec:
  replicas: 2
  selector:
    matchLabels:
      app: app-%[1]d
  template:
    metadata:
      labels:
        app: app-%[1]d
    spec:
      containers:
      - name: app
        image: registry.example/app:%[1]d # pinned
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: MODE
          value: live
        resources:
          requests:
            cpu: 100m
            memory: 128Mi
---
apiVersion: v1
kind: Service
metadata:
  name: app-%[1]d
spec:
  selector:
    app: app-%[1]d
  ports:
  - name: http
    port: 80
    targetPort: http
`, i)
	}
	return []byte(b.String())
}

// BenchmarkRender compares rendering with the time that kyaml needs to read and write the same
// bytes. `make bench` prints the ratio.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{100, 1000} {
		input := manyWorkloads(n)
		b.Run(fmt.Sprintf("tapedeck/workloads=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				if _, results, err := fn.Render([]fn.Source{{Text: input}}, transformer.DefaultConfig()); err != nil || results.Failed() {
					b.Fatal(err, results)
				}
			}
		})
		b.Run(fmt.Sprintf("kyaml/workloads=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				nodes, err := (&kio.ByteReader{Reader: bytes.NewReader(input)}).Read()
				if err != nil {
					b.Fatal(err)
				}
				var out bytes.Buffer
				if err := (kio.ByteWriter{Writer: &out}).Write(nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
