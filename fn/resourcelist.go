package fn

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// resourceList returns the ResourceList if the input is that of a KRM function, or nil. It reports an
// error if there are other documents next to a ResourceList.
func resourceList(docs []*document) (*document, transformer.Results) {
	var list *document
	others := 0
	for _, d := range docs {
		switch {
		case list == nil && d.want != nil && nodes.StringAt(d.want, "kind") == "ResourceList" && strings.HasPrefix(nodes.StringAt(d.want, "apiVersion"), "config.kubernetes.io/"):
			list = d
		case !d.empty():
			others++
		}
	}
	if list != nil && others > 0 {
		return nil, transformer.Results{transformer.NewResult(transformer.CodeInvalidYAML, list.file, "document %d is a ResourceList, which must be the only document; found %d more", list.file.Index+1, others)}
	}
	return list, nil
}

// IsResourceList reports whether Render's output is that of a KRM function, which includes the results.
func IsResourceList(out []byte) bool { return resourceListKind.Match(out) }

var resourceListKind = regexp.MustCompile(`(?m)^"?kind"?: *"?ResourceList"?\r?$`)

// setResults writes the results into a ResourceList.
func setResults(list *document, results transformer.Results) {
	list.edited = true
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
	for _, r := range results {
		var item yaml.Node
		if err := item.Encode(r); err != nil {
			continue // strings and numbers always encode
		}
		n.Content = append(n.Content, &item)
	}
	for i := 0; i+1 < len(list.want.Content); i += 2 {
		if list.want.Content[i].Value == "results" {
			list.want.Content[i+1] = n
			return
		}
	}
	list.want.Content = append(list.want.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: "results"}, n)
}

// paths returns the files of the items of ResourceLists.
func paths(docs []*document) map[string]bool {
	taken := map[string]bool{}
	for _, d := range docs {
		for _, o := range d.objects {
			taken[o.File.Path] = true
		}
	}
	return taken
}

// place tells the orchestrator in which file to keep a new object: next to its workload's file, with a
// separate name.
func place(c transformer.Created, taken map[string]bool) {
	if annotation(c.Beside.Node, pathAnnotation) == "" && annotation(c.Beside.Node, legacyPathAnnotation) == "" {
		return
	}
	dir := path.Dir(c.Beside.File.Path)
	base := strings.ToLower(nodes.StringAt(c.Node, "kind") + "_" + nodes.StringAt(c.Node, "metadata", "name"))
	file := path.Join(dir, base+".yaml")
	for n := 2; taken[file]; n++ {
		file = path.Join(dir, fmt.Sprintf("%s-%d.yaml", base, n))
	}
	taken[file] = true
	annotations := nodes.At(c.Node, "metadata", "annotations")
	for _, pair := range [][2]string{{pathAnnotation, file}, {indexAnnotation, "0"}, {legacyPathAnnotation, file}, {legacyIndexAnnotation, "0"}} {
		annotations.Content = append(annotations.Content,
			&yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: pair[0]},
			&yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: pair[1]})
	}
}
