package fn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// deployment is a Deployment that gets an Istio Sidecar, as JSON on one line; note is a JSON
// string.
func deployment(name, note string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,"annotations":{"note":%s,"sidecar.speedscale.com/inject":"true","sidecar.speedscale.com/proxy-type":"reverse","sidecar.speedscale.com/proxy-port":"8080"}},"spec":{"template":{"spec":{"containers":[{"name":"app","image":"a:1"}]}}}}`, name, note)
}

func indent(t testing.TB, text, by string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", by); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestJSON renders JSON in its usual forms. kubectl must accept the output, which
// is JSON on as many lines as before, and Uninject restores the input.
func TestJSON(t *testing.T) {
	a, b, c, d := deployment("a", `"x"`), deployment("b", `"x"`), deployment("c", `"x"`), deployment("d", `"x"`)
	list := func(kind, a, b string) string {
		return `{"apiVersion":"apps/v1","kind":"` + kind + `","items":[` + a + "," + b + "]}"
	}
	tests := map[string]struct {
		input   string
		objects int
	}{
		"one object":                      {indent(t, a, "  ") + "\n", 2},
		"one object without a line break": {a, 2},
		"tabs":                            {indent(t, a, "\t") + "\n", 2},
		"line ends of Windows":            {strings.ReplaceAll(indent(t, a, "  "), "\n", "\r\n") + "\r\n", 2},
		"blanks around":                   {"\n\n  " + a + " \n\n", 2},
		"objects in a row":                {indent(t, a, "  ") + "\n" + indent(t, b, "    ") + "\n", 4},
		"objects in a row, blank lines":   {a + "\n\n\n" + b + "\n\n", 4},
		"objects on one line":             {a + b + " " + c, 6},
		"one object per line":             {a + "\n" + b + "\n" + `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}` + "\n", 5},
		"a list":                          {indent(t, list("List", a, b), "  "), 1},
		"a list of one kind":              {indent(t, list("DeploymentList", a, b), "  "), 3},
		"a list of one kind, as the API server writes it": {strings.ReplaceAll(indent(t, list("DeploymentList", a, b), "  "), `"apiVersion": "apps/v1",
      "kind": "Deployment",`, ""), 3},
		"lists in a row":                   {list("List", a, b) + "\n" + list("DeploymentList", c, d) + "\n", 4},
		"surrogate pairs":                  {deployment("a", `"rocket \ud83d\ude80"`), 2},
		"half a surrogate pair":            {deployment("a", `"\ud83d \ude80\ude80"`), 2},
		"every short escape":               {deployment("a", `"\/\"\\\b\f\n\r\t\u0041"`), 2},
		"NUL":                              {deployment("a", `"\u0000"`), 2},
		"DEL and others that YAML forbids": {deployment("a", "\"\x7f\u0080\ufffe\uffff\ufeff\""), 2},
		"line breaks of YAML":              {deployment("a", "\"a\u2028b\u2029c\u0085d\""), 2},
		"what YAML would take for its own": {deployment("a", `"# --- !!str &a *b {{ <<: }}"`), 2},
		"a colon on the next line":         {strings.ReplaceAll(a, `"spec":`, "\"spec\"\n:\n"), 2},
		"a key of 2,000 letters":           {deployment("a", `"x","`+strings.Repeat("k", 2000)+`":"v"`), 2},
		"numbers of every kind":            {strings.Replace(a, `"spec":`, `"x":[-0,1E5,123456789012345678901234567890,0.10],"spec":`, 1), 2},
		"the key <<":                       {strings.Replace(a, `"spec":`, `"<<":{"a":1},"spec":`, 1), 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, results, err := fn.Render([]fn.Source{{Text: []byte(tt.input)}}, transformer.DefaultConfig())
			if err != nil || results.Failed() {
				t.Fatalf("render: %v %+v", err, results)
			}
			if !bytes.Contains(out, []byte("tapedeck-proxy")) || bytes.Contains(out, []byte("---\n")) {
				t.Errorf("not rendered, or not JSON:\n%s", out)
			}
			if n := len(kubectl(t, out)); n != tt.objects {
				t.Errorf("kubectl finds %d objects, want %d:\n%s", n, tt.objects, out)
			}
			for _, r := range results {
				if r.Code() == transformer.CodeReformatted {
					t.Error("the text was reformatted")
				}
			}
			checkPromises(t, []byte(tt.input), out, transformer.DefaultConfig())
		})
	}
}

// TestJSONAmongYAML mixes the two. kubectl reads a stream that begins with a bracket
// as JSON to its end, so a separator goes before that bracket.
func TestJSONAmongYAML(t *testing.T) {
	const note = `"\/rocket \ud83d\ude80 \ud83d \u2028"`
	a, b, c := deployment("a", note), deployment("b", note), deployment("c", note)
	tests := map[string]struct {
		sources []string
		objects int
	}{
		"JSON, then YAML":                    {[]string{a, annotated}, 3},
		"YAML, then JSON":                    {[]string{annotated, a + "\n"}, 3},
		"YAML, then objects in a row":        {[]string{annotated, a + "\n" + b + "\n"}, 5},
		"objects in a row, then YAML":        {[]string{a + "\n" + b, annotated}, 5},
		"files with one object each":         {[]string{a, b + "\n", c}, 6},
		"a comment behind JSON":              {[]string{a, "# nothing\n"}, 2},
		"a byte order mark before JSON":      {[]string{annotated, "\xef\xbb\xbf" + indent(t, deployment("a", `"x"`), " ")}, 3},
		"separators between objects":         {[]string{deployment("a", `"x"`) + "\n---\n" + deployment("b", `"x"`) + "\n"}, 4},
		"a separator behind the last object": {[]string{deployment("a", `"x"`) + "\n" + deployment("b", `"x"`) + "\n---\n"}, 4},
		"escapes behind a separator":         {[]string{"---\n" + a + "\n--- # c\n" + b + "\n"}, 4},
		"line ends of Windows":               {[]string{deployment("a", `"x"`) + "\r\n---\r\n" + deployment("b", `"x"`) + "\r\n"}, 4},
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
			if n := len(kubectl(t, out)); n != tt.objects {
				t.Errorf("kubectl finds %d objects, want %d:\n%s", n, tt.objects, out)
			}
			checkPromises(t, fn.Join(sources), out, transformer.DefaultConfig())
		})
	}
}

// kubectl reads a stream as kubectl 1.32 does: JSON to its end if it begins with a
// bracket, or else documents between separators, each read by go-yaml 2. The real
// one, in package k8s.io/apimachinery/pkg/util/yaml, reads our output in e2e.
func kubectl(t *testing.T, stream []byte) (objects []any) {
	t.Helper()
	if bytes.HasPrefix(bytes.TrimSpace(stream), []byte("{")) {
		dec := json.NewDecoder(bytes.NewReader(stream))
		for {
			var v any
			switch err := dec.Decode(&v); {
			case errors.Is(err, io.EOF):
				return objects
			case err != nil:
				t.Fatalf("kubectl: %v\n%s", err, stream)
			}
			objects = append(objects, v)
		}
	}
	for text := range strings.SplitSeq("\n"+string(stream), "\n---") {
		first, rest, _ := strings.Cut(text, "\n")
		if first = strings.TrimSpace(first); first != "" && first[0] != '#' {
			t.Fatalf("kubectl: invalid Yaml document separator: %s\n%s", first, stream)
		}
		var v any
		if err := yaml.Unmarshal([]byte(rest), &v); err != nil {
			t.Fatalf("kubectl: %v\n%s", err, rest)
		}
		if v != nil {
			objects = append(objects, v)
		}
	}
	return objects
}
