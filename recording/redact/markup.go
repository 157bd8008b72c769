package redact

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// markupScan searches XML or HTML. It never fails: an element that isn't closed ends with the one
// around it, and a text that was cut is searched up to the cut.
type markupScan struct {
	search
	draft
	s      string
	open   []element
	deeper int // open elements that are not in open
}

// element is an open element.
type element struct {
	name    stretch
	form    form // of its texts, and of the texts of all elements in it
	verdict verdict
	named   verdict // an element in it named the next one: <key>password</key><string>…
}

// maxElements is how deep elements are remembered. Deeper texts are secret if the texts of the deepest
// remembered element are.
const maxElements = 256

// markup redacts XML and HTML: texts of elements and values of attributes.
func (q *search) markup(s string) []byte {
	m := markupScan{search: *q, draft: draft{src: s, max: q.max}, s: s}
	for i := 0; i < len(s); {
		if s[i] != '<' {
			to := i + valueEnd(s[i:], "<")
			m.text(i, to, true)
			i = to
			continue
		}
		i = m.tag(i)
	}
	q.cut = q.cut || m.draft.cut
	return m.bytes()
}

// tag reads a tag, a comment or a section that begins at i, and returns where it ends.
func (m *markupScan) tag(i int) int {
	s := m.s
	for _, quoted := range [...]struct{ begin, end string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}, {"<!", ">"}} {
		if !strings.HasPrefix(s[i:], quoted.begin) {
			continue
		}
		from := i + len(quoted.begin)
		to, next := len(s), len(s)
		if n := strings.Index(s[from:], quoted.end); n >= 0 {
			to, next = from+n, from+n+len(quoted.end)
		}
		if quoted.begin == "<![CDATA[" {
			m.text(from, to, false)
		} else if out := m.r.text(s[from:to], content); out != s[from:to] {
			m.foundIn()
			m.replace(from, to, out)
		}
		return next
	}
	from := i + 1
	closing := from < len(s) && s[from] == '/'
	if closing {
		from++
	}
	to := from
	for to < len(s) && isTagChar[s[to]] {
		to++
	}
	if to == from { // the `<` is part of a text
		next := i + 1 + valueEnd(s[i+1:], "<")
		m.text(i, next, true)
		return next
	}
	name := stretch{from, to}
	if closing {
		m.close(s[from:to])
		return min(to+valueEnd(s[to:], ">")+1, len(s))
	}
	end, f, v, empty := m.attributes(to, s[from:to])
	if empty || voids[strings.ToLower(s[from:to])] {
		return end
	}
	m.enter(name, f, v)
	if tag := strings.ToLower(s[from:to]); tag == "script" || tag == "style" {
		return m.raw(end, tag)
	}
	return end
}

var isTagChar = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:")

// voids are HTML elements without an end tag.
var voids = map[string]bool{"area": true, "base": true, "br": true, "col": true, "embed": true, "hr": true, "img": true, "input": true, "link": true, "meta": true, "source": true, "track": true, "wbr": true}

// local returns a name without its namespace.
func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// attributes redacts the values of a tag's attributes. It returns where the tag ends, the verdict on
// the texts in the element, and whether the element is empty. The verdict comes from the tag's name, or
// from the value of an attribute such as `name`.
func (m *markupScan) attributes(i int, tag string) (end int, f form, v verdict, empty bool) {
	s := m.s
	v = m.r.names.lookUp(local(tag)).verdict
	f = v.of(inBody)
	var named verdict
	for _, pass := range [...]func(name, value stretch, what verdict){
		func(name, value stretch, what verdict) { // first, because an attribute may name an earlier one
			m.names(tag, what, s[name.from:name.to], s[value.from:value.to], &named)
		},
		func(name, value stretch, what verdict) { m.attribute(tag, name, value, what, named) },
	} {
		at := i
		for {
			name, value, next := attribute(s, at)
			if next < 0 {
				break
			}
			at = next
			pass(name, value, m.r.names.lookUp(local(s[name.from:name.to])).verdict)
		}
		end, empty = closeOf(s, at)
	}
	if f == plain && named.of(inBody) != plain {
		f, v = named.of(inBody), named
	}
	return end, f, v, empty
}

// names reads an attribute that names the other attributes and the text: name="password",
// type="password".
func (m *markupScan) names(tag string, what verdict, name, value string, named *verdict) {
	isField := strings.EqualFold(name, "id") && strings.EqualFold(tag, "input") || strings.EqualFold(name, "type") && strings.EqualFold(value, "password")
	if what.says&isNaming == 0 && !isField {
		return
	}
	if v := m.r.names.lookUp(value).verdict; v.of(inBody) != plain {
		*named = v
	}
}

// attribute finds the next attribute of a tag; next is -1 if there is none.
func attribute(s string, i int) (name, value stretch, next int) {
	for i < len(s) && (isSpace(s[i]) || s[i] == '/' && i+1 < len(s) && s[i+1] != '>') {
		i++
	}
	from := i
	for i < len(s) && !isSpace(s[i]) && s[i] != '=' && s[i] != '>' && s[i] != '/' && s[i] != '<' {
		i++
	}
	if i == from {
		return name, value, -1
	}
	name = stretch{from, i}
	k := i
	for k < len(s) && isSpace(s[k]) {
		k++
	}
	if k == len(s) || s[k] != '=' {
		return name, stretch{i, i}, i
	}
	for k++; k < len(s) && isSpace(s[k]); k++ {
	}
	if k < len(s) && (s[k] == '"' || s[k] == '\'') {
		end := k + 1 + valueEnd(s[k+1:], s[k:k+1])
		return name, stretch{k + 1, end}, min(end+1, len(s))
	}
	end := k
	for end < len(s) && !isSpace(s[end]) && s[end] != '>' {
		end++
	}
	return name, stretch{k, end}, end
}

