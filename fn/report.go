package fn

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/tapedeck/tapedeck/transformer"
)

// WriteText writes the results as a table, followed by a line that summarizes them.
func WriteText(w io.Writer, results transformer.Results) error {
	return writeTable(w, results, results)
}

// WriteBrief writes the same as WriteText, but without results of severity info. It writes nothing if
// there are no others.
func WriteBrief(w io.Writer, results transformer.Results) error {
	telling := slices.DeleteFunc(slices.Clone(results), func(r transformer.Result) bool { return r.Severity == transformer.Info })
	if len(telling) == 0 {
		return nil
	}
	return writeTable(w, telling, results)
}

func writeTable(w io.Writer, rows, all transformer.Results) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.Severity, r.Code(), printable(subject(r)), printable(message(r)))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err := fmt.Fprintln(w, summary(all))
	return err
}

// printable escapes characters that would start another row, or make a terminal change earlier output.
// Names and annotations may contain anything.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// WriteJSON writes the results as a JSON array of KRM function results.
func WriteJSON(w io.Writer, results transformer.Results) error {
	if results == nil {
		results = transformer.Results{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(results); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func subject(r transformer.Result) string {
	switch {
	case r.ResourceRef != nil:
		return r.ResourceRef.String()
	case r.File != nil && r.File.Path != "":
		return r.File.Path
	}
	return "-"
}

// message appends the file and the field of a result to its message, if it has them.
func message(r transformer.Result) string {
	var where []string
	if r.File != nil && r.File.Path != "" {
		where = append(where, r.File.Path)
	}
	if r.Field != nil && r.Severity != transformer.Info {
		where = append(where, r.Field.Path)
	}
	if len(where) == 0 {
		return r.Message
	}
	return r.Message + " (" + strings.Join(where, ", ") + ")"
}

func summary(results transformer.Results) string {
	injected, asked, undone, deleted := 0, 0, 0, 0
	for _, r := range results {
		switch {
		case r.Code() == transformer.CodeInjected:
			injected++
		case r.Code() == transformer.CodeUninjected:
			undone++
		case r.Code() == transformer.CodeDeleted:
			deleted++
		case transformer.Reasons()[r.Code()].Skip && r.Severity != transformer.Info:
			asked++
		}
	}
	did := fmt.Sprintf("%s injected, %s skipped", count(injected, "workload"), count(asked, "workload"))
	if undone+deleted > 0 && injected+asked == 0 { // such as after an uninject
		did = fmt.Sprintf("%s restored, %s deleted", count(undone, "object"), count(deleted, "object"))
	}
	return fmt.Sprintf("%s; %s, %s", did,
		count(results.Count(transformer.Error), "error"), count(results.Count(transformer.Warning), "warning"))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
