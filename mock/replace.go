package mock

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// pair is a recorded value and the live one that replaces it.
type pair struct{ recorded, live string }

// minReplaced is the length of the shortest value that is replaced in an answer.
const minReplaced = 4

// replacer replaces values that an answer repeats from the recorded request with the values of the
// live request.
type replacer struct{ pairs []pair }

// newReplacer returns a replacer of the pairs, also in the encodings of JSON and URLs. It drops
// pairs that change nothing.
func newReplacer(pairs []pair) replacer {
	var r replacer
	for _, p := range pairs {
		for _, form := range [...]func(string) string{func(s string) string { return s }, inJSON, url.QueryEscape, url.PathEscape} {
			q := pair{form(p.recorded), form(p.live)}
			if len(q.recorded) >= minReplaced && q.recorded != q.live && !slices.ContainsFunc(r.pairs, func(have pair) bool { return have.recorded == q.recorded }) {
				r.pairs = append(r.pairs, q)
			}
		}
	}
	// Try a longer value before a shorter one that is its prefix.
	slices.SortStableFunc(r.pairs, func(a, b pair) int { return len(b.recorded) - len(a.recorded) })
	return r
}

func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil || len(b) < 2 {
		return s
	}
	return string(b[1 : len(b)-1])
}

// empty reports whether there is nothing to replace.
func (r replacer) empty() bool { return len(r.pairs) == 0 }

// text replaces values that are whole words in s.
func (r replacer) text(s string) string {
	if r.empty() {
		return s
	}
	var out strings.Builder
	from := 0
	for at := 0; at < len(s); {
		p := r.at(s, at)
		if p == nil {
			at++
			continue
		}
		out.WriteString(s[from:at])
		out.WriteString(p.live)
		at += len(p.recorded)
		from = at
	}
	if from == 0 {
		return s
	}
	out.WriteString(s[from:])
	return out.String()
}

// at finds the value that begins at index at of s.
func (r replacer) at(s string, at int) *pair {
	for i := range r.pairs {
		p := &r.pairs[i]
		end := at + len(p.recorded)
		if s[at] == p.recorded[0] && strings.HasPrefix(s[at:], p.recorded) && (at == 0 || !joins(s[at-1], s[at])) && (end == len(s) || !joins(s[end-1], s[end])) {
			return p
		}
	}
	return nil
}

// joins reports whether two characters belong to one word.
func joins(a, b byte) bool { return isWord(a) && isWord(b) }

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '-' || c >= 0x80
}
