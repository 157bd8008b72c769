package transformer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An undo of a variable relies on the pod itself, because a value may be a secret, and a record may be
// forged:
//
// HTTP_PROXY          restored from the sidecar's HTTP_PROXY, or from TAPEDECK_FORMER_HTTP_PROXY
//                     if the sidecar goes through the responder of a replay
// JAVA_TOOL_OPTIONS   the present value, without the flags that the render added
// NO_PROXY            restored from the record, which may have only hosts
// others              only ever added, and removed if the value is the render's

// editsOf returns the value of a variable of the sidecar with facts for which a record can't be
// trusted: additions that annotations and options requested, and names that the application already
// used. The sidecar does not read it. These are its entries:
//
// NAME:DIGEST       text that was added to a variable or as an annotation
// CONTAINER/NAME    a variable that the application itself has
// /KEY              an annotation that the pod itself has
func (e *editor) editsOf(w *workload, sidecar *yaml.Node) string {
	var out []string
	s := &w.settings
	own := &injected{w: w, env: sidecarVariables(sidecar), annotated: s}
	for _, extra := range s.ExtraEnv {
		out = append(out, addition(extra.Name, extra.Value))
	}
	options := e.options
	if flags := s.TLSJavaToolOptionsTo; flags != "" && s.intercepts() {
		options = append([]string{flags}, options...)
	}
	for _, flags := range options {
		if entry := addition(javaToolOptions, flags); flags != javaTruststore && !slices.Contains(out, entry) {
			out = append(out, entry)
		}
	}
	if e.hides() {
		out = append(out, addition(contract.AnnotationIgnore, "true"))
	}
	for _, c := range slices.Concat(w.appContainers(), w.late) {
		for _, item := range nodes.Items(nodes.At(c.Node, "env")) {
			name := nodes.StringAt(item, "name")
			_, any := own.writes(name, "")
			if entry := c.name() + "/" + name; any && !slices.Contains(e.log.Add[c.path+".env"], name) && !slices.Contains(out, entry) {
				out = append(out, entry)
			}
		}
	}
	at := w.at("metadata.annotations")
	if slices.Contains(e.log.Add[at], scrapeKeys[0]) {
		out = append(out, addition(scrapeKeys[0], "true"))
	}
	// Istio's injector adds annotations with the same names, so they count only if this render would
	// have added them.
	for _, key := range defaultContainers {
		if isClassic(sidecar) && nodes.At(w.template, "metadata", "annotations", key) != nil {
			out = append(out, "/"+key)
		}
	}
	return strings.Join(out, ",")
}

// addition returns the entry for a text that was added under a name.
func addition(name, text string) string { return name + ":" + digest(text) }

// notes reports whether the sidecar's variable has an entry.
func (i *injected) notes(entry string) bool {
	return slices.Contains(splitList(i.value(contract.EnvEdits)), entry)
}

// had reports whether the application already had something before the render: a variable of a
// container, or an annotation of the pod.
func (i *injected) had(container, name string) bool {
	return i.notes(container + "/" + name)
}

// hides reports whether the editor added the annotation that makes the ecosystem's operator ignore the
// workload.
func (e *editor) hides() bool {
	for _, added := range e.log.Add {
		if slices.Contains(added, contract.AnnotationIgnore) {
			return true
		}
	}
	return false
}

// scraped reports whether a render added the annotations that make Prometheus scrape the sidecar. The
// sidecar of an earlier version has no such entry, so its port decides.
func (i *injected) scraped() bool {
	former := nodes.At(i.sidecar.Node, "command") == nil
	return i.value(contract.EnvPrometheusPort) != "" &&
		(former || i.notes(addition(scrapeKeys[0], "true")))
}

// isClassic reports whether a sidecar is an ordinary container.
func isClassic(sidecar *yaml.Node) bool { return nodes.At(sidecar, "restartPolicy") == nil }

// hidden reports whether a render made the ecosystem's operator ignore the workload.
func (i *injected) hidden() bool {
	return i.notes(addition(contract.AnnotationIgnore, "true"))
}

