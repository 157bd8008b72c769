package splice_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, text, want, err string
	}{
		{"nothing", "", "nil", ""},
		{"comments alone", "# a\n\n# b\n", "nil", ""},
		{"directive and end", "%YAML 1.2\n---\na: 1\n...\n", "!!map", ""},
		{"flow behind the marker", "--- {a: 1}\n", "!!map", ""},
		{"comment behind the marker", "--- # c\n- a\n", "!!seq", ""},
		{"byte order mark", "\ufeffa: 1\n", "!!map", ""},
		{"empty document", "---\n", "!!null", ""},
		{"second document", "a: 1\n---\nb: 1\n", "", "second document"},
		{"not YAML", "a: [\n", "", "line"},
		{"UTF-16", "\xff\xfea\x00", "", "UTF-16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := splice.Parse([]byte(tt.text))
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one about %q", err, tt.err)
				}
			case err != nil:
				t.Fatal(err)
			case n == nil:
				if tt.want != "nil" {
					t.Fatalf("nil, want %s", tt.want)
				}
			case n.Tag != tt.want:
				t.Fatalf("tag %s, want %s", n.Tag, tt.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	tests := []struct {
		name, text, want, err string
	}{
		{"alias", "a: &x [1]\nb: *x\n", "a: [1]\nb: [1]\n", ""},
		{"merge", "a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n", "a: {k: 1, l: 2}\nb: {k: 1, l: 3}\n", ""},
		{"the earlier source wins", "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y]}\n", "a: {k: 1}\nb: {k: 2, l: 2}\nc: {k: 1, l: 2}\n", ""},
		{"a merge within a merge", "a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y}\n", "a: {k: 1}\nb: {k: 1, l: 2}\nc: {k: 1, l: 2}\n", ""},
		{"an alias for a key", "a: &x k\n*x : 1\n", "a: k\nk: 1\n", ""},
		{"a quoted << is a key", "'<<': 1\n", "'<<': 1\n", ""},
		{"an alias in its own anchor", "a: &x [*x]\n", "", "inside its own anchor"},
		{"a merge of a scalar", "a:\n  <<: 1\n", "", "merge key"},
		{"a bomb", bomb(), "", "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := splice.Expand(parse(t, []byte(tt.text)))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one about %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !splice.Equal(got, parse(t, []byte(tt.want))) {
				b, _ := yaml.Marshal(got)
				t.Errorf("got\n%s", b)
			}
		})
	}
}

// bomb is a document of aliases that would expand to a billion nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 x\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	return b.String()
}

func TestEqual(t *testing.T) {
	tests := []struct {
		name, a, b string
		want       bool
	}{
		{"order of keys", "{a: 1, b: 2}", "{b: 2, a: 1}", true},
		{"order of items", "[a, b]", "[b, a]", false},
		{"style and comments", "a: 'x' # c", "{a: \"x\"}", true},
		{"number and text", "a: 1", "a: '1'", false},
		{"spellings of null", "a: ~", "a:", true},
		{"null and empty text", "a:", "a: ''", false},
		{"spellings of a number differ", "a: 10", "a: 0xa", false},
		{"an explicit usual tag", "a: !!str 1", "a: '1'", true},
		{"a tag of one's own", "a: !x 1", "a: !y 1", false},
		{"a key more", "{a: 1}", "{a: 1, b: 2}", false},
		{"keys of other types", "{1: a}", "{'1': a}", false},
		{"complex keys", "{[a, b]: 1, c: 2}", "{c: 2, [a, b]: 1}", true},
		{"repeated keys in their order", "a: 1\na: 2", "a: 2\na: 1", false},
		{"anchors", "a: &x 1", "a: 1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := parse(t, []byte(tt.a)), parse(t, []byte(tt.b))
			if got := splice.Equal(a, b); got != tt.want {
				t.Errorf("Equal(%q, %q) = %t", tt.a, tt.b, got)
			}
			if got := splice.Equal(b, a); got != tt.want {
				t.Errorf("Equal(%q, %q) = %t", tt.b, tt.a, got)
			}
		})
	}
}

