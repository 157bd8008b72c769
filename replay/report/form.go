package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/replay/goal"
)

// Form is a way to write a report, or a comparison of two.
type Form struct {
	Name string
	Doc  string

	report     func(io.Writer, *Report) error
	comparison func(io.Writer, *Comparison) error // nil if the form can't show comparisons
}

// Write writes a report in the form.
func (f Form) Write(w io.Writer, r *Report) error { return f.report(w, r) }

// WriteComparison writes a comparison in the form.
func (f Form) WriteComparison(w io.Writer, c *Comparison) error {
	if f.comparison == nil {
		return fmt.Errorf("a comparison has no form %s", f.Name)
	}
	return f.comparison(w, c)
}

// Forms returns all forms, beginning with the one for terminals.
func Forms() []Form {
	return []Form{
		{"pretty", "text for a terminal",
			func(w io.Writer, r *Report) error { return r.document().pretty(w) },
			func(w io.Writer, c *Comparison) error { return c.document().pretty(w) }},
		{"json", "the whole report; other commands read this form",
			func(w io.Writer, r *Report) error { return writeJSON(w, r) },
			func(w io.Writer, c *Comparison) error { return writeJSON(w, c) }},
		{"yaml", "the same as YAML",
			func(w io.Writer, r *Report) error { return writeYAML(w, r) },
			func(w io.Writer, c *Comparison) error { return writeYAML(w, c) }},
		{"csv", "the metrics of each endpoint",
			func(w io.Writer, r *Report) error { return csv.NewWriter(w).WriteAll(r.cells()) },
			func(w io.Writer, c *Comparison) error { return csv.NewWriter(w).WriteAll(c.cells()) }},
		{"junit", "JUnit XML, as GitLab and Jenkins read it", writeJUnit, nil},
		{"markdown", "Markdown that fits into GitHub's step summary",
			func(w io.Writer, r *Report) error { return r.document().markdown(w) },
			func(w io.Writer, c *Comparison) error { return c.document().markdown(w) }},
		{"html", "one self-contained page with charts",
			func(w io.Writer, r *Report) error { return r.page().write(w) },
			func(w io.Writer, c *Comparison) error { return page{document: c.document()}.write(w) }},
	}
}

// ComparisonForms returns the forms that a comparison has.
func ComparisonForms() []Form {
	return slices.DeleteFunc(Forms(), func(f Form) bool { return f.comparison == nil })
}

// FormNamed returns a form by its name.
func FormNamed(name string) (Form, error) {
	var allowed []string
	for _, f := range Forms() {
		if f.Name == name {
			return f, nil
		}
		allowed = append(allowed, f.Name)
	}
	return Form{}, fmt.Errorf("form of a report: found %q, allowed: %s", name, strings.Join(allowed, ", "))
}

func writeJSON(w io.Writer, of any) error {
	text, err := marshal(of)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

func writeYAML(w io.Writer, of any) error {
	text, err := marshal(of)
	if err == nil {
		text, err = yaml.JSONToYAML(text)
	}
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// marshal returns JSON with all unprintable characters escaped, because they could control a
// terminal, and YAML does not allow them.
func marshal(of any) (escaped []byte, err error) {
	text, err := json.MarshalIndent(of, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(clean.JSON(text), '\n'), nil
}

// cells returns the rows of a table of the metrics, with all digits.
func (r *Report) cells() [][]string {
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
	return rows
}

// inCell escapes a string so that a spreadsheet does not take it for a formula.
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

// named returns the name of an endpoint, or "all".
func named(endpoint string) string {
	if endpoint == "" {
		return "all"
	}
	return endpoint
}

// titled returns a name with its unit, for a column header.
func titled(name, unit string) string {
	if unit == "" {
		return name
	}
	return name + " (" + unit + ")"
}

// notAvailable is shown for a value with too few samples.
const notAvailable = "n/a"

// visible escapes unprintable characters, such as control characters, line ends and characters that
// reverse the direction of text. The string then has no effect on the program that shows it.
func visible(s string) string {
	if !slices.ContainsFunc([]rune(s), func(r rune) bool { return !strconv.IsPrint(r) || r == '\uFFFD' }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
