package transformer

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
)

// Kind is a kind of value for annotations and options. It describes the allowed values, for people and
// for JSON Schema, and checks them.
type Kind struct {
	// Name is the kind's name in the reference, such as "port".
	Name string
	// Allowed completes the sentence "allowed: …".
	Allowed string
	// Enum lists the allowed values, if they are a fixed list.
	Enum []string
	// Pattern is a regular expression for JSON Schema, if one describes the values.
	Pattern string

	check func(string) error
	// hidden reports whether an invalid value may contain a password, so that errors must not quote it.
	hidden bool
	re     *regexp.Regexp
}

// The kinds of values. Each is used by the annotations and options tables.
var (
	boolKind         = Kind{Name: "boolean", Allowed: `"true" or "false"`, Enum: []string{"true", "false"}}
	portKind         = Kind{Name: "port", Allowed: "a number from 1 to 65535", Pattern: `^[0-9]{1,5}$`, check: checkPort}
	appPortKind      = Kind{Name: "port or name", Allowed: "a number from 1 to 65535, or the name of a container's port", Pattern: `^([0-9]{1,5}|[a-z0-9-]{1,15})$`, check: checkAppPort}
	appPortsKind     = Kind{Name: "list", Allowed: "ports by number or by the names of container's ports, separated by commas", check: checkAppPorts}
	hostKind         = Kind{Name: "host", Allowed: "a host name or an IP address, without a port", check: checkHost}
	secretKind       = patternKind("secret name", "the name of a Secret in the workload's namespace", `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	configMapKind    = patternKind("ConfigMap name", "the name of a ConfigMap in the workload's namespace", `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	fileKind         = Kind{Name: "file", Allowed: "a file's name in the Secret, or without a Secret the full path of a mounted file", check: checkFile}
	quantityKind     = patternKind("quantity", "a Kubernetes quantity such as 100m, 0.5, 64Mi or 1Gi", `^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$`)
	sizeKind         = Kind{Name: "size", Allowed: "a number of bytes, such as 1048576, 512Ki or 1Mi", Pattern: `^[0-9]+(Ki|Mi|Gi)?$`, check: checkSize}
	envLinesKind     = Kind{Name: "lines", Allowed: "lines of KEY=VALUE", hidden: true, check: func(v string) error { _, err := parseEnvLines(v); return err }}
	textKind         = Kind{Name: "text", Allowed: "any text"}
	listKind         = Kind{Name: "list", Allowed: "values separated by commas"}
	resourceListKind = Kind{Name: "list", Allowed: "NAME=QUANTITY of cpu, memory and ephemeral-storage, separated by commas", check: checkResourceList}
	numberKind       = Kind{Name: "number", Allowed: "a whole number", Pattern: `^[0-9]+$`, check: checkNumber}
)

// filterKind accepts the values that a setting of package filter accepts.
func filterKind(key, name string) Kind {
	k := filter.KeyOf(key)
	return Kind{Name: name, Allowed: k.Allowed, check: k.Check}
}

// enumKind accepts one of a few words. An empty word leaves the choice to others.
func enumKind(values ...string) Kind {
	shown := slices.Clone(values)
	if i := slices.Index(shown, ""); i >= 0 {
		shown[i] = `"" (unset)`
	}
	return Kind{Name: "choice", Allowed: oneOf(shown), Enum: values}
}

// patternKind accepts the values that match a regular expression.
func patternKind(name, allowed, pattern string) Kind {
	return Kind{Name: name, Allowed: allowed, Pattern: pattern, re: regexp.MustCompile(pattern)}
}

// Check returns an error that says what is wrong with a value, or nil.
func (k Kind) Check(value string) error {
	if k.Enum != nil {
		for _, v := range k.Enum {
			if value == v {
				return nil
			}
		}
		return k.found(value)
	}
	if k.check != nil {
		switch err := k.check(value); {
		case err != nil && k.hidden:
			return fmt.Errorf("%w; allowed: %s", err, k.Allowed)
		case err != nil && mayBeSecret(value): // the error quotes the value, or part of it
			return k.found(value)
		case err != nil:
			return fmt.Errorf("found %q (%w), allowed: %s", value, err, k.Allowed)
		}
	}
	if k.re != nil && !k.re.MatchString(value) {
		return k.found(value)
	}
	return nil
}

// found returns the error for a value that is not allowed.
func (k Kind) found(value string) error {
	if mayBeSecret(value) {
		return fmt.Errorf("found a value that may contain a credential, so it is not shown; allowed: %s", k.Allowed)
	}
	return fmt.Errorf("found %q, allowed: %s", value, k.Allowed)
}

// shown returns a value as results may show it, or "" if they must not.
func (k Kind) shown(value string) string {
	if k.hidden || mayBeSecret(value) {
		return ""
	}
	return value
}

// credential matches signs of a credential: a URL, which may have a password, words of an
// Authorization header, and settings with names such as token.
var credential = regexp.MustCompile(`(?i)://|@|\b(bearer|basic|authorization)\s|(token|secret|passw|authorization|api.?key)[^\s,]*\s*[=:]`)

// random matches texts that have the form of a token.
var random = regexp.MustCompile(`[-A-Za-z0-9_+/]{20,}`)

// mayBeSecret reports whether a value looks like a misplaced credential, or contains one.
func mayBeSecret(value string) bool {
	return credential.MatchString(value) || slices.ContainsFunc(random.FindAllString(value, -1), func(s string) bool {
		return strings.ContainsAny(s, "0123456789") && strings.ToLower(s) != s
	})
}

// store checks a value and writes it to target. The pointer's type depends on the kind: *bool, *int,
// *string, *[]string, *[]EnvVar.
func (k Kind) store(target any, value string) error {
	if err := k.Check(value); err != nil {
		return err
	}
	switch t := target.(type) {
	case *bool:
		*t = value == "true"
	case *int:
		*t, _ = strconv.Atoi(value)
	case *string:
		*t = value
	case *[]string:
		*t = splitList(value)
	case *[]EnvVar:
		*t, _ = parseEnvLines(value)
	}
	return nil
}

// parseQuantity parses a value that quantityKind accepts. It returns a float, which is only compared,
// and 0 for any other value.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
func parseQuantity(v string) float64 {
	units := []struct {
		suffix string
		factor float64
	}{
		{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, {"Pi", 1 << 50}, {"Ei", 1 << 60},
		{"n", 1e-9}, {"u", 1e-6}, {"m", 1e-3}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}, {"E", 1e18}, {"", 1},
	}
	for _, u := range units {
		if digits, ok := strings.CutSuffix(v, u.suffix); ok {
			n, _ := strconv.ParseFloat(digits, 64)
			return n * u.factor
		}
	}
	return 0
}

func checkPort(v string) error { return whole(1, 65535)(v) }

// whole returns a check for whole numbers in a range.
func whole(least, most int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			return errors.New("not a number")
		case n < least || n > most:
			return errors.New("out of range")
		}
		return nil
	}
}

