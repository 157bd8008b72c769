package pod

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tapedeck/tapedeck/recording"
)

// podinfoPort is a port of podinfo that is called.
type podinfoPort struct {
	number int
	call   func(t *testing.T, c *client)
	want   func(t *testing.T, got []recording.Exchange) recording.Exchange
}

var podinfoHTTP = podinfoPort{9898, func(t *testing.T, c *client) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app:9898/api/echo", strings.NewReader("over there"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "8c5e34b0-0001-4000-8000-000000000001") // which podinfo passes on
	res, err := c.http1.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("over there")) {
		t.Errorf("%s %q %v, want what the backend echoes", res.Status, body, err)
	}
}, func(t *testing.T, got []recording.Exchange) recording.Exchange {
	in, out := once(t, got, recording.In, "/api/echo"), once(t, got, recording.Out, "/echo")
	if in.Tags.Get(recording.TagPeer) != clientIdentity {
		t.Errorf("the peer is %q, want the client's identity", in.Tags.Get(recording.TagPeer))
	}
	if out.NetworkAddress != "dependency:8081" || out.Tags.Get(recording.TagParent) != in.UUID.String() {
		t.Errorf("the call to %s is caused by %q, want %s", out.NetworkAddress, out.Tags.Get(recording.TagParent), in.UUID)
	}
	return in
}}

var podinfoGRPC = podinfoPort{9999, func(t *testing.T, c *client) {
	res, err := healthpb.NewHealthClient(c.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "podinfo"})
	if err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v %v, want SERVING", res, err)
	}
}, func(t *testing.T, got []recording.Exchange) recording.Exchange {
	e := once(t, got, recording.In, "/grpc.health.v1.Health/Check")
	if e.L7Protocol != recording.GRPC {
		t.Errorf("recorded as %s, want gRPC", e.L7Protocol)
	}
	return e
}}

// podinfoMetrics is not captured, and still answers.
var podinfoMetrics = podinfoPort{9797, func(t *testing.T, c *client) {
	if status, body, err := get(t.Context(), c.http1, "/metrics"); err != nil || status != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("%d %v %.80q, want metrics", status, err, body)
	}
}, nil}

// TestPodinfo runs an application of another project: it serves HTTP on one port, gRPC on
// another and metrics on a third, and calls its backend through the proxy of its
// environment. One annotation captures the first two; others choose one.
func TestPodinfo(t *testing.T) {
	for _, c := range []struct {
		name        string
		annotations string // besides inject
		calls       []podinfoPort
		captured    int // how many of them, from the first, are captured
	}{
		{"HTTP and gRPC in, and HTTP out, by one annotation", "", []podinfoPort{podinfoHTTP, podinfoGRPC, podinfoMetrics}, 2},
		{"HTTP in alone, by number", `proxy-port: "9898"`, []podinfoPort{podinfoHTTP, podinfoGRPC}, 1},
		{"gRPC in alone, by name", "proxy-port: grpc", []podinfoPort{podinfoGRPC, podinfoMetrics}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			const inject = `sidecar.speedscale.com/inject: "true"`
			annotations := inject
			if c.annotations != "" {
				annotations += "\n    sidecar.speedscale.com/" + c.annotations
			}
			w := newWorld(t, render(t, "podinfo.yaml", inject, annotations))
			w.port = c.calls[0].number
			p := w.newPod()
			p.application = tool(t, "podinfo")
			p.startSidecar()
			p.startApp()
			for _, call := range c.calls {
				p.listening(w.network.pod, fmt.Sprintf("127.0.0.1:%d", call.number))
				call.call(t, w.clientOf(call.number))
			}
			p.stop()
			got := p.recorded()
			inbound := 0
			for _, e := range got {
				if e.Direction == recording.In {
					inbound++
				}
			}
			if inbound != c.captured {
				t.Errorf("%d inbound exchanges are recorded, want %d", inbound, c.captured)
			}
			for _, call := range c.calls[:c.captured] {
				if port := call.want(t, got).Tags.Get(recording.TagReverseProxyPort); port != strconv.Itoa(call.number) {
					t.Errorf("recorded with port %s, want %d", port, call.number)
				}
			}
		})
	}
}

// tool returns the path of a program that is built from the module proxy, where
// every user can run it.
func tool(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command("go", "-C", "..", "run", "./cmd/tools", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	file := filepath.Join(openDir(t), name)
	run(t, "cp", strings.TrimSpace(string(out)), file)
	return file
}
