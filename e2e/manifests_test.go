package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// These names and ports of a rendered pod are visible from outside. They are spelled out here, and
// not taken from the code, because others rely on them.
const (
	container     = "tapedeck-proxy"
	injectedLabel = "sidecar.speedscale.com/injected"
	reversePort   = 4143
	forwardPort   = 4140
)

// parse reads a stream of manifests.
func parse(t *testing.T, stream []byte) []*yaml.RNode {
	t.Helper()
	nodes, err := (&kio.ByteReader{Reader: bytes.NewReader(stream), OmitReaderAnnotations: true}).Read()
	if err != nil {
		t.Fatalf("the stream doesn't parse: %v\n%s", err, stream)
	}
	return nodes
}

// id identifies an object within a stream.
func id(node *yaml.RNode) string { return node.GetKind() + "/" + node.GetName() }

// lookup returns the node at a path, or nil.
func lookup(t *testing.T, node *yaml.RNode, path ...string) *yaml.RNode {
	t.Helper()
	found, err := node.Pipe(yaml.Lookup(path...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// text returns the scalar at a path, or "".
func text(t *testing.T, node *yaml.RNode, path ...string) string {
	t.Helper()
	return yaml.GetValue(lookup(t, node, path...))
}

// elements returns the entries of the list at a path.
func elements(t *testing.T, node *yaml.RNode, path ...string) []*yaml.RNode {
	t.Helper()
	list := lookup(t, node, path...)
	if list.IsNilOrEmpty() {
		return nil
	}
	entries, err := list.Elements()
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// checkInjected fails the test unless exactly the wanted workloads of the
// stream run the sidecar and every other object is unchanged.
func checkInjected(t *testing.T, before, after []byte, want []workload) {
	t.Helper()
	was := make(map[string]string)
	for _, node := range parse(t, before) {
		was[id(node)] = node.MustString()
	}
	wanted, created := make(map[string]workload), make(map[string]workload)
	for _, w := range want {
		wanted[w.String()] = w
		if w.port != 0 {
			created[w.sidecar()] = w
		}
	}
	seen := make(map[string]bool)
	for _, node := range parse(t, after) {
		name := id(node)
		seen[name] = true
		_, isWanted := wanted[name]
		w, isCreated := created[name]
		switch {
		case isWanted:
			checkWorkload(t, node)
		case isCreated:
			checkSidecar(t, node, w)
		case was[name] == "":
			t.Errorf("%s came from nowhere", name)
		case node.MustString() != was[name]:
			t.Errorf("%s asked for nothing and changed:\n%s", name, firstDifference([]byte(was[name]), []byte(node.MustString())))
		}
	}
	for name := range was {
		if !seen[name] {
			t.Errorf("%s is lost", name)
		}
	}
	for name := range created {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// checkOrder fails the test unless each workload is followed by its Sidecar.
func checkOrder(t *testing.T, after []byte, want []workload) {
	t.Helper()
	var order []string
	for _, node := range parse(t, after) {
		order = append(order, id(node))
	}
	for _, w := range want {
		next := slices.Index(order, w.String()) + 1
		if next == len(order) || order[next] != w.sidecar() {
			t.Errorf("%s is not followed by %s: %s", w, w.sidecar(), order)
		}
	}
}

// checkWorkload fails the test unless the workload's pods run the sidecar and
// send their requests through it.
func checkWorkload(t *testing.T, node *yaml.RNode) {
	t.Helper()
	name := id(node)
	sidecar := lookup(t, node, "spec", "template", "spec", "initContainers", "[name="+container+"]")
	if sidecar == nil {
		t.Errorf("%s has no container %s", name, container)
		return
	}
	if got := text(t, sidecar, "restartPolicy"); got != "Always" {
		t.Errorf("%s: restartPolicy of %s = %q, want Always, a native sidecar", name, container, got)
	}
	if got := text(t, sidecar, "image"); got != sidecarImage {
		t.Errorf("%s: image = %q, want the configured %q", name, got, sidecarImage)
	}
	if got := text(t, node, "spec", "template", "metadata", "labels", injectedLabel); got != "true" {
		t.Errorf("%s: label %s = %q, want true", name, injectedLabel, got)
	}
	proxy := fmt.Sprintf(":%d", forwardPort)
	for _, app := range elements(t, node, "spec", "template", "spec", "containers") {
		for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
			if got := text(t, app, "env", "[name="+variable+"]", "value"); !strings.HasSuffix(got, proxy) {
				t.Errorf("%s: container %s has %s=%q, want the sidecar's port %s", name, text(t, app, "name"), variable, got, proxy)
			}
		}
	}
}

// checkSidecar fails the test unless the Istio Sidecar hands the workload's
// port to the reverse proxy.
func checkSidecar(t *testing.T, node *yaml.RNode, w workload) {
	t.Helper()
	to := fmt.Sprintf("127.0.0.1:%d", reversePort)
	for _, listener := range elements(t, node, "spec", "ingress") {
		if text(t, listener, "port", "number") == fmt.Sprint(w.port) {
			if got := text(t, listener, "defaultEndpoint"); got != to {
				t.Errorf("%s: port %d goes to %q, want %q", id(node), w.port, got, to)
			}
			return
		}
	}
	t.Errorf("%s has no ingress listener for port %d:\n%s", id(node), w.port, node.MustString())
}

// missingLines returns the lines of before, of those that keep selects, that after
// does not have in the same order.
func missingLines(before, after []byte, keep func(line string) bool) []string {
	rest := strings.Split(string(after), "\n")
	var missing []string
	for line := range strings.SplitSeq(string(before), "\n") {
		if !keep(line) {
			continue
		}
		if at := slices.Index(rest, line); at >= 0 {
			rest = rest[at+1:]
		} else {
			missing = append(missing, line)
		}
	}
	return missing
}

func anyLine(string) bool { return true }

func comment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }
