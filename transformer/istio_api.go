package transformer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3" // v1 and v1beta1 are other names of its types
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// What a render writes of Istio's is built of istio.io/api's types, so that the
// compiler knows the fields, and written by that package's JSON:
//
//	networking.Sidecar ──MarshalJSON──▶ JSON ──▶ nodes, in the order of istioFields

// istioSpec is a type of istio.io/api.
type istioSpec interface {
	proto.Message
	json.Marshaler
}

// istioFields are messages whose fields are written in an order of their own, by
// which manifests are read more easily than by the API's. Those among them that
// are enums are written at their zero value too, which JSON leaves out.
var istioFields = map[protoreflect.FullName][]string{
	fullName(&networking.ServiceEntry{}):          {"hosts", "location", "ports", "resolution"},
	fullName(&networking.ServicePort{}):           {"name", "number", "protocol"},
	fullName(&networking.OutboundTrafficPolicy{}): {"mode"},
}

func fullName(m proto.Message) protoreflect.FullName {
	return m.ProtoReflect().Descriptor().FullName()
}

// istioNode turns a value of istio.io/api into nodes.
func istioNode(v istioSpec) *yaml.Node {
	text, err := v.MarshalJSON()
	var n *yaml.Node
	if err == nil {
		tokens := json.NewDecoder(bytes.NewReader(text))
		tokens.UseNumber()
		n, err = jsonNode(tokens)
	}
	if err != nil { // no value of these types is known that JSON does not hold
		panic(fmt.Sprintf("write %s as JSON: %v", fullName(v), err))
	}
	arrange(n, v.ProtoReflect())
	return n
}

// jsonNode reads one value, nil at the end of a list or an object.
func jsonNode(tokens *json.Decoder) (*yaml.Node, error) {
	token, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	n := sequence[*yaml.Node]()
	switch token := token.(type) {
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagInt, Value: token.String()}, nil
	case json.Delim:
		if token == '}' || token == ']' {
			return nil, nil
		}
		if token == '{' {
			n = mapping()
		}
	default:
		return node(token), nil
	}
	for {
		item, err := jsonNode(tokens)
		if err != nil || item == nil {
			return n, err
		}
		n.Content = append(n.Content, item)
	}
}

// arrange has the fields of a message, and of those in it, in the order of
// istioFields.
func arrange(n *yaml.Node, m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		value := field(n, f.JSONName())
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i, item := range items(value) {
				arrange(item, v.List().Get(i).Message())
			}
		default:
			arrange(value, v.Message())
		}
		return true
	})
	order := istioFields[m.Descriptor().FullName()]
	if order == nil {
		return
	}
	was := n.Content
	n.Content = nil
	for _, name := range order {
		f := m.Descriptor().Fields().ByJSONName(name)
		i := slices.IndexFunc(was, func(key *yaml.Node) bool { return key.Value == name })
		switch {
		case i >= 0:
			n.Content = append(n.Content, was[i], was[i+1])
		case f.Enum() != nil:
			n.Content = append(n.Content, node(name), node(string(f.Enum().Values().ByNumber(m.Get(f).Enum()).Name())))
		}
	}
}