// digest returns a short hash that distinguishes texts. It need not hide the text, because the pod
// itself contains it.
func digest(text string) string {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return strconv.FormatUint(hash.Sum64(), 36)
}

// configured returns whether configuration made the render add this text to a variable, and whether it
// made it add any text. For a render by a version whose sidecar has no such entries, the annotation
// decides.
func (i *injected) configured(name, text string) (this, any bool) {
	for _, entry := range splitList(i.value(contract.EnvEdits)) {
		if sum, ok := strings.CutPrefix(entry, name+":"); ok {
			this, any = this || sum == digest(text), true
		}
	}
	if any {
		return this, any
	}
	if i.annotated == nil {
		s, _ := readSettings(i.w, &Config{})
		i.annotated = &s
	}
	s := i.annotated
	for _, extra := range s.ExtraEnv {
		if extra.Name == name {
			this, any = this || extra.Value == text, true
		}
	}
	if name == javaToolOptions && text != "" && s.TLSJavaToolOptionsTo == text {
		this, any = true, true
	}
	return this, any
}

// writes returns whether a render writes this value into a variable, and whether it writes the
// variable with any value.
func (i *injected) writes(name, value string) (this, any bool) {
	if this, any = i.configured(name, value); this {
		return this, any
	}
	upper := strings.ToUpper(name)
	switch j := slices.IndexFunc(trustVariables, func(row TrustVariable) bool { return row.Name == name }); {
	case j >= 0:
		return value == trustVariables[j].Value, true
	case isProxyVariable(name):
		return leadsToPort(value, i.port(contract.EnvProxyOutPort)), true
	case upper == contract.EnvUpstreamNoProxy && slices.Contains(noProxyNames, name):
		hosts := contract.SplitHosts(value)
		return slices.Contains(hosts, "localhost") && slices.Contains(hosts, "127.0.0.1"), true
	case name == nodeUseEnvProxy:
		return value == "1", true
	case name == javaOptions, name == javaToolOptions:
		return value == javaTruststore, true
	}
	return false, any
}

func isProxyVariable(name string) bool {
	return slices.ContainsFunc(proxyVariables, func(row proxyVariable) bool {
		return row.upper == name || strings.EqualFold(row.upper, name) && strings.ToLower(name) == name
	})
}

// replacedNames lists the variables whose values a render replaces if the application has them.
func replacedNames() []string {
	var names []string
	for _, row := range proxyVariables {
		names = append(names, spellings(row.upper)...)
	}
	return append(append(names, noProxyNames...), javaToolOptions)
}

func replaces(name string) bool { return slices.Contains(replacedNames(), name) }

func addedVariable(t *taking, s site) (bool, error) {
	this, any := t.own.writes(s.id, nodes.StringAt(s.now, "value"))
	if !any {
		return false, fmt.Errorf("%w; allowed: the variables of docs/rendering.md, docs/trust-variables.md and those of extra-container-env-vars", errNotWritten)
	}
	if t.own.had(nodes.StringAt(s.trail[len(s.trail)-2], "name"), s.id) { // by name: a path may have the container's index instead
		return false, errOwn
	}
	if s.id == javaToolOptions && !this { // a value from envFrom precedes the added flags
		_, this = t.own.withoutFlags(nodes.StringAt(s.now, "value"))
	}
	return this && onlyKeys(s.now, "name", "value") && t.unchanged(pathItem(s.path, s.id)+".value", nodes.StringAt(s.now, "value")), nil
}

func addedValue(t *taking, s site) (bool, error) {
	if s.id != "value" || !replaces(s.last()) {
		return false, fmt.Errorf("%w; allowed: the value of a proxy variable, of NO_PROXY or of %s", errNotWritten, javaToolOptions)
	}
	this, _ := t.own.writes(s.last(), nodes.String(s.now))
	return this && t.unchanged(s.path+".value", nodes.String(s.now)), nil
}

