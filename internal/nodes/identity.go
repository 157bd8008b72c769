package nodes

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// identities is the table of the fields that identify an item of a list. The first field that an item
// has counts. They are the keys by which Kubernetes merges lists (the markers +listMapKey and
// +patchMergeKey of its API types), and those of Istio's lists.
//
// A path or a port comes before a name if items of the list may share the name, as mounts of the same
// volume do. Otherwise the name comes first, because it remains when other fields are edited.
var identities = []struct {
	field string
	first bool // the field is a list, and its first item counts
}{
	{field: "mountPath"},     // volumeMounts
	{field: "devicePath"},    // volumeDevices
	{field: "name"},          // containers, env, volumes, ports
	{field: "containerPort"}, // ports of a container
	{field: "port"},          // ports of a Service and a policy, listeners of a Sidecar ({number: 80})
	{field: "number"},        // ports of a ServiceEntry
	{field: "key"},           // conditions, tolerations, files of a volume
	{field: "ip"},            // hostAliases
	{field: "topologyKey"},   // topologySpreadConstraints
	{"hosts", true},          // egress listeners of a Sidecar
}

// Identity returns the field that identifies an item of a list, and its value. It returns two empty
// strings if the item isn't a mapping or has no such field. For an object the field is its metadata, and
// the value includes its type and namespace, if it has them.
func Identity(item *yaml.Node) (field, value string) {
	if item == nil || item.Kind != yaml.MappingNode {
		return "", ""
	}
	if name := StringAt(item, "metadata", "name"); name != "" {
		return "metadata", objectID(item, name)
	}
	for _, row := range identities {
		v := At(item, row.field)
		switch {
		case v == nil:
			continue
		case row.first && len(Items(v)) > 0:
			v = v.Content[0]
		case v.Kind == yaml.MappingNode:
			v = At(v, "number")
		}
		if id := String(v); id != "" {
			return row.field, id
		}
	}
	return "", ""
}

func objectID(object *yaml.Node, name string) string {
	var parts []string
	for _, part := range []string{StringAt(object, "apiVersion"), StringAt(object, "kind"), StringAt(object, "metadata", "namespace"), name} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// ID returns the text that identifies an item in a path: the value of a scalar, or that of the item's
// identity.
func ID(item *yaml.Node) string {
	if item.Kind == yaml.ScalarNode {
		return item.Value
	}
	_, id := Identity(item)
	return id
}
