package filter

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// Field is a property that rules match: a row of the table that defines the grammar
// and from which docs/filters.md is generated.
type Field struct {
	// Name is the name in a rule. If it ends in a dot, a header's name follows it.
	Name string
	// Word is true if the field has no operator and no value.
	Word bool
	// Doc describes the field, and Example shows it.
	Doc, Example string

	// check rejects an invalid pattern. It is nil if any pattern is valid.
	check func(pattern string) error
	// fold normalizes equivalent values. It is nil if no two values are equivalent.
	fold func(string) string
	// value returns the value that is matched. It is nil for words and headers.
	value func(*Exchange) string
}

// in and out are the words of the grammar, which have no value.
const (
	in  = "in"
	out = "out"
	// header precedes a header's name.
	header = "header."
)

var fields = []Field{
	{Name: in, Word: true, Doc: "Requests to the workload.", Example: "in"},
	{Name: out, Word: true, Doc: "Requests from the workload.", Example: "out"},
	{Name: "host", Doc: "Host header or `:authority`, without the port, in any case; without one, the host that the client asked for.", Example: "host=*.internal,localhost",
		check: checkHost, fold: hostOf, value: func(x *Exchange) string { return x.Host }},
	{Name: "path", Doc: "Path as the client sent it, without the query.", Example: "path=/healthz,/readyz",
		check: checkPath, value: func(x *Exchange) string { return x.Path }},
	{Name: "method", Doc: "HTTP method, in any case.", Example: "method=GET,HEAD",
		check: checkMethod, fold: strings.ToUpper, value: func(x *Exchange) string { return x.Method }},
	{Name: header, Doc: "Values of the request's header NAME; the case of the name does not matter. `=` and `~` match if one value does, `!=` and `!~` if none does.", Example: "header.user-agent=kube-probe/*"},
}

// Fields returns the table of fields.
func Fields() []Field { return fields }

// Operator compares a field with a value: a row of the table of operators.
type Operator struct {
	// Sign is the operator in a rule.
	Sign string
	// Doc says when the operator matches.
	Doc string

	not, regexp bool
}

// operators lists the operators in the order in which a term is searched for them, longest first.
var operators = []Operator{
	{"!=", "The value equals none of the patterns.", true, false},
	{"!~", "The regular expression matches nowhere in the value.", true, true},
	{"=", "The value equals one of the patterns, which are separated by commas. `*` stands for any characters, including `/`.", false, false},
	{"~", "The regular expression ([RE2](https://github.com/google/re2/wiki/Syntax)) matches somewhere in the value; `^` and `$` anchor it to the ends.", false, true},
}

// Operators returns the table of operators.
func Operators() []Operator { return operators }

// rule matches if all of its terms do.
type rule []term

func (r rule) matches(x *Exchange) bool {
	for i := range r {
		if !r[i].matches(x) {
			return false
		}
	}
	return true
}

// never reports whether the rule can't match any exchange of a direction. always reports whether it
// matches every one.
func (r rule) never(in bool) bool {
	return slices.ContainsFunc(r, func(t term) bool { return t.field.Word && !t.matches(&Exchange{In: in}) })
}

func (r rule) always(in bool) bool {
	return !slices.ContainsFunc(r, func(t term) bool {
		if t.field.Word {
			return !t.matches(&Exchange{In: in})
		}
		return t.not || t.field.Name == header || !slices.ContainsFunc(t.globs, glob.isAny)
	})
}

// isAny reports whether a pattern consists of stars only.
func (g glob) isAny() bool { return len(g) > 1 && strings.Join(g, "") == "" }

// term matches one field.
type term struct {
	field  *Field
	header string // name of the header, for the field header
	not    bool
	// re matches the value if it is set, or else one of the globs.
	globs []glob
	re    *regexp.Regexp
}

func (t *term) matches(x *Exchange) bool {
	switch {
	case t.field.Word:
		return x.In == (t.field.Name == in)
	case t.field.Name != header:
		v := t.field.value(x)
		if t.field.fold != nil {
			v = t.field.fold(v)
		}
		return t.match(v) != t.not
	case x.Header != nil:
		for v := range x.Header(t.header) {
			if t.match(v) {
				return !t.not
			}
		}
	}
	return t.not
}

func (t *term) match(v string) bool {
	if t.re != nil {
		return t.re.MatchString(v)
	}
	for _, g := range t.globs {
		if g.match(v) {
			return true
		}
	}
	return false
}

// glob is a pattern, split at its stars.
type glob []string

func (g glob) match(v string) bool {
	first, rest := g[0], g[1:]
	if len(rest) == 0 {
		return v == first
	}
	v, ok := strings.CutPrefix(v, first)
	for _, part := range rest[:len(rest)-1] {
		_, v, ok = cut(v, part, ok)
	}
	return ok && strings.HasSuffix(v, rest[len(rest)-1])
}

// cut is strings.Cut if ok is true. Otherwise it finds nothing.
func cut(v, part string, ok bool) (before, after string, found bool) {
	if !ok {
		return "", "", false
	}
	return strings.Cut(v, part)
}

// parseRules reads rules. A semicolon or a newline ends a rule. A line that begins
// with # is a comment.
func parseRules(text string) (rules []rule, err error) {
	for n := 1; text != ""; {
		var words []string
		var end int
		words, end, err = split(text)
		found := strings.TrimSpace(strings.TrimRight(text[:end], ";\n\r"))
		text = text[end:]
		if err == nil && len(words) == 0 {
			continue
		}
		var r rule
		if err == nil {
			r, err = parseRule(words)
		}
		if err != nil {
			return nil, fmt.Errorf("rule %d, %q: %w", n, short(found), err)
		}
		rules = append(rules, r)
		n++
	}
	return rules, nil
}

