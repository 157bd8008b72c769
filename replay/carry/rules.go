package carry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck/tapedeck/internal/rulefile"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// APIVersion and Kind begin a file of rules.
const (
	APIVersion = "tapedeck.dev/v1alpha1"
	Kind       = "CarryRules"
)

// Key is a key of a rule. The table of keys defines the parser, the reference and the schema.
type Key struct {
	// Name is the name of the key.
	Name string
	// List reports whether the value may be a list.
	List bool
	// Doc says what the key does, and Example is a value.
	Doc, Example string

	read func(r *rule, values []string) error
}

var keys = []Key{
	{"name", false, "What reports call the rule. Default: its number.", "order of the cart",
		func(r *rule, v []string) error { r.name = v[0]; return nil }},
	{"method", true, "Only requests with one of these methods; `*` stands for any characters.", "[POST, PUT]",
		func(r *rule, v []string) error { r.scope.method = v; return nil }},
	{"host", true, "Only requests for one of these hosts, without the port, in any case; `*` stands for any characters.", `"*.example.com"`,
		func(r *rule, v []string) error { r.scope.host = lowered(v); return nil }},
	{"path", true, "Only requests with one of these paths; `*` stands for any characters, `/` included.", "/carts/*",
		func(r *rule, v []string) error { r.scope.path = v; return nil }},
	{"from", false, "Carry: the place of a response that issues the value. The latest response that has it, of the same session if one has, is the issuer.", "res.body.cart.ref",
		func(r *rule, v []string) (err error) { r.from, err = parsePattern(v[0], "res"); return err }},
	{"fromMethod", true, "Only responses to requests with one of these methods.", "POST",
		func(r *rule, v []string) error { r.fromScope.method = v; return nil }},
	{"fromPath", true, "Only responses to requests with one of these paths.", "/carts",
		func(r *rule, v []string) error { r.fromScope.path = v; return nil }},
	{"to", true, "The places of requests that the value of `from` is written to.", "req.query.cart",
		func(r *rule, v []string) (err error) { r.to, err = patterns(v, "req"); return err }},
	{"forbid", true, "Places of requests, and what is below them, that nothing is carried to.", "req.body.comment",
		func(r *rule, v []string) (err error) { r.forbid, err = patterns(v, "req"); return err }},
	{"set", true, "Places of requests that `value` is written to, unless something is carried there.", "req.header.Authorization",
		func(r *rule, v []string) (err error) { r.set, err = patterns(v, "req"); return err }},
	{"value", false, "What `set` writes: a string, or `env:NAME` for the value of an environment variable. After a scheme such as Bearer, it replaces what follows the scheme; after Basic, user:password is encoded.", "env:API_TOKEN",
		func(r *rule, v []string) error { r.value = v[0]; return nil }},
	{"token", false, "Only where this token stands for the secret in the recording.", "REDACTED-0123456789abcdef",
		func(r *rule, v []string) error { r.token = v[0]; return nil }},
	{"shift", true, "Places of requests, and what is below them, whose times are moved by as much as the replay is later than the recording.", "req.body.deliverAt",
		func(r *rule, v []string) (err error) { r.shift, err = patterns(v, "req"); return err }},
}

// Keys returns the table of keys of a rule.
func Keys() []Key { return keys }

// Rules are the rules of a file. They are safe for concurrent use. A nil Rules has none.
type Rules struct{ rules []*rule }

type rule struct {
	name             string
	scope, fromScope scope
	from             pattern
	to, forbid       []pattern
	set, shift       []pattern
	value, token     string
	fired            atomic.Uint64
}

// scope selects requests. The zero value selects all.
type scope struct{ method, host, path []string }

func (s *scope) has(e *recording.Exchange) bool {
	return rulefile.AnyGlob(s.method, e.Command) && rulefile.AnyGlob(s.path, e.Location) && (len(s.host) == 0 || rulefile.AnyGlob(s.host, hostOf(e)))
}

// hostOf returns the host of the request, in lower case and without the port.
func hostOf(e *recording.Exchange) string {
	host := e.Host()
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(host)
}

