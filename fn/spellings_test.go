package fn_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// Spellings of the places that a render edits. `\t` is the indentation of the key, and the text
// after a key begins right after its colon.
var (
	emptyMaps = []string{
		" {}", "  {}  ", "", " ", " ~", " null", "   null # c", " # c", " # c\n\t  # d", " {} # c", " {}# c", "\n\t  {}", "\n\t  {} # c", "\n\t  {}# c", " # c\n\t  {}",
		"\n\n\t  # c\n\t  {}", " # a\n\t  # b\n\t  {}  # c", "\n\t  null", "\n\t  ~ # c", " !!map {}", " &anchor {}", " &anchor\n\t  {}", " &anchor # c\n\t  {}", " &anchor # c\n\t  {} # d",
		" {\n\t  }", " {\n\t  # c\n\t  }", "\n\t  {\n\t  }", " !!map\n\t  {}", " !!null", "\n\t    {}\n", "\n\t  {}\n\t  # c",
	}
	emptyLists = asLists(emptyMaps)
	texts      = []string{
		" V", "  V  ", ` "V"`, ` 'V'`, ` "V"# c`, ` 'V'# c`, ` "V" # c`, " V # c", "\n\t  V", "\n\t  \"V\" # c", "\n\t  \"V\"# c", " # c\n\t  V", " |-\n\t  V", " >-\n\t  V", " |2-\n\t  V",
		" !!str V", " &anchor V", " &anchor\n\t  V", " !!str # c\n\t  V", "\n\t  |-\n\t  V", " |- # c\n\t  V", "\n\t  # c\n\t  V", "\n\n\t  V\n",
	}
	endings = []string{
		"", "x: 1", "x: 1\n", "x: |\n  a", "x: |\n  a\n", "x: |+\n  a\n\n", "x: |+\n  a", "x: >\n  a\n  b", "x: >-\n  a", "x: |2\n    a", "x: |2-\n   a\n", "x: |\n  a\n  ", "x: |\n  a\n\n\n",
		"x: |1\n  a\n b", "x: \"a\n  b\"", "x: [a,\n b]", "# c", "...\n", "...\n# c\n", "... # c\n", "x:", "x: # c", "x:\n  - |\n   a",
	}
	beginnings = []string{"", "---\n", "--- # c\n", "# c\n---\n", "%YAML 1.2\n---\n", "%YAML 1.1\n# c\n---\n", "\n\n", "--- \n\n# c\n", "\xef\xbb\xbf", "\xef\xbb\xbf---\n", "\xef\xbb\xbf# c\n"}
)

func asLists(maps []string) []string {
	var out []string
	for _, m := range maps {
		out = append(out, strings.NewReplacer("{", "[", "}", "]", "!!map", "!!seq").Replace(m))
	}
	return out
}

