package fn_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// annotated is a workload whose render is not under test.
const annotated = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: forward
spec:
  template:
    metadata:
      labels:
        app: app
    spec:
      containers:
      - name: app
        image: registry.example/app:1
`

// serving is a workload that gets an Istio Sidecar.
var serving = strings.Replace(annotated, "proxy-type: forward\n", "proxy-type: reverse\n    sidecar.speedscale.com/proxy-port: \"8080\"\n", 1)

// TestForeignInput covers bytes that a txtar case can't hold, or should not.
func TestForeignInput(t *testing.T) {
	tests := map[string]struct {
		input string
		code  transformer.Code // of the error; "" if the input renders
		says  string           // part of the error
	}{
		"empty input":                                {"", "", ""},
		"separator only":                             {"---\n", "", ""},
		"separator without line break":               {"---", "", ""},
		"blank lines":                                {"\n\n\n", "", ""},
		"no final line break":                        {strings.TrimSuffix(annotated, "\n"), "", ""},
		"no final line break, followed by a comment": {annotated + "# end", "", ""},
		"blanks behind an empty value":               {annotated + "        env: []  \n      volumes:   \n      initContainers: ~ \n", "", ""},
		"an open block scalar":                       {strings.TrimSuffix(serving, "\n") + "\n        args:\n        - |\n          a", "", ""},
		"an open block scalar, something before it":  {serving + "      x-last: >\n        a", "", ""},
		"an open block scalar that gives way":        {strings.TrimSuffix(annotated, "\n") + "\n        env:\n        - name: HTTP_PROXY\n          value: |-\n            http://proxy.example", "", ""},
		"an open block scalar at the root":           {serving + "x-last: |+\n  a\n  b", "", ""},
		"an open block scalar with blanks behind":    {serving + "x-last: |\n  a\n   ", "", ""},
		"line ends of Windows":                       {strings.ReplaceAll(annotated, "\n", "\r\n"), "", ""},
		"byte order mark":                            {"\xef\xbb\xbf" + annotated, "", ""},
		"a separator behind a byte order mark":       {"\xef\xbb\xbf---\n" + annotated, "", ""},
		"a directive":                                {"%YAML 1.1\n---\n" + annotated, "", ""},
		"document end markers":                       {annotated + "...\n---\n" + annotated + "...\n", "", ""},
		"a comment behind a document end marker":     {serving + "...\n# a note to keep\n", "", ""},
		"a directive behind a document end marker":   {"%YAML 1.2\n---\n" + serving + "...\n%YAML 1.2\n---\n" + strings.Replace(serving, "name: app", "name: other", 1), "", ""},
		"a document end marker alone":                {"...\n", "", ""},
		"a document end marker behind a comment":     {"# c\n... # d\n---\n" + annotated, "", ""},
		"two document end markers":                   {serving + "...\n...\n", "", ""},
		"content on the separator's line":            {"--- {a: b}\n---\n" + annotated, "", ""},
		"a byte order mark behind a separator":       {annotated + "---\n\xef\xbb\xbf" + annotated, transformer.CodeInvalidYAML, "line 18: a byte order mark"},
		"a byte order mark before a separator":       {annotated + "\xef\xbb\xbf---\n" + annotated, transformer.CodeInvalidYAML, "line 17: a byte order mark"},
		"a byte order mark behind the first line":    {"---\n\xef\xbb\xbf" + annotated, transformer.CodeInvalidYAML, "line 2: a byte order mark"},
		"a byte order mark before JSON in a row":     {"\xef\xbb\xbf{\"a\":1}\n{\"b\":2}\n", transformer.CodeInvalidYAML, "line 1: a byte order mark before several JSON objects"},
		"a byte order mark before a directive":       {"\xef\xbb\xbf%YAML 1.2\n---\n" + annotated, "", ""},
		"a NUL byte":                                 {annotated + "---\na: \x00\n", transformer.CodeInvalidYAML, "line 18: control character 0x00"},
		"Windows-1252":                               {annotated + "---\na: caf\xe9\n", transformer.CodeInvalidYAML, "line 18: byte 0xe9 is not UTF-8"},
		"UTF-16":                                     {"\xff\xfea\x00:\x00 \x001\x00", transformer.CodeInvalidYAML, "UTF-16"},
		"a control character of two bytes":           {annotated + "---\na: \u0080\n", transformer.CodeInvalidYAML, "line 18: control character 0x80"},
		"a character that is none":                   {annotated + "---\na: \ufffe\n", transformer.CodeInvalidYAML, `line 18: control character 0xfffe, which YAML does not allow; remove it, or write it as \ufffe`},
		"truncated in a quoted value":                {annotated[:strings.Index(annotated, `true"`)], transformer.CodeInvalidYAML, "line 6"},
		"a key after a separator":                    {annotated + "---apiVersion: v1\nkind: Service\n", transformer.CodeInvalidYAML, "line 17: a document separator with text after it"},
		"a key after a separator and a space":        {annotated + "--- apiVersion: v1\nkind: Service\n", transformer.CodeInvalidYAML, "line 17: a document separator with text after it"},
		"a comment after a separator":                {annotated + "---# Source: a.yaml\napiVersion: v1\nkind: Service\n", transformer.CodeInvalidYAML, "line 17: a document separator with text after it"},
		"a separator after a value":                  {strings.TrimSuffix(annotated, "\n") + "---\n# Source: a.yaml\napiVersion: v1\nkind: Service\n", transformer.CodeInvalidYAML, "line 16: a document separator after a value"},
		"a separator after an object":                {"{\"a\": 1\n}---\n{\"b\": 2}\n", transformer.CodeInvalidYAML, "line 2: a document separator after a value"},
		"a separator after brackets":                 {"{a: 1\n}---\n{b: 2}\n", transformer.CodeInvalidYAML, "line 2: a document separator"},
		"a certificate in quotes":                    {annotated + "x-cert: \"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\"\n", "", ""},
		"a line of dashes as a comment":              {annotated + "# --- end ---\n", "", ""},
		"a comma too many in JSON":                   {"{\n  \"a\": [1, 2,, 3]\n}\n", transformer.CodeInvalidYAML, "line 2: the JSON is not valid"},
		"JSON that ends too early":                   {"{\n  \"a\": [1,\n", transformer.CodeInvalidYAML, "line 2: the JSON is not valid"},
		"YAML after JSON":                            {"{\"a\": 1}\nb: 2\n", transformer.CodeInvalidYAML, `line 2: found "b: 2\n" after a JSON object`},
		"a tab for indentation":                      {annotated + "---\na:\n\tb: 1\n", transformer.CodeInvalidYAML, "line 19"},
		"an alias without its anchor":                {annotated + "---\na: *nowhere\n", transformer.CodeInvalidYAML, "line 18: alias *nowhere has no anchor"},
		"aliases that multiply":                      {annotated + "---\n" + bomb(), transformer.CodeInvalidYAML, "document 2"},
		"a list of a null":                           {"apiVersion: v1\nkind: List\nitems:\n-\n- 1\n- null\n", "", ""},
		"a workload that is a scalar below":          {"apiVersion: apps/v1\nkind: Deployment\nmetadata: 1\nspec: 2\n", "", ""},
		"annotations that are a list":                {"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  annotations: [a]\nspec: {}\n", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(tt.input)}}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			if tt.code == "" {
				if results.Failed() {
					t.Fatalf("unexpected error results: %+v", results)
				}
				checkPromises(t, []byte(tt.input), out, transformer.DefaultConfig())
				return
			}
			if out != nil {
				t.Errorf("something was written despite the error:\n%s", out)
			}
			for _, r := range results {
				if r.Code() == tt.code && r.Severity == transformer.Error && strings.Contains(r.Message, tt.says) {
					return
				}
			}
			t.Errorf("no result with code %s that says %q: %+v", tt.code, tt.says, results)
		})
	}
}

