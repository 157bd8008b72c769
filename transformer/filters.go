package transformer

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// checkCaptureConfig checks the ConfigMap of the annotation capture-config, if it is in the input,
// with the rules of the sidecar. It checks each ConfigMap once.
func (in *input) checkCaptureConfig(w *workload) Results {
	o := in.find("", "ConfigMap", w.namespace(), w.settings.CaptureConfig)
	at := checked{o, "capture-config"}
	if o == nil || in.mountedChecked[at] {
		return nil
	}
	in.mountedChecked[at] = true
	var results Results
	data := nodes.At(o.Node, "data")
	for i := 0; data != nil && data.Kind == yaml.MappingNode && i+1 < len(data.Content); i += 2 {
		key, value := data.Content[i].Value, data.Content[i+1]
		at := pathKey("data", key)
		if as := readAs(value); value.Kind != yaml.ScalarNode || as != "" {
			results = append(results, result(CodeBadValue, o, "%s: found %s, which YAML reads as %s; allowed: a string, so put it in quotes", at, value.Value, cmp.Or(as, describeKind(value))).At(at, value.Value, ""))
			continue
		}
		_, err := filter.Parse(map[string]string{key: value.Value})
		var wrong *filter.Error
		switch {
		case errors.As(err, &wrong):
			results = append(results, result(CodeBadValue, o, "%s: %v, allowed: %s", at, wrong.Err, wrong.Allowed).At(at, value.Value, ""))
		case err != nil:
			results = append(results, result(CodeBadValue, o, "data: %v", err).At(at, value.Value, ""))
		}
	}
	return results
}

// readAs returns the type that the API server reads from a scalar that is not a string; "" for a
// string. The API server reads YAML 1.1, in which on and off are booleans.
func readAs(n *yaml.Node) string {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch tag := n.ShortTag(); {
	case tag != yaml.NodeTagString:
		return strings.TrimPrefix(tag, "!!")
	case !quoted && slices.Contains([]string{"on", "off", "yes", "no"}, strings.ToLower(n.Value)):
		return "bool"
	}
	return ""
}
