package transformer

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// If the application had a proxy, the sidecar forwards through it:
//
// before:  app ──HTTP_PROXY──▶ corporate proxy ──▶ internet
// after:   app ──HTTP_PROXY──▶ sidecar ──HTTP_PROXY──▶ corporate proxy ──▶ internet
//
// Hosts in the application's NO_PROXY bypass that proxy. The option captureNoProxy says who reaches
// these hosts directly:
//
//         the application has a proxy       it has only NO_PROXY
// auto    the sidecar reaches the hosts     the application does
// true    the sidecar reaches the hosts     the sidecar does
// false   the application does              the application does
//
// The sidecar captures the calls to the hosts that it reaches, and has them in its NO_PROXY.

// chain returns the variables with which the sidecar forwards through the proxy that the application
// had. The sidecar uses one proxy for all calls. So containers with different proxies are an error,
// and containers without a proxy are not pointed at the sidecar.
func chain(apps []*appEnv) map[string]*yaml.Node {
	had := make([]map[string]*yaml.Node, len(apps))
	first := -1
	for i, a := range apps {
		had[i] = a.proxies()
		switch {
		case len(had[i]) == 0:
		case first < 0:
			first = i
		case !maps.EqualFunc(had[i], had[first], same):
			a.say(CodeProxyConflict, sortedKeys(had[i])[0], "", "its proxy variables differ from those of container %s, and the sidecar can forward through one proxy only; allowed: the same proxy in all containers", apps[first].c.name())
		}
	}
	if first < 0 { // the sidecar reaches everything directly
		for _, a := range apps {
			a.delegate(a.directHosts(), false)
		}
		return map[string]*yaml.Node{}
	}
	upstream, direct := had[first], apps[first].directHosts()
	for i, a := range apps {
		if a.apart = len(had[i]) == 0 && !a.pointed(); a.apart {
			a.say(CodeProxyApart, proxyVariables[0].upper, "", "it has no proxy, and the sidecar forwards through the proxy of container %s. So the render did not point it at the sidecar, and its outbound calls are not captured. To capture them, give it the same proxy variables", apps[first].c.name())
			continue
		}
		hosts := a.directHosts()
		direct = slices.DeleteFunc(direct, func(h string) bool { return !slices.Contains(hosts, h) })
	}
	for i, a := range apps {
		if !a.apart {
			a.delegate(direct, len(had[i]) > 0)
		}
	}
	if len(direct) > 0 {
		upstream[contract.EnvUpstreamNoProxy] = nodes.Mapping("name", contract.EnvUpstreamNoProxy, "value", strings.Join(direct, ","))
	}
	for _, row := range proxyVariables {
		if upstream[row.upper] != nil {
			apps[first].say(CodeProxyChained, row.upper, "", "variable %s named a proxy; the sidecar now forwards through it", row.upper)
		}
	}
	return upstream
}

// delegate makes the sidecar reach the hosts directly, if the configuration says so, except for those
// that every container reaches directly.
func (a *appEnv) delegate(hosts []string, hadProxy bool) {
	if mode := a.in.cfg.CaptureNoProxy; mode == "true" || mode == captureAuto && hadProxy {
		a.delegated = without(hosts, append(directHosts(&a.w.settings, a.in.cfg), "::1"))
	}
}

// proxies returns the variables that name a proxy other than the sidecar, with the values that the
// sidecar needs.
func (a *appEnv) proxies() map[string]*yaml.Node {
	had := map[string]*yaml.Node{}
	for _, row := range proxyVariables {
		for _, name := range spellings(row.upper) {
			v, exists := a.in.findVariable(a.w, a.c, name)
			if !exists || v.from == nil && v.value == "" || a.leadsToSidecar(v) {
				continue
			}
			next := nodes.Mapping("name", row.upper, "valueFrom", yaml.CopyYNode(v.from))
			if v.from == nil {
				value, err := a.upstreamValue(v)
				if err != nil {
					a.say(CodeProxyConflict, name, redacted(v.value), "the sidecar can't forward through the proxy in variable %s: %v", name, err)
					continue
				}
				next = nodes.Mapping("name", row.upper, "value", value)
			}
			if other := had[row.upper]; other != nil && !same(other, next) {
				a.say(CodeProxyConflict, name, redacted(v.value), "variables %s and %s name two proxies, and the sidecar can forward through one only; allowed: the same proxy in both", row.upper, name)
			}
			had[row.upper] = next
		}
	}
	return had
}