// TestSourcesAreJoined shows how the documents of several files stay separate.
func TestSourcesAreJoined(t *testing.T) {
	const a, b = "a: 1\n", "b: 2\n"
	tests := map[string]struct {
		sources []string
		want    string
	}{
		"no separator":         {[]string{a, b}, "a: 1\n---\nb: 2\n"},
		"a separator":          {[]string{a, "---\n" + b}, "a: 1\n---\nb: 2\n"},
		"no final line break":  {[]string{"a: 1", b}, "a: 1\n---\nb: 2\n"},
		"line ends of Windows": {[]string{"a: 1", "b: 2\r\n"}, "a: 1\r\n---\r\nb: 2\r\n"},
		"an empty file":        {[]string{"", a, "", b}, "a: 1\n---\nb: 2\n"},
		"a directive":          {[]string{a, "%YAML 1.2\n---\n" + b}, "a: 1\n...\n%YAML 1.2\n---\nb: 2\n"},
		"byte order marks":     {[]string{"\xef\xbb\xbf" + a, "\xef\xbb\xbf" + b, "\xef\xbb\xbf---\n" + a}, "\xef\xbb\xbfa: 1\n---\nb: 2\n---\na: 1\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var sources []fn.Source
			for _, text := range tt.sources {
				sources = append(sources, fn.Source{Text: []byte(text)})
			}
			out, results, err := fn.Render(sources, transformer.DefaultConfig())
			if err != nil || results.Failed() {
				t.Fatalf("render: %v %+v", err, results)
			}
			if string(out) != tt.want {
				t.Errorf("rendered: %q, want %q", out, tt.want)
			}
			if joined := fn.Join(sources); string(joined) != tt.want {
				t.Errorf("joined: %q, want %q", joined, tt.want)
			}
			if again, _, err := fn.Render([]fn.Source{{Text: out}}, transformer.DefaultConfig()); err != nil || !bytes.Equal(again, out) {
				t.Errorf("the result is not a stream: %v %q", err, again)
			}
		})
	}
}

