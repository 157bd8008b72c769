package docs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// operators are the annotations of Speedscale's operator, with its defaults, as its reference
// documents them: https://docs.speedscale.com/reference/kubernetes-annotations/.
var operators = []struct{ name, value string }{
	{"inject", "false"}, {"insert-init-first", "false"}, {"capture-mode", "proxy"}, {"proxy-type", "transparent"}, {"proxy-protocol", "http"},
	{"proxy-host", "localhost"}, {"proxy-port", "80"}, {"proxy-in-port", "4143"}, {"proxy-out-port", "4140"},
	{"capture-node-traffic", "false"}, {"host-resolution", "smart"}, {"tls-out", "false"}, {"tls-java-tool-options", "false"},
	{"tls-java-tool-options-value", ""}, {"tls-in-secret", ""}, {"tls-in-private", "tls.key"}, {"tls-in-public", "tls.crt"},
	{"tls-mutual-secret", ""}, {"tls-mutual-private", "tls.key"}, {"tls-mutual-public", "tls.crt"}, {"mount-known-ca", "false"},
	{"ignore-src-ips", ""}, {"ignore-src-hosts", ""}, {"ignore-inbound-ports", ""}, {"ignore-dst-ips", ""}, {"ignore-dst-hosts", ""},
	{"ignore-outbound-ports", ""}, {"ignore-loopback", "false"}, {"track-loopback", "false"},
	{"cpu-request", "10m"}, {"cpu-limit", ""}, {"memory-request", "32Mi"}, {"memory-limit", ""},
	{"ephemeral-storage-request", ""}, {"ephemeral-storage-limit", ""}, {"kube-api-support", "false"}, {"istio-cni", "false"},
	{"extra-container-env-vars", ""}, {"prometheus-port", ""}, {"prometheus-enable-scrape-annotations", "false"}, {"diagnostics", "false"},
}

func annotationNamed(name string) (a transformer.Annotation, ok bool) {
	for _, a := range transformer.Annotations() {
		if !a.Own && a.Name == name {
			return a, true
		}
	}
	return a, false
}

// migrating fills the tables of migration.md.
func migrating() string {
	var same, none []string
	var other strings.Builder
	other.WriteString("| annotation | the operator's default | default here |\n|---|---|---|\n")
	for _, o := range operators {
		a, ok := annotationNamed(o.name)
		switch {
		case !ok:
			continue // which the test reports
		case a.NoMeaning != "":
			none = append(none, code(o.name))
		case a.Inferred != "":
			fmt.Fprintf(&other, "| `%s` | %s | inferred: %s |\n", o.name, code(o.value), cell(a.Inferred))
		case a.Default != o.value:
			fmt.Fprintf(&other, "| `%s` | %s | %s |\n", o.name, code(o.value), code(a.Default))
		default:
			same = append(same, code(o.name))
		}
	}
	list := func(names []string) func(*strings.Builder) {
		return func(b *strings.Builder) { b.WriteString(strings.Join(names, ", ") + ".\n") }
	}
	return filled("migration.md", map[string]func(*strings.Builder){
		"same": list(same), "none": list(none), "other": func(b *strings.Builder) { b.WriteString(other.String()) },
	})
}

func TestEveryAnnotationOfTheOperatorIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, o := range operators {
		known[o.name] = true
		if _, ok := annotationNamed(o.name); !ok {
			t.Errorf("%s%s is an annotation of the operator, and a render does not know it", contract.SidecarPrefix, o.name)
		}
	}
	for _, a := range transformer.Annotations() {
		if !a.Own && !known[a.Name] {
			t.Errorf("migration.md does not say what %s%s was", contract.SidecarPrefix, a.Name)
		}
	}
}
