package fn_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A record contains no Java flags and no passwords. It records how they were quoted and escaped, so
// that they come back unchanged.
func TestQuotedValuesComeBack(t *testing.T) {
	const manifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/tls-out: "true"
    sidecar.speedscale.com/tls-java-tool-options: "true"
spec:
  template:
    spec:
      containers:
      - name: app
        env:
        - name: @NAME
          value: @VALUE
`
	tests := map[string]struct {
		name, value string
		usual       string // what is restored instead of value, if different
	}{
		"quotes in double quotes": {"JAVA_TOOL_OPTIONS", `"-Xmx1g  -Dname=\"a b\""`, ""},
		"backslashes":             {"JAVA_TOOL_OPTIONS", `"-Dpath=C:\\temp\\x -Xmx1g"`, ""},
		"tabs and line breaks":    {"JAVA_TOOL_OPTIONS", `"-Xmx1g\t-Dn=\"n\"\n-Dt=t"`, ""},
		"quotes in single quotes": {"JAVA_TOOL_OPTIONS", `' -Dname=''a b'' -Xmx1g '`, ""},
		"quotes without quotes":   {"JAVA_TOOL_OPTIONS", `-Dname="a b"  -Dother='c'`, ""},
		"other than ASCII":        {"JAVA_TOOL_OPTIONS", `"-Dname=\"é<&>\""`, ""},
		"a password with a quote": {"HTTP_PROXY", `'http://user:s''cret@proxy:3128'`, ""},
		"unusual escapes":         {"JAVA_TOOL_OPTIONS", `"-Xmx\u0031g -D\x61=\"b\""`, `"-Xmx1g -Da=\"b\""`},
		"a line that goes on":     {"JAVA_TOOL_OPTIONS", "\"-Xmx1g \\\n            -Da=\\u0062\"", `"-Xmx1g -Da=b"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spelled := func(value string) []byte {
				return []byte(strings.NewReplacer("@NAME", tt.name, "@VALUE", value).Replace(manifest))
			}
			input, cfg := spelled(tt.value), transformer.DefaultConfig()
			out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			if record := undoRecord(out); strings.Contains(record, "cret") || strings.Contains(record, "-D") {
				t.Errorf("the record has the value: %s", record)
			}
			if tt.usual == "" {
				checkPromises(t, input, out, cfg)
				return
			}
			if again, _, err := fn.Render([]fn.Source{{Text: out}}, cfg); err != nil || !bytes.Equal(again, out) {
				t.Errorf("the second render differs: %v\n%s", err, again)
			}
			if back, _, err := fn.Uninject([]fn.Source{{Text: out}}); err != nil || !bytes.Equal(back, spelled(tt.usual)) {
				t.Errorf("uninject: %v\n%s", err, back)
			}
		})
	}
}

// undoRecord returns the line that has the undo record.
func undoRecord(manifest []byte) string {
	for line := range strings.Lines(string(manifest)) {
		if strings.Contains(line, "tapedeck.dev/undo") {
			return line
		}
	}
	return ""
}

// Strings in created objects are also strings for kubectl and kustomize, which read YAML 1.1.
func TestCreatedStringsAreQuotedWhereYAML11ReadsAnotherType(t *testing.T) {
	for _, value := range []string{"y", "N", "yes", "No", "on", "OFF", "True", "null", "~", "1:30", "0o7", "0x1F", "1_000", "0b1", ".inf", "2026-11-29", "1e3"} {
		input := strings.Replace(replayedShop, `image: "shop:1"`, `image: "shop:1", env: [{name: A, value: "`+value+`"}]`, 1)
		input = strings.Replace(input, "hook=PostSync", "hook="+value, 1)
		created := renderReplayed(t, input)[len(input):]
		for _, want := range []string{"value: \"" + value + "\"}", "argocd.argoproj.io/hook: \"" + value + "\"\n"} {
			if !strings.Contains(created, want) {
				t.Errorf("no %q in\n%s", want, created)
			}
		}
	}
}
