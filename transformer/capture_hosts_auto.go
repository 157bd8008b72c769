package transformer

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/publicsuffix"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer/endpoints"
)

// With auto, the render captures the hosts that the environment of the application names:
//
// env, envFrom, valueFrom ──▶ variables ──▶ package endpoints ──▶ hosts ─┬▶ captured
// ConfigMaps, Secrets ────────┘                 pairs of variables ──┘    └▶ left out, and why
//
// It takes a host that is a Service of the input or has a public name, and reports the others. It also
// takes hosts of HTTP, although the proxy variables cover them: it can't report whether a program reads
// these variables, and a program that does is still captured only once.

// appVariable is a variable as the program of a container sees it.
type appVariable struct {
	name, value string
	// secret reports whether part of the value comes from a Secret.
	secret bool
	// key is the key of the Secret or ConfigMap entry that has the value.
	key string
	// absent names that entry if the input lacks it.
	absent string
}

// maxEnvironment limits how much of a container's envFrom is read, because envFrom may name an object
// any number of times. Linux starts no program with arguments and variables beyond 6 MiB (execve(2),
// ARG_MAX).
const maxEnvironment = 6 << 20

// variablesOf returns a container's variables, sorted by name. Like Kubernetes, it reads envFrom
// first, lets later variables replace earlier ones, and resolves references to earlier variables.
func (in *input) variablesOf(w *workload, c container) []appVariable {
	all := map[string]appVariable{}
	size := 0
	for _, source := range nodes.Items(nodes.At(c.Node, "envFrom")) {
		for _, ref := range []struct{ kind, key string }{{"ConfigMap", "configMapRef"}, {"Secret", "secretRef"}} {
			object := nodes.StringAt(source, ref.key, "name")
			if object == "" {
				continue
			}
			values := in.valuesOf(w, ref.kind, object)
			for _, key := range sortedKeys(values) {
				name, value := nodes.StringAt(source, "prefix")+key, values[key]
				if size += len(name) + len(value); size > maxEnvironment {
					break
				}
				if !envName.MatchString(name) {
					continue
				}
				all[name] = appVariable{name: name, value: value, key: key, secret: ref.kind == "Secret"}
			}
		}
	}
	for _, item := range nodes.Items(nodes.At(c.Node, "env")) {
		v := appVariable{name: nodes.StringAt(item, "name")}
		if from := nodes.At(item, "valueFrom"); from != nil {
			v = in.referred(w, v.name, from)
		} else {
			v.value = nodes.StringAt(item, "value")
			v.value, v.secret = resolve(v.value, all)
		}
		all[v.name] = v
	}
	return slices.SortedFunc(maps.Values(all), func(a, b appVariable) int { return strings.Compare(a.name, b.name) })
}

// referred returns a variable with the value that a valueFrom refers to.
func (in *input) referred(w *workload, name string, from *yaml.Node) appVariable {
	for _, ref := range []struct{ kind, key string }{{"ConfigMap", "configMapKeyRef"}, {"Secret", "secretKeyRef"}} {
		at := nodes.At(from, ref.key)
		if at == nil {
			continue
		}
		object := nodes.StringAt(at, "name")
		v := appVariable{name: name, key: nodes.StringAt(at, "key"), secret: ref.kind == "Secret"}
		value, ok := in.valueOf(w, ref.kind, object, v.key)
		switch v.value = value; {
		case ok:
		case in.find("", ref.kind, w.namespace(), object) != nil:
			v.absent = fmt.Sprintf("%s %s, which has no key %s", ref.kind, object, v.key)
		default:
			v.absent = fmt.Sprintf("%s %s, which is not in the input", ref.kind, object)
		}
		return v
	}
	return appVariable{name: name}
}

// valuesOf returns all entries of a ConfigMap or Secret of the input.
func (in *input) valuesOf(w *workload, kind, name string) map[string]string {
	o := in.find("", kind, w.namespace(), name)
	if o == nil {
		return nil
	}
	values := map[string]string{}
	for _, part := range []string{"data", "stringData"} {
		for key, value := range nodes.Strings(nodes.At(o.Node, part)) {
			if part == "data" {
				value = plainData(kind, value)
			}
			values[key] = value
		}
	}
	return values
}

// resolve replaces references to variables with their values. It keeps references without a known
// value.
func resolve(value string, known map[string]appVariable) (resolved string, secret bool) {
	size := len(value)
	resolved = reference.ReplaceAllStringFunc(value, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		v, ok := known[ref[2:len(ref)-1]]
		if !ok || v.absent != "" || size+len(v.value) > longestValue {
			return ref
		}
		size += len(v.value)
		secret = secret || v.secret
		return v.value
	})
	return resolved, secret
}

// passwordName matches variables, and keys of Secrets, that contain only a secret. The render does not
// read their values unless they are URLs. It does not read variables that name a proxy either, because
// the sidecar forwards through that proxy.
var passwordName = regexp.MustCompile(`(?i)(^|[-_.])(pass|passwd|password|passphrase|pwd|token|secret|cred|creds|credentials?|(api|access|private|secret|signing|encryption)[-_.]?key|salt)[-_.]?[0-9]*$`)

