package transformer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An undo of the objects around a workload relies on its sidecar's variables, which name the ports of
// the sidecar and of the application.

// addedTargetPort inverts the addition of a targetPort. Without one, a port leads to the pod's port
// with the same number.
func addedTargetPort(t *taking, s site) (bool, error) {
	if s.id != "targetPort" {
		return false, fmt.Errorf("%w; allowed: targetPort", errNotWritten)
	}
	return t.leadsBack(s.now, func(_ *injected, app int) bool { return t.portOf(s.holder) == app })
}

func replacedTargetPort(t *taking, s site, old *yaml.Node) (bool, error) {
	if old.Kind != yaml.ScalarNode {
		return false, errors.New("it restores a value that is not a port")
	}
	return t.leadsBack(s.now, func(i *injected, app int) bool {
		port := nodes.Int(old)
		switch {
		case nodes.IsNull(old) || nodes.String(old) == "0":
			port = t.portOf(s.holder)
		case port == 0:
			port = i.w.portNumber(nodes.String(old))
		}
		return port == app
	})
}

func (t *taking) portOf(port *yaml.Node) int {
	if t.o.kind() == "ServiceEntry" {
		return nodes.Int(nodes.At(port, "number"))
	}
	return nodes.Int(nodes.At(port, "port"))
}

// leadsBack reports whether a Service's port leads to the sidecar of a workload that the Service
// selects, and would lead to its application after the undo.
func (t *taking) leadsBack(now *yaml.Node, application func(i *injected, app int) bool) (bool, error) {
	s := asService(t.o)
	if s == nil {
		return false, errNotRendered
	}
	known, changed := false, true
	for _, i := range t.all {
		if i.w.namespace() != s.namespace() || !selects(s.selector, i.w.podLabels()) || !i.inbound() {
			continue
		}
		known = true
		for _, r := range i.routes {
			if nodes.Int(now) != r.In {
				continue
			}
			if changed = false; application(i, r.App) {
				return true, nil
			}
		}
	}
	switch {
	case !known:
		return false, errNotRendered
	case changed:
		return false, nil
	}
	return false, errors.New("it restores a port that is not the application's")
}

var errAlone = errors.New("the application's port, which a render writes it next to, is missing; remove this port too")

// follows returns an error unless a port belongs to a sidecar whose application's port satisfies a
// condition, as it does if the sidecar's port followed the application's.
func (t *taking) follows(port int, condition func(i *injected, app int) bool) error {
	err := errNotRendered
	for _, i := range t.all {
		for _, r := range i.routes {
			switch {
			case !i.inbound() || r.In != port:
			case condition(i, r.App):
				return nil
			default:
				err = errAlone
			}
		}
	}
	return err
}

func addedPolicyPort(t *taking, s site) (bool, error) {
	if !same(s.now, nodes.Mapping("protocol", "TCP", "port", nodes.Int(nodes.At(s.now, "port")))) {
		return false, nil
	}
	err := t.follows(nodes.Int(nodes.At(s.now, "port")), func(i *injected, app int) bool { return i.w.portAmong(s.others(), app) })
	return err == nil, err
}

func addedPortMode(t *taking, s site) (bool, error) {
	changed := false
	err := t.follows(atoi(s.id), func(_ *injected, app int) bool {
		mode := nodes.At(s.holder, strconv.Itoa(app))
		changed = mode != nil && !same(mode, s.now)
		return mode != nil
	})
	return err == nil && !changed, err
}

func addedPortText(t *taking, s site) (bool, error) {
	if key, ok := s.sibling("key"); ok && key != "destination.port" {
		return false, fmt.Errorf("%w for %s; allowed: destination.port", errNotWritten, key)
	}
	err := t.follows(nodes.Int(s.now), func(_ *injected, app int) bool {
		return slices.ContainsFunc(nodes.Items(s.others()), func(n *yaml.Node) bool { return nodes.String(n) == strconv.Itoa(app) })
	})
	return err == nil, err
}

// listens returns the injected workloads whose pods an Istio Sidecar selects.
func (t *taking) listens() []*injected {
	return slices.DeleteFunc(slices.Clone(t.all), func(i *injected) bool {
		return !i.inbound() || !sidecarSelects(t.o, i.w)
	})
}

