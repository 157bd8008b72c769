package transformer

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// TestAnnotationsTable checks what every row must have.
func TestAnnotationsTable(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Annotations() {
		for _, name := range append([]string{a.Name}, a.Former...) {
			if seen[name] {
				t.Errorf("%s occurs twice", name)
			}
			seen[name] = true
		}
		if a.Doc == "" || !strings.HasSuffix(a.Doc, ".") {
			t.Errorf("%s: its doc is not a sentence: %q", a.Name, a.Doc)
		}
		if a.Default != "" {
			if err := a.Kind.Check(a.Default); err != nil {
				t.Errorf("%s: its default is not allowed: %v", a.Name, err)
			}
		}
		if (a.target == nil) != (a.NoMeaning != "") {
			t.Errorf("%s: it must have an effect or say why it has none", a.Name)
		}
	}
}

// TestAnnotationsAreTheEcosystems holds the names and defaults of
// https://docs.speedscale.com/reference/kubernetes-annotations/, except for those that are
// inferred: there they are transparent, http and 80.
func TestAnnotationsAreTheEcosystems(t *testing.T) {
	const inferred = "inferred"
	want := map[string]string{
		"inject": "false", "insert-init-first": "false", "capture-mode": "proxy", "proxy-type": inferred,
		"proxy-protocol": inferred, "proxy-host": "localhost", "proxy-port": inferred, "proxy-in-port": "4143", "proxy-out-port": "4140",
		"capture-node-traffic": "false", "host-resolution": "smart", "tls-out": "false", "tls-java-tool-options": "false",
		"tls-java-tool-options-value": "", "tls-in-secret": "", "tls-in-private": "tls.key", "tls-in-public": "tls.crt",
		"tls-mutual-secret": "", "tls-mutual-private": "tls.key", "tls-mutual-public": "tls.crt", "mount-known-ca": "false",
		"ignore-src-ips": "", "ignore-src-hosts": "", "ignore-inbound-ports": "", "ignore-dst-ips": "", "ignore-dst-hosts": "",
		"ignore-outbound-ports": "", "ignore-loopback": "false", "track-loopback": "false", "cpu-request": "10m", "cpu-limit": "",
		"memory-request": "32Mi", "memory-limit": "", "ephemeral-storage-request": "", "ephemeral-storage-limit": "",
		"kube-api-support": "false", "istio-cni": "false", "extra-container-env-vars": "", "prometheus-port": "",
		"prometheus-enable-scrape-annotations": "false", "diagnostics": "false",
	}
	got := map[string]string{}
	for _, a := range Annotations() {
		if !a.Own {
			got[a.Name] = a.Default
			if a.Inferred != "" {
				got[a.Name] = inferred
			}
		}
	}
	for name, value := range want {
		if d, ok := got[name]; !ok || d != value {
			t.Errorf("%s: default %q, want %q (known: %v)", name, d, value, ok)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not one of theirs", name)
	}
}

func TestOptionsTable(t *testing.T) {
	cfg := DefaultConfig()
	for _, o := range Options() {
		if row, _ := annotation(o.Name); row != nil || isReplayName(o.Name) {
			t.Errorf("option %s has the name of an annotation; a ConfigMap could not distinguish them", o.Name)
		}
		if o.Doc == "" {
			t.Errorf("option %s has no doc", o.Name)
		}
		if o.Default != "" {
			if err := cfg.Set(o.Name, o.Default); err != nil {
				t.Errorf("its default is not allowed: %v", err)
			}
		}
	}
}

// TestReasonsTable checks that each reason is a sentence and says what to do.
func TestReasonsTable(t *testing.T) {
	for code, r := range Reasons() {
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(string(code)) {
			t.Errorf("%q: allowed: lower case words, joined by -", code)
		}
		if !strings.HasSuffix(r.Sentence, ".") {
			t.Errorf("%s: its sentence has no end: %q", code, r.Sentence)
		}
		if r.Severity != Info && code != CodeReformatted && r.Help == "" {
			t.Errorf("%s: what to do about it is missing", code)
		}
	}
}

// The page on outbound capture has a way to capture each runtime, or says that there is none. e2e/pod
// compares the runtimes that the page calls tested with those that it runs.
func TestRuntimesTable(t *testing.T) {
	names := map[string]bool{}
	for _, r := range Runtimes() {
		if names[r.Name] {
			t.Errorf("%s occurs twice", r.Name)
		}
		names[r.Name] = true
		if !r.HostsFile && (r.Variables || r.Flags != "" || r.Tested != "") {
			t.Errorf("%s: what the hosts file does not capture looks up no names, and has no other way", r.Name)
		}
	}
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string]string{
		"":               "[]",
		"a":              "[a]",
		"a.b.c":          "[a b c]",
		"a[x.y/z].b":     "[a x.y/z b]",
		"a[b][c].d":      "[a b c d]",
		"containers[a]":  "[containers a]",
		"m[/etc/x.y].n":  "[m /etc/x.y n]",
		"unclosed[a.b.c": "[unclosed a.b.c]",
	} {
		if got := fmt.Sprint(splitPath(path)); got != want {
			t.Errorf("splitPath(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"proxy-port", "proxy-type", "tls-out"}
	for name, want := range map[string]string{"proxy-prot": "proxy-port", "tlsout": "tls-out", "proxytype": "proxy-type", "nothing": ""} {
		got := didYouMean(name, names)
		if want == "" && got != "" || want != "" && !strings.Contains(got, want) {
			t.Errorf("didYouMean(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestLabelFitsItsLimit(t *testing.T) {
	for _, name := range []string{"app", strings.Repeat("long-name-", 25)} {
		w := &workload{Object: &Object{Node: nodes.Mapping("kind", "Deployment", "metadata", nodes.Mapping("name", name))}}
		if label := w.label(); len(label) > 63 || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`).MatchString(label) {
			t.Errorf("label %q is not allowed by Kubernetes", label)
		}
	}
}

// Set accepts options and defaults of annotations.
func ExampleConfig_Set() {
	cfg := DefaultConfig()
	fmt.Println(cfg.Set("inbound", "service"), cfg.Inbound)
	fmt.Println(cfg.Set("proxy-type", "dual"), cfg.Defaults["proxy-type"])
	fmt.Println(cfg.Set("replay-shards", "3"))
	fmt.Println(cfg.Set("proxy-typ", "dual"))
	// Output:
	// <nil> service
	// <nil> dual
	// annotation replay-shards can't have a default, because it configures the replay of one workload; allowed: on the workload
	// no option or annotation is named proxy-typ; did you mean proxy-type?; allowed: the names of docs/configuration.md and docs/annotations.md
}