// TestOpenBlockScalar shows that a text that ends with its file has the line break
// that kubectl reads at its end, and keeps it if something follows.
func TestOpenBlockScalar(t *testing.T) {
	out, results, err := fn.Render([]fn.Source{{Text: []byte("a: |\n  1")}, {Text: []byte("b: 2\n")}}, transformer.DefaultConfig())
	if err != nil || results.Failed() {
		t.Fatalf("render: %v %+v", err, results)
	}
	if want := "a: |\n  1\n---\nb: 2\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// bomb is a document of a few lines whose aliases stand for a billion nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// TestLargeDocument renders a stream with a document of 1 MiB next to the
// workload, and one inside the workload itself.
func TestLargeDocument(t *testing.T) {
	filler := strings.Repeat("    A line of sixty-four characters, as they stand in real data.\n", 1<<20/65)
	inputs := map[string]string{
		"beside": annotated + "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: big\ndata:\n  text: |\n" + filler,
		"inside": strings.Replace(annotated, "metadata:\n  name: app\n", "metadata:\n  name: app\n  x-text: |\n"+filler, 1),
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
			if err != nil || results.Failed() {
				t.Fatalf("render: %v %v", err, results)
			}
			back, _, err := fn.Uninject([]fn.Source{{Text: out}})
			if err != nil {
				t.Fatal(err)
			}
			if string(back) != input {
				t.Error("uninject does not restore the input")
			}
		})
	}
}

// TestManifests renders manifests, with inject as a default for every workload. No line of
// the input may be missing from the output, except collections in brackets and aliases. It reads our own manifests, and public ones on
// machines that have them.
func TestManifests(t *testing.T) {
	const corpus = "../../shared/corpus/"
	var files []string
	for _, pattern := range []string{"testdata/manifests/*.yaml", corpus + "bookinfo/*.yaml", corpus + "online-boutique/*/*.yaml", corpus + "online-boutique/*/*/*.yaml"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, matches...)
	}
	cfg := transformer.DefaultConfig()
	for name, value := range map[string]string{"inject": "true", "proxy-type": "dual", "proxy-protocol": "tcp:http", "proxy-port": "9080", "tls-out": "true"} {
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	injected := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			input, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out, results, err := fn.Render([]fn.Source{{Name: file, Text: input}}, cfg)
			if err != nil || results.Failed() {
				t.Fatalf("render: %v %+v", err, results)
			}
			for _, r := range results {
				if r.Code() == transformer.CodeInjected {
					injected++
				}
			}
			for _, line := range deletedLines(input, out) {
				if !strings.ContainsAny(line, "{[]}*") { // an edit has to change these
					t.Errorf("line of the input is not in the output: %q", line)
				}
			}
			checkPromises(t, input, out, cfg)
		})
	}
	if injected < 8 {
		t.Errorf("%d workloads injected, the manifests have more", injected)
	}
}

