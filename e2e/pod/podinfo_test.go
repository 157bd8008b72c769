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

// TestPodinfo runs an application that others wrote: it takes HTTP on one port
// and gRPC on another, of which either is captured, and calls its backend
// through the proxy of its environment.
func TestPodinfo(t *testing.T) {
	for _, c := range []struct {
		name string
		port int // that is captured
		call func(t *testing.T, c *client)
		want func(t *testing.T, got []recording.Exchange)
	}{
		{"HTTP in, and out to its backend", 9898, func(t *testing.T, c *client) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app:9898/api/echo", strings.NewReader("over there"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Request-Id", "8c5e34b0-0001-4000-8000-000000000001") // which podinfo carries on
			res, err := c.http1.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("over there")) {
				t.Errorf("%s %q %v, want what the backend echoes", res.Status, body, err)
			}
		}, func(t *testing.T, got []recording.Exchange) {
			in, out := once(t, got, recording.In, "/api/echo"), once(t, got, recording.Out, "/echo")
			if in.Tags.Get(recording.TagPeer) != clientIdentity {
				t.Errorf("the peer is %q, want the client's identity", in.Tags.Get(recording.TagPeer))
			}
			if out.NetworkAddress != "dependency:8081" || out.Tags.Get(recording.TagParent) != in.UUID.String() {
				t.Errorf("the call to %s is caused by %q, want %s", out.NetworkAddress, out.Tags.Get(recording.TagParent), in.UUID)
			}
		}},
		{"gRPC in", 9999, func(t *testing.T, c *client) {
			res, err := healthpb.NewHealthClient(c.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "podinfo"})
			if err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("%v %v, want SERVING", res, err)
			}
		}, func(t *testing.T, got []recording.Exchange) {
			if e := once(t, got, recording.In, "/grpc.health.v1.Health/Check"); e.L7Protocol != recording.GRPC {
				t.Errorf("recorded as %s, want gRPC", e.L7Protocol)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, render(t, "podinfo.yaml", `proxy-port: "9898"`, fmt.Sprintf("proxy-port: %q", strconv.Itoa(c.port))))
			w.port = c.port
			p := w.newPod()
			p.application = tool(t, "podinfo")
			p.startSidecar()
			p.startApp()
			c.call(t, w.newClient())
			p.stop()
			c.want(t, p.recorded())
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
