package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/tapedeck/tapedeck/contract"
)

// TestGoInstall runs the command of the README against a module proxy that serves this
// tree as its release. The resulting program knows its version, and renders the
// image of the same version.
func TestGoInstall(t *testing.T) {
	dir := t.TempDir()
	modules := strings.TrimSpace(string(run(t, "", nil, "go", "env", "GOMODCACHE").ok(t)))
	upstream := strings.TrimSpace(string(run(t, "", nil, "go", "env", "GOPROXY").ok(t)))
	env := []string{
		"GOPROXY=" + fileURL(serveModule(t)) + "," + fileURL(filepath.Join(modules, "cache", "download")) + "," + upstream,
		// No checksum database knows this tree, and no later run may find it in a cache.
		"GOSUMDB=off", "GOMODCACHE=" + filepath.Join(dir, "modules"), "GOBIN=" + dir,
		// The compiler's results are those of `make build`.
		"GOFLAGS=-trimpath -modcacherw", "CGO_ENABLED=0",
	}
	install := "go install github.com/tapedeck/tapedeck/cmd/tapedeck@latest"
	if !strings.Contains(string(read(t, filepath.Join(repo, "README.md"))), "\n"+install+"\n") {
		t.Errorf("the README does not show %q", install)
	}
	words := strings.Fields(install)
	if got := runEnv(t, dir, env, nil, words[0], words[1:]...); got.err != nil {
		t.Fatal(got.err)
	}
	installed := filepath.Join(dir, "tapedeck")
	if got, want := string(run(t, "", nil, installed, "version").ok(t)), "tapedeck "+contract.Release+" (contract "; !strings.HasPrefix(got, want) {
		t.Errorf("the installed program says %q, want %q", got, want)
	}
	rendered := run(t, "", read(t, "testdata/shop.yaml"), installed, "render").ok(t)
	if want := "image: ghcr.io/tapedeck/tapedeck:" + contract.Release + "\n"; !strings.Contains(string(rendered), want) {
		t.Errorf("the render lacks %q:\n%s", want, rendered)
	}
}

// serveModule writes this tree as a release on a module proxy, and returns the directory.
// `go help goproxy` describes the files.
func serveModule(t *testing.T) (dir string) {
	t.Helper()
	tree, proxy := t.TempDir(), t.TempDir()
	for name := range strings.SplitSeq(string(run(t, repo, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").ok(t)), "\x00") {
		content, err := os.ReadFile(filepath.Join(repo, name))
		if name == "" || os.IsNotExist(err) { // the last element is empty; other files may be deleted and not committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, tree, map[string]string{name: string(content)})
	}
	m := module.Version{Path: "github.com/tapedeck/tapedeck", Version: contract.Release}
	var archive strings.Builder
	if err := zip.CreateFromDir(&archive, m, tree); err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf("{%q: %q, %q: %q}\n", "Version", m.Version, "Time", time.Unix(0, 0).UTC().Format(time.RFC3339))
	versions := m.Path + "/@v/"
	write(t, proxy, map[string]string{
		m.Path + "/@latest":            info,
		versions + "list":              m.Version + "\n",
		versions + m.Version + ".info": info,
		versions + m.Version + ".mod":  string(read(t, filepath.Join(tree, "go.mod"))),
		versions + m.Version + ".zip":  archive.String(),
	})
	return proxy
}

func fileURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }
