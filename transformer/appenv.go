package transformer

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// The application is pointed at the forward proxy by the variables that its
// runtime reads. Where it had a proxy already, the chain is
//
//	before:  app ──HTTP_PROXY──▶ corporate proxy ──▶ internet
//	after:   app ──HTTP_PROXY──▶ sidecar ──HTTP_PROXY──▶ corporate proxy ──▶ internet

// proxyVariable is one row of the table of variables that name a proxy.
// Programs disagree on upper and lower case (curl reads http_proxy only in
// lower case), so each row is written in both.
type proxyVariable struct {
	upper  string
	scheme func(s *Settings) string // "" leaves the variable alone
}

var proxyVariables = []proxyVariable{
	{contract.EnvUpstreamHTTPProxy, webScheme},
	{contract.EnvUpstreamHTTPSProxy, webScheme},
	{contract.EnvUpstreamAllProxy, func(s *Settings) string {
		if s.socks() {
			return "socks5h" // the h has the proxy resolve names, which is what gets recorded
		}
		return ""
	}},
}

func webScheme(s *Settings) string {
	if s.socks() {
		return "socks5"
	}
	return "http"
}

// nodeUseEnvProxy makes Node.js 22.21, 24 and later read the proxy variables
// (https://nodejs.org/api/cli.html#node_use_env_proxy1).
const nodeUseEnvProxy = "NODE_USE_ENV_PROXY"

// directHosts are reached without the proxy: the pod itself, the cloud's
// metadata server, and the Kubernetes API.
func directHosts(s *Settings, cfg *Config) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1", "169.254.169.254"}
	if !s.KubeAPISupport {
		hosts = append(hosts, "$(KUBERNETES_SERVICE_HOST)", "kubernetes.default.svc")
	}
	return append(hosts, cfg.NoProxy...)
}

// variable is one that a container has: written out, or taken from an object.
type variable struct {
	entry *yaml.Node // its item under env; nil when it comes through envFrom
	index int        // of that item
	value string     // when it is a literal
	from  *yaml.Node // its valueFrom, when it is not
}

// findVariable looks a variable up as Kubernetes would: the last entry under
// env, and if there is none the last source under envFrom that has it.
func (in *input) findVariable(w *workload, c container, name string) (variable, bool) {
	env := items(field(c.Node, "env"))
	for i := len(env) - 1; i >= 0; i-- {
		if strAt(env[i], "name") == name {
			return variable{entry: env[i], index: i, value: strAt(env[i], "value"), from: field(env[i], "valueFrom")}, true
		}
	}
	sources := items(field(c.Node, "envFrom"))
	for i := len(sources) - 1; i >= 0; i-- {
		key, ok := strings.CutPrefix(name, strAt(sources[i], "prefix"))
		if !ok {
			continue
		}
		if cm := in.find("", "ConfigMap", w.namespace(), strAt(sources[i], "configMapRef", "name")); cm != nil {
			if v := field(cm.Node, "data", key); v != nil {
				return variable{index: -1, value: str(v)}, true
			}
		}
		secret := strAt(sources[i], "secretRef", "name")
		if obj := in.find("", "Secret", w.namespace(), secret); obj != nil {
			if field(obj.Node, "data", key) != nil || field(obj.Node, "stringData", key) != nil {
				return variable{index: -1, from: mapping("secretKeyRef", mapping("name", secret, "key", key))}, true
			}
		}
	}
	return variable{}, false
}

// appEnv edits the variables of one container.
type appEnv struct {
	*editor
	in *input
	w  *workload
	c  container
	// upstream collects what the sidecar is to chain to, by variable.
	upstream map[string]*yaml.Node
	results  *Results
}

func (a *appEnv) say(code Code, name, found, message string, args ...any) {
	*a.results = append(*a.results, result(code, a.w.Object, "container %s: "+message, append([]any{a.c.name()}, args...)...).
		at(pathItem(a.c.path+".env", name), found, ""))
}

// add appends a variable that the container does not have.
func (a *appEnv) add(name, value string) {
	env, path := a.collection(a.c.Node, a.c.path, "env", yaml.SequenceNode)
	a.appendItem(env, path, mapping("name", name, "value", value))
}

// set gives a variable a value, whatever it had before.
func (a *appEnv) set(name string, v variable, exists bool, value string) {
	path := pathItem(a.c.path+".env", name)
	switch {
	case !exists || v.entry == nil:
		a.add(name, value)
	case field(v.entry, "value") != nil:
		a.replace(v.entry, path, "value", value)
	default:
		if v.from != nil {
			a.remove(v.entry, path, "valueFrom")
		}
		a.put(v.entry, path, "value", value)
	}
}

// addExtra adds the variables of extra-container-env-vars.
func (a *appEnv) addExtra() {
	for _, extra := range a.w.settings.ExtraEnv {
		v, exists := a.in.findVariable(a.w, a.c, extra.Name)
		switch {
		case !exists:
			a.add(extra.Name, extra.Value)
		case v.from != nil || v.value != extra.Value:
			a.say(CodeEnvKept, extra.Name, v.value, "variable %s of extra-container-env-vars is set already and is left as it is", extra.Name)
		}
	}
}