// isPassword reports whether a variable contains only a secret, judging by its names.
func (v appVariable) isPassword() bool {
	return (passwordName.MatchString(v.name) || passwordName.MatchString(v.key)) && !strings.Contains(v.value, "://")
}

// addressName matches variables that name an address to connect to.
var addressName = regexp.MustCompile(`(?i)(^|_)(url|uri|dsn|host|hosts|hostname|server|servers|addr|address|addresses|endpoint|endpoints|broker|brokers|jdbc_?url)$`)

// hostVariable matches the first of a pair of variables, such as DB_HOST with DB_PORT.
var hostVariable = regexp.MustCompile(`(?i)^(.*?)_?(host|hostname|hostaddr|server|addr|address)$`)

// naming is a variable that names a host.
type naming struct {
	appVariable
	endpoints.Endpoint
	at string // the variable and its container, for messages
}

// inference collects the hosts that the environment of a workload's containers names.
type inference struct {
	in    *input
	w     *workload
	taken map[int]string              // see portsOfPod
	found map[string]map[int][]naming // by host and port
	// refused has hosts with a port that can't be captured, each with the reason: see hostID.
	refused map[string]string
	left    map[string][]string // what is not captured, by reason
}

// inferHosts adds the hosts that the environment of a workload's containers names. It sorts them by
// name, so that they get the same addresses in every render. It returns where each was found, and what
// it left out.
func (in *input) inferHosts(w *workload, taken map[int]string, list *captureList) (found, left []string) {
	f := &inference{in, w, taken, map[string]map[int][]naming{}, map[string]string{}, map[string][]string{}}
	late, _ := in.lateContainers(w)
	for _, c := range append(w.appContainers(), late...) {
		f.read(c)
	}
	for _, host := range sortedKeys(f.found) {
		found = append(found, f.take(host, list)...)
	}
	for _, reason := range sortedKeys(f.left) {
		left = append(left, strings.Join(unique(f.left[reason]), ", ")+": "+reason)
	}
	return found, left
}

func (f *inference) leave(what, reason string) {
	f.left[reason] = append(f.left[reason], what)
}

// read reads the variables of a container.
func (f *inference) read(c container) {
	direct := f.in.reachedDirectly(f.w, c)
	variables := f.in.variablesOf(f.w, c)
	values := make(map[string]string, len(variables))
	for _, v := range variables {
		values[strings.ToUpper(v.name)] = v.value
	}
	for _, v := range variables {
		at := v.name + " of container " + c.name()
		if isProxyVariable(v.name) || slices.Contains(noProxyNames, v.name) || v.isPassword() {
			continue
		}
		if v.absent != "" {
			if addressName.MatchString(v.name) {
				f.leave(at, "it comes from "+v.absent)
			}
			continue
		}
		reading := endpoints.Read(v.value)
		for _, reason := range reading.Left {
			f.leave(at, reason)
		}
		if len(reading.Endpoints)+len(reading.Left) == 0 {
			reading.Endpoints = pair(v, values)
		}
		for _, e := range reading.Endpoints {
			e, reason := f.in.judge(f.w, e, direct)
			n := naming{v, e, at}
			if reason != "" {
				f.leave(n.leftOut(reason))
				continue
			}
			if _, why := f.in.refusesHost(f.w, f.taken, e.Host, e.Port); why != "" {
				f.refused[f.in.hostID(f.w, e.Host)] = why
			}
			if f.found[e.Host] == nil {
				f.found[e.Host] = map[int][]naming{}
			}
			f.found[e.Host][e.Port] = append(f.found[e.Host][e.Port], n)
		}
	}
}

// take adds a host with all its known ports: those that were found, those of its Service, and 443 if
// an HTTP host may redirect to it. The hosts file leads calls to every port of the host to the
// sidecar. So take leaves out a host if one of its ports can't be captured.
func (f *inference) take(host string, list *captureList) (found []string) {
	ports := slices.Collect(maps.Keys(f.found[host]))
	id := f.in.hostID(f.w, host)
	more, owner := []int(nil), "the redirect to HTTPS that its port 80 may answer with"
	if svc := f.in.serviceOf(f.w, host); svc != nil {
		more, owner = svc.tcpPorts(), svc.Ref().String()
	} else if slices.Contains(ports, 80) {
		more = []int{443}
	}
	for _, port := range without(more, ports) {
		ports = append(ports, port)
		if _, why := f.in.refusesHost(f.w, f.taken, host, port); why != "" && f.refused[id] == "" {
			f.refused[id] = fmt.Sprintf("the hosts file would also lead calls to its port %d into the pod: %s", port, why)
		}
	}
	slices.Sort(ports)
	reason := f.refused[id]
	if reason == "" && !list.add(host, ports...) {
		reason = fmt.Sprintf("a pod has room for %d hosts and %d ports of hosts", contract.MaxCaptureHosts, contract.MaxCapturePorts)
	}
	for _, port := range ports {
		if reason != "" {
			for _, n := range f.found[host][port] {
				f.leave(n.leftOut(reason))
			}
			continue
		}
		var from []string
		for _, n := range f.found[host][port] {
			from = append(from, n.at)
		}
		if from == nil {
			from = []string{owner}
		}
		found = append(found, fmt.Sprintf("%s:%d from %s", host, port, strings.Join(unique(from), " and ")))
	}
	return found
}