// ParseRules parses a file of rules. lookup looks up environment variables, like [os.LookupEnv].
// Errors name the file, the line, what was found and what is allowed. They don't show values.
func ParseRules(file string, data []byte, lookup func(name string) (string, bool)) (*Rules, error) {
	all := new(Rules)
	err := rulefile.Parse(file, data, APIVersion, Kind, func(n *yaml.Node, number int) error {
		r := &rule{name: fmt.Sprintf("rule %d", number)}
		all.rules = append(all.rules, r)
		return r.parse(n, lookup)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (r *rule) parse(n *yaml.Node, lookup func(string) (string, bool)) error {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	err := rulefile.Mapping(n, "a rule", names, func(key string, value *yaml.Node) error {
		k := keys[slices.Index(names, key)]
		read := rulefile.List
		if !k.List {
			read = func(n *yaml.Node, key string) ([]string, error) {
				text, err := rulefile.Scalar(n, key)
				return []string{text}, err
			}
		}
		values, err := read(value, key)
		if err != nil {
			return err
		}
		if err := k.read(r, values); err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, key, err)
		}
		return nil
	})
	if err == nil {
		if err = r.check(); err == nil {
			r.value, err = resolve(r.value, lookup)
		}
		if err != nil {
			err = fmt.Errorf("line %d: %s: %w", n.Line, r.name, err)
		}
	}
	return err
}

func (r *rule) check() error {
	switch {
	case (r.from == nil) != (r.to == nil):
		return errors.New("found only one of from and to, want both or neither")
	case (r.set == nil) != (r.value == ""):
		return errors.New("found only one of set and value, want both or neither")
	case r.token != "" && r.set == nil:
		return errors.New("found token without set")
	case r.from == nil && r.fromScope.some():
		return errors.New("found fromMethod or fromPath without from")
	case r.from == nil && r.forbid == nil && r.set == nil && r.shift == nil:
		return errors.New("it does nothing; want from and to, forbid, set and value, or shift")
	}
	return nil
}

func (s *scope) some() bool { return len(s.method)+len(s.host)+len(s.path) > 0 }

// resolve returns the value, or the content of the environment variable that it names.
func resolve(value string, lookup func(string) (string, bool)) (string, error) {
	name, ok := strings.CutPrefix(value, "env:")
	if !ok {
		return value, nil
	}
	text, ok := lookup(name)
	if !ok || text == "" {
		return "", fmt.Errorf("environment variable %s is missing or empty, set it to the value", name)
	}
	return text, nil
}

func patterns(texts []string, side string) (all []pattern, err error) {
	for _, text := range texts {
		p, err := parsePattern(text, side)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func lowered(texts []string) (all []string) {
	for _, t := range texts {
		all = append(all, strings.ToLower(t))
	}
	return all
}

// Unfired returns the names of the rules that never had an effect.
func (r *Rules) Unfired() (names []string) {
	for _, r := range r.all() {
		if r.fired.Load() == 0 {
			names = append(names, r.name)
		}
	}
	return names
}

func (r *Rules) all() []*rule {
	if r == nil {
		return nil
	}
	return r.rules
}

// ParseSetting parses a value for a place of requests, such as `header.Authorization=env:TOKEN` or
// `req.body.password=…`. lookup looks up environment variables, like [os.LookupEnv]. Errors don't
// show the value.
func ParseSetting(text string, lookup func(name string) (string, bool)) (Setting, error) {
	place, value, ok := strings.Cut(text, "=")
	if !ok || value == "" {
		// Without a place, the whole text may be a secret, so the error does not show it.
		return Setting{}, errors.New("setting: want a place, `=`, and a value or env:NAME, such as header.Authorization=env:TOKEN")
	}
	p, err := parsePattern(place, "req")
	if err == nil {
		value, err = resolve(value, lookup)
	}
	if err != nil {
		return Setting{}, fmt.Errorf("setting of %.80q: %w", place, err)
	}
	return Setting{Value: value, name: place, places: []pattern{p}}, nil
}

// Supply returns a setting that supplies the secret of a need at all its places.
func Supply(n Need, value string) Setting {
	anywhere := pattern{{Step: fieldpath.Step{Kind: fieldpath.Anything}}}
	return Setting{Token: n.Token, Value: value, name: n.Place, places: []pattern{anywhere}}
}

// settings returns the settings of the rules.
func (r *Rules) settings() (all []Setting) {
	for _, r := range r.all() {
		if r.set != nil {
			all = append(all, Setting{Token: r.token, Value: r.value, name: r.name, places: r.set, scope: r.scope, rule: r})
		}
	}
	return all
}

// that returns the rules that apply to the exchange and for which says returns patterns.
func (r *Rules) that(e *recording.Exchange, says func(*rule) (pattern []pattern, of *scope)) (all []*rule) {
	for _, r := range r.all() {
		if patterns, of := says(r); len(patterns) > 0 && of.has(e) {
			all = append(all, r)
		}
	}
	return all
}

func issues(r *rule) ([]pattern, *scope) {
	if r.from == nil {
		return nil, nil
	}
	return []pattern{r.from}, &r.fromScope
}
func carries(r *rule) ([]pattern, *scope) { return r.to, &r.scope }
func forbids(r *rule) ([]pattern, *scope) { return r.forbid, &r.scope }
func shifts(r *rule) ([]pattern, *scope)  { return r.shift, &r.scope }

// has reports whether one of the patterns matches a place.
func has(patterns []pattern, path []placeStep) bool {
	return slices.ContainsFunc(patterns, func(p pattern) bool { return p.is(path) })
}

// cover reports whether one of the patterns matches a place, or a place that contains it.
func cover(patterns []pattern, path []placeStep) bool {
	return slices.ContainsFunc(patterns, func(p pattern) bool { return p.covers(path) })
}

// Schema returns the JSON Schema of the file.
func Schema() map[string]any {
	text := map[string]any{"type": "string"}
	properties := map[string]any{}
	for _, k := range keys {
		property := map[string]any{"description": k.Doc, "type": "string"}
		if k.List {
			property = map[string]any{"description": k.Doc, "oneOf": []any{text, map[string]any{"type": "array", "items": text, "minItems": 1}}}
		}
		properties[k.Name] = property
	}
	does := func(names ...any) map[string]any { return map[string]any{"required": names} }
	return rulefile.Schema(APIVersion, Kind, properties, []any{does("from", "to"), does("forbid"), does("set", "value"), does("shift")})
}
