// Command demo shows a capture and a replay from start to end on one machine. It needs
// only Go, and no root. It renders the shop, and runs the checkout, its dependency and the
// sidecar on loopback with the rendered environment. It sends traffic and shows what was
// captured. Then it replays that to the same build and to a changed one, with the
// dependency mocked.
//
//	this program ─▶ 127.0.0.1:4143 ─▶ checkout :8080          as Envoy would
//	checkout ─HTTP_PROXY─▶ 127.0.0.1:4140 ─▶ prices :8081     as the cluster would
//
// It runs from the repository's root and leaves nothing behind.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

const (
	manifests = "examples/shop/manifests"
	image     = "image=" + contract.Image
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tapedeck-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := func(name string) string { return filepath.Join(dir, "bin", name) }

	title("1. Build Tapedeck's and the example's two programs")
	for name, pkg := range map[string]string{"tapedeck": "./cmd/tapedeck", "tapedeck-proxy": "./cmd/tapedeck-proxy", "checkout": "./examples/shop/checkout", "prices": "./examples/shop/prices"} {
		if err := show(ctx, "go", "build", "-o", bin(name), pkg); err != nil {
			return err
		}
	}

	title("2. Render: what changes in the manifests, and a result for every workload")
	if err := show(ctx, bin("tapedeck"), "render", "--diff", "--set", image, manifests); err != nil {
		return err
	}

	title("3. Run the rendered pod on loopback")
	pod, err := renderedPod(ctx, bin("tapedeck"))
	if err != nil {
		return err
	}
	if err := portsFree("4100", "4140", "4143", "8080", "8081"); err != nil {
		return err
	}
	cluster, err := listenAsCluster(map[string]string{"prices:8081": "127.0.0.1:8081"})
	if err != nil {
		return err
	}
	defer cluster.Close()
	mounts, err := pod.mounts(filepath.Join(dir, "volumes"))
	if err != nil {
		return err
	}
	if err := makeCA(ctx, bin("tapedeck"), mounts.path("/etc/tapedeck/ca")); err != nil {
		return err
	}
	sidecar := pod.environment("tapedeck-proxy", mounts)
	sidecar = append(sidecar, "HTTP_PROXY=http://"+cluster.Addr().String())
	fmt.Println("Every variable is the rendered one; volumes are folders, and the sidecar gets one variable")
	fmt.Println("more: a proxy that stands in for the cluster's DNS and sends the name prices to this machine.")
	var processes processes
	defer processes.stop()
	if err := processes.start(bin("prices"), nil, "LISTEN=127.0.0.1:8081"); err != nil {
		return err
	}
	if err := processes.start(bin("tapedeck-proxy"), nil, sidecar...); err != nil {
		return err
	}
	if err := show(ctx, bin("tapedeck-proxy"), "healthz", "--wait", "20s"); err != nil {
		return err
	}
	if err := processes.start(bin("checkout"), nil, append(pod.environment("checkout", mounts), "LISTEN=127.0.0.1:8080")...); err != nil {
		return err
	}
	if err := wait(ctx, "http://127.0.0.1:8080/healthz"); err != nil {
		return err
	}

	title("4. Send traffic to the sidecar's inbound port, as Envoy does")
	for i, item := range []string{"tea", "coffee", "cup", "gold"} {
		if err := ask(ctx, i, item); err != nil {
			return err
		}
	}

	title("5. What was captured: inbound calls, and the outbound calls they caused")
	processes.stop() // on SIGTERM, the sidecar writes all records that it has
	recordings := mounts.path("/var/lib/tapedeck/recordings")
	if err := show(ctx, bin("tapedeck"), "inspect", recordings); err != nil {
		return err
	}

	title("6. Replay: the recorded calls, to the same build, with its dependency mocked")
	if err := os.Setenv("LISTEN", "127.0.0.1:8080"); err != nil {
		return err
	}
	replay := []string{"replay", recordings, "--mock", "--speed", "10", "--target", "http://127.0.0.1:8080", "--"}
	if err := show(ctx, bin("tapedeck"), append(replay, bin("checkout"))...); err != nil {
		return err
	}

	title("7. The same to a build that charges for shipping: the replay finds exactly that")
	if err := show(ctx, "go", "build", "-ldflags", "-X main.shippingCents=490", "-o", bin("checkout-2"), "./examples/shop/checkout"); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := show(ctx, bin("tapedeck"), append(replay, bin("checkout-2"))...); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		return fmt.Errorf("the replay against the changed build: %v, want exit code 3 for new differences", err)
	}

	title("What to try next")
	fmt.Print(`  bin/tapedeck render examples/shop/manifests          the manifests themselves
  bin/tapedeck render … | bin/tapedeck uninject        and back, byte for byte
  bin/tapedeck explain proxy-protocol                  an annotation, an option or a reason code
  tapedeck record recordings -- ./your-app             docs/mock.md and docs/replay.md, without a cluster
  docs/kustomize.md, docs/kpt.md, docs/helm.md         the same from the tool that you render with
`)
	return nil
}

// title announces a step.
func title(text string) { fmt.Printf("\n%s\n%s\n", text, strings.Repeat("─", len(text))) }

// show runs a command, and shows it and its output.
func show(ctx context.Context, name string, args ...string) error {
	fmt.Println("$", filepath.Base(name), strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

// makeCA creates the CA's Secret, and mounts it as the kubelet would.
func makeCA(ctx context.Context, tapedeck, dir string) error {
	out, err := exec.CommandContext(ctx, tapedeck, "ca", "--output", "-").Output()
	if err != nil {
		return fmt.Errorf("tapedeck ca: %w", err)
	}
	var secret struct {
		Data       map[string][]byte `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	if err := yaml.Unmarshal(out, &secret); err != nil {
		return fmt.Errorf("read the CA's Secret: %w", err)
	}
	for name, value := range secret.StringData {
		secret.Data[name] = []byte(value)
	}
	for name, value := range secret.Data {
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one request with its own trace.
func ask(ctx context.Context, i int, item string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:4143/checkout?item="+item, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Traceparent", fmt.Sprintf("00-%032x-%016x-01", i+1, i+1))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	fmt.Printf("GET /checkout?item=%-7s %s %s\n", item, res.Status, bytes.TrimSpace(body))
	return nil
}

// wait sends requests until one is answered.
func wait(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			return res.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", url, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// portsFree returns an error that lists the ports that other programs use.
func portsFree(ports ...string) error {
	var errs []error
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			errs = append(errs, fmt.Errorf("the pod needs port %s on this machine: %w", port, err))
			continue
		}
		l.Close()
	}
	return errors.Join(errs...)
}