// spell puts spellings into a manifest for a key's `@`, one of them in each place
// that a render edits.
func spell(r *rand.Rand) string {
	template := `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-port: "8080"
    sidecar.speedscale.com/tls-out: "true"
spec:
  template:
    metadata:
      annotations:@MAP
      labels:@MAP
    spec:
      volumes:@LIST
      containers:
      - name: one
        image: one
        env:@LIST
        volumeMounts:@LIST
      - name: two
        env:
        - name: HTTP_PROXY
          value:@TEXT(http://proxy.example:3128)
        - name: https_proxy
          value:@TEXT(http://proxy.example:3128)
        - value:@TEXT(a.example,.b.example)
          name: NO_PROXY
        image: two
      initContainers:@LIST
`
	anchors := 0
	var out strings.Builder
	for line := range strings.Lines(template) {
		line = strings.TrimSuffix(line, "\n")
		key, kind, ok := strings.Cut(line, "@")
		if !ok {
			out.WriteString(line + "\n")
			continue
		}
		from, value := emptyMaps, ""
		switch {
		case kind == "LIST":
			from = emptyLists
		case kind != "MAP":
			from, value = texts, strings.TrimSuffix(strings.TrimPrefix(kind, "TEXT("), ")")
		}
		indent := key[:len(key)-len(strings.TrimLeft(key, " -"))]
		anchors++
		token := strings.NewReplacer("\t", strings.Repeat(" ", len(indent)), "V", value, "&anchor", fmt.Sprintf("&a%d", anchors)).Replace(from[r.IntN(len(from))])
		out.WriteString(key + token + "\n")
	}
	text := beginnings[r.IntN(len(beginnings))] + out.String() + endings[r.IntN(len(endings))]
	if r.IntN(3) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// TestSpellings renders workloads in every spelling that a generator produces. An undo restores every
// byte, and everything that is not edited keeps its meaning.
func TestSpellings(t *testing.T) {
	for seed := range uint64(100) {
		input := spell(rand.New(rand.NewPCG(seed, 0)))
		out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
		if err != nil || results.Failed() {
			t.Fatalf("seed %d: %v %+v\n%s", seed, err, results, input)
		}
		for _, r := range results {
			if r.Code() == transformer.CodeReformatted {
				t.Errorf("seed %d: reformatted\n%s", seed, input)
			}
		}
		again, _, err := fn.Render([]fn.Source{{Text: out}}, transformer.DefaultConfig())
		if err != nil || string(again) != string(out) {
			t.Errorf("seed %d: rendering twice differs from rendering once: %v\n%s\n%s", seed, err, out, again)
		}
		back, _, err := fn.Uninject([]fn.Source{{Text: out}})
		if err != nil {
			t.Fatal(err)
		}
		if string(back) != input {
			t.Errorf("seed %d: uninject does not restore the input\n%q", seed, firstDifference(input, string(back)))
		}
		readable := func(text string) []byte { return []byte(strings.Replace(text, "%YAML 1.2", "%YAML 1.1", 1)) }
		before, after := facts(t, readable(input)), facts(t, readable(string(out)))
		for id, lines := range before {
			for _, line := range lines {
				if !strings.Contains(line, ".env[") && !strings.HasPrefix(line, ".x") && !slices.Contains(after[id], line) {
					t.Errorf("seed %d: %s no longer has %s", seed, id, line)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestOddSpellings has aliases, keys after `?` and values on the next line in places that both
// ways of capture edit.
func TestOddSpellings(t *testing.T) {
	const input = `apiVersion: v1
kind: Service
metadata:
  name: app
  annotations:
    {}
spec:
  selector: {app: app}
  ports:
  - name: http
    port: 80
    targetPort:
      http
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  ? annotations
  :
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-port: "8080"
x-ref: &ref
  fieldRef: {fieldPath: metadata.name}
x-env: &env [{name: A, value: b}]
x-url: &url http://proxy.example:3128
spec:
  template:
    metadata:
      labels: &l {app: app}
      ? annotations
    spec:
      containers:
      - name: a
        image: a
        ports: [{name: http, containerPort: 8080}]
        env: *env
        ? volumeMounts
      - name: b
        image: b
        env:
        - name: X
          valueFrom: *ref
        - name: HTTP_PROXY
          value: *url
        - name: NO_PROXY
          value:
            *url
        - {name: https_proxy, value: "http://proxy.example:3128"# c
          }
`
	for _, inbound := range []string{"sidecar", "service"} {
		t.Run(inbound, func(t *testing.T) {
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("inbound", inbound); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{input, strings.ReplaceAll(input, "\n", "\r\n"), strings.TrimSuffix(input, "\n")} {
				out, results, err := fn.Render([]fn.Source{{Text: []byte(text)}}, cfg)
				if err != nil || results.Failed() {
					t.Fatalf("render: %v %+v", err, results)
				}
				checkPromises(t, []byte(text), out, cfg)
			}
		})
	}
}

// firstDifference returns the lines around the first difference of two texts.
func firstDifference(want, got string) [2]string {
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	from := strings.LastIndexByte(want[:max(0, strings.LastIndexByte(want[:i], '\n'))], '\n') + 1
	return [2]string{want[from:min(len(want), i+120)], got[from:min(len(got), i+120)]}
}
