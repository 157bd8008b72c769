package rewrite

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// Limits of a file of rules.
const (
	maxFile   = 1 << 20
	maxRules  = 1000
	maxValues = 100
)

// Rule is one rule of the file.
type Rule struct {
	// Name is the rule's name, or "rule N".
	Name string
	// Do is the name of an [Action].
	Do string
	// Where, Contains and Hashes select the exchanges; At selects places in them.
	Where    string
	Contains []string
	Hashes   [][sha256.Size]byte
	At       []fieldpath.Path
	// With is the text that the action replace puts in place of a value.
	With string

	filter *filter.Filter
	find   *finder
}

// Field is a row of the table of a rule's members. The parser, the reference and the schema use it.
type Field struct {
	// Name is the name of the member.
	Name string
	// List means that the value may be a list of strings. Otherwise it is a string.
	List bool
	// Allowed completes the sentence "allowed: …".
	Allowed string
	// Doc says what the member does. Example is a value.
	Doc, Example string

	set func(*Rule, []string) error
}

// Fields returns the table of a rule's members.
func Fields() []Field {
	return []Field{
		{Name: "name", Allowed: "text", Doc: "What reports call the rule.", Example: "no health records",
			set: func(r *Rule, v []string) error { r.Name = v[0]; return nil }},
		{Name: "do", Allowed: strings.Join(actionNames(), ", "), Doc: "What to do: see the table of actions.", Example: "redact",
			set: func(r *Rule, v []string) error {
				r.Do = v[0]
				if _, ok := actionOf(v[0]); !ok {
					return fmt.Errorf("%.40q", v[0])
				}
				return nil
			}},
		{Name: "where", Allowed: `rules of a filter, such as "in path=/login; out host=*.example.com"`, Doc: "Only exchanges that one of these rules matches, in the grammar of [filters](filters.md).", Example: "out host=ehr.internal",
			set: func(r *Rule, v []string) (err error) {
				r.Where = v[0]
				r.filter, err = filter.Parse(map[string]string{"include": v[0]})
				var wrong *filter.Error
				if errors.As(err, &wrong) {
					err = wrong.Err
				}
				return err
			}},
		{Name: "contains", List: true, Allowed: fmt.Sprintf("up to %d values of at least %d bytes", maxValues, minValue),
			Doc: "Only exchanges that contain one of these values, anywhere and however it is written: in any case, escaped as in URLs, JSON or HTML, in base64 or hexadecimal digits, in lines of mail, in UTF-16, or compressed.", Example: "[jane.doe@example.com]",
			set: func(r *Rule, v []string) error {
				r.Contains = v
				if len(v) > maxValues {
					return fmt.Errorf("%d values", len(v))
				}
				for i, value := range v {
					if len(value) < minValue {
						return fmt.Errorf("value %d has %d bytes", i+1, len(value)) // the error doesn't show the value, which may be private
					}
				}
				return nil
			}},
		{Name: "containsSHA256", List: true, Allowed: "hashes of 64 hexadecimal digits, as sha256sum prints them",
			Doc: "The same for values that the file does not show. Only whole values and words between punctuation are compared, as they are and in lower case.", Example: "[e5c2…]",
			set: func(r *Rule, v []string) error {
				for i, digits := range v {
					sum, err := hex.DecodeString(digits)
					if err != nil || len(sum) != sha256.Size {
						return fmt.Errorf("value %d, which is not such a hash", i+1)
					}
					r.Hashes = append(r.Hashes, [sha256.Size]byte(sum))
				}
				return nil
			}},
		{Name: "at", List: true, Allowed: "places, such as req.header.X-User, req.query.email or res.body.items[].name",
			Doc: "Only at these [places](recording-format.md#places).", Example: `[req.body.user.email, "res.body.items[].email"]`,
			set: func(r *Rule, v []string) error {
				for _, text := range v {
					p, err := parsePlace(text)
					if err != nil {
						return err
					}
					r.At = append(r.At, p)
				}
				return nil
			}},
		{Name: "with", Allowed: "text", Doc: "What the action `replace` puts in place of a value.", Example: "Anonymous",
			set: func(r *Rule, v []string) error { r.With = v[0]; return nil }},
	}
}

// Action is an action of a rule.
type Action struct {
	// Name is the value of do.
	Name string
	// Doc says what the action does, and which members it needs.
	Doc string

	check func(*Rule) error
}

