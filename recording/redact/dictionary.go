package redact

import (
	"slices"
	"strings"
)

// verdict is what a name says of its value, in each of the places.
type verdict [places]form

func (v verdict) of(in place) form {
	switch in {
	case inHeader:
		return v[0]
	case inParameter:
		return v[1]
	}
	return v[2]
}

// dictionary is the table, ready to be looked into.
type dictionary struct {
	runs       map[string][]rule // by their first word
	vocabulary map[string]bool
	attributes map[string]bool
	own        map[string]bool // further names, joined
	longest    int             // of the vocabulary
}

type rule struct {
	words []string
	form  form
	in    place
	at    position
}

func newDictionary(more []string) *dictionary {
	d := &dictionary{runs: make(map[string][]rule), vocabulary: make(map[string]bool), attributes: make(map[string]bool), own: make(map[string]bool)}
	learn := func(word string) {
		d.vocabulary[word] = true
		d.longest = max(d.longest, len(word))
	}
	for _, row := range words {
		for _, run := range strings.Fields(row.list) {
			parts := strings.Split(run, "-")
			d.runs[parts[0]] = append(d.runs[parts[0]], rule{parts, row.form, row.in, row.at})
			for _, w := range parts {
				learn(w)
			}
		}
	}
	for _, w := range strings.Fields(attributes) {
		d.attributes[w] = true
		learn(w)
	}
	for _, w := range strings.Fields(qualifiers) {
		learn(w)
	}
	for _, name := range more {
		d.own[joined(name)] = true
	}
	delete(d.own, "")
	return d
}

// look finds what a name says.
func (d *dictionary) look(name string) (v verdict) {
	if len(name) > 2*maxLooked { // what is in the middle of such a name costs more than it says
		first, last := d.look(name[:maxLooked]), d.look(name[len(name)-maxLooked:])
		for i := range v {
			if v[i] = last[i]; v[i] == plain {
				v[i] = first[i]
			}
		}
		return v
	}
	name = unescaped(name)
	if d.isOwn(name) {
		v[0], v[1] = whole, whole
	}
	if strings.HasSuffix(strings.ToLower(name), "-bin") && !readableMetadata[strings.ToLower(name)] {
		v[0] = whole
	}
	for i, in := range [places]place{inHeader, inParameter, inPath} {
		if v[i] == plain {
			v[i] = d.form(name, in)
		}
	}
	return v
}

// maxLooked is how much of a long name's beginning and of its end is looked at.
const maxLooked = 128

// readableMetadata is binary metadata of gRPC's own. Of what applications send in
// binary no word can be read, so all of it is taken for secret.
var readableMetadata = map[string]bool{"grpc-status-details-bin": true, "grpc-trace-bin": true, "grpc-tags-bin": true, "grpc-server-stats-bin": true}

// form judges each way in which the name can be split.
func (d *dictionary) form(name string, in place) form {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(partEnds, r) })
	for _, split := range []func(string) []string{camel, flat, d.one} {
		var all []string
		var ends []int // of the parts, in all
		for _, part := range parts {
			for _, chunk := range split(part) {
				all = append(all, d.segment(chunk)...)
			}
			ends = append(ends, len(all))
		}
		if f := d.judge(all, ends, in); f != plain {
			return f
		}
	}
	return plain
}

// partEnds end a part of a name such as `user[password]` and `user.password`.
const partEnds = "[]."

// judge finds the first row that applies to the words.
func (d *dictionary) judge(all []string, ends []int, in place) form {
	excepted := make([]bool, len(all))
	found := plain
	d.each(all, ends, in, func(r rule, at int) {
		if r.form == plain {
			for i := range r.words {
				excepted[at+i] = true
			}
		}
	})
	d.each(all, ends, in, func(r rule, at int) {
		last := at + len(r.words) - 1
		if r.form == plain || excepted[last] {
			return
		}
		if end := lastWord(all, len(all)); end > last && d.attributes[all[end]] {
			return
		}
		if found == plain || r.at == alone {
			found = r.form
		}
	})
	return found
}