// lasting returns a check for durations in a range.
func lasting(least, most time.Duration) func(string) error {
	return func(v string) error {
		d, err := time.ParseDuration(v)
		switch {
		case err != nil:
			return errors.New("not a duration")
		case d < least || d > most:
			return errors.New("out of range")
		}
		return nil
	}
}

// portName matches the name of a container's port, which must also contain a letter:
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ports.
var portName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func checkAppPort(v string) error {
	if len(v) <= 15 && portName.MatchString(v) && strings.ContainsAny(v, "abcdefghijklmnopqrstuvwxyz") {
		return nil
	}
	return checkPort(v)
}

func checkAppPorts(v string) error {
	ports := splitList(v)
	if len(ports) == 0 {
		return errors.New("no port")
	}
	for _, p := range ports {
		if err := checkAppPort(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// checkSize applies the same rule as the sidecar.
func checkSize(v string) error {
	if _, err := contract.ParseSize(v); err != nil {
		return errors.New("not a number of bytes")
	}
	return nil
}

func checkNumber(v string) error {
	if _, err := strconv.ParseUint(v, 10, 31); err != nil {
		return errors.New("not a number of 31 bits")
	}
	return nil
}

// checkSink accepts the URL of a directory that can be used as a mount path unchanged, or of a
// collector.
func checkSink(v string) error {
	p, err := contract.ParseSink(v)
	if err != nil {
		return err
	}
	if p.IsCollector() {
		if p.Path != "" || p.String() != v {
			return fmt.Errorf("found %q; a collector is a host and an optional port, in lower case, and nothing else", p)
		}
		return nil
	}
	dir, ok := strings.CutPrefix(v, "file://")
	if !ok || !path.IsAbs(dir) || path.Clean(dir) != dir || dir == "/" || strings.ContainsAny(dir, ":?#%") {
		return fmt.Errorf("found %q, which is not the URL of a directory", v)
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func checkHost(v string) error {
	host := strings.TrimPrefix(strings.TrimPrefix(v, "https://"), "http://")
	if v == "$("+contract.EnvPodIP+")" || net.ParseIP(strings.Trim(host, "[]")) != nil || hostName.MatchString(host) {
		return nil
	}
	if strings.Contains(host, ":") {
		return errors.New("put the port into proxy-port")
	}
	return errors.New("not a host")
}

func checkFile(v string) error {
	if v == "" || strings.HasSuffix(v, "/") || strings.Contains(v, "/") && !path.IsAbs(v) || path.Clean(v) != v {
		return errors.New("neither a file's name nor a full path")
	}
	return nil
}

// EnvVar is one variable of the annotation extra-container-env-vars.
type EnvVar struct{ Name, Value string }

var envName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)

func parseEnvLines(v string) ([]EnvVar, error) {
	var vars []EnvVar
	number := 0
	for line := range strings.Lines(v) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !envName.MatchString(name) {
			return nil, fmt.Errorf("line %d is not KEY=VALUE", number) // the line may be part of a password, so the error does not quote it
		}
		vars = append(vars, EnvVar{name, value})
	}
	return vars, nil
}

// splitList splits a list at commas, trims the items, and drops empty ones.
func splitList(v string) []string {
	var out []string
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// oneOf formats a list of words as a choice: `a, b or c`.
func oneOf(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}
