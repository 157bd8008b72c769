package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// widest bounds the characters of a table cell for a terminal.
const widest = 48

// pretty writes a document for a terminal.
func (d document) pretty(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintln(w, visible(d.Title))
	for _, f := range d.Facts {
		fmt.Fprintf(w, "  %-12s %s\n", f.Name, visible(f.Value))
	}
	if d.VerdictFirst {
		d.prettyVerdict(w)
	}
	for _, s := range d.Sections {
		s.pretty(w)
	}
	if !d.VerdictFirst {
		d.prettyVerdict(w)
	}
	return w.Flush()
}

func (d document) prettyVerdict(w io.Writer) {
	if d.Verdict != "" {
		fmt.Fprintf(w, "\n%s\n", d.Verdict)
	}
	for _, b := range d.Because {
		fmt.Fprintf(w, "  %s\n", visible(b))
	}
}

func (s section) pretty(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", s.Title)
	if s.Note != "" {
		fmt.Fprintf(w, "  %s\n", s.Note)
	}
	widths := make([]int, len(s.Head))
	rows := [][]string{s.Head}
	for _, row := range s.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = cut(visible(c), widest)
		}
		rows = append(rows, cells)
	}
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i < s.Text {
				line.WriteString("  " + c + space)
			} else {
				line.WriteString("  " + space + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
	if s.More > 0 {
		fmt.Fprintf(w, "  and %s more\n", grouped(int64(s.More)))
	}
}

// cut shortens a string to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
