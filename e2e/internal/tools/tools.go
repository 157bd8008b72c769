// Package tools builds the programs that the end-to-end tests and the
// benchmark run, from source, through the Go module proxy, each at a fixed
// version, and keeps them in a cache that outlives the work tree.
//
// Each is built in its own module, as its authors pinned it: their dependency
// graphs don't fit together in one.
package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Tool is a program to build.
type Tool struct {
	// Name is what tests call it.
	Name string
	// Module and Version name the module on the module proxy.
	Module, Version string
	// Package is the program's path inside the module.
	Package string
	// CGO means that the program needs a C compiler, and the headers of the C libraries that it uses.
	CGO bool
}

// Istio is the module of istioctl; its charts hold what a mesh is installed
// with.
const (
	Istio        = "istio.io/istio"
	istioVersion = "v0.0.0-20260827124520-eed52ebb66ad"
)

// All lists every tool, the quickest to build first.
func All() []Tool {
	return []Tool{
		{Name: "kustomize", Module: "sigs.k8s.io/kustomize/kustomize/v5", Version: "v5.8.2"},
		{Name: "go-httpbin", Module: "github.com/mccutchen/go-httpbin/v2", Version: "v2.26.0", Package: "cmd/go-httpbin"},
		{Name: "podinfo", Module: "github.com/stefanprodan/podinfo", Version: "v1.8.1-0.20250910200901-e86405a8674e", Package: "cmd/podinfo"},
		{Name: "helm3", Module: "helm.sh/helm/v3", Version: "v3.22.0", Package: "cmd/helm"},
		{Name: "helm4", Module: "helm.sh/helm/v4", Version: "v4.3.1", Package: "cmd/helm"},
		{Name: "istioctl", Module: Istio, Version: istioVersion, Package: "istioctl/cmd/istioctl"},
	}
}

// peers are programs that benchmarks compare with. Tests don't need them.
var peers = []Tool{
	{Name: "vegeta", Module: "github.com/tsenart/vegeta/v12", Version: "v12.13.0"},
	// Debian has pcap.h in libpcap-dev.
	{Name: "goreplay", Module: "github.com/buger/goreplay", Version: "v1.3.2", CGO: true},
}

// Find returns the path of the named tool, which it builds unless the cache
// has it. Two processes may build it at the same time, because the finished file
// is renamed into place.
func Find(ctx context.Context, name string) (string, error) {
	for _, t := range append(All(), peers...) {
		if t.Name == name {
			return t.Build(ctx)
		}
	}
	return "", fmt.Errorf("find tool %q: not in the table", name)
}

// Build returns the path of the tool's binary, which it builds unless the
// cache has it.
func (t Tool) Build(ctx context.Context) (string, error) {
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, t.Name+"-"+t.Version)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	tmp, err := os.MkdirTemp(dir, t.Name+"-")
	if err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w",
		path.Join(t.Module, t.Package)+"@"+t.Version)
	cmd.Dir = tmp // outside any module, so that the tool's own go.mod counts
	cgo := "0"
	if t.CGO {
		cgo = "1"
	}
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED="+cgo, "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s@%s: %w\n%s", t.Module, t.Version, err, out)
	}
	built, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(built) != 1 {
		return "", fmt.Errorf("build %s: want one binary, found %q (%v)", t.Name, built, err)
	}
	if err := os.Rename(built[0], file); err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	return file, nil
}

// IstioSource returns the directory that holds Istio's source at the version
// of istioctl.
func IstioSource(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", Istio+"@"+istioVersion)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w\n%s", Istio, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("download %s: %w", Istio, err)
	}
	return module.Dir, nil
}

// cacheDir is $TAPEDECK_E2E_BIN, or tapedeck-e2e in the user's cache.
func cacheDir() (string, error) {
	dir := os.Getenv("TAPEDECK_E2E_BIN")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the tools' cache: %w", err)
		}
		dir = filepath.Join(cache, "tapedeck-e2e")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the tools' cache: %w", err)
	}
	return dir, nil
}
