package show

import (
	"strings"

	"github.com/tapedeck/tapedeck/match/canon"
)

// pairs reads the names and values of a query or a form, decoded and in order. redacted reports whether
// the value of a name was replaced.
func (b *builder) pairs(query string, redacted func(name string) bool) (all []Field, left int) {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if len(all) == b.o.MaxFields || b.left <= 0 {
			left++
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = canon.UnescapeForm(name)
		f := b.field(name, canon.UnescapeForm(value))
		f.Redacted = redacted != nil && redacted(name)
		all = append(all, f)
	}
	return all, left
}