// upstreamValue returns the value that gives a variable the same meaning in the sidecar.
func (a *appEnv) upstreamValue(v variable) (string, error) {
	moved := a.moved(v)
	if moved.unknown != "" {
		return "", fmt.Errorf("the render can't resolve its reference %s; allowed: a value, or a reference to a variable with a value that is set before it", moved.unknown)
	}
	if !strings.Contains(moved.value, "$(") { // only Kubernetes can resolve the remaining references
		if _, err := contract.ParseProxy(strings.ReplaceAll(moved.value, "$$", "$")); err != nil {
			return "", err
		}
	}
	return moved.value, nil
}

// directHosts returns the hosts that a container reaches without its proxy. The sidecar also reaches
// them directly, for programs that do not read the list.
func (a *appEnv) directHosts() (hosts []string) {
	for _, name := range noProxyNames {
		if v, exists := a.in.findVariable(a.w, a.c, name); exists && v.from == nil {
			hosts = append(hosts, without(contract.SplitHosts(a.moved(v).value), hosts)...)
		}
	}
	return hosts
}

// leadsToSidecar reports whether a variable leads to the sidecar, for example because it was set by
// hand. It accepts the sidecar's port, and the default port if nothing else in the pod listens there.
func (a *appEnv) leadsToSidecar(v variable) bool {
	return v.leadsTo(a.w.settings.ProxyOutPort) || v.leadsTo(contract.OutPort) && a.w.takenPorts()[contract.OutPort] == ""
}

// pointed reports whether a container was pointed at the sidecar by hand.
func (a *appEnv) pointed() bool {
	for _, row := range proxyVariables {
		for _, name := range spellings(row.upper) {
			if v, exists := a.in.findVariable(a.w, a.c, name); exists && a.leadsToSidecar(v) {
				return true
			}
		}
	}
	return false
}

func leadsToPort(value string, port int) bool {
	u, err := contract.ParseProxy(value)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return (host == "localhost" || host == "127.0.0.1" || host == "::1") && u.Port() == fmt.Sprint(port)
}

// redacted returns a value for messages, without a password.
func redacted(value string) string {
	if u, err := contract.ParseProxy(value); err == nil && u.User != nil {
		return u.Redacted()
	}
	return credentials.ReplaceAllString(value, "${1}xxxxx@")
}

// credentials matches text that may be a user and a password, for values that are not URLs.
var credentials = regexp.MustCompile(`^([a-zA-Z][-+.a-zA-Z0-9]*://)?.*@`)

var reference = regexp.MustCompile(`\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)`)

// serviceVariable matches the variables that Kubernetes sets in every container:
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
var serviceVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$`)

// moved returns the value that a variable needs in another container to mean the same. It resolves
// each $(NAME), as Kubernetes does, from the variables set before it. It keeps references to variables
// without a literal value.
func (a *appEnv) moved(v variable) expansion {
	if v.entry == nil { // Kubernetes resolves no references in values from envFrom
		return expansion{strings.ReplaceAll(v.value, "$", "$$"), ""}
	}
	return expandReferences(v.value, nodes.Items(nodes.At(a.c.Node, "env"))[:v.index])
}

// longestValue is the length of the longest variable that Linux passes to a program.
const longestValue = 128 << 10

// expansion is an expanded value, and the first reference in it without a literal value; "" if there
// is none.
type expansion struct{ value, unknown string }

// expandReferences resolves the references in a value from the variables before it, in their order. It
// keeps a reference if the result would be too long for a variable.
func expandReferences(value string, before []*yaml.Node) expansion {
	if !strings.Contains(value, "$(") {
		return expansion{value, ""}
	}
	known := map[string]expansion{}
	for _, item := range before {
		name := nodes.StringAt(item, "name")
		if nodes.At(item, "valueFrom") != nil {
			delete(known, name)
			continue
		}
		known[name] = expand(nodes.StringAt(item, "value"), known)
	}
	return expand(value, known)
}

func expand(value string, known map[string]expansion) expansion {
	size, unknown := len(value), ""
	value = reference.ReplaceAllStringFunc(value, func(ref string) string {
		if ref == "$$" { // an escaped $, which the other container needs too
			return ref
		}
		name := ref[2 : len(ref)-1]
		e, found := known[name]
		switch {
		case found && size+len(e.value) <= longestValue:
			size += len(e.value)
			unknown = cmp.Or(unknown, e.unknown)
			return e.value
		case found, !serviceVariable.MatchString(name):
			unknown = cmp.Or(unknown, ref)
		}
		return ref
	})
	return expansion{value, unknown}
}

// same reports whether nodes have the same meaning. The order of keys in mappings does not matter.
func same(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		other := b.Content[i]
		if a.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			other = nodes.At(b, a.Content[i-1].Value)
		}
		if other == nil || !same(a.Content[i], other) {
			return false
		}
	}
	return true
}
