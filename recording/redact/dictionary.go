package redact

import (
	"slices"
	"strings"
)

// verdict says whether a name makes its value secret, and how.
type verdict struct {
	forms   [allPlaces]form // for each place where a name can be
	numbers numbers         // whether numbers in a body are secret, too
	says    says            // further properties of the name in a body
}

// says is a set of further properties of a name in a body.
type says uint16

const (
	isAttribute     says = 1 << iota // the value describes a secret, such as its length, and isn't one
	isBodyAttribute                  // the same, in a body
	isNaming                         // the value is the name of another value
	isValued                         // the value belongs to a name that another member of the same object has
	isProse                          // the value has texts for people
	isIdentifying                    // the value is an ID, so its digits are not a card number
	isPhrase                         // the secret consists of words
	isSecret                         // the name itself is a secret
	isTelling                        // the name itself is a secret, or the form of its value isn't plain
	isKind                           // the value is the kind of a Kubernetes object
	isKindData                       // in a Kubernetes Secret, the value holds the secrets
)

func (v verdict) of(in place) form {
	switch in {
	case inHeader:
		return v.forms[0]
	case inParameter:
		return v.forms[1]
	case inBody:
		return v.forms[2]
	}
	return v.forms[3]
}

// dictionary is the table of words, indexed for lookups.
type dictionary struct {
	runs       map[string][]rule // by their first word
	vocabulary map[string]bool
	says       map[string]says // of a name's last word
	own        map[string]bool // names from the options, as joined returns them
	longest    int             // the longest word of the vocabulary
}

type rule struct {
	words   []string
	form    form
	in      place
	at      position
	numbers numbers
}

func newDictionary(more []string) *dictionary {
	d := &dictionary{runs: make(map[string][]rule), vocabulary: make(map[string]bool), says: make(map[string]says), own: make(map[string]bool)}
	learn := func(word string) {
		d.vocabulary[word] = true
		d.longest = max(d.longest, len(word))
	}
	for _, row := range words {
		for _, run := range strings.Fields(row.list) {
			parts := strings.Split(run, "-")
			d.runs[parts[0]] = append(d.runs[parts[0]], rule{parts, row.form, row.in, row.at, row.numbers})
			for _, w := range parts {
				learn(w)
			}
		}
	}
	for _, w := range strings.Fields(attributes + " " + bodyAttributes + " " + qualifiers) {
		learn(w)
	}
	for list, what := range map[string]says{attributes: isAttribute | isBodyAttribute, bodyAttributes: isBodyAttribute, naming: isNaming, valued: isValued, proseNames: isProse, identifying: isIdentifying, phrases: isPhrase,
		kinds: isKind, kindData: isKindData} {
		for _, w := range strings.Fields(list) {
			d.says[w] |= what
		}
	}
	for _, name := range more {
		d.own[joined(name)] = true
	}
	delete(d.own, "")
	return d
}

// look returns the verdict on a name.
func (d *dictionary) look(name string) (v verdict) {
	if len(name) > 2*maxLooked { // reading the middle of a long name would cost too much
		first, last := d.look(name[:maxLooked]), d.look(name[len(name)-maxLooked:])
		for i := range last.forms {
			if last.forms[i] == plain {
				last.forms[i] = first.forms[i]
			}
		}
		last.numbers = first.numbers || last.numbers
		last.says |= first.says & (isSecret | isTelling)
		return last
	}
	name = narrow(unescaped(name))
	if d.isOwn(name) {
		v.forms[0], v.forms[1], v.forms[2], v.numbers = whole, whole, whole, alsoNumbers
	}
	if strings.HasSuffix(strings.ToLower(name), "-bin") && !readableMetadata[strings.ToLower(name)] {
		v.forms[0] = whole
	}
	if len(name) >= minKnown && hasKnown(name) {
		v.says |= isSecret
	}
	d.words(name, &v)
	if v.of(inBody) != plain || v.says&isSecret != 0 {
		v.says |= isTelling
	}
	return v
}

// narrow turns the fullwidth forms of ASCII (U+FF01 to U+FF5E) into ASCII.
func narrow(name string) string {
	const first, last, distance = '！', '～', '！' - '!'
	if strings.IndexByte(name, first>>12|0xe0) < 0 { // the first byte of all of them in UTF-8
		return name
	}
	return strings.Map(func(r rune) rune {
		if r >= first && r <= last {
			return r - distance
		}
		return r
	}, name)
}

// maxLooked is how many bytes are read at the beginning and at the end of a long name.
const maxLooked = 128

// readableMetadata lists the binary metadata that gRPC itself sends. An application's binary metadata
// can't be searched for words, so all of it counts as secret.
var readableMetadata = map[string]bool{"grpc-status-details-bin": true, "grpc-trace-bin": true, "grpc-tags-bin": true, "grpc-server-stats-bin": true}