// deletedLines returns the lines of before that are not in after, in that order.
func deletedLines(before, after []byte) []string {
	var missing []string
	rest := bytes.SplitAfter(after, []byte("\n"))
	for _, line := range bytes.SplitAfter(before, []byte("\n")) {
		i := 0
		for i < len(rest) && !bytes.Equal(rest[i], line) {
			i++
		}
		if i == len(rest) {
			missing = append(missing, string(line))
			continue
		}
		rest = rest[i+1:]
	}
	return missing
}

// FuzzRender renders arbitrary bytes. Render must not panic. A render of its output must change
// nothing, and an undo must give the input.
func FuzzRender(f *testing.F) {
	cases, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	for _, file := range cases {
		c := readCase(f, file)
		if !fuzzing && c["config.yaml"] == nil {
			continue // TestRender has just asserted the same
		}
		f.Add(c["input.yaml"])
		f.Add(c.render(f))
	}
	if fuzzing {
		for _, input := range trafficReplayForms(f) {
			f.Add([]byte(input))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		cfg := replayConfig(t)
		out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
		if err != nil {
			t.Fatalf("an error that no user can fix: %v", err)
		}
		if results.Failed() || bytes.Contains(input, []byte("ResourceList")) {
			return
		}
		again, results, err := fn.Render([]fn.Source{{Text: out}}, cfg)
		if err != nil || results.Failed() {
			t.Fatalf("the output does not render: %v %+v\n%s", err, results, out)
		}
		if !bytes.Equal(out, again) {
			t.Errorf("rendering twice differs from rendering once\nonce:\n%s\ntwice:\n%s", out, again)
		}
		if bytes.Contains(input, []byte("tapedeck.dev/")) {
			return // it contains a record that it made up itself
		}
		back, _, err := fn.Uninject([]fn.Source{{Text: out}})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back, input) {
			t.Errorf("uninject does not restore the input\ninput:\n%q\nback:\n%q", input, back)
		}
	})
}

// FuzzUndoRecord undoes records that no render wrote. No record causes a panic, or an error
// that the user can't fix.
func FuzzUndoRecord(f *testing.F) {
	for _, record := range []string{
		`{}`, `null`, `{"was":{"":null}}`, `{"was":{"[":null}}`, `{"was":{"metadata.name":"*nowhere"}}`,
		`{"was":{"metadata.name":"a: b\nc: d"}}`, `{"was":{"spec.template.spec.containers":"*x"}}`,
		`{"was":{"spec.template.spec.containers[#0].name":"|\n  x\n"}}`,
		`{"add":{"":["spec"],"spec.template.spec.containers":["#0","app"]},"was":{"metadata.annotations":"{}"}}`,
	} {
		f.Add(record)
	}
	const last = "proxy-type: forward\n"
	f.Fuzz(func(t *testing.T, record string) {
		value, err := json.Marshal(record) // a JSON string is a YAML one
		if err != nil {
			t.Fatal(err)
		}
		input := []byte(strings.Replace(annotated, last, last+"    tapedeck.dev/undo: "+string(value)+"\n", 1))
		if _, _, err := fn.Render([]fn.Source{{Text: input}}, transformer.DefaultConfig()); err != nil {
			t.Error("render: ", err)
		}
		if _, _, err := fn.Uninject([]fn.Source{{Text: input}}); err != nil {
			t.Error("uninject: ", err)
		}
	})
}
