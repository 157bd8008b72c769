package redact

import (
	"cmp"
	"strings"
	"sync"
)

// jsonScan searches one JSON text, or several behind each other, for secrets. It
// knows no errors: it follows strings and brackets, and takes what is between them for
// numbers and the like. So it goes as far as a text that was cut, and comes through one
// that isn't JSON.
type jsonScan struct {
	glance
	draft
	levels   []level
	deeper   int         // levels that are open and are not in levels
	name     stretch     // of the member whose value follows
	member   *remembered // what it says; nil: there is no name, as in an array, or it is plain
	until    int         // where something may have to be redacted next
	odd      bool        // something isn't JSON, or was replaced that is no value as a whole
	subtrees [4]subtree
	open     int // of subtrees
	prose    int // the level from which on there is what people read, 0 if there isn't
}

// stretch is where a text stands.
type stretch struct{ from, to int }

// level is an object or an array that is open.
type level struct {
	name  stretch // of the member that it is the value of
	array bool
	named int // where in an object the value begins that names another: {"name":"…","value":
}

// subtree is a value in which every leaf is secret by the name of the whole. The
// forms of inner ones are stronger, so there are few.
type subtree struct {
	form    form
	verdict verdict
	level   int // at which it begins
}

// maxLevels is how deep names are remembered. Deeper ones are searched, too.
const maxLevels = 1 << 10

var jsonScans = sync.Pool{New: func() any { return new(jsonScan) }}

// json redacts a JSON text, and returns nil if there is nothing to redact.
func (q *search) json(s string) (out []byte) {
	j := jsonScans.Get().(*jsonScan)
	j.glance = glance{search: *q, s: s, telling: isTelling | isKind, room: j.room}
	for again := true; again; {
		telling := j.telling
		first := j.plainUntil(0)
		known, plainUntil := len(j.variables), j.plainUntil
		if known > 0 {
			first, plainUntil = 0, nothingPlain
		}
		if telling == j.telling && first < len(s) {
			*j = jsonScan{glance: j.glance, draft: draft{src: s, max: q.max}, levels: j.levels[:0], until: first}
			j.scan(plainUntil)
		}
		again = telling != j.telling || len(j.variables) > known && j.depth < 2 // a query may come behind its variables
	}
	if j.src != "" { // it was scanned
		out = j.bytes()
		q.cut = q.cut || j.draft.cut
		q.final = !j.odd && !j.draft.cut
		*j = jsonScan{glance: j.glance, levels: j.levels}
	}
	j.glance = glance{room: j.room}
	jsonScans.Put(j)
	return out
}

// nothingPlain has scan look at all of the text.
func nothingPlain(i int) int { return i }

// kinds of characters outside of strings.
const (
	jsonPlain   = iota // of numbers, literals, and what is between values
	jsonQuote          // begins a string
	jsonOpen           // begins an object or an array
	jsonClose          // ends one
	jsonForeign        // isn't JSON
)

var jsonKinds = func() (t [256]uint8) {
	for i := range t {
		t[i] = jsonForeign
	}
	for _, c := range " \t\r\n,:0123456789+-.eEtrufalsn\x1e" {
		t[c] = jsonPlain
	}
	t['"'], t['{'], t['['], t['}'], t[']'] = jsonQuote, jsonOpen, jsonOpen, jsonClose, jsonClose
	return t
}()

// scan goes over the text up to where nothing more has to be redacted, which plainUntil tells.
func (j *jsonScan) scan(plainUntil func(int) int) {
	s := j.s
	for i := 0; i < len(s); {
		if i > j.until {
			j.until = plainUntil(i)
		}
		if j.until == len(s) && j.open == 0 && j.member == nil {
			return
		}
		switch jsonKinds[s[i]] {
		case jsonQuote:
			i = j.string(i + 1)
		case jsonPlain:
			from := i
			for i++; i < len(s) && jsonKinds[s[i]] == jsonPlain; i++ {
			}
			if i-from >= minNumber && (i-from >= minCard && i > j.until || j.open > 0) {
				j.numbersIn(from, i)
			}
			if i < len(s) && jsonKinds[s[i]] == jsonForeign {
				i = j.foreign(max(from, j.done), i)
			}
		case jsonOpen:
			j.push(s[i] == '[')
			i++
		case jsonClose:
			j.pop()
			i++
		default:
			i = j.foreign(i, i)
		}
	}
}