// each calls f for every row's run that stands in the words.
func (d *dictionary) each(all []string, ends []int, in place, f func(r rule, at int)) {
	start, part := 0, 0
	for at := range all {
		for at >= ends[part] {
			start = ends[part]
			part++
		}
		for _, word := range []string{all[at], singular(all[at])} {
			for _, r := range d.runs[word] {
				end := at + len(r.words)
				switch {
				case word != all[at] && len(r.words) == 1, r.in&in == 0, end > len(all):
					continue
				case !slices.EqualFunc(all[at:end], r.words, func(a, b string) bool { return a == b || len(r.words) > 1 && singular(a) == b }):
					continue
				}
				partEnd := ends[part]
				for i := part; end > partEnd && i < len(ends); i++ {
					partEnd = ends[i] // the run goes on in the parts behind
				}
				switch last := lastWord(all, partEnd); {
				case r.at == atEnd && end <= last:
				case r.at == alone && (end != partEnd || at != start && !(at == start+1 && all[start] == "x")):
				default:
					f(r, at)
				}
			}
			if word == singular(word) {
				break
			}
		}
	}
}

// lastWord is the last of the first n words but for digits and `bin`.
func lastWord(all []string, n int) int {
	for n--; n > 0 && (all[n] == "bin" || isDigit(all[n][0])); n-- {
	}
	return n
}

// singular takes the plural's s off.
func singular(word string) string {
	if len(word) > 3 && word[len(word)-1] == 's' && word[len(word)-2] != 's' {
		return word[:len(word)-1]
	}
	return word
}

// segment splits a chunk in lower case into words of the vocabulary, as few as
// can be. One that has others in it stays, but for a glued end or beginning.
func (d *dictionary) segment(chunk string) []string {
	if d.vocabulary[chunk] || len(chunk) < 4 {
		return []string{chunk}
	}
	if len(chunk) <= maxGlued {
		var count [maxGlued + 1]int // of words in what is before it, plus one; 0: it can't be split
		var from [maxGlued + 1]int  // where the last of them begins
		count[0] = 1
		for end := 1; end <= len(chunk); end++ {
			for start := max(0, end-d.longest); start < end; start++ {
				if n := count[start] + 1; n > 1 && (count[end] == 0 || n < count[end]) && d.vocabulary[chunk[start:end]] {
					count[end], from[end] = n, start
				}
			}
		}
		if count[len(chunk)] > 0 {
			var found []string
			for end := len(chunk); end > 0; end = from[end] {
				found = append(found, chunk[from[end]:end])
			}
			slices.Reverse(found)
			return found
		}
	}
	for _, end := range gluedEnds {
		if before, ok := strings.CutSuffix(chunk, end); ok {
			return append(d.lastOf(before), d.segment(end)...)
		}
	}
	for _, begin := range gluedBeginnings {
		if rest, ok := strings.CutPrefix(chunk, begin); ok {
			return append(d.segment(begin), rest)
		}
	}
	return []string{chunk}
}

// lastOf splits the longest word of the vocabulary off the end.
func (d *dictionary) lastOf(chunk string) []string {
	for start := max(0, len(chunk)-d.longest); start < len(chunk)-2; start++ {
		if d.vocabulary[chunk[start:]] {
			return []string{chunk[:start], chunk[start:]}
		}
	}
	return []string{chunk}
}

// maxGlued is longer than the names that people glue together.
const maxGlued = 48

// isOwn tells whether the name, or a part of it, is one that was configured.
func (d *dictionary) isOwn(name string) bool {
	if len(d.own) == 0 {
		return false
	}
	if d.own[joined(name)] {
		return true
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(partEnds, r) }) {
		if d.own[joined(part)] {
			return true
		}
	}
	return false
}

// joined is the name without what names that mean the same differ in: case,
// dashes and a leading X-.
func joined(name string) string {
	name = strings.ToLower(name)
	for {
		trimmed := strings.TrimLeft(name, "-_")
		if rest, ok := strings.CutPrefix(trimmed, "x-"); ok {
			name = rest
		} else if rest, ok := strings.CutPrefix(trimmed, "x_"); ok {
			name = rest
		} else {
			return strings.NewReplacer("-", "", "_", "").Replace(trimmed)
		}
	}
}

// one makes a name one word, if that is in the table: pass-word.
func (d *dictionary) one(name string) []string {
	letters := strings.TrimPrefix(strings.Join(flat(name), ""), "x")
	if !d.vocabulary[letters] {
		return nil
	}
	return []string{letters}
}
