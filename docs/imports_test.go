package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tapedeck/tapedeck/"

// apart lists the packages that must not link others, however many packages lie between
// them. Names are of this module, or of others; a name covers the packages below it.
// ARCHITECTURE.md gives the reasons.
var apart = []struct {
	packages []string // nil: all but those in except
	except   []string
	links    []string
}{
	// The renderer and the runtime share package contract, and nothing else.
	{packages: []string{"transformer", "fn"},
		links: []string{"proxy", "sidecar", "recording", "replay", "mock", "match", "collector", "snapshot", "view", "convert", "check"}},
	{packages: []string{"proxy", "sidecar", "recording", "match", "mock", "replay", "snapshot", "collector", "convert", "view", "check/pod"},
		links: []string{"transformer", "fn", "istio.io"}},
	// The contract is what both sides can always afford.
	{packages: []string{"contract"}, links: []string{"github.com", "golang.org", "sigs.k8s.io"}},
	// The data path forwards first, whatever becomes of recordings.
	{packages: []string{"proxy/pump", "proxy/plainhttp", "proxy/intercept", "proxy/socks", "proxy/upstream", "proxy/tap"},
		links: []string{"recording", "proxy/decode"}},
	// Every pod pays for what the sidecar links.
	{packages: []string{"cmd/tapedeck-proxy"}, links: []string{
		"sigs.k8s.io", "go.yaml.in", "gopkg.in", "github.com/spf13", "github.com/aws", "github.com/Azure", "cloud.google.com", "golang.org/x/oauth2",
		"modernc.org", "istio.io", "recording/place", "convert", "view", "mock", "replay", "snapshot", "collector",
	}},
	// Only commands open a place of a cloud.
	{except: []string{"recording/place", "cmd/tapedeck"},
		links: []string{"github.com/aws", "github.com/Azure", "cloud.google.com", "golang.org/x/oauth2", "recording/place"}},
	// Only the pages of tapedeck view need a database.
	{except: []string{"view", "cmd/tapedeck"}, links: []string{"modernc.org"}},
	// Only commands print and exit.
	{except: []string{"cmd"}, links: []string{"cmd", "github.com/spf13"}},
}

