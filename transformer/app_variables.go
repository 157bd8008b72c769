package transformer

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The variables that the application's runtime reads point the application at the forward proxy.

// proxyVariable is one row of the table of variables that name a proxy. Programs disagree on case
// (curl reads http_proxy only in lower case), so the render writes each variable in both.
type proxyVariable struct {
	upper  string
	scheme func(s *Settings) string // "" leaves the variable alone
}

var proxyVariables = []proxyVariable{
	{contract.EnvUpstreamHTTPProxy, webScheme},
	{contract.EnvUpstreamHTTPSProxy, webScheme},
	{contract.EnvUpstreamAllProxy, func(s *Settings) string {
		if s.socks() {
			return "socks5h" // with the h the proxy resolves names, so it can record them
		}
		return ""
	}},
}

// spellings returns a variable's name in upper case, as given, and in lower case.
func spellings(upper string) []string { return []string{upper, strings.ToLower(upper)} }

func webScheme(s *Settings) string {
	if s.socks() {
		return "socks5"
	}
	return "http"
}

// nodeUseEnvProxy makes Node.js 22.21, 24 and later read the proxy variables
// (https://nodejs.org/api/cli.html#node_use_env_proxy1).
const nodeUseEnvProxy = "NODE_USE_ENV_PROXY"

// LocalVariables returns the variables, as NAME=VALUE, that send the calls of a program on this
// machine through a proxy on a loopback port, and make it trust the CA whose files are in trustDir.
// These are the variables of the tables that a render uses, and the one that Java reads, because Java
// reads no others. LocalVariables keeps the value that getenv returns for Java's variable.
func LocalVariables(port int, trustDir string, getenv func(string) string) (all []string) {
	s := new(Settings)
	for _, row := range proxyVariables {
		if scheme := row.scheme(s); scheme != "" {
			for _, name := range spellings(row.upper) {
				all = append(all, fmt.Sprintf("%s=%s://127.0.0.1:%d", name, scheme, port))
			}
		}
	}
	all = append(all, nodeUseEnvProxy+"=1")
	for _, name := range noProxyNames {
		all = append(all, name+"="+strings.Join(localHosts, ","))
	}
	in := func(text string) string { return strings.ReplaceAll(text, contract.TrustDir, trustDir) }
	for _, row := range trustVariables {
		all = append(all, row.Name+"="+in(row.Value))
	}
	java := in(javaTruststore) + " " + javaProxy(port)
	return append(all, javaOptions+"="+java, javaToolOptions+"="+strings.TrimSpace(getenv(javaToolOptions)+" "+java))
}

// localHosts are the hosts that a program on this machine reaches without a proxy: itself.
var localHosts = []string{"localhost", "127.0.0.1"}

// kubernetesAPI is the name of the Kubernetes API in a cluster.
const kubernetesAPI = "kubernetes.default.svc"

// directHosts returns the hosts that are reached without the proxy: the pod itself, the cloud's
// metadata server, and the Kubernetes API. It leaves out ::1, because httpx 0.24.0 fails on it. The
// sidecar relays calls to ::1 within the pod.
func directHosts(s *Settings, cfg *Config) []string {
	hosts := []string{"localhost", "127.0.0.1", "169.254.169.254"}
	if !s.KubeAPISupport || !s.intercepts() {
		hosts = append(hosts, "$(KUBERNETES_SERVICE_HOST)", kubernetesAPI)
	}
	if s.responder != "" { // the responder has the recorded answers of the other hosts
		return hosts
	}
	return append(hosts, contract.SplitHosts(strings.Join(cfg.NoProxy, ","))...)
}

// variable is a variable of a container, with a literal value or a reference.
type variable struct {
	entry *yaml.Node // its item under env; nil if it comes from envFrom
	index int        // the index of that item
	value string     // its literal value
	from  *yaml.Node // its valueFrom, if it has no literal value
	held  string     // the value in the input that from refers to, which may be secret
}

// leadsTo reports whether the variable names a proxy on a port of the pod.
func (v variable) leadsTo(port int) bool { return leadsToPort(v.value+v.held, port) }

