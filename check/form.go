package check

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// Form is a way to write a report.
type Form struct {
	Name string
	Doc  string

	write func(io.Writer, Report, Options) error
}

// Options configure how a report is written.
type Options struct {
	Colour bool // colour the states in text with ANSI escapes
	Brief  bool // text omits findings that are OK
}

// Write writes a report in the form.
func (f Form) Write(w io.Writer, r Report, o Options) error {
	if err := f.write(w, r, o); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Forms returns all forms, the one for people first.
func Forms() []Form {
	return []Form{
		{"text", "a line for each finding, below its workload or pod", writeText},
		{"json", "the same for programs", writeJSON},
	}
}

// FormNamed returns the form with this name.
func FormNamed(name string) (Form, error) {
	var allowed []string
	for _, f := range Forms() {
		if f.Name == name {
			return f, nil
		}
		allowed = append(allowed, f.Name)
	}
	return Form{}, fmt.Errorf("form of a check: found %q, allowed: %s", name, strings.Join(allowed, ", "))
}

const (
	maxText = 4 << 10 // most bytes of a text in a line, because names and annotations may have any size
	maxArea = 16      // columns for the area

	maxSubject = 200 // most bytes of a subject in a line that names several
)

// looks has the sign and the colour of each state.
var looks = map[State]struct{ sign, colour string }{
	OK:      {"✓", "32"},
	LeftOut: {"–", "2"},
	Unknown: {"?", "36"},
	Partly:  {"!", "33"},
	Problem: {"✗", "31"},
}

// writeText writes the findings of each subject in columns, and a summary line.
func writeText(to io.Writer, r Report, o Options) error {
	w := bufio.NewWriter(to)
	wide := 0
	for _, f := range r.Findings {
		wide = min(max(wide, len(f.Area)), maxArea)
	}
	for _, g := range r.groups() {
		if o.Brief {
			g.findings = slices.DeleteFunc(g.findings, func(f Finding) bool { return f.State == OK })
		}
		if len(g.findings) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\n", oneline.Text(g.subject, maxText))
		for _, f := range g.findings {
			state := fmt.Sprintf("%s %-8s", looks[f.State].sign, f.State)
			if o.Colour {
				state = "\x1b[" + looks[f.State].colour + "m" + state + "\x1b[0m"
			}
			fmt.Fprintf(w, "  %s  %-*s  %s\n", state, wide, oneline.Text(f.Area, maxArea), oneline.Text(f.Found, maxText))
			if f.Fix != "" {
				fmt.Fprintf(w, "  %*s→ %s\n", wide+14, "", oneline.Text(f.Fix, maxText))
			}
		}
		fmt.Fprintln(w)
	}
	for _, line := range r.worst() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w, r.Summary())
	return w.Flush()
}

const (
	maxOverseen = 20 // a report with more subjects also gets the lines of worst
	maxNamed    = 20 // subjects that such a line names
)

// worst names the subjects that need a change, in a line for each state. A report of up to
// maxOverseen subjects needs no such lines.
func (r Report) worst() (lines []string) {
	groups := r.groups()
	if len(groups) <= maxOverseen {
		return nil
	}
	for _, state := range []State{Problem, Partly} {
		var subjects []string
		for _, g := range groups {
			if (Report{Findings: g.findings}).Worst() == state {
				subjects = append(subjects, oneline.Text(g.subject, maxSubject))
			}
		}
		if len(subjects) == 0 {
			continue
		}
		more := ""
		if n := len(subjects) - maxNamed; n > 0 {
			subjects, more = subjects[:maxNamed], fmt.Sprintf(" and %d more", n)
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s", state, strings.Join(subjects, ", "), more))
	}
	return lines
}

// Summary counts the findings by state, the worst first.
func (r Report) Summary() string {
	var counts []string
	all := States()
	for i := len(all) - 1; i >= 0; i-- {
		if n := r.Count(all[i]); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, all[i]))
		}
	}
	if len(counts) == 0 {
		return "nothing was found"
	}
	return fmt.Sprintf("%s: %s", plural(len(r.groups()), "subject"), strings.Join(counts, ", "))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// document is the JSON form.
type document struct {
	State    State     `json:"state"` // the worst
	Findings []Finding `json:"findings"`
}

// writeJSON writes JSON with all invisible characters escaped, because a terminal would obey some
// of them.
func writeJSON(to io.Writer, r Report, _ Options) error {
	d := document{State: r.Worst(), Findings: r.Findings}
	if d.Findings == nil {
		d.Findings = []Finding{}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return err
	}
	_, err := to.Write(clean.JSON(text.Bytes()))
	return err
}