// Actions returns the table of actions.
func Actions() []Action {
	some := func(r *Rule) error {
		if len(r.At) == 0 && len(r.Contains)+len(r.Hashes) == 0 {
			return errors.New("found neither at nor contains, allowed: one of them, to say which values to change")
		}
		return nil
	}
	return []Action{
		{"remove", "Removes the exchanges. It needs `where` or `contains`.", func(r *Rule) error {
			switch {
			case len(r.At) > 0:
				return errors.New("found at, allowed: where and contains; remove removes whole exchanges, drop removes values at places")
			case r.Where == "" && len(r.Contains)+len(r.Hashes) == 0:
				return errors.New("found neither where nor contains, allowed: one of them; without them the rule would remove all exchanges")
			}
			return nil
		}},
		{"redact", "Replaces values with tokens, as capture does. It needs `at` for the values at places, or `contains` for the values that it lists, wherever they are.", some},
		{"replace", "Replaces the same values with the text in `with`.", func(r *Rule) error {
			if r.With == "" {
				return errors.New("found no with, allowed: a text; drop removes values without a replacement")
			}
			return some(r)
		}},
		{"drop", "Removes what is at the places: a header, a parameter, a member of JSON, a whole body (`req.body`) or all messages (`client.message`). It needs `at`.", func(r *Rule) error {
			if len(r.At) == 0 {
				return errors.New("found no at, allowed: places")
			}
			return nil
		}},
	}
}

func actionNames() (names []string) {
	for _, a := range Actions() {
		names = append(names, a.Name)
	}
	return names
}

func actionOf(name string) (Action, bool) {
	all := Actions()
	i := slices.IndexFunc(all, func(a Action) bool { return a.Name == name })
	if i < 0 {
		return Action{}, false
	}
	return all[i], true
}

// Parse reads a file of rules in YAML or JSON. An error names the rule, the member, what was found and
// what is allowed. It does not show the values that a rule looks for.
func Parse(text []byte) ([]Rule, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes; a file of rules may have %d", len(text), maxFile)
	}
	var file struct {
		Rules []map[string]any `json:"rules"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, errors.New(shapeError(text, err))
	}
	switch n := len(file.Rules); {
	case n == 0:
		return nil, errors.New("the file has no rules; want a list of them under `rules`")
	case n > maxRules:
		return nil, fmt.Errorf("the file has %d rules; at most %d are allowed", n, maxRules)
	}
	var rules []Rule
	var errs []error
	for i, members := range file.Rules {
		r, err := parseRule(members)
		if r.Name == "" {
			r.Name = fmt.Sprintf("rule %d", i+1)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
		}
		rules = append(rules, r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rules, nil
}

// shapeError describes what is wrong with the structure of a file, without its values.
func shapeError(text []byte, err error) string {
	var any map[string]any
	if yaml.Unmarshal(text, &any) != nil {
		return "the file isn't valid YAML: " + err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(any)) {
		if name != "rules" {
			return fmt.Sprintf("found %q, allowed: rules", name)
		}
	}
	return "rules: want a list of rules, each a map in which no member is repeated"
}

func parseRule(members map[string]any) (r Rule, err error) {
	fields := Fields()
	for _, f := range fields {
		value, ok := members[f.Name]
		if !ok {
			continue
		}
		texts, err := f.texts(value)
		if err == nil {
			err = f.set(&r, texts)
		}
		if err != nil {
			return r, fmt.Errorf("%s: found %w, allowed: %s", f.Name, err, f.Allowed)
		}
	}
	for name := range members {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == name }) {
			return r, fmt.Errorf("found %q, allowed: %s", name, strings.Join(fieldNames(), ", "))
		}
	}
	a, ok := actionOf(r.Do)
	if !ok {
		return r, fmt.Errorf("do: found nothing, allowed: %s", strings.Join(actionNames(), ", "))
	}
	if r.With != "" && r.Do != "replace" {
		return r, fmt.Errorf("with: found it with do: %s, allowed: with do: replace", r.Do)
	}
	if err := a.check(&r); err != nil {
		return r, fmt.Errorf("do: %s: %w", r.Do, err)
	}
	r.find = newFinder(r.Contains, r.Hashes)
	return r, nil
}

func fieldNames() (names []string) {
	for _, f := range Fields() {
		names = append(names, f.Name)
	}
	return names
}

// texts returns the text of a member, or the texts in its list.
func (f *Field) texts(value any) ([]string, error) {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	if isList && !f.List {
		return nil, errors.New("a list")
	}
	var texts []string
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, errors.New("a value that is not a text (write numbers in quotes)")
		}
		if text == "" {
			return nil, errors.New("an empty text")
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return nil, errors.New("an empty list")
	}
	return texts, nil
}

// Schema returns the JSON Schema of a file of rules.
func Schema() map[string]any {
	properties := map[string]any{}
	for _, f := range Fields() {
		text := map[string]any{"type": "string", "minLength": 1}
		if f.Name == "do" {
			text = map[string]any{"enum": actionNames()}
		}
		if f.List {
			text = map[string]any{"anyOf": []any{text, map[string]any{"type": "array", "minItems": 1, "items": text}}}
		}
		text["description"] = f.Doc
		properties[f.Name] = text
	}
	return map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "Rules of tapedeck redact",
		"type":                 "object",
		"required":             []string{"rules"},
		"additionalProperties": false,
		"properties": map[string]any{
			"rules": map[string]any{
				"type": "array", "minItems": 1, "maxItems": maxRules,
				"items": map[string]any{"type": "object", "required": []string{"do"}, "additionalProperties": false, "properties": properties},
			},
		},
	}
}