func replacedVariable(t *taking, s site, old *yaml.Node) (bool, error) {
	name, now, was := s.step(-2), nodes.String(s.now), nodes.String(old)
	switch {
	case !replaces(name):
		return false, fmt.Errorf("%w; allowed: the value of a proxy variable, of NO_PROXY or of %s", errNotWritten, javaToolOptions)
	case old.Kind != yaml.ScalarNode:
		return false, errors.New("it restores a value that is not a variable's value")
	case name == javaToolOptions:
		own, ok := t.own.withoutFlags(now)
		if strings.Contains(was, held) {
			return false, nil
		}
		if ok && own != strings.TrimSpace(was) && own != was {
			return false, errors.New("it restores flags that the variable does not have")
		}
		return ok, nil
	}
	if this, _ := t.own.writes(name, now); !this || !t.unchanged(s.path, now) {
		return false, nil
	}
	if slices.Contains(noProxyNames, name) {
		if !hostList.MatchString(was) {
			return false, errors.New("it restores a value that is not a list of hosts")
		}
		return true, nil
	}
	if was != "" && !leadsToPort(was, contract.OutPort) && !leadsToPort(was, t.own.port(contract.EnvProxyOutPort)) {
		t.later = append(t.later, func() { // runs after the variables to which it refers are restored
			env := nodes.Items(s.list())
			i := slices.Index(env, s.holder)
			if expandReferences(was, env[:max(i, 0)]).value != nodes.StringAt(t.own.former(name), "value") {
				t.refuse(s.path, errors.New("it restores a proxy that the sidecar does not forward through"))
			}
		})
	}
	return true, nil
}

// former returns the sidecar's variable with the application's former value of a proxy variable. A
// sidecar that goes through a responder has it under a separate name.
func (i *injected) former(name string) *yaml.Node {
	name = strings.ToUpper(name)
	if i.env[contract.EnvUpstreamReady] != nil {
		name = contract.EnvFormerPrefix + name
	}
	return i.env[name]
}

// unchanged reports whether a value is still the one that the render wrote, if the record has its
// digest.
func (t *taking) unchanged(path, value string) bool {
	was, known := t.log.Now[path]
	return !known || was == digest(value)
}

// hostList matches a value of NO_PROXY in any spelling. It rejects an @, since the value may then be a
// password.
var hostList = regexp.MustCompile(`^[^@]*$`)

// replacedReference allows an undo to restore a reference that the sidecar has.
func replacedReference(t *taking, s site, key, old *yaml.Node) (bool, error) {
	name := s.step(-2)
	switch {
	case !isProxyVariable(name):
		return false, fmt.Errorf("%w; allowed: the value of a proxy variable", errNotWritten)
	case key.Value != "valueFrom" || !same(old, orNull(nodes.At(t.own.former(name), "valueFrom"))):
		return false, errors.New("it restores a reference that the sidecar does not have")
	}
	this, _ := t.own.writes(name, nodes.String(s.now))
	return this, nil
}

func orNull(n *yaml.Node) *yaml.Node {
	if n == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull}
	}
	return n
}

// held replaces, in a record, a value that may be a secret. The pod has the value elsewhere.
const held = "${held-by-the-pod}"

// hold removes a value from the record of its replacement. If the spelling has no recognizable words,
// as with \u0041, the record gets the usual spelling in the same quotes. So the next render records
// the same spelling that an undo of this one writes.
func (e *editor) hold(at, value string) {
	token := e.log.Was[at]
	if token == nil || value == "" {
		return
	}
	hidden, ok := hideWords(*token, value)
	if style := quotes(*token); !ok && style != 0 {
		hidden, ok = hideWords(quote(value, style), value)
	}
	if !ok {
		hidden = held
	}
	e.log.Was[at] = &hidden
}

// quotes returns the style of the quotes around a spelling, or 0.
func quotes(token string) yaml.Style {
	n, err := parseToken(token)
	if err != nil {
		return 0
	}
	return n.Style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle)
}

