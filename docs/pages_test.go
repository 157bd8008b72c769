package docs_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/internal/markdown"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording/rewrite"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/transformer"
)

func pages(t *testing.T) []*markdown.Page {
	t.Helper()
	all, err := markdown.ReadAll("..")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLinks finds the file and the heading of every relative link.
func TestLinks(t *testing.T) {
	anchors := map[string]map[string]bool{}
	for _, p := range pages(t) {
		anchors[filepath.Clean(p.File)] = p.Anchors
	}
	for _, p := range pages(t) {
		for _, link := range p.Links {
			if err := linkWorks(p, link.Text, anchors); err != nil {
				t.Errorf("%s: link %s: %v", p.Where(link.Line), link.Text, err)
			}
		}
	}
}

func linkWorks(p *markdown.Page, link string, anchors map[string]map[string]bool) error {
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	if u.IsAbs() {
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("want a URL with https and a host")
		}
		return nil
	}
	target := filepath.Clean(p.File)
	if u.Path != "" {
		target = filepath.Join(filepath.Dir(p.File), filepath.FromSlash(u.Path))
		if _, err := os.Stat(target); err != nil {
			return err
		}
	}
	if u.Fragment == "" {
		return nil
	}
	if of, ok := anchors[target]; !ok || !of[u.Fragment] {
		return fmt.Errorf("%s has no heading #%s", target, u.Fragment)
	}
	return nil
}

// TestDocsYAML parses every yaml block. Tapedeck's own kinds go through their own parsers, and a
// workload that asks for the sidecar is rendered.
func TestDocsYAML(t *testing.T) {
	seen := map[string]int{}
	for _, p := range pages(t) {
		for _, b := range p.Blocks {
			if b.Lang != "yaml" {
				continue
			}
			kind, err := checkYAML(b.Text())
			seen[kind]++
			if err != nil {
				t.Errorf("%s: %v", p.Where(b.Line), err)
			}
		}
	}
	for _, kind := range []string{"configuration", "match rules", "carry rules", "redact rules", "filter", "workload"} {
		if seen[kind] == 0 {
			t.Errorf("found no %s in the documentation, so the test does not see them", kind)
		}
	}
}

// checkYAML returns the kind of the block, and its error.
func checkYAML(text string) (kind string, err error) {
	nodes, err := kio.FromBytes([]byte(text))
	if err != nil {
		// A list, or part of a document.
		var any yaml.Node
		return "part", yaml.Unmarshal([]byte(text), &any)
	}
	kind = "other"
	for _, n := range nodes {
		doc := n.MustString()
		switch {
		case n.GetApiVersion() == fn.ConfigAPIVersion && n.GetKind() == fn.ConfigKind:
			kind = "configuration"
			_, err = fn.LoadConfig(transformer.DefaultConfig(), fn.Source{Name: "block", Text: []byte(doc)})
		case n.GetKind() == "MatchRules":
			kind = "match rules"
			_, err = rules.Parse("block", []byte(doc))
		case n.GetKind() == carry.Kind:
			kind = "carry rules"
			_, err = carry.ParseRules("block", []byte(doc), func(string) (string, bool) { return "value", true })
		case n.GetKind() == "ConfigMap" && n.GetName() == "capture" && isFilter(n):
			kind = "filter"
			_, err = filter.Parse(n.GetDataMap())
		case n.Field("rules") != nil && n.GetKind() == "" && n.Field("groups") == nil:
			kind = "redact rules"
			_, err = rewrite.Parse([]byte(doc))
		case n.GetKind() == "":
		case n.Field("spec") != nil && asks(text):
			if kind != "workload" {
				kind = "workload"
				err = renders(text)
			}
		}
		if err != nil {
			return kind, err
		}
	}
	return kind, nil
}

// isFilter reports whether a ConfigMap holds settings of a filter.
func isFilter(n *yaml.RNode) bool {
	for _, k := range filter.Keys() {
		if _, ok := n.GetDataMap()[k.Name]; ok {
			return true
		}
	}
	return false
}

// asks reports whether the text has an annotation that asks for the sidecar.
func asks(text string) bool { return strings.Contains(text, contract.SidecarPrefix+"inject") }

// renders fails if a render of the text ends in an error, or adds nothing.
func renders(text string) error {
	out, results, err := fn.Render([]fn.Source{{Name: "block", Text: []byte(text)}}, transformer.DefaultConfig())
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Severity == transformer.Error {
			return fmt.Errorf("a render says: %s (%s)", r.Message, r.Tags["code"])
		}
	}
	if !bytes.Contains(out, []byte(contract.Container)) {
		return fmt.Errorf("a render adds no sidecar: %v", results)
	}
	return nil
}