// split returns the words of the first rule, with their quotes, and the offset where the rule ends.
func split(text string) (words []string, end int, err error) {
	if line := strings.TrimLeft(text, " \t"); strings.HasPrefix(line, "#") {
		if end = strings.IndexByte(text, '\n') + 1; end == 0 {
			end = len(text)
		}
		return nil, end, nil
	}
	start, quote := -1, byte(0)
	for i := range len(text) {
		c := text[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case strings.IndexByte(" \t\r\n;", c) >= 0:
			if start >= 0 {
				words, start = append(words, text[start:i]), -1
			}
			if c == '\n' || c == ';' {
				return words, i + 1, nil
			}
		default:
			if c == '"' || c == '\'' {
				quote = c
			}
			if start < 0 {
				start = i
			}
		}
	}
	if quote != 0 {
		return nil, len(text), fmt.Errorf("a %c is not closed", quote)
	}
	if start >= 0 {
		words = append(words, text[start:])
	}
	return words, len(text), nil
}

func parseRule(words []string) (rule, error) {
	var r rule
	directions := map[string]bool{}
	for _, w := range words {
		t, err := parseTerm(w)
		if err != nil {
			return nil, err
		}
		if t.field.Word {
			directions[t.field.Name] = true
		}
		r = append(r, t)
	}
	if len(directions) > 1 {
		return nil, errors.New("found in and out, allowed: one of them, or neither for both")
	}
	return r, nil
}

func parseTerm(word string) (t term, err error) {
	name := word[:len(word)-len(strings.TrimLeft(word, nameBytes))]
	rest := word[len(name):]
	for i := range fields {
		f := &fields[i]
		if f.Name == name && name != header || f.Name == header && len(name) > len(header) && strings.HasPrefix(name, header) {
			t.field = f
		}
	}
	switch {
	case t.field == nil:
		return t, fmt.Errorf("found %q, allowed: %s", short(word), fieldNames())
	case t.field.Word && rest != "":
		return t, fmt.Errorf("found %q, allowed: %s alone", short(word), name)
	case t.field.Word:
		return t, nil
	}
	if t.field.Name == header {
		t.header = name[len(header):]
	}
	for _, op := range operators {
		value, ok := strings.CutPrefix(rest, op.Sign)
		if !ok {
			continue
		}
		if value == "" {
			return t, fmt.Errorf("%s%s: found no value, allowed: one directly after the %s, in quotes if it has spaces", name, op.Sign, op.Sign)
		}
		t.not = op.not
		if op.regexp {
			err = t.setRegexp(value)
		} else {
			err = t.setGlobs(value)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return t, err
	}
	return t, fmt.Errorf("found %q, allowed: %s followed by =, !=, ~ or !~ and a value, without spaces", short(word), name)
}

// nameBytes are the allowed bytes in the name of a field, a header or a method.
const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

func fieldNames() string {
	var all []string
	for _, f := range fields {
		switch {
		case f.Word:
			all = append(all, f.Name)
		case f.Name == header:
			all = append(all, header+"NAME=VALUE")
		default:
			all = append(all, f.Name+"=VALUE")
		}
	}
	return strings.Join(all, ", ")
}

func (t *term) setRegexp(value string) (err error) {
	value = unquote(value)
	if t.field.fold != nil {
		value = "(?i:" + value + ")"
	}
	t.re, err = regexp.Compile(value)
	return err
}

func (t *term) setGlobs(value string) error {
	for _, pattern := range splitOutside(value) {
		pattern = unquote(pattern)
		if pattern == "" {
			return errors.New("found an empty pattern, allowed: patterns separated by single commas")
		}
		if t.field.check != nil {
			if err := t.field.check(pattern); err != nil {
				return fmt.Errorf("found %q, %w", short(pattern), err)
			}
		}
		if t.field.fold != nil {
			pattern = t.field.fold(pattern)
		}
		t.globs = append(t.globs, strings.Split(pattern, "*"))
	}
	return nil
}

// splitOutside splits at commas outside of quotes.
func splitOutside(value string) (parts []string) {
	start, quote := 0, byte(0)
	for i := range len(value) {
		switch c := value[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ',':
			parts, start = append(parts, value[start:i]), i+1
		}
	}
	return append(parts, value[start:])
}

// unquote removes quotes anywhere in the text. Within quotes, it keeps quotes of the
// other kind.
func unquote(v string) string {
	var b []byte
	quote := byte(0)
	for i := range len(v) {
		switch c := v[i]; {
		case quote == c && quote != 0:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// hostOf returns a host without its port, in lower case.
func hostOf(v string) string {
	if host, _, err := net.SplitHostPort(v); err == nil {
		v = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(v, "[]"), "."))
}

func checkHost(v string) error {
	if strings.ContainsAny(v, "/ ") || strings.Contains(v, ":") && net.ParseIP(strings.Trim(v, "[]")) == nil {
		return errors.New("allowed: a host without scheme and port, with * for any characters")
	}
	return nil
}

func checkPath(v string) error {
	if v[0] != '/' && v[0] != '*' || strings.Contains(v, "?") {
		return errors.New("allowed: a path that begins with / or *, without a query")
	}
	return nil
}

func checkMethod(v string) error {
	if strings.Trim(v, nameBytes+"*") != "" {
		return errors.New("allowed: a method such as GET")
	}
	return nil
}
