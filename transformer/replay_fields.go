package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// ReplayField is one row of the table of an object's fields. Parsing and docs/cluster-replay.md use
// it.
type ReplayField struct {
	// Path has [] after a list, as in `workloads[].ref.name`.
	Path    string
	Kind    Kind
	Default string
	Doc     string
	// When says where the field has an effect; nil means everywhere.
	When *Condition
	// NoMeaning says why the field and everything below it have no effect; "" if they have one.
	NoMeaning string
	// Flags are the flags of `tapedeck replay`, and MockFlags the flags of `tapedeck mock`, that the
	// field sets.
	Flags, MockFlags []string
}

// fieldRow is a row with the function that stores values of the field. at has the index in each list
// on the path.
type fieldRow[T any] struct {
	ReplayField
	put func(to *T, at []int, value string)
}

// rowsOf returns the exported part of a table.
func rowsOf[T any](rows []fieldRow[T]) []ReplayField {
	out := make([]ReplayField, len(rows))
	for i, row := range rows {
		out[i] = row.ReplayField
	}
	return out
}

// statement is a setting of a replay that was written explicitly.
type statement struct {
	name  string // of the annotation, or the path of the field
	label string // for messages
	path  string
	value string // "" if it may not be shown
	when  *Condition
}

// fields reads an object with a table.
type fields[T any] struct {
	rows []fieldRow[T]
	// of is the object. If the fields are in a text within the object, what describes that text, for
	// messages.
	of   *Object
	what string
	// texts makes a value that YAML does not read as a string an error, as Kubernetes does.
	texts bool
	cfg   *Config

	found   []foundField
	results Results
}

// foundField is a value of a field.
type foundField struct {
	row         int
	at          []int
	path, value string
}

// read reads a mapping into a value. It stores the values in the order of the table, and those of one
// field in the order of the object. It returns the valid settings.
func (f *fields[T]) read(n *yaml.Node, path string, to *T) (said []statement, results Results) {
	f.walk(n, path, "", nil)
	slices.SortStableFunc(f.found, func(a, b foundField) int { return a.row - b.row })
	var mute []string // paths of fields without meaning, with one reason
	for i, v := range f.found {
		row := f.rows[v.row]
		if row.NoMeaning != "" {
			mute = append(mute, v.path)
			if i+1 == len(f.found) || f.rows[f.found[i+1].row].NoMeaning != row.NoMeaning {
				f.results = append(f.results, result(CodeNoMeaning, f.of, "%s%s %s no effect: %s", f.what, strings.Join(mute, ", "), verb(mute, "has", "have"), row.NoMeaning).At(v.path, row.Kind.shown(v.value), ""))
				mute = nil
			}
			continue
		}
		shown := row.Kind.shown(v.value)
		if err := row.Kind.Check(v.value); err != nil {
			f.results = append(f.results, result(CodeBadValue, f.of, "%s%s: %v", f.what, v.path, err).At(v.path, shown, ""))
			continue
		}
		row.put(to, v.at, v.value)
		said = append(said, statement{row.Path, f.what + v.path, v.path, shown, row.When})
	}
	return said, f.results
}

// walk visits a node at a path. pattern is the path as rows have it.
func (f *fields[T]) walk(n *yaml.Node, path, pattern string, at []int) {
	if nodes.IsNull(n) {
		return
	}
	row := slices.IndexFunc(f.rows, func(r fieldRow[T]) bool { return r.Path == pattern })
	bad := func(allowed string) {
		f.results = append(f.results, result(CodeBadValue, f.of, "%s%s: found %s, allowed: %s", f.what, path, describeKind(n), allowed).At(path, Kind{}.shown(nodes.String(n)), ""))
	}
	switch {
	case row >= 0 && f.rows[row].NoMeaning != "" && (n.Kind == yaml.ScalarNode && n.Value == f.rows[row].Default || n.Kind != yaml.ScalarNode && len(n.Content) == 0):
		// as if it were absent
	case row >= 0 && f.rows[row].NoMeaning != "":
		f.found = append(f.found, foundField{row, at, path, nodes.String(n)})
	case row >= 0 && n.Kind != yaml.ScalarNode:
		bad(f.rows[row].Kind.Allowed)
	case row >= 0 && f.texts && f.rows[row].Kind.Name != boolKind.Name && readAs(n) != "":
		f.results = append(f.results, unquoted(f.of, f.what+path, path, n))
	case row >= 0:
		f.found = append(f.found, foundField{row, at, path, n.Value})
	case f.under(pattern+"[]") != nil:
		if n.Kind != yaml.SequenceNode {
			bad("a list")
			return
		}
		for i, item := range n.Content {
			f.walk(item, pathIndex(path, i), pattern+"[]", append(slices.Clone(at), i))
		}
	default:
		f.walkMap(n, path, pattern, at, bad)
	}
}

func (f *fields[T]) walkMap(n *yaml.Node, path, pattern string, at []int, bad func(string)) {
	if pattern != "" {
		pattern += "."
	}
	known := f.under(pattern)
	if n.Kind != yaml.MappingNode {
		bad("a map")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, in := n.Content[i].Value, pathKey(path, n.Content[i].Value)
		if slices.Contains(known, key) {
			f.walk(n.Content[i+1], in, pattern+key, at)
			continue
		}
		r := result(CodeReplayField, f.of, "%s%s is unknown%s; allowed: %s", f.what, in, didYouMean(key, known), oneOf(known)).At(in, "", "")
		f.results = append(f.results, r.ifStrict(f.cfg))
	}
}

// under returns the names of the fields whose paths begin with a pattern: the next part, each once;
// nil if there are none.
func (f *fields[T]) under(pattern string) (names []string) {
	for _, row := range f.rows {
		if rest, ok := strings.CutPrefix(row.Path, pattern); ok {
			if i := strings.IndexAny(rest, ".["); i >= 0 {
				rest = rest[:i]
			}
			if !slices.Contains(names, rest) {
				names = append(names, rest)
			}
		}
	}
	return names
}

// into stores the value of a field unchanged.
func into[T any](field func(*T) *string) func(*T, []int, string) {
	return func(to *T, _ []int, value string) { *field(to) = value }
}

// addTo appends the value of a field to a list.
func addTo[T any](field func(*T) *[]string) func(*T, []int, string) {
	return func(to *T, _ []int, value string) { *field(to) = append(*field(to), value) }
}

// result returns a result about the setting.
func (s statement) result(code Code, of *Object, message string, args ...any) Result {
	return result(code, of, "%s %s", s.label, fmt.Sprintf(message, args...)).At(s.path, s.value, "")
}
