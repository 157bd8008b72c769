package report

import (
	"fmt"
	"io"
	"strings"
)

const (
	// maxMarkdown bounds a report. GitHub accepts a step summary of up to 1 MiB, and other
	// commands of the step may write to it, too.
	maxMarkdown = 900 << 10
	// firstRows bounds the rows of a section. It is halved until the page fits.
	firstRows = 1000
)

// markdown writes a document, with as many rows as fit.
func (d document) markdown(w io.Writer) error {
	var page string
	for rows := firstRows; ; rows /= 2 {
		if page = d.markdownOf(rows); len(page) <= maxMarkdown || rows == 0 {
			break
		}
	}
	_, err := io.WriteString(w, page)
	return err
}

func (d document) markdownOf(rows int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", inMarkdown(cut(d.Title, 200)))
	if d.Verdict != "" {
		sign := "✅"
		if d.Bad {
			sign = "❌"
		}
		fmt.Fprintf(&b, "%s **%s**\n\n", sign, d.Verdict)
	}
	for _, because := range d.Because {
		fmt.Fprintf(&b, "- %s\n", inMarkdown(cut(because, 500)))
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, f := range d.Facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, inMarkdown(cut(f.Value, 500)))
	}
	for _, s := range d.Sections {
		s = s.first(rows)
		fmt.Fprintf(&b, "\n### %s\n\n", s.Title)
		if s.Note != "" {
			fmt.Fprintf(&b, "%s\n\n", inMarkdown(s.Note))
		}
		if len(s.Rows) > 0 {
			writeCells(&b, s.Head)
			for i := range s.Head {
				if i < s.Text {
					b.WriteString("|---")
				} else {
					b.WriteString("|--:")
				}
			}
			b.WriteString("|\n")
			for _, row := range s.Rows {
				writeCells(&b, row)
			}
		}
		if s.More > 0 {
			fmt.Fprintf(&b, "\n…and %s.\n", plural(s.More, "more row"))
		}
	}
	return b.String()
}

func writeCells(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + inMarkdown(cut(c, 200)) + " ")
	}
	b.WriteString("|\n")
}

// first keeps the first rows of a section.
func (s section) first(rows int) section {
	if more := len(s.Rows) - rows; more > 0 {
		s.Rows, s.More = s.Rows[:rows], s.More+more
	}
	return s
}

// inMarkdown escapes a string for a cell in Markdown, so that it is never markup, HTML, a link, a
// mention or the end of the cell.
func inMarkdown(s string) string { return markdownEscapes.Replace(visible(s)) }

var markdownEscapes = func() *strings.Replacer {
	pairs := []string{"://", "&#58;//", "www.", "www&#46;"}
	for _, r := range "\\`*_{}[]#!|~@$<>&\"'" {
		pairs = append(pairs, string(r), fmt.Sprintf("&#%d;", r))
	}
	return strings.NewReplacer(pairs...)
}()