// quote writes a value in quotes in the usual spelling.
func quote(value string, style yaml.Style) string {
	if style == yaml.SingleQuotedStyle && !strings.ContainsAny(value, "\r\n") {
		return "'" + escape(value, style) + "'"
	}
	return `"` + escape(value, yaml.DoubleQuotedStyle) + `"`
}

// escape returns a text as it appears between quotes.
func escape(text string, style yaml.Style) string {
	switch style {
	case yaml.SingleQuotedStyle:
		return strings.ReplaceAll(text, "'", "''")
	case yaml.DoubleQuotedStyle:
		var out strings.Builder
		enc := json.NewEncoder(&out) // YAML reads all escapes of JSON
		enc.SetEscapeHTML(false)
		if enc.Encode(text) == nil {
			return strings.Trim(out.String(), "\n")[1 : out.Len()-2]
		}
	}
	return text
}

// words returns the words of a value, escaped for these quotes.
func words(value string, style yaml.Style) []string {
	fields := strings.Fields(value)
	for i := range fields {
		fields[i] = escape(fields[i], style)
	}
	return fields
}

// hideWords replaces every word of a value in its spelling with held. It returns false if it can't
// hide them all.
func hideWords(token, value string) (string, bool) {
	var hidden strings.Builder
	rest, spelled := token, words(value, quotes(token))
	for _, word := range spelled {
		before, after, found := strings.Cut(rest, word)
		if !found {
			return "", false
		}
		hidden.WriteString(before + held)
		rest = after
	}
	hidden.WriteString(rest)
	shown := strings.ReplaceAll(hidden.String(), held, "\n")
	leaks := func(word string) bool { return strings.Contains(shown, word) }
	if len(spelled) == 0 || slices.ContainsFunc(spelled, leaks) || slices.ContainsFunc(strings.Fields(value), leaks) {
		return "", false
	}
	return hidden.String(), true
}

// showWords is the inverse of hideWords.
func showWords(token, value string) string {
	style := quotes(token)
	spelled, around := words(value, style), strings.Split(token, held)
	if len(spelled) != len(around)-1 {
		spelled = []string{escape(value, style)}
	}
	shown := around[0]
	for i, text := range around[1:] {
		shown += spelled[min(i, len(spelled)-1)] + text
	}
	return shown
}

// fill puts a value back into a record that hides it. If the value does not fit the recorded spelling,
// fill uses a new one.
func (t *taking) fill(s site, token string) (string, error) {
	if !strings.Contains(token, held) {
		return token, nil
	}
	name, value := s.step(-2), ""
	switch {
	case t.own == nil, s.last() != "value", !replaces(name):
		return "", fmt.Errorf("%w; allowed: a value", errNotWritten)
	case name == javaToolOptions:
		value, _ = t.own.withoutFlags(nodes.String(s.now))
	default:
		value = nodes.StringAt(t.own.former(name), "value")
	}
	if value == "" && name == javaToolOptions {
		return token, nil // the former flags have been removed since
	}
	if value == "" {
		return "", fmt.Errorf("the sidecar's variable %s, which has the value, is missing", strings.ToUpper(name))
	}
	filled := showWords(token, value)
	if n, err := parseToken(filled); err == nil && n.Kind == yaml.ScalarNode && n.Value == value && (value == "" || n.ShortTag() == yaml.NodeTagString) {
		return filled, nil
	}
	anew := nodes.New(value)
	if strings.ContainsAny(value, "\r\n") {
		anew.Style = yaml.DoubleQuotedStyle // a block scalar's last line break is not part of a token
	}
	return printed(anew), nil
}

// hasCredentials reports whether a value may contain a password that is not a reference.
func hasCredentials(value string) bool {
	user := credentials.FindString(value)
	if i := strings.Index(user, "://"); i >= 0 {
		user = user[i+3:]
	}
	if _, password, ok := strings.Cut(user, ":"); ok {
		user = password
	}
	return strings.Trim(reference.ReplaceAllString(user, ""), "@") != ""
}
