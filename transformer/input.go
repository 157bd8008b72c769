package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// input has the configuration and every object of a render, indexed.
type input struct {
	cfg       *Config
	objects   []*Object
	byKind    map[string][]*Object // in order of namespace and name
	workloads []*workload          // in the order of the input
	services  map[servicePair][]*service
	version   string     // the version of networking.istio.io to write
	sink      *collector // nil if the sink is a directory
	externals []External // hosts that ServiceEntries open; set once the injected workloads are known
	replays   []*replay  // in the order in which they were read

	// These fields record the render's changes to objects that concern several workloads. Each object
	// has one editor, is created under one name, and is pointed at the sidecar once.
	editors            map[*Object]*editor
	createdNames       map[string]bool
	labelled           map[podLabel][]*workload
	servicePointed     map[*yaml.Node]int
	routesChecked      map[*Object]bool
	serviceEntriesDone bool
	mountedChecked     map[checked]bool // ConfigMaps and Secrets
	testConfigs        map[checked]readConfig
}

const istioGroup = "networking.istio.io"

func newInput(objects []*Object, cfg *Config) *input {
	in := &input{cfg: cfg, objects: objects, byKind: map[string][]*Object{}, services: map[servicePair][]*service{},
		editors: map[*Object]*editor{}, createdNames: map[string]bool{}, servicePointed: map[*yaml.Node]int{}, routesChecked: map[*Object]bool{}, mountedChecked: map[checked]bool{}}
	for _, o := range objects {
		in.index(o)
		if w := asWorkload(o); w != nil {
			in.workloads = append(in.workloads, w)
		}
	}
	for _, list := range in.byKind {
		sortObjects(list)
	}
	in.version, in.sink = in.istioVersion(), newCollector(cfg.Sink)
	return in
}

func (in *input) index(o *Object) {
	key := o.group() + "/" + o.kind()
	in.byKind[key] = append(in.byKind[key], o)
	if s := asService(o); s != nil {
		pair := s.pair()
		in.services[pair] = append(in.services[pair], s)
	}
}

// add adds an object that a render creates to the input, so that look-ups find it.
func (in *input) add(o *Object) {
	in.index(o)
	sortObjects(in.byKind[o.group()+"/"+o.kind()])
}

func sortObjects(list []*Object) {
	slices.SortStableFunc(list, func(a, b *Object) int {
		return cmp.Or(strings.Compare(a.namespace(), b.namespace()), strings.Compare(a.name(), b.name()))
	})
}

// renderOrder returns the workloads to inject, sorted by namespace, kind and name. Copies come last.
// So the changes that several workloads share depend neither on the order of the input nor on whether
// there are copies.
func (in *input) renderOrder() []*workload {
	var out []*workload
	for _, w := range in.workloads {
		if w.injecting {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b *workload) int {
		return cmp.Or(cmp.Compare(a.copies(), b.copies()), strings.Compare(a.namespace(), b.namespace()), cmp.Compare(a.kind.rank(), b.kind.rank()), strings.Compare(a.name(), b.name()))
	})
	return out
}

// podLabel is the label that identifies a workload's pods in a namespace.
type podLabel struct{ namespace, value string }

// labelWorkloads records which workloads have which label after the render.
func (in *input) labelWorkloads() {
	in.labelled = map[podLabel][]*workload{}
	for _, w := range in.workloads {
		value := w.podLabels()[contract.LabelWorkload]
		if w.injecting {
			value = w.label()
		}
		if value != "" {
			at := podLabel{w.namespace(), value}
			in.labelled[at] = append(in.labelled[at], w)
		}
	}
}

// editorOf returns the only editor of an object, and creates it on first use.
func (in *input) editorOf(o *Object) *editor {
	if in.editors[o] == nil {
		in.editors[o] = newEditor(o)
	}
	return in.editors[o]
}

// find returns an object by its identity, or nil.
func (in *input) find(group, kind, namespace, name string) *Object {
	list := in.byKind[group+"/"+kind]
	i, found := slices.BinarySearchFunc(list, [2]string{namespace, name}, func(o *Object, want [2]string) int {
		return cmp.Or(strings.Compare(o.namespace(), want[0]), strings.Compare(o.name(), want[1]))
	})
	if !found {
		return nil
	}
	return list[i]
}

func (in *input) namespaceOf(o *Object) *Object {
	return in.find("", "Namespace", "", o.namespace())
}

// service is an object that leads to the pods that it selects: a Service, or a ServiceEntry, which
// Istio treats alike.
type service struct {
	*Object
	selector map[string]string
}

// asService returns an object as a service if it selects pods, or nil. An ExternalName, and a Service
// with manual endpoints, select none.
func asService(o *Object) *service {
	var selector map[string]string
	switch {
	case o.is("", "Service") && nodes.StringAt(o.Node, "spec", "type") != "ExternalName":
		selector = nodes.Strings(nodes.At(o.Node, "spec", "selector"))
	case o.is(istioGroup, "ServiceEntry"):
		selector = nodes.Strings(nodes.At(o.Node, "spec", "workloadSelector", "labels"))
	}
	if len(selector) == 0 {
		return nil
	}
	return &service{o, selector}
}

// entry reports whether the service is a ServiceEntry.
func (s *service) entry() bool { return s.kind() == "ServiceEntry" }

// servicePair is one label of a Service's selector. Services are indexed by such a label, so that
// finding the Services of a pod does not scan all of them.
type servicePair struct{ namespace, key, value string }

func (s *service) pair() servicePair {
	key := sortedKeys(s.selector)[0]
	return servicePair{s.namespace(), key, s.selector[key]}
}

