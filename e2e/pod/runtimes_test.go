package pod

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// proxyClient is a program that the rendered variables capture.
type proxyClient struct {
	name, program string
	needs         []string // arguments that check whether it is installed
	args          []string
	want          string // part of the answer
	direct        string // part of the second site's answer
}

// proxyClients are the programs, with their scripts in a folder.
func proxyClients(scripts string) []proxyClient {
	script := func(name string) string { return filepath.Join(scripts, name) }
	// Node trusts only its own roots and the CA. The second site's root is on no public list, so
	// Node rejects it with Tapedeck and without.
	const stranger = "unable to verify the first certificate"
	return []proxyClient{
		{"Go", filepath.Join(bin, "app"), nil, []string{"fetch", "https://HOST/hello?by=go"}, "HOST from", "HOST from"},
		{"Node", "node", []string{"--version"}, []string{script("fetch.mjs"), "https://HOST/hello?by=node"}, "HOST from", stranger},
		{"requests", "/usr/bin/python3", []string{"-c", "import requests"}, []string{script("with_requests.py"), "https://HOST/hello?by=requests"}, "HOST from", "HOST from"},
		{"httpx", "/usr/bin/python3", []string{"-c", "import httpx"}, []string{script("with_httpx.py"), "https://HOST/hello?by=httpx"}, "HOST from", "HOST from"},
		{"Java", "java", []string{"-version"}, []string{script("Fetch.java"), "https://HOST/hello?by=java"}, "HOST from", "HOST from"},
		{"curl", "curl", []string{"--version"}, []string{"-sS", "--fail", "https://HOST/hello?by=curl"}, "HOST from", "HOST from"},
		{"git", "git", []string{"--version"}, []string{"ls-remote", "https://HOST/repo.git"}, "refs/heads/main", "refs/heads/main"},
	}
}

// runtimeScripts copies the scripts of testdata to where every user can read them.
func runtimeScripts(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	if err := os.CopyFS(dir, os.DirFS("testdata/runtimes")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRuntimes runs common runtimes in the application's container, with only the rendered
// variables. HTTPS to a site goes through the sidecar, is trusted and recorded in the clear. TLS to a
// site in NO_PROXY bypasses the sidecar, and verifies against the bundle as before.
func TestRuntimes(t *testing.T) {
	w := newWorld(t, render(t, shop))
	p := w.startPod()
	for _, c := range proxyClients(runtimeScripts(t)) {
		t.Run(c.name, func(t *testing.T) {
			program, err := exec.LookPath(c.program)
			if err == nil && c.needs != nil {
				err = exec.Command(program, c.needs...).Run()
			}
			if err != nil {
				t.Skipf("%s is not here: %v", c.name, err)
			}
			for host, want := range map[string]string{"external.test": c.want, "direct.test": c.direct} {
				var args []string
				for _, arg := range append([]string{program}, c.args...) {
					args = append(args, strings.ReplaceAll(arg, "HOST", host))
				}
				// The client may be expected to fail. Its output says how, so its exit code is not
				// checked.
				out, err := w.network.pod.run(t, c.name, p.appSpec().with(args...))
				if want = strings.ReplaceAll(want, "HOST", host); !strings.Contains(out, want) {
					t.Errorf("%s: %v\n%s\nwant %q in it", host, err, out, want)
				}
			}
		})
	}
	decisions(t, p.envoy, "outbound", "direct.test", 1)
	p.stop()

	got := p.recorded()
	for _, e := range got {
		if e.L7Protocol != recording.HTTPS || e.NetworkAddress != "external.test:443" {
			t.Errorf("recorded %s to %s %s, want HTTPS to external.test alone", e.L7Protocol, e.NetworkAddress, uri(e))
		}
	}
	for _, by := range []string{"go", "node", "requests", "httpx", "java", "curl"} {
		once(t, got, recording.Out, "/hello?by="+by)
	}
	once(t, got, recording.Out, "/repo.git/info/refs?service=git-upload-pack")
}
