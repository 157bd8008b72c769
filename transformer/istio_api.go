package transformer

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3" // v1 and v1beta1 are other names of its types
	security "istio.io/api/security/v1beta1"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A render builds Istio objects from the types of istio.io/api, so that the compiler checks the
// fields. It writes fields with their JSON names, in the order of the API or of istioFields.

// istioFields lists the messages whose fields a render writes in an order that is easier to read than
// the API's. It writes the enums in these lists even if they have the zero value.
var istioFields = map[protoreflect.FullName][]protoreflect.Name{
	fullName(&networking.ServiceEntry{}):          {"hosts", "location", "ports", "resolution"},
	fullName(&networking.ServicePort{}):           {"name", "number", "protocol"},
	fullName(&networking.OutboundTrafficPolicy{}): {"mode"},
	fullName(&security.AuthorizationPolicy{}):     {"selector", "action", "rules"},
}

func fullName(m proto.Message) protoreflect.FullName {
	return m.ProtoReflect().Descriptor().FullName()
}

// istioNode converts a value of istio.io/api into nodes.
func istioNode(m proto.Message) *yaml.Node { return messageNode(m.ProtoReflect()) }

func messageNode(m protoreflect.Message) *yaml.Node {
	n, fields := nodes.Mapping(), m.Descriptor().Fields()
	first := istioFields[m.Descriptor().FullName()]
	for _, name := range first {
		if f := fields.ByName(name); m.Has(f) || f.Enum() != nil {
			n.Content = append(n.Content, nodes.New(f.JSONName()), fieldNode(f, m.Get(f)))
		}
	}
	for i := range fields.Len() {
		if f := fields.Get(i); m.Has(f) && !slices.Contains(first, f.Name()) {
			n.Content = append(n.Content, nodes.New(f.JSONName()), fieldNode(f, m.Get(f)))
		}
	}
	return n
}

func fieldNode(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch {
	case f.IsList():
		n := nodes.Sequence[*yaml.Node]()
		for i := range v.List().Len() {
			n.Content = append(n.Content, valueNode(f, v.List().Get(i)))
		}
		return n
	case f.IsMap():
		values := map[string]*yaml.Node{}
		v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
			values[key.String()] = valueNode(f.MapValue(), v)
			return true
		})
		n := nodes.Mapping()
		for _, key := range sortedKeys(values) {
			n.Content = append(n.Content, nodes.New(key), values[key])
		}
		return n
	}
	return valueNode(f, v)
}

// valueNode converts a single value into a node. No render writes values of other kinds.
func valueNode(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch v := v.Interface().(type) {
	case string, bool:
		return nodes.New(v)
	case uint32:
		return nodes.New(int(v))
	case protoreflect.EnumNumber:
		return nodes.New(string(f.Enum().Values().ByNumber(v).Name()))
	case protoreflect.Message:
		return messageNode(v)
	}
	panic(fmt.Sprintf("write field %s: unknown kind %s", f.FullName(), f.Kind()))
}