// leftOut says what was left out, and why. It repeats nothing of a Secret's value. If that value is
// not a URL, it may be anything, so leftOut gives no specific reason either.
func (n naming) leftOut(reason string) (string, string) {
	switch {
	case n.secret && !strings.Contains(n.value, "://"):
		return n.at, "its value comes from a Secret, and is not a host in the input or on the internet that could be captured"
	case n.secret:
		return n.at, reason
	case n.Port == 0:
		return n.Host + " (" + n.at + ")", reason
	}
	return fmt.Sprintf("%s:%d (%s)", n.Host, n.Port, n.at), reason
}

// pair reads a variable that contains only a host. The port is in the variable next to it, as DB_PORT
// is next to DB_HOST, or else 0. The keys of values are in upper case.
func pair(v appVariable, values map[string]string) []endpoints.Endpoint {
	m := hostVariable.FindStringSubmatch(v.name)
	if m == nil || !endpoints.IsHost(v.value) {
		return nil
	}
	e := endpoints.Endpoint{Host: strings.ToLower(strings.TrimSuffix(v.value, "."))}
	prefix := strings.ToUpper(m[1])
	e.Port = cmp.Or(atoi(values[prefix+"_PORT"]), atoi(values[prefix+"PORT"]))
	if e.Port == 0 && v.name == "PGHOST" { // libpq's variable has a default port
		e.Port = 5432
	}
	return []endpoints.Endpoint{e}
}

// judge completes a host's port, and says why the host can't be captured; "" if it can.
func (in *input) judge(w *workload, e endpoints.Endpoint, direct func(string) bool) (endpoints.Endpoint, string) {
	svc := in.serviceOf(w, e.Host)
	switch {
	case svc == nil && !in.entered(w, e.Host) && !isPublic(e.Host):
		return e, "it is neither a Service of the input nor a public name; to capture it, name it in tapedeck.dev/capture-hosts"
	case svc != nil && svc.pod == "" && svc.selectsOwn(w):
		return e, "it is the workload's own Service"
	case direct(e.Host):
		return e, "it is on NO_PROXY"
	}
	if svc != nil && e.Port == 0 && len(svc.tcpPorts()) == 1 {
		e.Port = svc.tcpPorts()[0]
	}
	switch {
	case e.Port < 1 || e.Port > 65535:
		return e, "its port is not known"
	case svc != nil && !svc.called(e.Port):
		return e, fmt.Sprintf("%s has no TCP port %d", svc.Ref(), e.Port)
	}
	return e, ""
}

// entered reports whether a ServiceEntry of the input has a host.
func (in *input) entered(w *workload, host string) bool {
	return slices.ContainsFunc(in.byKind[istioGroup+"/ServiceEntry"], func(o *Object) bool {
		return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "hosts")), func(n *yaml.Node) bool {
			suffix, wild := strings.CutPrefix(nodes.String(n), "*")
			return nodes.String(n) == host || wild && strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix)
		})
	})
}

// isPublic reports whether a name ends in a top-level domain of the internet. Names in a cluster or
// company, such as postgres.db or db.internal, do not.
func isPublic(host string) bool {
	i := strings.LastIndex(host, ".")
	if i < 0 {
		return false
	}
	_, icann := publicsuffix.PublicSuffix(host[i+1:])
	return icann
}

// reachedDirectly returns a function that reports whether a container must reach a host without the
// sidecar: those of the option noProxy, and those of the container's NO_PROXY unless the sidecar takes
// them over.
func (in *input) reachedDirectly(w *workload, c container) func(host string) bool {
	if w.settings.responder != "" { // it answers calls to all hosts
		return func(string) bool { return false }
	}
	a := &appEnv{in: in, w: w, c: c, results: &Results{}} // the render reports its results elsewhere
	hosts := slices.Clone(in.cfg.NoProxy)
	if mode := in.cfg.CaptureNoProxy; mode == "false" || mode == captureAuto && len(a.proxies()) == 0 {
		hosts = append(hosts, a.directHosts()...)
	}
	list := httpproxy.Config{HTTPProxy: "http://127.0.0.1:1", NoProxy: strings.Join(hosts, ",")}
	proxy := list.ProxyFunc()
	return func(host string) bool {
		via, err := proxy(&url.URL{Scheme: "http", Host: host})
		return err == nil && via == nil
	}
}
