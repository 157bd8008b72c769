package transformer

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	extensions "istio.io/api/extensions/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingbeta "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// istioKinds are the specs of Istio's kinds, by group and kind. All versions of a
// kind have the same fields.
var istioKinds = map[string]proto.Message{
	istioGroup + "/DestinationRule": &networking.DestinationRule{},
	istioGroup + "/EnvoyFilter":     &networking.EnvoyFilter{},
	istioGroup + "/Gateway":         &networking.Gateway{},
	istioGroup + "/ProxyConfig":     &networkingbeta.ProxyConfig{},
	istioGroup + "/ServiceEntry":    &networking.ServiceEntry{},
	istioGroup + "/Sidecar":         &networking.Sidecar{},
	istioGroup + "/VirtualService":  &networking.VirtualService{},
	istioGroup + "/WorkloadEntry":   &networking.WorkloadEntry{},
	istioGroup + "/WorkloadGroup":   &networking.WorkloadGroup{},

	"security.istio.io/AuthorizationPolicy":   &security.AuthorizationPolicy{},
	"security.istio.io/PeerAuthentication":    &security.PeerAuthentication{},
	"security.istio.io/RequestAuthentication": &security.RequestAuthentication{},
	"telemetry.istio.io/Telemetry":            &telemetry.Telemetry{},
	"extensions.istio.io/TrafficExtension":    &extensions.TrafficExtension{},
	"extensions.istio.io/WasmPlugin":          &extensions.WasmPlugin{},
}

// istioOldNames are spellings of fields that Kubernetes still accepts, in addition to those of the
// API.
var istioOldNames = map[protoreflect.FullName]string{
	fullName(&networking.HTTPRoute{}): "mirror_percent",
	fullName(&security.JWTRule{}):     "jwks_uri",
}

// istioRelease is the Istio release of the istio.io/api version in go.mod.
const istioRelease = "1.31"

// unknownField is a field that an Istio kind does not have.
type unknownField struct {
	path string // the field path in the object
	kind string // the path without positions in lists
	name string
	// known are the names that are allowed.
	known []string
}

// checkFields reports the fields of Istio objects that istio.io/api does not have. It reports a field
// that many objects share once.
func (in *input) checkFields() Results {
	type place struct{ kind, field string }
	type finding struct {
		unknownField
		o    *Object
		more int // objects that have it too
	}
	found := map[place]*finding{}
	var order []*finding
	for _, o := range in.objects {
		spec := istioKinds[o.group()+"/"+o.kind()]
		if spec == nil {
			continue
		}
		for _, u := range istioUnknown(o, spec) {
			at := place{o.kind(), u.kind}
			switch f := found[at]; {
			case f == nil:
				found[at] = &finding{u, o, 0}
				order = append(order, found[at])
			case f.o != o:
				f.more++
			}
		}
	}
	var results Results
	for _, f := range order {
		message := fmt.Sprintf("%s: %s is not a field of Istio %s%s", f.o.Ref(), f.path, istioRelease, didYouMean(f.name, f.known))
		if f.more > 0 {
			message += fmt.Sprintf("; also in %d more", f.more)
		}
		r := result(CodeUnknownField, f.o, "%s; Kubernetes rejects or drops it, unless the cluster's Istio is newer", message).At(f.path, f.name, "")
		results = append(results, r.ifStrict(in.cfg))
	}
	return results
}

// istioUnknown returns the unknown fields of one object.
func istioUnknown(o *Object, spec proto.Message) []unknownField {
	var l fieldLookup
	top := []string{"apiVersion", "kind", "metadata", "spec", "status"}
	for i := 0; o.Node.Kind == yaml.MappingNode && i+1 < len(o.Node.Content); i += 2 {
		l.steps = append(l.steps[:0], fieldStep{key: o.Node.Content[i].Value})
		switch key := l.steps[0].key; {
		case key == "spec":
			l.message(o.Node.Content[i+1], spec.ProtoReflect().Descriptor())
		case !slices.Contains(top, key):
			l.note(top)
		}
	}
	return l.unknown
}

// fieldLookup searches messages for unknown fields. It builds a path only when it finds one, which is
// rare.
type fieldLookup struct {
	steps   []fieldStep
	unknown []unknownField
}

// fieldStep is a key of a mapping, or a position in a list.
type fieldStep struct {
	key    string
	index  int
	inList bool
}

// message searches a message and its nested messages. Types with a special JSON format, such as a
// duration or a Struct, have no Istio fields.
func (l *fieldLookup) message(n *yaml.Node, m protoreflect.MessageDescriptor) {
	if m == nil || m.FullName().Parent() == "google.protobuf" || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		l.steps = append(l.steps, fieldStep{key: n.Content[i].Value})
		value := n.Content[i+1]
		switch f := m.Fields().ByJSONName(n.Content[i].Value); {
		case f == nil:
			if n.Content[i].Value != istioOldNames[m.FullName()] {
				l.note(jsonNames(m.Fields()))
			}
		case f.Message() == nil:
		case f.IsMap():
			l.entries(value, f.MapValue().Message())
		case f.IsList():
			for j, item := range nodes.Items(value) {
				l.steps = append(l.steps, fieldStep{index: j, inList: true})
				l.message(item, f.Message())
				l.steps = l.steps[:len(l.steps)-1]
			}
		default:
			l.message(value, f.Message())
		}
		l.steps = l.steps[:len(l.steps)-1]
	}
}

// entries searches the values of a map, which may have any keys.
func (l *fieldLookup) entries(n *yaml.Node, m protoreflect.MessageDescriptor) {
	for i := 0; m != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		l.steps = append(l.steps, fieldStep{key: n.Content[i].Value})
		l.message(n.Content[i+1], m)
		l.steps = l.steps[:len(l.steps)-1]
	}
}

func (l *fieldLookup) note(known []string) {
	u := unknownField{name: l.steps[len(l.steps)-1].key, known: known}
	for _, s := range l.steps {
		if s.inList {
			u.path = pathIndex(u.path, s.index)
		} else {
			u.path, u.kind = pathKey(u.path, s.key), pathKey(u.kind, s.key)
		}
	}
	l.unknown = append(l.unknown, u)
}

func jsonNames(fields protoreflect.FieldDescriptors) []string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	return names
}
