package splice_test

import (
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
)

// TestSources takes the first item of a list out of its text, replaces it, and puts it
// back. Everything around it must remain each time, and in the end the text must be the same.
func TestSources(t *testing.T) {
	tests := map[string]struct{ text, source, replaced string }{
		"a block": {
			"items:\n- a: 1\n  b: 2\n- c: 3\n",
			"a: 1\nb: 2",
			"items:\n- x: 1\n  y: |\n    z\n- c: 3\n",
		},
		"indented, below the dash": {
			"items:\n  -\n    # here\n    a: 1\n    b: 2\n  - c: 3\n",
			"a: 1\nb: 2",
			"items:\n  -\n    # here\n    x: 1\n    y: |\n      z\n  - c: 3\n",
		},
		"comments of its own, and of the list": {
			"items:\n# list\n- a: 1\n  # in it\n  b: 2 # at its end\n\n  # below it\n# list\n- c: 3\n",
			"a: 1\n# in it\nb: 2 # at its end\n\n# below it",
			"items:\n# list\n- x: 1\n  y: |\n    z\n# list\n- c: 3\n",
		},
		"a comment to the left of it": {
			"items:\n- a: 1\n# left\n  b: 2\n",
			"  a: 1\n# left\n  b: 2",
			"items:\n- x: 1\n  y: |\n    z\n",
		},
		"a block scalar with blank lines": {
			"items:\n- a: |\n    1\n\n     2\n  b: |+\n    3\n\n- c: 3\n",
			"a: |\n  1\n\n   2\nb: |+\n  3\n",
			"items:\n- x: 1\n  y: |\n    z\n- c: 3\n",
		},
		"no line break at the end": {
			"items:\n- a: 1\n  b: 2",
			"a: 1\nb: 2",
			"items:\n- x: 1\n  y: |\n    z",
		},
		"line ends of Windows": {
			"items:\r\n- a: 1\r\n  b: 2\r\n- c: 3\r\n",
			"a: 1\r\nb: 2",
			"items:\r\n- x: 1\n  y: |\n    z\r\n- c: 3\r\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			source := sourceOf(t, tt.text)
			if source != tt.source {
				t.Errorf("the source is\n%q, want\n%q", source, tt.source)
			}
			replaced := replaceFirst(t, tt.text, "x: 1\ny: |\n  z")
			if replaced != tt.replaced {
				t.Errorf("replaced it is\n%q, want\n%q", replaced, tt.replaced)
			}
			if back := replaceFirst(t, replaced, source); back != tt.text {
				t.Errorf("put back it is\n%q, want\n%q", back, tt.text)
			}
		})
	}
}

// TestSourcesOfOthers: braces remain as they are. A value with an anchor, or an alias, has no
// separate text.
func TestSourcesOfOthers(t *testing.T) {
	if got := sourceOf(t, "items: [ {a: 1,\n  b: 2} , c]\n"); got != "{a: 1,\n  b: 2}" {
		t.Errorf("the source is %q", got)
	}
	if got := replaceFirst(t, "items: [ {a: 1} , c]\n", "{x: 1,\n y: 2}"); got != "items: [ {x: 1,\n y: 2} , c]\n" {
		t.Errorf("replaced it is %q", got)
	}
	for _, text := range []string{"items:\n- &a\n  b: 1\n", "items:\n- !!map\n  b: 1\n", "x: &x {a: 1}\nitems:\n- *x\n"} {
		n := parsed(t, text)
		sources, err := splice.Sources([]byte(text), n)
		if err != nil {
			t.Fatal(err)
		}
		if source, err := sources(firstItem(n)); err == nil {
			t.Errorf("%q has the source %q, want an error", text, source)
		}
		if _, err := splice.Replace([]byte(text), n, map[*yaml.Node]string{firstItem(n): "x: 1"}); err == nil {
			t.Errorf("%q: it was replaced, want an error", text)
		}
	}
}

func parsed(t *testing.T, text string) *yaml.Node {
	t.Helper()
	n, err := splice.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return n
}

// firstItem returns the first item of the list under the key items.
func firstItem(n *yaml.Node) *yaml.Node {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == "items" {
			return n.Content[i+1].Content[0]
		}
	}
	return nil
}

func sourceOf(t *testing.T, text string) string {
	t.Helper()
	n := parsed(t, text)
	sources, err := splice.Sources([]byte(text), n)
	if err != nil {
		t.Fatal(err)
	}
	source, err := sources(firstItem(n))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func replaceFirst(t *testing.T, text, with string) string {
	t.Helper()
	n := parsed(t, text)
	out, err := splice.Replace([]byte(text), n, map[*yaml.Node]string{firstItem(n): with})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
