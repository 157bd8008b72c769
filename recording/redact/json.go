package redact

import (
	"cmp"
	"strings"
	"sync"
)

// jsonScan searches one JSON text, or several in a row, for secrets. It never fails: it follows strings
// and brackets, and reads everything else as numbers and literals. So it can read texts that were cut,
// and texts that aren't JSON.
type jsonScan struct {
	prescan
	draft
	levels   []level
	deeper   int         // open levels that are not in levels
	name     stretch     // of the member whose value follows
	member   *remembered // the verdict on that name; nil if there is no name, as in an array, or it is plain
	until    int         // the next place where something may have to be redacted
	odd      bool        // something isn't JSON, or a part of a value was replaced
	subtrees [4]subtree
	open     int // how many subtrees are open
	prose    int // the level at which texts for people begin; 0 if there are none
}

// stretch is the place of a text.
type stretch struct{ from, to int }

// level is an open object or array.
type level struct {
	name  stretch // the name of the member whose value it is
	array bool
	named int // in an object, where a value that names another value begins: {"name":"…","value":
}

// subtree is a value in which every leaf is secret because of the name of the whole. Each inner subtree
// has a stronger form than the one around it, so few are open at a time.
type subtree struct {
	form    form
	verdict verdict
	level   int // the level at which it begins
}

// maxLevels is how deep names are remembered. Deeper levels are searched, too.
const maxLevels = 1 << 10

var jsonScans = sync.Pool{New: func() any { return new(jsonScan) }}

// json redacts a JSON text, and returns nil if there is nothing to redact.
func (q *search) json(s string) (out []byte) {
	j := jsonScans.Get().(*jsonScan)
	j.prescan = prescan{search: *q, s: s, telling: isTelling | isKind, room: j.room}
	for again := true; again; {
		telling := j.telling
		first := j.plainUntil(0)
		known, plainUntil := len(j.variables), j.plainUntil
		if known > 0 {
			first, plainUntil = 0, nothingPlain
		}
		if telling == j.telling && first < len(s) {
			*j = jsonScan{prescan: j.prescan, draft: draft{src: s, max: q.max}, levels: j.levels[:0], until: first}
			j.scan(plainUntil)
		}
		again = telling != j.telling || len(j.variables) > known && j.depth < 2 // a query may follow its variables
	}
	if j.src != "" { // the text was scanned
		out = j.bytes()
		q.cut = q.cut || j.draft.cut
		q.final = !j.odd && !j.draft.cut
		*j = jsonScan{prescan: j.prescan, levels: j.levels}
	}
	j.prescan = prescan{room: j.room}
	jsonScans.Put(j)
	return out
}

// nothingPlain makes scan look at all of the text.
func nothingPlain(i int) int { return i }

// Kinds of characters outside of strings.
const (
	jsonPlain   = iota // part of a number, of a literal or of the space between values
	jsonQuote          // begins a string
	jsonOpen           // begins an object or an array
	jsonClose          // ends an object or an array
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

// scan reads the text until nothing more has to be redacted. plainUntil finds the next place where
// something may have to be.
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

// string reads a string whose text begins at from: the name of a member, or a value. It returns where
// the scan continues.
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
	return j.afterName(skipSpace(s, i+1))
}

// maxComment is the longest comment that is skipped between a name and its value.
const maxComment = 256

// skipSpace skips white space, and comments as in JSON5.
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

// begin looks up the name of a member that may not be plain.
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

// resolve looks up the name of a member that scan took for plain.
func (j *jsonScan) resolve() {
	if j.member == nil && j.name.to > 0 {
		j.begin(j.name.from, j.name.to)
	}
}

// end ends a member.
func (j *jsonScan) end() { j.name, j.member = stretch{}, nil }

// afterName applies the further properties of a name, and redacts a value that is not a string, object
// or array. It returns where the scan continues.
func (j *jsonScan) afterName(i int) int {
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

// isLiteral reports whether s is a literal of JSON or of a language with similar values. A literal is
// never a secret, whatever its name.
func isLiteral(s string) bool {
	switch s {
	case "true", "false", "null", "True", "False", "None", "undefined", "NaN":
		return true
	}
	return false
}

func isNumeric(s string) bool { return strings.Trim(s, "0123456789+-.eE") == "" }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// innerForm returns the form for the leaves of an object or an array whose name has the form f.
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

// effective returns the form of a value, and the verdict that the form comes from. ended is the end of
// the value, or 0 if the value has not been read.
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

// beside returns the verdict on the name that another member of the same object gives to the value. That
// member is before the value or soon after its end.
func (j *jsonScan) beside(ended int) *remembered {
	if len(j.levels) == 0 {
		return nil
	}
	named := j.levels[len(j.levels)-1].named
	if named == 0 {
		cut := false
		if named, cut = j.namedAfter(ended); cut && isOneWord(strings.TrimLeft(j.s[j.name.to:min(ended, len(j.s))], "\": \t\r\n")) {
			return j.r.names.lookUp("password") // the missing name may be one of a secret
		}
		if named == 0 {
			return nil
		}
	}
	if named >= len(j.s) || j.s[named-1] != '"' {
		return nil
	}
	name := j.unescaped(named, stringEnd(j.s, named))
	return j.r.names.lookUp(name[strings.LastIndexByte(name, '/')+1:]) // the last step of a pointer, as in JSON Patch
}

func isOneWord(s string) bool { return strings.IndexByte(s, ' ') < 0 }

// namedAfter looks among the next three members for one whose value is a name, and returns where this
// value begins. cut is true if the text ends before that value does.
func (j *jsonScan) namedAfter(i int) (value int, cut bool) {
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

// leaf redacts a string that is a value.
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
		j.room = appendEscaped(j.room[:0], out) // this may overwrite value
		j.replace(from, to, view(j.room))
	}
}

// numbersIn redacts numbers and other values between strings and brackets.
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

// bare redacts a value that isn't in quotes: a number, a literal, or text that isn't JSON.
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

// foreign redacts text that isn't JSON, up to the next string or bracket. If the text ends with a name
// and a colon, as in JavaScript, the next value belongs to this name.
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

// foundValue adds the place of the value to the list.
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
