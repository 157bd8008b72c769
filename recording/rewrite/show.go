package rewrite

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Show writes a table of what the rules did, or would do, for people: counts and places, but no values.
func (r *Report) Show(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tDO\tEXCHANGES\tVALUES\tPLACES")
	for _, rule := range r.Rules {
		var places []string
		for _, p := range slices.Sorted(maps.Keys(rule.Places)) {
			places = append(places, fmt.Sprintf("%s %d", p, rule.Places[p]))
		}
		values, where := "-", "-"
		if rule.Do != "remove" {
			values = fmt.Sprint(rule.Changed())
		}
		if places != nil {
			where = strings.Join(places, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", oneLine(rule.Name), rule.Do, rule.Exchanges, values, where)
	}
	_ = t.Flush() // it writes to memory, so it can't fail
	fmt.Fprintf(&b, "%d exchanges: %d removed, %d changed\n", r.Read, r.Removed, r.Changed)
	for _, rule := range r.Rules {
		if rule.Idle() {
			fmt.Fprintf(&b, "warning: %s did nothing\n", oneLine(rule.Name))
		}
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(&b, "warning: %d bodies and messages could not be decoded, so only their encoded bytes were searched for values\n", r.Unreadable)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine keeps a name from a file in its column.
func oneLine(name string) string { return strings.Join(strings.Fields(name), " ") }