// string goes over a string, which begins behind its quote: the name of a member, or a
// value. It returns where the scan goes on.
func (j *jsonScan) string(from int) int {
	s := j.s
	to := stringEnd(s, from)
	i := skipSpace(s, to+1)
	if i >= len(s) || s[i] != ':' {
		j.leaf(from, to)
		return min(to+1, len(s))
	}
	j.name, j.member = stretch{from, to}, nil
	if i >= j.until || j.open > 0 {
		j.begin(from, to)
	}
	return j.told(skipSpace(s, i+1))
}

// maxComment is how long a comment may be that stands between a name and its value.
const maxComment = 256

// skipSpace goes over white space, and over comments in it, as JSON5 has them.
func skipSpace(s string, i int) int {
	for i < len(s) {
		end := ""
		switch {
		case isSpace(s[i]):
			i++
			continue
		case s[i] != '/':
			return i
		case strings.HasPrefix(s[i:], "/*"):
			end = "*/"
		case strings.HasPrefix(s[i:], "//"):
			end = "\n"
		default:
			return i
		}
		n := strings.Index(s[i:min(len(s), i+maxComment)], end)
		if n < 0 {
			return i
		}
		i += n + len(end)
	}
	return i
}

// stringEnd finds the quote that ends a string, or the text's end.
func stringEnd(s string, from int) int {
	for i := from; ; i++ {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 {
			return len(s)
		}
		i += n
		escapes := 0
		for i-escapes > from && s[i-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// begin begins a member that may not be plain.
func (j *jsonScan) begin(from, to int) {
	j.name = stretch{from, to}
	name := j.unescaped(from, to)
	if j.variables != nil && j.inVariables() {
		name = cmp.Or(j.variables[name], name)
	}
	j.member = j.r.names.lookUp(name)
}

// inVariables reports whether the innermost object has the variables of a GraphQL operation.
func (j *jsonScan) inVariables() bool {
	n := len(j.levels)
	return n > 0 && !j.levels[n-1].array && j.s[j.levels[n-1].name.from:j.levels[n-1].name.to] == "variables"
}

// resolve finds out what the name says of a member that is plain.
func (j *jsonScan) resolve() {
	if j.member == nil && j.name.to > 0 {
		j.begin(j.name.from, j.name.to)
	}
}

// end ends it.
func (j *jsonScan) end() { j.name, j.member = stretch{}, nil }

// told sees to what the name says besides, and to a value that is no string, object or
// array. It returns where the scan goes on.
func (j *jsonScan) told(i int) int {
	s, m := j.s, j.member
	if m == nil {
		return i
	}
	if n := len(j.levels); n > 0 && m.says&isNaming != 0 {
		j.levels[n-1].named = i + 1
	}
	if m.says&(isTelling|isValued) == 0 {
		return i
	}
	if m.says&isSecret != 0 {
		j.odd = true
		j.foundValue()
		j.replace(j.name.from, j.name.to, j.r.tokens.Of(j.unescaped(j.name.from, j.name.to)))
	}
	if i == len(s) || s[i] == '"' || jsonKinds[s[i]] == jsonOpen || jsonKinds[s[i]] == jsonClose {
		return i
	}
	to := bareEnd(s, i)
	j.bare(i, to)
	j.end()
	return to
}

// bareEnd finds the end of a value that isn't in quotes.
func bareEnd(s string, i int) int {
	for i < len(s) && !isSpace(s[i]) && s[i] != ',' && s[i] != '}' && s[i] != ']' {
		i++
	}
	return i
}

// isLiteral reports whether a text is a value that is no secret whatever its name: one
// of JSON's, or of a language that writes something like it.
func isLiteral(s string) bool {
	switch s {
	case "true", "false", "null", "True", "False", "None", "undefined", "NaN":
		return true
	}
	return false
}

func isNumeric(s string) bool { return strings.Trim(s, "0123456789+-.eE") == "" }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// innerForm is the form of what is in a value of a form.
func innerForm(f form) form {
	switch {
	case f == scheme || f == oneTime:
		return random
	case f > mixed:
		return whole
	}
	return f
}

func (j *jsonScan) push(array bool) {
	j.resolve()
	f, v := j.effective(0)
	f = innerForm(f)
	if !array && j.member != nil && j.member.says&j.telling&isKindData != 0 {
		f = whole
	}
	if len(j.levels) < maxLevels {
		j.levels = append(j.levels, level{name: j.name, array: array})
	} else {
		j.deeper++
	}
	level := len(j.levels) + j.deeper
	if j.member != nil && j.member.says&isProse != 0 && j.prose == 0 {
		j.prose = level
	}
	if f != plain && j.open < len(j.subtrees) && (j.open == 0 || f > j.subtrees[j.open-1].form) {
		j.subtrees[j.open] = subtree{f, v, level}
		j.open++
	}
	j.end()
}

func (j *jsonScan) pop() {
	level := len(j.levels) + j.deeper
	if j.open > 0 && j.subtrees[j.open-1].level == level {
		j.open--
	}
	if j.prose == level {
		j.prose = 0
	}
	switch {
	case j.deeper > 0:
		j.deeper--
	case len(j.levels) > 0:
		j.levels = j.levels[:len(j.levels)-1]
	}
	j.end()
}

// effective is the form of the value that follows, or that ended at a place, and the
// verdict that it is of.
func (j *jsonScan) effective(ended int) (f form, v verdict) {
	if j.member != nil {
		v = j.member.verdict
		if f = v.of(inBody); f == plain && v.says&isValued != 0 {
			if m := j.beside(ended); m != nil {
				v = m.verdict
				f = v.of(inBody)
			}
		}
		if v.says&isBodyAttribute != 0 && !(j.open > 0 && j.subtrees[j.open-1].verdict.says&isKindData != 0) {
			return f, v
		}
	}
	if j.open > 0 {
		if t := &j.subtrees[j.open-1]; t.form > f {
			return t.form, t.verdict
		}
	}
	return f, v
}

// beside finds what the name says that stands in the same object as the value: before it,
// or next to its end.
func (j *jsonScan) beside(ended int) *remembered {
	if len(j.levels) == 0 {
		return nil
	}
	named := j.levels[len(j.levels)-1].named
	if named == 0 {
		cut := false
		if named, cut = j.namedBehind(ended); cut && isOneWord(strings.TrimLeft(j.s[j.name.to:min(ended, len(j.s))], "\": \t\r\n")) {
			return j.r.names.lookUp("password") // the name may be one
		}
		if named == 0 {
			return nil
		}
	}
	if named >= len(j.s) || j.s[named-1] != '"' {
		return nil
	}
	name := j.unescaped(named, stringEnd(j.s, named))
	return j.r.names.lookUp(name[strings.LastIndexByte(name, '/')+1:]) // of a pointer, as in JSON Patch
}

func isOneWord(s string) bool { return strings.IndexByte(s, ' ') < 0 }

// namedBehind finds the value of a member that names another one among the next ones. It
// returns true if the text was cut before the end of such a value.
func (j *jsonScan) namedBehind(i int) (value int, cut bool) {
	s := j.s
	if i == 0 {
		return 0, false
	}
	for range 3 {
		for i < len(s) && (isSpace(s[i]) || s[i] == ',') {
			i++
		}
		if i >= len(s) || s[i] != '"' {
			return 0, i >= len(s)
		}
		from := i + 1
		to := stringEnd(s, from)
		for i = to + 1; i < len(s) && (isSpace(s[i]) || s[i] == ':'); i++ {
		}
		if i >= len(s) || jsonKinds[s[i]] > jsonQuote {
			return 0, i >= len(s)
		}
		if s[i] == '"' {
			if j.r.names.lookUp(j.unescaped(from, to)).says&isNaming != 0 {
				return i + 1, stringEnd(s, i+1) == len(s)
			}
			i = stringEnd(s, i+1) + 1
		} else {
			for i < len(s) && s[i] != ',' && s[i] != '}' && s[i] != ']' {
				i++
			}
		}
	}
	return 0, i >= len(s)
}

// leaf sees to a string that is a value.
func (j *jsonScan) leaf(from, to int) {
	if to > from && (to >= j.until || j.open > 0 || j.member != nil) {
		f, v := plain, verdict{}
		if j.open > 0 || j.member != nil && j.member.says&(isTelling|isValued) != 0 {
			f, v = j.effective(to + 1)
		}
		if f != plain || to-from >= minValue && j.r.suspicious(j.s[from:to]) {
			j.judge(from, to, f, v)
		}
	}
	j.end()
}

// judge replaces a string if it is secret, or has secrets in it.
func (j *jsonScan) judge(from, to int, f form, v verdict) {
	value := j.unescaped(from, to)
	var out string
	if f != plain && !(j.prose > 0 && strings.IndexByte(value, ' ') > 0) && isSecretText(v, f, value, j.request) {
		out = j.r.secret(f, value)
	} else {
		out = j.value(value)
		j.odd = j.odd || out != value
	}
	if out != value {
		j.foundValue()
		j.room = appendEscaped(j.room[:0], out) // value is of no use any more
		j.replace(from, to, view(j.room))
	}
}

// numbersIn sees to numbers, and whatever else is between strings and brackets.
func (j *jsonScan) numbersIn(from, to int) {
	s := j.s
	for i := from; i < to; i++ {
		begin := i
		for i < to && !isSpace(s[i]) && s[i] != ',' && s[i] != ':' {
			i++
		}
		k := i
		for k < to && isSpace(s[k]) {
			k++
		}
		switch {
		case i == begin:
		case k < to && s[k] == ':': // the name of a member, as in JavaScript
			j.begin(begin, i)
		default:
			j.bare(begin, i)
		}
	}
}

// bare sees to a value that isn't in quotes: a number, a literal, or what isn't JSON.
func (j *jsonScan) bare(from, to int) {
	value := j.s[from:to]
	j.resolve()
	f, v := j.effective(to)
	if isLiteral(value) {
		return
	}
	digits := 0
	for i := range len(value) {
		if isDigit(value[i]) {
			digits++
		}
	}
	isNumber := isNumeric(value)
	switch {
	case f != plain && isNumber && bool(v.numbers) && digits >= minNumber, isNumber && digits >= minCard && v.says&isIdentifying == 0 && card(value) == len(value):
		if out := j.r.tokens.OfNumber(value); out != value {
			j.foundValue()
			j.replace(from, to, out)
		}
	case f != plain && !isNumber && isSecretText(v, f, value, j.request):
		j.odd = true
		j.foundValue()
		j.replace(from, to, `"`+j.r.tokens.Of(strings.Trim(value, `'`))+`"`)
	}
}

// foreign sees to what isn't JSON, from a place on up to the next string or bracket. If
// a name ends it, as in JavaScript, what follows is its value.
func (j *jsonScan) foreign(from, i int) int {
	s := j.s
	j.odd = true
	for i < len(s) && (jsonKinds[s[i]] == jsonPlain || jsonKinds[s[i]] == jsonForeign) {
		i++
	}
	if i-from >= minValue {
		if text := s[from:i]; j.depth < maxDepth {
			if out := j.r.text(text, content); out != text {
				j.foundValue()
				j.replace(from, i, out)
			}
		}
	}
	to := i
	for to > from && isSpace(s[to-1]) {
		to--
	}
	if to == from || s[to-1] != ':' {
		return i
	}
	to--
	for to > from && isSpace(s[to-1]) {
		to--
	}
	begin := to
	for begin > from && isNameChar[s[begin-1]] {
		begin--
	}
	if begin < to {
		j.begin(begin, to)
	}
	return i
}

var isNameChar = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$-")

// foundValue lists the place of the value.
func (j *jsonScan) foundValue() {
	path := append(make([]byte, 0, 64), j.at...)
	for i := range j.levels {
		if i == maxSteps {
			j.places.add(append(path, ".**"...))
			return
		}
		if l := &j.levels[i]; l.name.to > 0 {
			path = append(path, j.r.names.stepOf(j.unescaped(l.name.from, l.name.to))...)
		}
		if j.levels[i].array {
			path = append(path, "[]"...)
		}
	}
	if j.name.to > 0 {
		path = append(path, j.r.names.stepOf(j.unescaped(j.name.from, j.name.to))...)
	}
	j.places.add(path)
}
