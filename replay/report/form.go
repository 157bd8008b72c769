package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/replay/goal"
)

// Form is a way to write a report.
type Form struct {
	Name      string
	Doc       string
	Extension string // of a file in it, as `.json`
	write     func(io.Writer, *Report) error
}

// Write writes a report in the form.
func (f Form) Write(w io.Writer, r *Report) error { return f.write(w, r) }

// Forms returns all forms, the one for people first.
func Forms() []Form {
	return []Form{
		{"pretty", "text for a terminal", ".txt", writePretty},
		{"json", "everything there is; what the other commands read", ".json", writeJSON},
		{"yaml", "the same as YAML", ".yaml", writeYAML},
		{"csv", "the metrics, one line for each endpoint", ".csv", writeCSV},
		{"junit", "JUnit XML, as GitLab and Jenkins read it", ".xml", writeJUnit},
		{"markdown", "Markdown that fits into GitHub's step summary", ".md", writeMarkdown},
	}
}

// FormNamed returns a form by its name.
func FormNamed(name string) (Form, error) {
	return find("form", name, func(f Form) string { return f.Name })
}

// FormOf returns the form of a file, by its extension.
func FormOf(file string) (Form, error) {
	return find("extension", filepath.Ext(file), func(f Form) string { return f.Extension })
}

func find(what, name string, of func(Form) string) (Form, error) {
	var allowed []string
	for _, f := range Forms() {
		if of(f) == name {
			return f, nil
		}
		allowed = append(allowed, of(f))
	}
	return Form{}, fmt.Errorf("%s of a report: found %q, allowed: %s", what, name, strings.Join(allowed, ", "))
}

func writeJSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func writeYAML(w io.Writer, r *Report) error {
	b, err := yaml.Marshal(r)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// writeCSV writes the metrics with all their digits.
func writeCSV(w io.Writer, r *Report) error {
	metrics := goal.Metrics()
	head := []string{"endpoint"}
	for _, m := range metrics {
		head = append(head, titled(m.Name, m.Unit))
	}
	rows := [][]string{head}
	for _, of := range r.Metrics {
		row := []string{inCell(named(of.Endpoint))}
		for _, m := range metrics {
			row = append(row, exactly(of.Values[m.Name]))
		}
		rows = append(rows, row)
	}
	return csv.NewWriter(w).WriteAll(rows)
}

// inCell keeps a spreadsheet from taking a text for a formula.
func inCell(s string) string {
	s = visible(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

func exactly(v *float64) string {
	if v == nil {
		return notAvailable
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// named is the name of an endpoint, or of all of them.
func named(endpoint string) string {
	if endpoint == "" {
		return "all"
	}
	return endpoint
}

// titled writes a name with its unit, as a column's header.
func titled(name, unit string) string {
	if unit == "" {
		return name
	}
	return name + " (" + unit + ")"
}

// notAvailable stands for a value that there are too few samples for.
const notAvailable = "n/a"

// visible writes a text so that it does nothing to whatever shows it: what is not
// printable, as control characters, line ends and what reverses the direction of text, is
// there as an escape.
func visible(s string) string {
	if !slices.ContainsFunc([]rune(s), func(r rune) bool { return !strconv.IsPrint(r) || r == '\uFFFD' }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