// findVariable looks up a variable as Kubernetes does: the last entry under env, or else the last
// source under envFrom that has it.
func (in *input) findVariable(w *workload, c container, name string) (variable, bool) {
	env := nodes.Items(nodes.At(c.Node, "env"))
	for i := len(env) - 1; i >= 0; i-- {
		if nodes.StringAt(env[i], "name") != name {
			continue
		}
		v := variable{entry: env[i], index: i, value: nodes.StringAt(env[i], "value"), from: nodes.At(env[i], "valueFrom")}
		if ref := nodes.At(v.from, "secretKeyRef"); ref != nil {
			v.held, _ = in.valueOf(w, "Secret", nodes.StringAt(ref, "name"), nodes.StringAt(ref, "key"))
		} else if ref := nodes.At(v.from, "configMapKeyRef"); ref != nil {
			v.held, _ = in.valueOf(w, "ConfigMap", nodes.StringAt(ref, "name"), nodes.StringAt(ref, "key"))
		}
		return v, true
	}
	sources := nodes.Items(nodes.At(c.Node, "envFrom"))
	for i := len(sources) - 1; i >= 0; i-- {
		key, ok := strings.CutPrefix(name, nodes.StringAt(sources[i], "prefix"))
		if !ok {
			continue
		}
		if value, ok := in.valueOf(w, "ConfigMap", nodes.StringAt(sources[i], "configMapRef", "name"), key); ok {
			return variable{index: -1, value: value}, true
		}
		secret := nodes.StringAt(sources[i], "secretRef", "name")
		if value, ok := in.valueOf(w, "Secret", secret, key); ok {
			return variable{index: -1, held: value, from: nodes.Mapping("secretKeyRef", nodes.Mapping("name", secret, "key", key))}, true
		}
	}
	return variable{}, false
}

// valueOf returns the value under a key of a ConfigMap or Secret of the input.
func (in *input) valueOf(w *workload, kind, name, key string) (value string, ok bool) {
	o := in.find("", kind, w.namespace(), name)
	if o == nil {
		return "", false
	}
	data, text := nodes.At(o.Node, "data", key), nodes.At(o.Node, "stringData", key)
	switch {
	case text != nil:
		return nodes.String(text), true
	case data == nil:
		return "", false
	}
	return plainData(kind, nodes.String(data)), true
}

// plainData returns the plain value of an entry under data. Entries of a Secret are base64. For
// invalid base64 it returns the part that it can decode.
func plainData(kind, value string) string {
	if kind != "Secret" {
		return value
	}
	plain, _ := base64.StdEncoding.DecodeString(value)
	return string(plain)
}

// appEnv edits the variables of one container.
type appEnv struct {
	*editor
	in *input
	w  *workload
	c  container
	// apart reports whether the container is not pointed at the sidecar, because its calls would then
	// take another route.
	apart bool
	// delegated are the hosts that the sidecar reaches directly instead of the container, because of the
	// option captureNoProxy.
	delegated []string
	results   *Results
}

func (a *appEnv) say(code Code, name, found, message string, args ...any) {
	*a.results = append(*a.results, result(code, a.w.Object, "container %s: "+message, append([]any{a.c.name()}, args...)...).
		At(pathItem(a.c.path+".env", name), found, ""))
}

// add appends a variable that the container does not have.
func (a *appEnv) add(name, value string) {
	env, path := a.collection(a.c.Node, a.c.path, "env", yaml.SequenceNode)
	a.appendItem(env, path, nodes.Mapping("name", name, "value", value))
}

// set gives a variable a value, and replaces the present one.
func (a *appEnv) set(name string, v variable, exists bool, value string) {
	path := pathItem(a.c.path+".env", name)
	switch {
	case !exists || v.entry == nil:
		a.add(name, value)
	case nodes.At(v.entry, "value") != nil:
		a.replace(v.entry, path, "value", value)
		a.holdOwn(path+".value", name, v)
	case v.from != nil:
		a.supplant(v.entry, path, "valueFrom", "value", value)
	default:
		a.put(v.entry, path, "value", value)
	}
	if slices.Contains(noProxyNames, name) {
		a.log.Now[path+".value"] = digest(value)
	}
}

// holdOwn removes a value of the application from the undo record if it may be a secret and the pod
// has it elsewhere: see held.
func (a *appEnv) holdOwn(at, name string, v variable) {
	switch moved := a.moved(v).value; {
	case name == javaToolOptions:
		a.hold(at, v.value)
	case !isProxyVariable(name):
	case a.leadsToSidecar(v):
		if hasCredentials(v.value) { // the sidecar needs no credentials, and nothing else in the pod has them
			bare := credentials.ReplaceAllString(v.value, "$1")
			a.log.Was[at] = &bare
		}
	case moved == v.value || hasCredentials(v.value):
		a.hold(at, v.value)
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
			a.say(CodeEnvKept, extra.Name, "", "variable %s of extra-container-env-vars is already set, so the render did not change it", extra.Name)
		}
	}
}

// pointAtProxy sets the proxy variables.
func (a *appEnv) pointAtProxy() {
	a.nameUnseenSources()
	if a.apart {
		return
	}
	s := &a.w.settings
	for _, row := range proxyVariables {
		scheme, always := row.scheme(s), true
		if scheme == "" && s.responder != "" { // an existing variable must not lead elsewhere
			scheme, always = webScheme(s), false
		}
		if scheme == "" {
			continue
		}
		ours := fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.ProxyOutPort)
		for _, name := range spellings(row.upper) {
			v, exists := a.in.findVariable(a.w, a.c, name)
			if !exists && always || exists && !v.leadsTo(s.ProxyOutPort) {
				a.set(name, v, exists, ours)
			}
		}
	}
	if _, exists := a.in.findVariable(a.w, a.c, nodeUseEnvProxy); !exists {
		a.add(nodeUseEnvProxy, "1")
	}
	a.mergeNoProxy()
}

