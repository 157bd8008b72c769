package transformer

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// A JVM does not read proxy variables. Every JVM reads JAVA_TOOL_OPTIONS, and logs at its start that
// it has:
//
// -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4140         java-proxy
// -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4140
// -Dhttp.nonProxyHosts=localhost|127.0.0.1|…               also applies to https
// -Djavax.net.ssl.trustStore=… …                           tls-out, with either annotation
//
// The JVM splits the value at blanks. None of these flags contains a blank or a quote, so they need no
// quoting. If a property occurs twice, the last one counts. Sources:
// https://docs.oracle.com/en/java/javase/21/core/java-networking.html#proxies, and
// Arguments::parse_options_buffer of OpenJDK.

const (
	javaProxyFlag   = "-Dhttp.proxyHost="
	javaSProxyFlag  = "-Dhttps.proxyHost="
	javaNoProxyFlag = "-Dhttp.nonProxyHosts="
)

// javaLaterOptions are variables that Java reads after JAVA_TOOL_OPTIONS, so that they win over it.
var javaLaterOptions = []string{"JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}

// javaProxy returns the flags that point a JVM at a proxy on a loopback port.
func javaProxy(port int) string {
	return fmt.Sprintf("%s127.0.0.1 -Dhttp.proxyPort=%[2]d %[3]s127.0.0.1 -Dhttps.proxyPort=%[2]d", javaProxyFlag, port, javaSProxyFlag)
}

// optJava appends flags to JAVA_TOOL_OPTIONS.
func (a *appEnv) optJava() {
	s := &a.w.settings
	v, exists := a.in.findVariable(a.w, a.c, javaToolOptions)
	var flags []string
	if s.JavaProxy && !a.apart {
		flags = append(flags, a.javaProxyFlags(v)...)
	}
	if s.intercepts() {
		flags = append(flags, a.javaTrustFlags(v)...)
	}
	for _, name := range javaLaterOptions {
		if v, exists := a.in.findVariable(a.w, a.c, name); exists && s.JavaProxy && namesJavaProxy(v.value) && !javaLeadsTo(v.value, s.ProxyOutPort) {
			a.say(CodeJavaKept, name, "", "variable %s names a proxy, which Java takes instead of the one in %s: its calls are not captured", name, javaToolOptions)
		}
	}
	added := strings.Join(flags, " ")
	switch {
	case added == "":
	case v.from != nil && !s.JavaProxy:
		a.say(CodeTrustKept, javaToolOptions, "", "variable %s comes from %s, so the render did not change it: Java will not trust the CA unless these flags are added there: %s", javaToolOptions, fromWhere(v.from), added)
	case v.from != nil:
		a.say(CodeJavaKept, javaToolOptions, "", "variable %s comes from %s, so the render did not change it: Java will not do what these flags ask for unless they are added there: %s", javaToolOptions, fromWhere(v.from), added)
	case exists && v.value != "":
		a.set(javaToolOptions, v, exists, v.value+" "+added)
		a.options = append(a.options, added)
	default:
		a.set(javaToolOptions, v, exists, added)
		a.options = append(a.options, added)
	}
}

// namesJavaProxy reports whether options point Java's HTTP or HTTPS calls at a proxy.
func namesJavaProxy(options string) bool {
	return strings.Contains(options, javaProxyFlag) || strings.Contains(options, javaSProxyFlag)
}

// javaLeadsTo reports whether options point both at a loopback port, as javaProxy does.
func javaLeadsTo(options string, port int) bool {
	for _, protocol := range []string{"http", "https"} {
		host := javaOption(options, "-D"+protocol+".proxyHost=")
		if host != "127.0.0.1" && host != "localhost" || javaOption(options, "-D"+protocol+".proxyPort=") != strconv.Itoa(port) {
			return false
		}
	}
	return true
}

// javaProxyFlags returns the proxy flags that a value lacks.
func (a *appEnv) javaProxyFlags(v variable) (flags []string) {
	s := &a.w.settings
	if namesJavaProxy(v.value) {
		if !javaLeadsTo(v.value, s.ProxyOutPort) {
			a.say(CodeJavaKept, javaToolOptions, "", "variable %s already names a proxy, so the render did not change it: Java's calls are not captured; remove its flags for a proxy, and set HTTPS_PROXY to that proxy to have the sidecar go through it", javaToolOptions)
		}
		return nil
	}
	hosts, dropped := a.nonProxyHosts()
	if len(dropped) > 0 {
		a.say(CodeJavaNoProxy, javaToolOptions, strings.Join(dropped, ","), "Java's %s supports neither networks nor ports, so it lacks these entries of NO_PROXY, and Java's calls to them go through the sidecar: %s", strings.TrimSuffix(javaNoProxyFlag, "="), strings.Join(dropped, ", "))
	}
	own := strings.FieldsFunc(javaOption(v.value, javaNoProxyFlag), func(c rune) bool { return c == '|' })
	return append(flags, javaProxy(s.ProxyOutPort), javaNoProxyFlag+strings.Join(append(own, without(hosts, own)...), "|"))
}

// javaTrustFlags returns the truststore flags that a value lacks.
func (a *appEnv) javaTrustFlags(v variable) []string {
	s := &a.w.settings
	flags := s.TLSJavaToolOptionsTo
	if flags == "" && (s.TLSJavaToolOptions || s.JavaProxy) {
		flags = javaTruststore
	}
	switch {
	case flags == "", strings.Contains(v.value, flags):
		return nil
	case flags == javaTruststore && strings.Contains(v.value, trustStoreFlag):
		a.say(CodeTrustKept, javaToolOptions, "", "variable %s already names a truststore, so the render did not change it: Java will not trust the CA unless that store holds it", javaToolOptions)
		return nil
	}
	return []string{flags}
}

// javaOption returns the value of a flag; the last one if there are several. It does not support
// values that need quotes.
func javaOption(options, flag string) (value string) {
	for _, word := range strings.Fields(options) {
		if after, ok := strings.CutPrefix(word, flag); ok {
			value = strings.Trim(after, `'"`)
		}
	}
	return value
}

// javaHost matches NO_PROXY entries that http.nonProxyHosts accepts unchanged: a host or an address,
// with an optional leading wildcard, or a reference.
var javaHost = regexp.MustCompile(`^(\*?\.?[A-Za-z0-9_][A-Za-z0-9_.-]*|\$\([-._A-Za-z][-._A-Za-z0-9]*\))$`)

// nonProxyHosts returns the rendered NO_PROXY of the container in Java's notation, and the entries
// that this notation can't express. Most programs treat example.com as that host and the hosts below
// it, and .example.com as only the hosts below it.
func (a *appEnv) nonProxyHosts() (hosts, dropped []string) {
	var entries []string
	for _, name := range noProxyNames {
		if v, exists := a.in.findVariable(a.w, a.c, name); exists && v.from == nil {
			entries = append(entries, without(contract.SplitHosts(v.value), entries)...)
		}
	}
	add := func(host string) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	for _, entry := range append(entries, without(directHosts(&a.w.settings, a.in.cfg), entries)...) {
		addr, err := netip.ParseAddr(strings.Trim(entry, "[]"))
		switch {
		case err == nil && addr.Is6():
			add("[" + addr.String() + "]")
		case entry == "*":
			add(entry)
		case !javaHost.MatchString(entry):
			dropped = append(dropped, entry)
		case err == nil, slices.Contains(localHosts, entry), entry == kubernetesAPI, strings.HasPrefix(entry, "$("):
			add(entry)
		case strings.HasPrefix(entry, "*"):
			add("*." + strings.TrimLeft(entry, "*."))
		case strings.HasPrefix(entry, "."):
			add("*" + entry)
		default:
			add(entry)
			add("*." + entry)
		}
	}
	return hosts, dropped
}

// withoutFlags returns the value of JAVA_TOOL_OPTIONS before flags were added. It returns false if the
// value doesn't end in flags of a render.
func (i *injected) withoutFlags(now string) (was string, ok bool) {
	if this, _ := i.writes(javaToolOptions, now); this {
		return "", true
	}
	for at := range len(now) { // the longest first, because added flags may end in the flags of another annotation
		if now[at] != ' ' {
			continue
		}
		if this, _ := i.writes(javaToolOptions, now[at+1:]); this {
			return now[:at], true
		}
	}
	return "", false
}
