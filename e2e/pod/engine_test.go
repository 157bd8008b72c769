package pod

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// engine is a container engine, and what a test made in it.
type engine struct {
	t    *testing.T
	name string // of the test's own network, and the prefix of its containers' names
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	if why := missing(); why != "" {
		t.Skip(why) // to enter a container's namespace
	}
	if why := noEngine(); why != "" {
		t.Skip(why)
	}
	e := &engine{t, fmt.Sprintf("td%d", os.Getpid())}
	run(t, "docker", "network", "create", "--internal", e.name)
	t.Cleanup(func() { run(t, "docker", "network", "rm", e.name) })
	return e
}

// image builds an image FROM scratch around a program of the repository.
func (e *engine) image(pkg string) string {
	e.t.Helper()
	name := filepath.Base(pkg)
	dir, tag := e.t.TempDir(), "localhost/tapedeck-pod-"+name+":test"
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
	cmd.Dir, cmd.Env = repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	text := fmt.Sprintf("FROM scratch\nCOPY %s /%s\nENTRYPOINT [\"/%s\"]\n", name, name, name)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		e.t.Fatal(err)
	}
	run(e.t, "docker", "build", "--quiet", "--tag", tag, dir)
	return tag
}

// start runs a container in the background, and returns its name.
func (e *engine) start(name string, args ...string) string {
	e.t.Helper()
	name = e.name + "-" + name
	run(e.t, "docker", append([]string{"run", "--detach", "--name", name}, args...)...)
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("%s wrote:\n%s", name, run(e.t, "docker", "logs", name))
		}
		run(e.t, "docker", "rm", "--force", name)
	})
	return name
}

// flags returns the engine's flags for what the kubelet reads from a rendered container.
func (s spec) flags() (out []string) {
	for _, e := range s.Env {
		if !strings.HasPrefix(e, "PATH=") { // that is the image's
			out = append(out, "--env", e)
		}
	}
	for _, m := range s.Mounts {
		v := m.From + ":" + m.To
		if m.ReadOnly {
			v += ":ro"
		}
		out = append(out, "--volume", v)
	}
	if s.User != 0 {
		out = append(out, "--user", fmt.Sprintf("%d:%d", s.User, s.Group))
	}
	if s.ReadOnly {
		out = append(out, "--read-only")
	}
	return out
}

// TestContainers runs the rendered example as containers: sidecar and
// application share a network, as a pod's do, each with exactly the rendered
// command, environment, user, mounts and root.
func TestContainers(t *testing.T) {
	e := newEngine(t)
	r := renderText(t, "", "--set", "image="+image+":test", filepath.Join(repo, "examples/shop/manifests"))
	v := newVolumes(t, r.pod.Spec, newSecret(t))
	sidecar := r.container(t, contract.Container)
	s := v.spec(sidecar, factsOf(podIP.v4), "/")
	if sc := sidecar.SecurityContext; sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || len(sc.Capabilities.Drop) != 1 {
		t.Fatalf("the sidecar's security context is rendered as %+v", sc)
	}
	// The rendered command replaces the image's entrypoint, as in Kubernetes.
	flags := append(s.flags(), "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", e.name, "--entrypoint", s.Args[0])
	proxy := e.start("sidecar", append(append(flags, sidecar.Image), s.Args[1:]...)...)
	e.start("prices", "--network", e.name, "--network-alias", "prices", e.image("./examples/shop/prices"))
	eventually(t, "the startup probe", func() bool {
		return exec.Command("docker", append([]string{"exec", proxy}, sidecar.StartupProbe.Exec.Command...)...).Run() == nil
	})
	app := v.spec(r.container(t, "checkout"), factsOf(podIP.v4), "/")
	checkout := e.start("checkout", append(app.flags(), "--network", "container:"+proxy, e.image("./examples/shop/checkout"))...)

	pid := strings.TrimSpace(run(t, "docker", "inspect", "--format", "{{.State.Pid}}", proxy))
	inside := namespace("/proc/" + pid + "/ns/net")
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return inside.dial(ctx, address)
		},
	}}
	get := func(url string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(trace(1)[0], trace(1)[1])
		res, err := c.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	eventually(t, "the application", func() bool { status, _ := get("http://127.0.0.1:8080/healthz"); return status == http.StatusOK })
	if status, body := get(fmt.Sprintf("http://127.0.0.1:%d/checkout?item=tea", contract.InPort)); status != http.StatusOK || !strings.Contains(body, `"totalCents":900`) {
		t.Errorf("the checkout answers %d %s", status, body)
	}
	for _, name := range []string{checkout, proxy} {
		run(t, "docker", "stop", "--time", "30", name)
	}
	if code := strings.TrimSpace(run(t, "docker", "inspect", "--format", "{{.State.ExitCode}}", proxy)); code != "0" {
		t.Errorf("the sidecar ended with exit code %s", code)
	}

	p := &pod{world: &world{t: t, rendered: r}, volumes: v}
	got := p.recorded()
	in, out := once(t, got, recording.In, "/checkout?item=tea"), once(t, got, recording.Out, "/prices/tea")
	if out.NetworkAddress != "prices:8081" || out.Tags.Get(recording.TagParent) != in.UUID.String() {
		t.Errorf("the call to %s is recorded as caused by %q, want %s", out.NetworkAddress, out.Tags.Get(recording.TagParent), in.UUID)
	}
	if len(got) != 2 {
		t.Errorf("%d exchanges are recorded, want 2", len(got))
	}
}