// pointAtProxy sets the proxy variables, and chains to what they were.
func (a *appEnv) pointAtProxy() {
	s := &a.w.settings
	for _, row := range proxyVariables {
		scheme := row.scheme(s)
		ours := fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.ProxyOutPort)
		for _, name := range []string{row.upper, strings.ToLower(row.upper)} {
			v, exists := a.in.findVariable(a.w, a.c, name)
			switch {
			case exists && v.from == nil && (v.value == "" || isSidecar(v.value, s.ProxyOutPort)):
				if v.value == "" && scheme != "" {
					a.set(name, v, exists, ours)
				}
			case exists:
				if a.chain(row.upper, name, v) && scheme != "" {
					a.set(name, v, exists, ours)
				}
			case scheme != "":
				a.add(name, ours)
			}
		}
	}
	if _, exists := a.in.findVariable(a.w, a.c, nodeUseEnvProxy); !exists {
		a.add(nodeUseEnvProxy, "1")
	}
	a.mergeNoProxy()
	a.nameUnseenSources()
}

// chain has the sidecar go through the proxy that the application had.
func (a *appEnv) chain(upper, name string, v variable) bool {
	next := mapping("name", upper, "valueFrom", v.from)
	if v.from == nil {
		value, err := expandReferences(v.value, items(field(a.c.Node, "env"))[:max(v.index, 0)])
		if err != nil {
			a.say(CodeProxyConflict, name, v.value, "variable %s cannot be chained to: %v; allowed: a value, or a reference to a variable with one that is set before it", name, err)
			return false
		}
		next = mapping("name", upper, "value", value)
	}
	if other := a.upstream[upper]; other != nil && !same(other, next) {
		a.say(CodeProxyConflict, name, v.value, "variable %s names another proxy than the pod's other variables or containers do, and the sidecar can go through one only", name)
		return false
	}
	if a.upstream[upper] == nil {
		a.say(CodeProxyChained, name, "", "variable %s named a proxy: the sidecar goes through it now", name)
	}
	a.upstream[upper] = next
	return true
}

// mergeNoProxy adds the hosts that must be reached directly to those that the
// application already reaches so. Both spellings get the same list: programs
// disagree on which one wins. An existing list is the upstream's too.
func (a *appEnv) mergeNoProxy() {
	upper := contract.EnvUpstreamNoProxy
	names := []string{upper, strings.ToLower(upper)}
	hosts := directHosts(&a.w.settings, a.in.cfg)
	var have []string
	for _, name := range names {
		v, exists := a.in.findVariable(a.w, a.c, name)
		switch {
		case !exists:
		case v.from != nil:
			a.say(CodeNoProxyKept, name, "", "variable %s comes from %s and is left as it is; localhost and 127.0.0.1 belong on it", name, fromWhere(v.from))
			return
		case slices.Contains(splitList(v.value), "*"):
			a.say(CodeNoProxyKept, name, v.value, "variable %s is *: no outbound call will reach the proxy", name)
			return
		default:
			have = append(have, without(splitList(v.value), have)...)
			if value, err := expandReferences(v.value, items(field(a.c.Node, "env"))[:max(v.index, 0)]); err == nil && value != "" {
				a.upstream[upper] = mapping("name", upper, "value", value)
			}
		}
	}
	for _, name := range names {
		v, exists := a.in.findVariable(a.w, a.c, name)
		own := splitList(v.value)
		if missing := without(append(slices.Clone(have), hosts...), own); len(missing) > 0 {
			a.set(name, v, exists, strings.Join(append(own, missing...), ","))
		}
	}
}

// nameUnseenSources reports objects that may hold variables of the same name.
func (a *appEnv) nameUnseenSources() {
	for _, source := range items(field(a.c.Node, "envFrom")) {
		for _, ref := range [][2]string{{"ConfigMap", "configMapRef"}, {"Secret", "secretRef"}} {
			kind, name := ref[0], strAt(source, ref[1], "name")
			if name == "" || a.in.find("", kind, a.w.namespace(), name) != nil {
				continue
			}
			r := result(CodeEnvFrom, a.w.Object, "container %s: envFrom takes variables from %s %s, which is not in the input; if it sets a proxy variable too, the rendered one wins and its proxy is not chained to", a.c.name(), kind, name)
			*a.results = append(*a.results, r.at(a.c.path+".envFrom", name, ""))
		}
	}
}

// isSidecar tells that a proxy URL leads to the sidecar already, as it does
// where the variables were set by hand.
func isSidecar(value string, port int) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return (host == "localhost" || host == "127.0.0.1" || host == "::1") && u.Port() == fmt.Sprint(port)
}

var reference = regexp.MustCompile(`\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)`)

// expandReferences resolves $(NAME) in a value as Kubernetes does, from the
// variables set before it. The sidecar lacks those, so one that has no literal
// value is an error.
func expandReferences(value string, before []*yaml.Node) (string, error) {
	var failed error
	out := reference.ReplaceAllStringFunc(value, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		name := ref[2 : len(ref)-1]
		for i := len(before) - 1; i >= 0; i-- {
			if strAt(before[i], "name") == name && field(before[i], "valueFrom") == nil {
				text, err := expandReferences(strAt(before[i], "value"), before[:i])
				if err != nil {
					failed = err
				}
				return text
			}
		}
		failed = fmt.Errorf("its reference %s has no value that is known at render time", ref)
		return ref
	})
	return out, failed
}

// fromWhere names a valueFrom for people.
func fromWhere(from *yaml.Node) string {
	for _, key := range []string{"secretKeyRef", "configMapKeyRef"} {
		if ref := field(from, key); ref != nil {
			kind := strings.ToUpper(key[:1]) + strings.TrimSuffix(key[1:], "KeyRef")
			return kind + " " + strAt(ref, "name")
		}
	}
	return "valueFrom"
}

// same compares nodes by their content.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