// endpointOf returns the route of the sidecar to which an endpoint leads; nil if there is none.
func (t *taking) endpointOf(endpoint string) (*contract.InRoute, error) {
	listening := t.listens()
	if len(listening) == 0 {
		return nil, errNotRendered
	}
	for _, i := range listening {
		for _, r := range i.routes {
			if endpoint == sidecarEndpoint(r) {
				return &r, nil
			}
		}
	}
	return nil, nil
}

func addedListener(t *taking, s site) (bool, error) {
	endpoint := nodes.StringAt(s.now, "defaultEndpoint")
	to, err := t.endpointOf(endpoint)
	_, made := t.log.Was["spec.ingress"] // if so, the render wrote all listeners
	if err != nil {
		return false, err
	}
	generated := onlyKeys(s.now, "port", "defaultEndpoint", "connectionPool") && onlyKeys(nodes.At(s.now, "port"), "number", "protocol", "name") &&
		strings.HasSuffix(nodes.StringAt(s.now, "port", "name"), "-"+s.id)
	return generated && (to != nil || endpoint == "" && made), nil
}

func addedEndpoint(t *taking, s site) (bool, error) {
	if s.id != "defaultEndpoint" {
		return false, fmt.Errorf("%w; allowed: defaultEndpoint", errNotWritten)
	}
	to, err := t.endpointOf(nodes.String(s.now))
	return to != nil, err
}

func replacedEndpoint(t *taking, s site, old *yaml.Node) (bool, error) {
	to, err := t.endpointOf(nodes.String(s.now))
	if to == nil {
		return false, err
	}
	if old.Kind != yaml.ScalarNode || !leadsTo(nodes.Mapping("defaultEndpoint", old), to.App) {
		return false, errors.New("it restores an endpoint that is not the application's")
	}
	return true, nil
}

var wholeNamespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/\*$`)

func addedEgressHost(t *taking, s site) (bool, error) {
	// A collector without a namespace is in the workload's namespace.
	neighbour := s.id == "./*" && slices.ContainsFunc(t.all, func(i *injected) bool {
		if i.value(contract.EnvUpstreamReady) != "" { // so is a responder
			return true
		}
		c := newCollector(i.value(contract.EnvSink))
		return c != nil && c.service != "" && c.inNamespace == ""
	})
	switch {
	case !neighbour && !wholeNamespace.MatchString(s.id):
		return false, fmt.Errorf("%w; allowed: a namespace's hosts, NAMESPACE/*", errNotWritten)
	case len(t.listens()) == 0:
		return false, errNotRendered
	}
	return nodes.String(s.now) == s.id, nil
}

func addedEgress(t *taking, s site) (bool, error) {
	ok, err := addedEgressHost(t, site{id: s.id, now: nodes.New(s.id)})
	return ok && same(s.now, nodes.Mapping("hosts", []string{s.id})), err
}

// routed returns the Services of injected workloads to which an object routes.
func (t *taking) routed() []*service {
	var out []*service
	for _, k := range routeKinds {
		if !t.o.is(k.group, k.kind) {
			continue
		}
		backends := k.backends(t.in, t.o)
		for _, i := range t.all {
			for _, s := range t.in.servicesOf(i.w) {
				if i.inbound() && slices.ContainsFunc(backends, s.isNamed) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func addedRoute(t *taking, s site) (bool, error) {
	services := t.routed()
	if len(services) == 0 {
		return false, errNotRendered
	}
	var hosts []string
	for _, svc := range services {
		hosts = append(hosts, svc.host())
	}
	if s.last() == "gateways" {
		hosts = []string{meshGateway}
	}
	if !slices.Contains(hosts, s.id) {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(hosts))
	}
	return nodes.String(s.now) == s.id, nil
}

func addedParent(t *taking, s site) (bool, error) {
	services := t.routed()
	if !slices.ContainsFunc(services, func(svc *service) bool { return svc.name() == s.id }) {
		return false, errNotRendered
	}
	return same(s.now, nodes.Mapping("group", "", "kind", "Service", "name", s.id)), nil
}