func TestDuplicates(t *testing.T) {
	got := splice.Duplicates(parse(t, []byte("a: 1\nspec:\n  list:\n  - {x: 1}\n  - x: 1\n    y: 2\n    \"x\": 3\na: 2\n1: x\n'1': y\n")))
	want := []splice.Duplicate{{Path: "spec.list[1].x", Line: 7, First: 5}, {Path: "a", Line: 8, First: 1}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTokens(t *testing.T) {
	text := []byte("a: &x \"\\u0041\"\nb: *x\nc: [ ]\nd:\ne: |+\n  x\n\nf: some\n  more # c\ng:\n- é: ~\n")
	have := parse(t, text)
	tree := expand(t, have)
	token, err := splice.Tokens(text, have)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": `&x "\u0041"`, "b": "*x", "c": "[ ]", "d": "", "e": "|+\n  x\n", "f": "some\n  more"}
	for key, w := range want {
		if got, ok := token(nodes.At(tree, key)); !ok || got != w {
			t.Errorf("%s: %q, %t, want %q", key, got, ok, w)
		}
	}
	if got, ok := token(nodes.At(tree, "g")); ok {
		t.Errorf("a block sequence has the token %q", got)
	}
}

// TestApplyScalars replaces the value of a line.
func TestApplyScalars(t *testing.T) {
	tests := []struct{ text, value, want string }{
		{"a: x # c\n", "v", "a: v # c\n"},
		{"a: x # c\n", "v\nz", "a: \"v\\nz\" # c\n"},
		{"a: x\n", "v\nz", "a: |-\n  v\n  z\n"},
		{"a: x\n", "1", "a: \"1\"\n"},
		{"a: x\n", "yes", "a: \"yes\"\n"},
		{"a: 'x'\n", "it's", "a: 'it''s'\n"},
		{"a: 'x'\n", "v\nz", "a: \"v\\nz\"\n"},
		{"a: \"x\"\n", "v\nz", "a: \"v\\nz\"\n"},
		{"a: \"x\"\n", "\x07\u2028", "a: \"\\u0007\\u2028\"\n"},
		{"a: |\n  x\n\n# c\n", "v\n", "a: |\n  v\n\n# c\n"},
		{"a: >2-\n   x\n", "v", "a: >-\n  v\n"},
		{"a:\tx\t# c\n", "v", "a:\tv\t# c\n"},
		{"a: !!str 1\n", "2", "a: !!str 2\n"},
		{"a: &n x\n", "v", "a: &n v\n"},
		{"{\"a\":\"x\"}", "v", "{\"a\":\"v\"}"},
		{"{a: x}", "v, z", "{a: \"v, z\"}"},
		{"a:\n  x\nb: 1\n", "v", "a:\n  v\nb: 1\n"},
		{"? a\n: x\n", "v", "? a\n: v\n"},
		{"? a\nb: 1\n", "v", "? a\n: v\nb: 1\n"},
		{"é: {ü: 1, a: x} # ö\na: x\n", "v", "é: {ü: 1, a: x} # ö\na: v\n"},
	}
	for _, tt := range tests {
		t.Run(tt.text+"to "+tt.value, func(t *testing.T) {
			have := parse(t, []byte(tt.text))
			want := expand(t, have)
			want.Content[index(want, "a")+1] = nodes.New(tt.value)
			out, reformatted, err := splice.Apply([]byte(tt.text), have, want)
			if err != nil || reformatted {
				t.Fatalf("reformatted %t, error %v", reformatted, err)
			}
			if string(out) != tt.want {
				t.Errorf("got  %q\nwant %q", out, tt.want)
			}
		})
	}
}

// TestApplySpelling writes a value in the given spelling, and in another one if the given spelling
// means something else.
func TestApplySpelling(t *testing.T) {
	tests := []struct{ token, want string }{
		{`"\u0076"`, "a: \"\\u0076\"\nb: &b v\n"},
		{"*b", "a: v\nb: &b v\n"}, // the anchor comes too late
		{"z", "a: v\nb: &b v\n"},
		{"[", "a: v\nb: &b v\n"},
	}
	for _, tt := range tests {
		t.Run(tt.token, func(t *testing.T) {
			text := []byte("a: x\nb: &b v\n")
			have := parse(t, text)
			want := expand(t, have)
			value := nodes.New("v")
			want.Content[1] = value
			out, reformatted, err := splice.Apply(text, have, want, splice.Spelling{Node: value, Token: tt.token})
			if err != nil || reformatted || string(out) != tt.want {
				t.Errorf("%q, reformatted %t, error %v, want %q", out, reformatted, err, tt.want)
			}
		})
	}
}

func TestApplyEdges(t *testing.T) {
	t.Run("nothing to change gives the text itself", func(t *testing.T) {
		text := []byte("a: {b: [1, \"2\"]}   # c\n\n\n...\n")
		have := parse(t, text)
		out, _, err := splice.Apply(text, have, expand(t, have))
		if err != nil || &out[0] != &text[0] {
			t.Errorf("%q, error %v", out, err)
		}
	})
	t.Run("a text without a document gets one", func(t *testing.T) {
		out, _, err := splice.Apply([]byte("# c"), nil, nodes.Mapping("a", "x"))
		if err != nil || string(out) != "# c\na: x\n" {
			t.Errorf("%q, error %v", out, err)
		}
	})
	t.Run("a document can't become none", func(t *testing.T) {
		if _, _, err := splice.Apply([]byte("a: 1"), parse(t, []byte("a: 1")), nil); err == nil {
			t.Error("no error")
		}
	})
	t.Run("what YAML can't hold is an error", func(t *testing.T) {
		have := parse(t, []byte("a: 1"))
		if out, _, err := splice.Apply([]byte("a: 1"), have, nodes.Mapping("a", "\xff")); err == nil {
			t.Errorf("no error, but %q", out)
		}
	})
	t.Run("nodes from another text are found out", func(t *testing.T) {
		have := parse(t, []byte("other:\n  a: 1\n"))
		out, reformatted, err := splice.Apply([]byte("# head\nb: 1\n"), have, nodes.Mapping("a", "x"))
		if err != nil || !reformatted || !splice.Equal(parse(t, out), nodes.Mapping("a", "x")) {
			t.Errorf("%q, reformatted %t, error %v", out, reformatted, err)
		}
	})
}