// noProxyNames are the spellings of the variable that lists the hosts to reach directly.
var noProxyNames = spellings(contract.EnvUpstreamNoProxy)

// mergeNoProxy adds the hosts that must be reached directly to those in the application's list. Both
// spellings get the same list, because programs disagree on which one wins.
func (a *appEnv) mergeNoProxy() {
	hosts := directHosts(&a.w.settings, a.in.cfg)
	if a.w.original != nil {
		a.goDirect(hosts)
		return
	}
	var have []string
	for _, name := range noProxyNames {
		v, exists := a.in.findVariable(a.w, a.c, name)
		own := a.undelegated(v)
		switch {
		case !exists:
		case v.from != nil:
			a.say(CodeNoProxyKept, name, "", "variable %s comes from %s, so the render did not change it; add localhost and 127.0.0.1 to it", name, fromWhere(v.from))
			return
		case !hostList.MatchString(v.value):
			a.say(CodeNoProxyKept, name, "", "variable %s has an entry with @, which is not a host, so the render did not change it; add localhost and 127.0.0.1 to it", name)
			return
		case slices.Contains(own, "*"):
			a.say(CodeNoProxyKept, name, v.value, "variable %s is *, so no outbound call will reach the proxy; remove it, or set the option captureNoProxy to true", name)
			return
		default:
			have = append(have, without(own, have)...)
		}
	}
	if wide := slices.DeleteFunc(slices.Clone(have), func(h string) bool { return !isWide(h) }); len(wide) > 0 {
		a.say(CodeNoProxyWide, noProxyNames[0], strings.Join(have, ","), "outbound calls to %s bypass the proxy because of NO_PROXY, and are not captured", strings.Join(wide, ", "))
	}
	all := append(have, without(hosts, have)...)
	for _, name := range noProxyNames {
		v, exists := a.in.findVariable(a.w, a.c, name)
		own := a.undelegated(v)
		if list := append(own, without(all, own)...); !slices.Equal(list, contract.SplitHosts(v.value)) {
			a.set(name, v, exists, strings.Join(list, ","))
		}
	}
}

// goDirect makes a container of a copy reach only these hosts directly.
func (a *appEnv) goDirect(hosts []string) {
	for _, name := range noProxyNames {
		v, exists := a.in.findVariable(a.w, a.c, name)
		a.set(name, v, exists, strings.Join(hosts, ","))
	}
}

// undelegated returns the entries of NO_PROXY that remain with the container.
func (a *appEnv) undelegated(v variable) []string {
	return slices.DeleteFunc(contract.SplitHosts(v.value), func(entry string) bool {
		v.value = entry // an entry may be a reference to several hosts
		hosts := contract.SplitHosts(a.moved(v).value)
		return len(hosts) > 0 && len(without(hosts, a.delegated)) == 0
	})
}

// isWide reports whether an entry of NO_PROXY covers many hosts of the cluster: a part of its DNS, or a
// network.
func isWide(host string) bool {
	_, _, err := net.ParseCIDR(host)
	host = strings.TrimPrefix(strings.TrimPrefix(host, "*"), ".")
	return err == nil || host == "svc" || host == "local" || host == "cluster.local" || host == "svc.cluster.local"
}

// nameUnseenSources reports objects outside the input that may have variables with the same names.
func (a *appEnv) nameUnseenSources() {
	for _, source := range nodes.Items(nodes.At(a.c.Node, "envFrom")) {
		for _, ref := range [][2]string{{"ConfigMap", "configMapRef"}, {"Secret", "secretRef"}} {
			kind, name := ref[0], nodes.StringAt(source, ref[1], "name")
			if name == "" || a.in.find("", kind, a.w.namespace(), name) != nil {
				continue
			}
			r := result(CodeEnvFrom, a.w.Object, "container %s: envFrom takes variables from %s %s, which is not in the input. If it also sets a proxy, NO_PROXY or a trust variable, the rendered value wins, and the sidecar does not forward through that proxy", a.c.name(), kind, name)
			*a.results = append(*a.results, r.At(a.c.path+".envFrom", name, ""))
		}
	}
}

// fromWhere describes a valueFrom for messages.
func fromWhere(from *yaml.Node) string {
	for _, key := range []string{"secretKeyRef", "configMapKeyRef"} {
		if ref := nodes.At(from, key); ref != nil {
			kind := strings.ToUpper(key[:1]) + strings.TrimSuffix(key[1:], "KeyRef")
			return kind + " " + nodes.StringAt(ref, "name")
		}
	}
	return "valueFrom"
}
