package splice_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// manifests are the folders with the texts of TestManifests: our own, and public ones on
// machines that have them.
var manifests = []string{"../testdata/manifests", "../../../shared/corpus/bookinfo", "../../../shared/corpus/online-boutique"}

// documents returns the texts of the manifests, one YAML document each.
func documents(t testing.TB) map[string][]byte {
	t.Helper()
	separator := regexp.MustCompile(`(?m)^---[ \t]*\r?\n`)
	docs := map[string][]byte{}
	for _, dir := range manifests {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, doc := range separator.Split(string(text), -1) {
				docs[fmt.Sprintf("%s#%d", path, i)] = []byte(doc)
			}
			return nil
		})
		if err != nil && (dir == manifests[0] || !errors.Is(err, fs.ErrNotExist)) {
			t.Fatal(err)
		}
	}
	return docs
}

// onOneLine matches the lines that an edit has to change: collections in brackets, and
// aliases.
var onOneLine = regexp.MustCompile(`[][{}*]`)

// TestManifests edits manifests as an injector does. The result must have every other line
// of the manifest, and the undo must give its bytes.
func TestManifests(t *testing.T) {
	containers := 0
	for name, text := range documents(t) {
		have, err := splice.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if have == nil || have.Kind != yaml.MappingNode {
			continue
		}
		want := expand(t, have)
		containers += inject(want)
		out, reformatted, err := splice.Apply(text, have, want)
		if err != nil || reformatted {
			t.Errorf("%s: reformatted %t, error %v", name, reformatted, err)
			continue
		}
		for line := range strings.Lines(lost(text, out)) {
			if !onOneLine.MatchString(line) {
				t.Errorf("%s: lost %q", name, line)
			}
		}
		former := expand(t, have)
		spelled, err := spellings(text, have, former)
		if err != nil {
			t.Fatal(err)
		}
		undone, _, err := splice.Apply(out, parse(t, out), former, spelled...)
		if err != nil || !bytes.Equal(undone, text) {
			t.Errorf("%s: the undo, error %v, gave\n%s", name, err, undone)
		}
	}
	if containers < 8 {
		t.Errorf("found %d containers in the manifests, want 8 or more", containers)
	}
}

// inject annotates an object, adds a variable to its containers, and adds a container. It returns
// the former number of containers.
func inject(root *yaml.Node) int {
	set(root, "metadata", "annotations", "example.com/injected", "true")
	list := nodes.At(root, "spec", "template", "spec", "containers")
	if list == nil {
		return 0
	}
	for _, c := range list.Content {
		env := nodes.At(c, "env")
		if env == nil {
			env = &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
			nodes.Set(c, "env", env)
		}
		env.Content = append(env.Content, nodes.Mapping("name", "HTTP_PROXY", "value", "http://127.0.0.1:4140"))
	}
	list.Content = append(list.Content, nodes.Mapping("name", "sidecar", "image", "example.com/sidecar:1"))
	return len(list.Content) - 1
}

func set(n *yaml.Node, path ...string) {
	value := path[len(path)-1]
	for _, key := range path[:len(path)-2] {
		next := nodes.At(n, key)
		if next == nil {
			next = &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
			n.Content = append(n.Content, nodes.New(key), next)
		}
		n = next
	}
	n.Content = append(n.Content, nodes.New(path[len(path)-2]), nodes.New(value))
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME # the name
  annotations: {}
spec:
  template:
    spec:
      containers:
      # the application
      - name: app
        image: "example.com/app:1"
        args: ["--port", "8080"]
        env:
        - name: LEVEL
          value: "info"
`

// resourceList is one document with n objects.
func resourceList(n int) []byte {
	var b bytes.Buffer
	b.WriteString("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n")
	for i := range n {
		item := strings.Replace(deployment, "NAME", fmt.Sprintf("app-%d", i), 1)
		for j, line := range strings.Split(strings.TrimSuffix(item, "\n"), "\n") {
			if j == 0 {
				b.WriteString("- " + line + "\n")
			} else {
				b.WriteString("  " + line + "\n")
			}
		}
	}
	return b.Bytes()
}

// TestResourceList edits each of many objects in one document.
func TestResourceList(t *testing.T) {
	text := resourceList(2000)
	have := parse(t, text)
	want := expand(t, have)
	items := nodes.At(want, "items")
	for _, item := range items.Content {
		inject(item)
	}
	items.Content = append(items.Content[:1:1], append([]*yaml.Node{nodes.Mapping("kind", "Added")}, items.Content[1:]...)...)
	out, reformatted, err := splice.Apply(text, have, want)
	if err != nil || reformatted {
		t.Fatalf("reformatted %t, error %v", reformatted, err)
	}
	undone, _, err := splice.Apply(out, parse(t, out), expand(t, have))
	if err != nil || !bytes.Equal(undone, text) {
		t.Fatalf("the undo differs, error %v", err)
	}
}

// BenchmarkApply compares edits of a 10 MiB document with what a YAML printer
// costs: parsing and printing the same bytes.
func BenchmarkApply(b *testing.B) {
	text := resourceList(10 << 20 / len(deployment) * 9 / 10)
	have := parse(b, text)
	one, each := expand(b, have), expand(b, have)
	inject(nodes.At(one, "items").Content[7])
	for _, item := range nodes.At(each, "items").Content {
		inject(item)
	}
	apply := func(want *yaml.Node) func(*testing.B) {
		return func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, reformatted, err := splice.Apply(text, have, want); err != nil || reformatted {
					b.Fatal(reformatted, err)
				}
			}
		}
	}
	b.Run("one edit", apply(one))
	b.Run("each item edited", apply(each))
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			parse(b, text)
		}
	})
	b.Run("kyaml parse and print", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			node, err := yaml.Parse(string(text))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := node.String(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