// words splits the name into words in several ways, and judges each. It sets the verdict for places
// that have none yet.
func (d *dictionary) words(name string, v *verdict) {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(partEnds, r) })
	for n, split := range []func(string) []string{camel, flat, d.one} {
		var all []string
		var ends []int // where the parts end in all
		for _, part := range parts {
			for _, chunk := range split(part) {
				all = append(all, d.segment(chunk)...)
			}
			ends = append(ends, len(all))
		}
		if len(all) == 0 {
			continue
		}
		if n == 0 {
			v.says |= d.says[all[lastWord(all, len(all))]]
		}
		for i, in := range [allPlaces]place{inHeader, inParameter, inBody, inPath} {
			if v.forms[i] == plain && (in != inBody || name[0] != '/') { // a path is not a name
				if r := d.judge(all, ends, in); r != nil {
					v.forms[i] = r.form
					if in == inBody {
						v.numbers = r.numbers
					}
				}
			}
		}
	}
}

// partEnds are the characters that end a part of a name such as `user[password]` and `user.password`.
const partEnds = "[]."

// judge returns the first row that applies to the words, or nil if none does. Among those, a row for
// names that have no other words takes precedence.
func (d *dictionary) judge(all []string, ends []int, in place) (found *rule) {
	attribute := isAttribute
	if in == inBody {
		attribute = isBodyAttribute
	}
	var excepted []bool
	d.each(all, ends, in, func(r *rule, at int) {
		if r.form == plain {
			if excepted == nil {
				excepted = make([]bool, len(all))
			}
			for i := range r.words {
				excepted[at+i] = true
			}
		}
	})
	d.each(all, ends, in, func(r *rule, at int) {
		last := at + len(r.words) - 1
		if r.form == plain || excepted != nil && excepted[last] {
			return
		}
		if end := lastWord(all, len(all)); end > last && d.says[all[end]]&attribute != 0 {
			return
		}
		if found == nil || r.at == alone {
			found = r
		}
	})
	return found
}

// each calls f for each row whose run of words occurs in all, with the index at which it occurs.
func (d *dictionary) each(all []string, ends []int, in place, f func(r *rule, at int)) {
	start, part := 0, 0
	for at := range all {
		for at >= ends[part] {
			start = ends[part]
			part++
		}
		for _, word := range []string{all[at], singular(all[at])} {
			runs := d.runs[word]
			for i := range runs {
				r := &runs[i]
				end := at + len(r.words)
				switch {
				case word != all[at] && len(r.words) == 1, r.in&in == 0, end > len(all):
					continue
				case !slices.EqualFunc(all[at:end], r.words, func(a, b string) bool { return a == b || len(r.words) > 1 && singular(a) == b }):
					continue
				}
				partEnd := ends[part]
				for i := part; end > partEnd && i < len(ends); i++ {
					partEnd = ends[i] // the run continues in the next parts
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

// lastWord returns the index of the last of the first n words that is neither digits nor `bin`.
func lastWord(all []string, n int) int {
	for n--; n > 0 && (all[n] == "bin" || isDigit(all[n][0])); n-- {
	}
	return n
}

// singular removes the plural's s.
func singular(word string) string {
	if len(word) > 3 && word[len(word)-1] == 's' && word[len(word)-2] != 's' {
		return word[:len(word)-1]
	}
	return word
}

// segment splits a chunk in lower case into as few words of the vocabulary as possible. A chunk that
// has other text in it is not split, except that a known ending or beginning is split off.
func (d *dictionary) segment(chunk string) []string {
	if d.vocabulary[chunk] || len(chunk) < 4 {
		return []string{chunk}
	}
	if len(chunk) <= maxGlued {
		var count [maxGlued + 1]int // the number of words before this index, plus one; 0 if it can't be split
		var from [maxGlued + 1]int  // where the last of these words begins
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

// lastOf splits the longest word of the vocabulary off the end of a chunk.
func (d *dictionary) lastOf(chunk string) []string {
	for start := max(0, len(chunk)-d.longest); start < len(chunk)-2; start++ {
		if d.vocabulary[chunk[start:]] {
			return []string{chunk[:start], chunk[start:]}
		}
	}
	return []string{chunk}
}

// maxGlued limits the length of names whose words have no separators. Names that people write are
// shorter.
const maxGlued = 48

// isOwn reports whether the name, or a part of it, is one that was configured.
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

// joined returns a form that is the same for equivalent names: in lower case, without dashes and without
// a leading X-.
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

// one joins the parts of a name such as pass-word, if the result is a word of the table.
func (d *dictionary) one(name string) []string {
	letters := strings.TrimPrefix(strings.Join(flat(name), ""), "x")
	if !d.vocabulary[letters] {
		return nil
	}
	return []string{letters}
}