// selects reports whether a label selector matches labels.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if value, has := labels[k]; !has || value != v {
			return false
		}
	}
	return true
}

// selectsPods reports whether the labels of a selector match those of a workload's pods.
func selectsPods(selector *yaml.Node, w *workload) bool {
	labels := nodes.At(w.template, "metadata", "labels")
	for i := 0; selector != nil && i+1 < len(selector.Content); i += 2 {
		if value := nodes.At(labels, selector.Content[i].Value); value == nil || nodes.String(value) != nodes.String(selector.Content[i+1]) {
			return false
		}
	}
	return true
}

// servicesOf returns the services that lead to a workload's pods: Services sorted by name, and then
// ServiceEntries. The Service of a replay in place is the last Service.
func (in *input) servicesOf(w *workload) []*service {
	out := in.servicesOfPods(w.namespace(), w.podLabels())
	rank := func(s *service) int {
		if w.replay != nil && s.Object == w.replay.service {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b *service) int {
		return cmp.Or(strings.Compare(a.kind(), b.kind()), cmp.Compare(rank(a), rank(b)), strings.Compare(a.name(), b.name()))
	})
	return out
}

// servicesOfPods returns the services that select pods with the given labels, in any order.
func (in *input) servicesOfPods(namespace string, labels map[string]string) []*service {
	var out []*service
	for key, value := range labels {
		for _, s := range in.services[servicePair{namespace, key, value}] {
			if selects(s.selector, labels) {
				out = append(out, s)
			}
		}
	}
	return out
}

// serviceElsewhere names, for a result, a Service that would select a workload's pods if both had the
// same namespace, and one of the two has none.
func (in *input) serviceElsewhere(w *workload) string {
	for _, o := range in.objects {
		s := asService(o)
		if s != nil && s.namespace() != w.namespace() && (s.namespace() == "" || w.namespace() == "") && selects(s.selector, w.podLabels()) {
			return fmt.Sprintf("; %s would, if both named their namespace", s.Ref())
		}
	}
	return ""
}

// noServiceAdvice suggests, for a result, what else the user may want if no Service selects a
// workload's pods.
func (in *input) noServiceAdvice(w *workload) string {
	if elsewhere := in.serviceElsewhere(w); elsewhere != "" {
		return elsewhere
	}
	for _, c := range w.appContainers() {
		if len(nodes.Items(nodes.At(c.Node, "ports"))) > 0 {
			return ""
		}
	}
	outbound := w.settings.ProxyProtocol
	if _, after, both := strings.Cut(outbound, ":"); both {
		outbound = after
	} else if outbound == "tcp" {
		outbound = "http"
	}
	return fmt.Sprintf("; its containers declare no port either, so if nothing calls it, set proxy-type to %s and proxy-protocol to %s", typeForward, outbound)
}

// hosts returns the host names of a Service.
func (s *service) hosts() []string {
	ns := s.namespace()
	hosts := []string{s.name()}
	if ns != "" {
		for _, suffix := range []string{"", ".svc", ".svc.cluster.local"} {
			hosts = append(hosts, s.name()+"."+ns+suffix)
		}
	}
	return hosts
}

// servicePort is one port of a Service, with the port of the pod to which it leads.
type servicePort struct {
	node     *yaml.Node
	service  *service
	number   int
	target   int // 0 if no container has a port with that name
	protocol string
}

// ports returns a service's TCP ports, resolved for a workload's pods.
func (s *service) ports(w *workload) []servicePort {
	var out []servicePort
	for _, p := range nodes.Items(nodes.At(s.Node, "spec", "ports")) {
		var port servicePort
		switch proto := nodes.StringAt(p, "protocol"); {
		case s.entry():
			port = servicePort{p, s, nodes.Int(nodes.At(p, "number")), 0, istioProtocols[strings.ToLower(proto)]}
		case proto == "" || proto == "TCP":
			port = servicePort{p, s, nodes.Int(nodes.At(p, "port")), 0, istioProtocol(nodes.StringAt(p, "appProtocol"), nodes.StringAt(p, "name"))}
		default:
			continue
		}
		target := nodes.At(p, "targetPort")
		port.target = nodes.Int(target)
		switch {
		case target == nil || nodes.IsNull(target) || nodes.String(target) == "0":
			port.target = port.number
		case port.target == 0:
			port.target = w.portNumber(nodes.String(target))
		}
		out = append(out, port)
	}
	return out
}

// istioProtocols maps the appProtocol of a Service port, or the prefix of its name, to the protocol in
// a Sidecar's listener
// (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/).
var istioProtocols = map[string]string{
	"http": "HTTP", "http2": "HTTP2", "https": "HTTPS", "tls": "TLS", "tcp": "TCP",
	"grpc": "GRPC", "grpc-web": "GRPC-Web", "mongo": "MONGO", "mysql": "MySQL", "redis": "REDIS",
	"kubernetes.io/h2c": "HTTP2", "kubernetes.io/ws": "HTTP", "kubernetes.io/wss": "HTTPS",
}

// istioProtocol returns the protocol that a Service port declares. It returns "" if there is none;
// Istio then detects the protocol. Declaring HTTP for a Service that does not would turn gRPC into
// HTTP/1.1.
func istioProtocol(appProtocol, name string) string {
	if appProtocol != "" {
		return istioProtocols[strings.ToLower(appProtocol)]
	}
	name = strings.ToLower(name)
	if name == "grpc-web" || strings.HasPrefix(name, "grpc-web-") {
		return istioProtocols["grpc-web"]
	}
	prefix, _, _ := strings.Cut(name, "-")
	return istioProtocols[prefix]
}