// mayImport is the promise that package comments make about direct imports beside the standard
// library. It covers the packages that many others depend on.
var mayImport = map[string][]string{
	"contract":                   {},
	"contract/filter":            {},
	"fn":                         {"fn/splice", "internal/nodes", "transformer", "sigs.k8s.io/kustomize/kyaml"},
	"fn/splice":                  {"internal/nodes", "sigs.k8s.io/kustomize/kyaml"},
	"fn/kustomization":           {"sigs.k8s.io/kustomize"},
	"internal/docpage":           {"github.com/google/go-cmp"},
	"internal/fakedns":           {"golang.org/x/net/dns"},
	"internal/logbuffer":         {},
	"internal/nodes":             {"sigs.k8s.io/kustomize/kyaml"},
	"internal/oneline":           {},
	"internal/rulefile":          {"go.yaml.in/yaml/v3"},
	"internal/scratch":           {},
	"internal/spelling":          {},
	"match/canon":                {"google.golang.org/protobuf"},
	"match/class":                {},
	"match/rules":                {"internal/rulefile", "match/canon", "go.yaml.in/yaml/v3"},
	"mock/fault":                 {"contract"},
	"mock/order":                 {"recording"},
	"mock/passthrough":           {"contract", "proxy/pump"},
	"mock/tape":                  {"internal/scratch", "recording", "recording/redact"},
	"convert/curl":               {"convert/internal/web", "recording", "recording/clean"},
	"convert/gor":                {"convert/internal/web", "recording"},
	"convert/har":                {"convert/internal/web", "golang.org/x/net/idna", "recording", "recording/coding"},
	"convert/wiremock":           {"convert/internal/web", "recording"},
	"proxy/address":              {},
	"proxy/ca":                   {"contract"},
	"proxy/decode/framework":     {"contract", "contract/filter", "proxy/address", "proxy/tap", "recording"},
	"proxy/decode/http1":         {"internal/httphead", "proxy/decode/framework", "proxy/tap", "recording"},
	"proxy/decode/http2":         {"golang.org/x/net/http2", "proxy/decode/framework", "proxy/tap", "recording"},
	"proxy/decode/opaque":        {"proxy/decode/framework", "proxy/tap", "recording"},
	"proxy/decode/proxyprotocol": {"proxy/decode/framework", "proxy/tap", "recording"},
	"proxy/decode/websocket":     {"proxy/decode/framework", "proxy/tap", "recording"},
	"proxy/hostsfile":            {"contract", "proxy/address"},
	"proxy/intercept":            {"contract", "proxy/ca", "proxy/pump"},
	"proxy/metric":               {"github.com/prometheus/client_golang"},
	"proxy/pump":                 {"proxy/tap", "golang.org/x/sys"},
	"proxy/socks":                {"contract"},
	"proxy/status":               {"internal/oneline"},
	"proxy/tap":                  {},
	"proxy/upstream":             {"contract", "proxy/address", "proxy/pump", "golang.org/x/net", "golang.org/x/sys"},
	"recording":                  {"recording/coding", "github.com/klauspost/compress"},
	"recording/archive":          {"recording"},
	"recording/coding":           {"github.com/klauspost/compress", "github.com/andybalholm/brotli"},
	"recording/columns":          {},
	"recording/fieldpath":        {},
	"recording/markdown":         {"recording"},
	"recording/redact":           {"contract", "recording", "recording/coding", "recording/fieldpath"},
	"recording/spool":            {"contract", "recording", "recording/columns", "recording/redact", "github.com/klauspost/compress"},
	"recording/store":            {"contract"},
	"replay/goal":                {"contract"},
	"replay/meet":                {"recording/store", "replay/report"},
	"replay/plan":                {"internal/scratch", "recording", "replay/rows"},
	"replay/rows":                {"internal/scratch"},
	"replay/schedule":            {},
	"replay/stats":               {"github.com/HdrHistogram/hdrhistogram-go"},
	"sidecar/ship":               {"contract", "internal/oneline", "recording", "recording/spool"},
	"transformer":                {"contract", "contract/filter", "internal/nodes", "internal/spelling", "transformer/endpoints", "golang.org/x/net", "google.golang.org/protobuf", "istio.io/api", "sigs.k8s.io/kustomize/kyaml"},

	"transformer/endpoints": {"contract"},
}

// listed is the output of `go list` about a package.
type listed struct {
	ImportPath    string
	Standard      bool
	Imports, Deps []string
}

func TestPackagesImportWhatTheyMay(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to list the packages with")
	}
	// As the image is built: without cgo, for Linux.
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir, cmd.Env, cmd.Stderr = "..", append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]listed{} // of this module, by their names in it
	standard := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		standard[p.ImportPath] = p.Standard
		if name, ours := strings.CutPrefix(p.ImportPath, module); ours {
			packages[name] = p
		}
	}
	for _, a := range apart {
		for _, name := range append(slices.Clone(a.packages), a.except...) {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(of string) bool { return below(of, name) }) {
				t.Errorf("the table names %s, and there is no such package", name)
			}
		}
		for of, p := range packages {
			covers := func(name string) bool { return below(of, name) }
			if a.packages != nil && !slices.ContainsFunc(a.packages, covers) || slices.ContainsFunc(a.except, covers) {
				continue
			}
			for _, dep := range p.Deps {
				dep = strings.TrimPrefix(dep, module)
				for _, never := range a.links {
					if below(dep, never) && !standard[dep] || dep == never {
						t.Errorf("%s links %s; ARCHITECTURE.md says why it must not", of, dep)
					}
				}
			}
		}
	}
	for name, may := range mayImport {
		p, there := packages[name]
		if !there {
			t.Errorf("the table names %s, and there is no such package", name)
		}
		for _, imported := range p.Imports {
			if standard[imported] {
				continue
			}
			if own, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(may, own) ||
				!ours && !slices.ContainsFunc(may, func(allowed string) bool { return below(imported, allowed) }) {
				t.Errorf("%s imports %s; its comment and the table in this test allow %q", name, imported, may)
			}
		}
	}
}

// below reports whether a package is another one, or lies in its directory.
func below(name, other string) bool { return name == other || strings.HasPrefix(name, other+"/") }
