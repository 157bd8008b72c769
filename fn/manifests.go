package fn

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// A directory has other files besides manifests: configuration of an editor or a package, charts,
// kustomizations. The content decides whether a file is a manifest:
//
//	objects with apiVersion and kind         a manifest
//	can't be read, but has those two         a manifest with an error
//	  … but can be read without its {{ }}    a template
//	of kustomize's API, or below templates/  not meant to be applied
//	of a chart
//	anything else                            not a manifest

// readAll reads the sources into documents. It leaves out files of directories that are not manifests,
// and reports them in one result. For a file that the user named, it returns an error instead.
func readAll(sources []Source, undo bool) (docs []*document, results transformer.Results) {
	charts := chartsOf(sources)
	var left []string
	for _, src := range sources {
		if src.Found && (charts.template(src.Name) || kustomizationFile.MatchString(src.Name)) {
			left = append(left, src.Name)
			continue
		}
		more, unread := read(src, undo)
		switch is := isManifest(src, more, len(unread) > 0); {
		case is:
			docs, results = append(docs, more...), append(results, unread...)
			if src.Name != "" {
				results = append(results, incomplete(more)...)
			}
		case src.Found:
			left = append(left, src.Name)
		default:
			results = append(results, failing(transformer.NewResult(transformer.CodeNotManifest, transformer.File{Path: src.Name},
				"found no object that has apiVersion and kind, allowed: Kubernetes manifests")))
		}
	}
	if len(left) == 0 {
		return docs, results
	}
	r := transformer.NewResult(transformer.CodeNotManifest, transformer.File{}, "%s skipped: %s", files(len(left)), some(left))
	if len(left) == len(sources) {
		r = failing(r)
		r.Message = "found no manifest; " + r.Message
	}
	return docs, append(results, r)
}

func failing(r transformer.Result) transformer.Result {
	r.Severity = transformer.Error
	return r
}

func files(n int) string {
	if n == 1 {
		return "a file that is not a Kubernetes manifest was"
	}
	return fmt.Sprintf("%d files that are not Kubernetes manifests were", n)
}

// some lists the first names, and the number of the others.
func some(names []string) string {
	const few = 5
	if len(names) <= few+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// isManifest reports whether a source is a manifest. Standard input and files without content count as
// manifests too.
func isManifest(src Source, docs []*document, unread bool) bool {
	if src.Name == "" || unread && !src.Found {
		return true
	}
	says := false
	for _, d := range docs {
		switch {
		case d.want != nil && !(src.Found && kustomizes(d.want)), resembles(d.have):
			return true
		case !d.empty():
			says = true
		}
	}
	if unread {
		return intended(src.Text)
	}
	return !says
}

// kustomizes reports whether only kustomize reads an object.
func kustomizes(n *yaml.Node) bool {
	return strings.HasPrefix(nodes.StringAt(n, "apiVersion"), "kustomize.config.k8s.io/")
}

// resembles reports whether a node looks like an object that lacks either apiVersion or kind.
func resembles(n *yaml.Node) bool {
	metadata := nodes.At(n, "metadata")
	return metadata != nil && metadata.Kind == yaml.MappingNode && (nodes.StringAt(n, "kind") == "") != (nodes.StringAt(n, "apiVersion") == "")
}

// incomplete reports objects that lack either apiVersion or kind.
func incomplete(docs []*document) (results transformer.Results) {
	for _, d := range docs {
		if d.have == nil || !resembles(d.have) {
			continue
		}
		missing, has := "apiVersion", "kind"
		if nodes.StringAt(d.have, has) == "" {
			missing, has = has, missing
		}
		results = append(results, d.unreadable(fmt.Errorf("line %d: found %s %s without %s, allowed: both", max(d.have.Line, 1), has, nodes.StringAt(d.have, has), missing)))
	}
	return results
}

var (
	kustomizationFile = regexp.MustCompile(`(?:^|[/\\])kustomization\.ya?ml$`)

	apiVersionKey = regexp.MustCompile(`(?:^|[\n{,])[ \t\r\-]*["']?apiVersion["']?\s*:`)
	kindKey       = regexp.MustCompile(`(?:^|[\n{,])[ \t\r\-]*["']?kind["']?\s*:`)
	// action matches an action of a Go template, and actions a line that has only actions.
	action  = regexp.MustCompile(`\{\{(?s:.*?)\}\}`)
	actions = regexp.MustCompile(`(?m)^[ \t]*(?:\{\{(?s:.*?)\}\}[ \t]*)+\r?$`)
)

// intended reports whether a text that can't be read was meant to be a manifest. A template, which can be
// read without its actions, was not.
func intended(text []byte) bool {
	plain := bytes.ReplaceAll(bytes.TrimLeft(text, "\ufeff\xff\xfe"), []byte{0}, nil) // so that it also matches UTF-16
	if !apiVersionKey.Match(plain) || !kindKey.Match(plain) {
		return false
	}
	if !bytes.Contains(text, []byte("{{")) {
		return true
	}
	without := action.ReplaceAll(actions.ReplaceAll(text, nil), []byte("x"))
	for _, doc := range split(without) {
		if _, err := splice.Parse(doc); err != nil {
			return true
		}
	}
	return false
}

// charts are the directories of Helm charts among the sources.
type charts map[string]bool

func chartsOf(sources []Source) charts {
	found := charts{}
	for _, src := range sources {
		if name := filepath.ToSlash(src.Name); src.Found && path.Base(name) == "Chart.yaml" {
			found[path.Dir(name)] = true
		}
	}
	return found
}

// template reports whether a file is a template of a chart.
func (c charts) template(name string) bool {
	for dir := path.Dir(filepath.ToSlash(name)); len(c) > 0 && dir != "." && dir != "/"; dir = path.Dir(dir) {
		if path.Base(dir) == "templates" && c[path.Dir(dir)] {
			return true
		}
	}
	return false
}