// closeOf finds the end of a tag whose attributes end at i.
func closeOf(s string, i int) (end int, empty bool) {
	for i < len(s) && s[i] != '>' && s[i] != '<' {
		empty = s[i] == '/'
		i++
	}
	if i < len(s) && s[i] == '>' {
		i++
	}
	return i, empty
}

// attribute redacts the value of an attribute.
func (m *markupScan) attribute(tag string, name, value stretch, what, named verdict) {
	raw := m.s[value.from:value.to]
	if raw == "" {
		return
	}
	f := what.of(inBody)
	if f == plain && what.says&isValued != 0 {
		what = named
		f = what.of(inBody)
	}
	text := entityText(raw)
	if out := m.redacted(text, f, what); out != text {
		m.foundIn(local(tag), "@"+m.s[name.from:name.to])
		m.replace(value.from, value.to, escapeEntities(out))
	}
}

// redacted returns a text without its secrets.
func (m *markupScan) redacted(text string, f form, v verdict) string {
	if f != plain && isSecretText(v, f, text, m.request) && !(isNumeric(text) && (!bool(v.numbers) || len(text) < minNumber)) {
		return m.r.secret(f, text)
	}
	return m.value(text)
}

// enter opens an element.
func (m *markupScan) enter(name stretch, f form, v verdict) {
	if len(m.open) > 0 {
		top := &m.open[len(m.open)-1]
		if named := top.named; named.of(inBody) != plain && v.says&(isBodyAttribute|isNaming) == 0 {
			top.named = verdict{}
			if f == plain {
				f, v = named.of(inBody), named
			}
		}
		switch {
		case v.says&isBodyAttribute != 0 && f == plain:
		case top.form > f:
			f, v = top.form, top.verdict
		}
	}
	if len(m.open) == maxElements {
		m.deeper++
		m.open[maxElements-1].form = max(m.open[maxElements-1].form, f)
		return
	}
	m.open = append(m.open, element{name: name, form: f, verdict: v})
}

// close closes the innermost element with this name, and the elements in it.
func (m *markupScan) close(name string) {
	if m.deeper > 0 {
		m.deeper--
		return
	}
	for i := len(m.open) - 1; i >= max(0, len(m.open)-64); i-- {
		if open := m.open[i].name; strings.EqualFold(m.s[open.from:open.to], name) {
			m.open = m.open[:i]
			return
		}
	}
}

// text redacts a text between tags.
func (m *markupScan) text(from, to int, entities bool) {
	raw := m.s[from:to]
	trimmed := strings.TrimSpace(raw)
	if trimmed == "" {
		return
	}
	from += strings.Index(raw, trimmed)
	to = from + len(trimmed)
	text := trimmed
	if entities {
		text = entityText(trimmed)
	}
	var f form
	var v verdict
	if n := len(m.open); n > 0 {
		f, v = m.open[n-1].form, m.open[n-1].verdict
	}
	if n := len(m.open); n > 1 && m.deeper == 0 {
		if name := m.open[n-1].name; m.r.names.lookUp(local(m.s[name.from:name.to])).says&isNaming != 0 && len(text) <= maxName {
			m.open[n-2].named = m.r.names.lookUp(text).verdict
		}
	}
	out := m.redacted(text, f, v)
	if out == text {
		return
	}
	m.foundIn()
	if entities {
		out = escapeEntities(out)
	} else {
		out = strings.ReplaceAll(out, "]]>", "]] >")
	}
	m.replace(from, to, out)
}

// raw redacts the text of a script or a style sheet.
func (m *markupScan) raw(from int, tag string) int {
	s := m.s
	to := from
	for {
		n := strings.Index(s[to:], "</")
		if n < 0 {
			to = len(s)
			break
		}
		to += n
		if rest := s[to+2:]; len(rest) >= len(tag) && strings.EqualFold(rest[:len(tag)], tag) {
			break
		}
		to += 2
	}
	inner := m.within()
	inner.at = m.at
	text := s[from:to]
	var out []byte
	if trimmed := strings.TrimSpace(text); trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') {
		out = inner.json(text)
	} else {
		out = inner.script(text)
	}
	if out != nil {
		m.foundIn()
		m.replace(from, to, string(out))
	}
	return to
}

// foundIn lists the place of the innermost element, or the place below it with these names.
func (m *markupScan) foundIn(names ...string) {
	path := append(make([]byte, 0, 64), m.at...)
	for i, e := range m.open {
		if i == maxSteps {
			path = append(path, ".**"...)
			break
		}
		path = appendStep(path, local(m.s[e.name.from:e.name.to]))
	}
	for _, name := range names {
		path = appendStep(path, name)
	}
	m.places.add(path)
}

// entityText decodes XML entities in a text.
func entityText(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		if s[i] == '&' {
			if end := strings.IndexByte(s[i:min(len(s), i+12)], ';'); end > 1 {
				if r, ok := entity(s[i+1 : i+end]); ok {
					b = utf8.AppendRune(b, r)
					i += end + 1
					continue
				}
			}
		}
		b = append(b, s[i])
		i++
	}
	return string(b)
}

func entity(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	case "nbsp":
		return 0xa0, true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok || digits == "" {
		return 0, false
	}
	base := 10
	if digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	return rune(n), err == nil
}

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escapeEntities(s string) string { return entities.Replace(s) }
