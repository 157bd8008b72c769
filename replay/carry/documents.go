package carry

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"mime"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/tapedeck/tapedeck/recording"
)

// body visits the values of a body. It detects the format by the content type and the first character.
func (w *walker) body(text, contentType string) string {
	kind, params, _ := mime.ParseMediaType(contentType)
	trimmed := strings.TrimLeft(text, "\ufeff \t\r\n")
	switch {
	case trimmed == "":
		return text
	case kind == "application/x-www-form-urlencoded":
		return w.form(text)
	case kind == "multipart/form-data":
		return w.multipart(text, params["boundary"])
	case kind == "text/event-stream":
		return w.events(text)
	case trimmed[0] == '{' || trimmed[0] == '[':
		return w.json(text)
	case kind == "text/html" || kind == "application/xhtml+xml":
		w.html(text)
		return text
	case trimmed[0] == '<' && (strings.HasPrefix(trimmed, "<?xml") || strings.Contains(kind, "xml")):
		return w.xml(text)
	case trimmed[0] == '"':
		return w.json(text)
	case len(text) <= maxValue && utf8.ValidString(text):
		value := strings.TrimSpace(text)
		from := strings.Index(text, value)
		return text[:from] + w.leaf(value) + text[from+len(value):]
	}
	return text
}

// setBody stores the changed body of a request. If the body had codings, it stores it decoded and
// sets the tag `decoded`; otherwise it corrects Content-Length.
func setBody(e *recording.Exchange, half recording.Half, text string) {
	coded := len(half.Codings()) > 0
	if coded {
		value := "request"
		if was := e.Tags.Get(recording.TagDecoded); was != "" && was != value {
			value = "true"
		}
		e.Tags.Set(recording.TagDecoded, value)
	}
	e.HTTP.Req.Body = []byte(text)
	for i := range e.HTTP.Req.Headers {
		if h := &e.HTTP.Req.Headers[i]; !coded && strings.EqualFold(h.Name, "Content-Length") {
			h.Value = strconv.Itoa(len(text))
		}
	}
}

// json visits the values of one or several consecutive JSON texts. It stops where the text is not JSON.
func (w *walker) json(s string) string {
	p := splice{src: s}
	i := space(s, 0)
	for n := int32(0); i < len(s); n++ {
		if n > 0 {
			w.push(placeStep{kind: element, n: n})
		}
		i = space(s, w.value(&p, i, 0))
		if n > 0 {
			w.pop()
		}
	}
	return p.done()
}

func space(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// value visits one value and returns its end, or the end of the text if there is no value.
func (w *walker) value(p *splice, i, depth int) int {
	s := p.src
	if i >= len(s) || depth > maxDepth || w.texts > maxTexts {
		return len(s)
	}
	switch s[i] {
	case '{':
		for i = space(s, i+1); i < len(s) && s[i] != '}'; i = space(s, i) {
			if s[i] == ',' {
				i++
				continue
			}
			if s[i] != '"' {
				return len(s)
			}
			end := stringEnd(s, i+1)
			colon := space(s, end+1)
			if colon >= len(s) || s[colon] != ':' {
				return len(s)
			}
			w.push(placeStep{name: unquoted(s[i+1 : end])})
			i = w.value(p, space(s, colon+1), depth+1)
			w.pop()
		}
		return i + 1
	case '[':
		n := int32(0)
		for i = space(s, i+1); i < len(s) && s[i] != ']'; i = space(s, i) {
			if s[i] == ',' {
				i++
				continue
			}
			w.push(placeStep{kind: element, n: n})
			i = w.value(p, i, depth+1)
			w.pop()
			n++
		}
		return i + 1
	case '"':
		end := stringEnd(s, i+1)
		if end == len(s) {
			return end
		}
		raw := s[i+1 : end]
		text := unquoted(raw)
		if with := w.leaf(text); with != text {
			p.put(i+1, end, inStyle(raw, text, with, jsonStyles))
		}
		return end + 1
	}
	end := i
	for end < len(s) && strings.IndexByte(" \t\r\n,:]}\"[{", s[end]) < 0 {
		end++
	}
	if end == i {
		return len(s)
	}
	if c := s[i]; c == '-' || '0' <= c && c <= '9' {
		if with := w.text(inNumber, s[i:end]); with != s[i:end] {
			if !isNumber(with) {
				with = `"` + quoted(with) + `"`
			}
			p.put(i, end, with)
		}
	}
	return end
}

// stringEnd returns the index of the quote that ends a string, or the end of the text.
func stringEnd(s string, i int) int {
	for i < len(s) && s[i] != '"' {
		if s[i] == '\\' {
			i++
		}
		i++
	}
	return min(i, len(s))
}

// unquoted decodes the content of a JSON string. If the content is malformed, it returns raw.
func unquoted(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var text string
	if json.Unmarshal([]byte(`"`+raw+`"`), &text) != nil {
		return raw
	}
	return text
}

func isNumber(text string) bool {
	return text != "" && text[0] != '"' && text[0] != '{' && text[0] != '[' && text[0] != 't' && text[0] != 'f' && text[0] != 'n' && json.Valid([]byte(text))
}

// isURL reports whether the whole text is a URL, or a path with a query.
func isURL(s string) bool {
	if s[0] != '/' && !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return false
	}
	return len(s) > 2 && len(s) <= maxValue && strings.IndexAny(s, " \t\r\n\"<>") < 0
}

// pathStart returns the index of a URL's path, after the host if there is one.
func pathStart(s string) int {
	if i := strings.Index(s, "://"); i >= 0 && i < endOf(s, "/?#") {
		return i + 3 + endOf(s[i+3:], "/?#")
	}
	return 0
}

// url visits the segments of a URL's path, its query and, if it has parameters, its fragment. It
// never visits hosts.
func (w *walker) url(s string) string {
	p := splice{src: s}
	from := pathStart(s)
	end := from + endOf(s[from:], "?#")
	w.push(placeStep{name: "path"})
	before := ""
	for n := int32(0); from < end; {
		if s[from] == '/' {
			from++
			continue
		}
		to := from + endOf(s[from:end], "/")
		raw := s[from:to]
		text := unescaped(raw, false)
		w.push(placeStep{kind: segment, n: n})
		w.previous = before
		if with := w.text(inSegment, text); with != text {
			p.put(from, to, inStyle(raw, text, with, pathStyles))
		}
		w.pop()
		before = text
		from = to
		n++
	}
	w.pop()
	if end < len(s) && s[end] == '?' {
		from = end + 1
		end = from + endOf(s[from:], "#")
		w.push(placeStep{name: "query"})
		p.put(from, end, w.form(s[from:end]))
		w.pop()
	}
	if end < len(s) && strings.IndexByte(s[end:], '=') >= 0 {
		w.push(placeStep{name: "fragment"})
		p.put(end+1, len(s), w.form(s[end+1:]))
		w.pop()
	}
	return p.done()
}

// form visits the values of a query or of a form.
func (w *walker) form(s string) string {
	p := splice{src: s}
	var room [16]string
	names := room[:0]
	for from := 0; from < len(s) && w.texts <= maxTexts; w.texts++ {
		to := from + endOf(s[from:], "&")
		if equals := strings.IndexByte(s[from:to], '='); equals >= 0 {
			name := unescaped(s[from:from+equals], true)
			n := int32(0)
			for _, other := range names[:min(len(names), 1000)] {
				if other == name {
					n++
				}
			}
			names = append(names, name)
			raw := s[from+equals+1 : to]
			text := unescaped(raw, true)
			w.push(placeStep{name: name, n: n})
			if with := w.list(text); with != text {
				p.put(from+equals+1, to, inStyle(raw, text, with, formStyles))
			}
			w.pop()
		}
		from = to + 1
	}
	return p.done()
}

// list visits values that are separated by commas. It visits text that is not a list as a whole.
func (w *walker) list(s string) string {
	if strings.IndexByte(s, ',') < 0 || strings.ContainsAny(s, " \"{[:") {
		return w.leaf(s)
	}
	p := splice{src: s}
	n := int32(0)
	for from := 0; from <= len(s) && w.texts <= maxTexts; n++ {
		to := from + endOf(s[from:], ",")
		w.push(placeStep{kind: element, n: n})
		p.put(from, to, w.leaf(s[from:to]))
		w.pop()
		from = to + 1
	}
	return p.done()
}

// events visits the data of server-sent events. Each event is a document.
func (w *walker) events(s string) string {
	p := splice{src: s}
	from := 0
	n := int32(0)
	for line := range strings.Lines(s) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			begin := from + len(line) - len(strings.TrimLeft(data, " "))
			text := strings.TrimRight(s[begin:from+len(line)], "\r\n")
			w.push(placeStep{kind: element, n: n})
			p.put(begin, begin+len(text), w.leaf(text))
			w.pop()
			n++
		}
		from += len(line)
	}
	return p.done()
}

// multipart visits the contents of the parts of a form (RFC 7578).
func (w *walker) multipart(s, boundary string) string {
	if boundary == "" {
		return s
	}
	delimiter := "--" + boundary
	p := splice{src: s}
	from := 0
	if !strings.HasPrefix(s, delimiter) {
		if from = strings.Index(s, "\r\n"+delimiter); from < 0 {
			return s
		}
		from += 2
	}
	for {
		from += len(delimiter)
		next := strings.Index(s[from:], "\r\n"+delimiter)
		if next < 0 {
			return p.done()
		}
		end := from + next
		if head, _, ok := strings.Cut(s[from:end], "\r\n\r\n"); ok {
			begin := from + len(head) + 4
			if text := s[begin:end]; len(text) <= maxBody && utf8.ValidString(text) {
				w.push(placeStep{name: partName(head)})
				p.put(begin, end, w.leaf(text))
				w.pop()
			}
		}
		from = end + 2
	}
}

// partName returns the name of a part of a form.
func partName(head string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Content-Disposition") {
			_, params, _ := mime.ParseMediaType(strings.TrimSpace(value))
			return params["name"]
		}
	}
	return ""
}

// attribute matches an attribute of a start tag.
var attribute = regexp.MustCompile(`\s([^\s=<>/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')`)

// xml visits the text and the attributes of a document. Elements of the same name within an element
// are numbered.
func (w *walker) xml(s string) string {
	p := splice{src: s}
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict = false
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	outer := len(w.path)
	defer func() {
		for len(w.path) > outer {
			w.pop()
		}
	}()
	counts := []map[string]int32{{}} // for each open element, how often each name occurred in it
	for from := 0; w.texts <= maxTexts; {
		token, err := d.RawToken()
		if err != nil {
			break
		}
		to := int(d.InputOffset())
		switch t := token.(type) {
		case xml.StartElement:
			if w.texts++; len(counts) > maxDepth {
				return p.done()
			}
			top := counts[len(counts)-1]
			w.push(placeStep{name: t.Name.Local, n: top[t.Name.Local]})
			top[t.Name.Local]++
			counts = append(counts, map[string]int32{})
			w.attributes(&p, from, to)
		case xml.EndElement:
			if len(counts) > 1 {
				w.pop()
				counts = counts[:len(counts)-1]
			}
		case xml.CharData:
			raw := s[from:to]
			text := strings.TrimSpace(string(t))
			if text == "" || len(text) > maxValue {
				break
			}
			if at := strings.Index(raw, text); at >= 0 { // the text occurs unescaped
				if with := w.leaf(text); with != text {
					p.put(from+at, from+at+len(text), inStyle(text, text, with, markupStyles))
				}
			} else if trimmed := strings.TrimSpace(raw); !strings.HasPrefix(trimmed, "<") { // the text has entities
				at := strings.Index(raw, trimmed)
				if with := w.leaf(text); with != text {
					p.put(from+at, from+at+len(trimmed), inStyle(trimmed, text, with, markupStyles))
				}
			}
		}
		from = to
	}
	return p.done()
}

// attributes visits the attributes of the start tag src[from:to].
func (w *walker) attributes(p *splice, from, to int) {
	for _, m := range attribute.FindAllStringSubmatchIndex(p.src[from:to], -1) {
		name := p.src[from+m[2] : from+m[3]]
		begin, end := m[4], m[5]
		if begin < 0 {
			begin, end = m[6], m[7]
		}
		raw := p.src[from+begin : from+end]
		if name == "xmlns" || strings.HasPrefix(name, "xmlns:") {
			continue
		}
		if _, local, ok := strings.Cut(name, ":"); ok {
			name = local
		}
		text := html.UnescapeString(raw)
		w.push(placeStep{name: "@" + name})
		if with := w.leaf(text); with != text {
			p.put(from+begin, from+end, inStyle(raw, text, with, markupStyles))
		}
		w.pop()
	}
}

// html visits the values of a page that later requests may carry: hidden fields of forms, `meta`
// elements, data of scripts, and the URLs of links and forms.
func (w *walker) html(s string) {
	z := html.NewTokenizer(strings.NewReader(s))
	seen := map[string]int32{}
	visit := func(part, name string, walk func()) {
		n := seen[part+"\x00"+name]
		seen[part+"\x00"+name]++
		w.push(placeStep{name: part})
		w.push(placeStep{name: name, n: n})
		walk()
		w.pop()
		w.pop()
	}
	for w.texts <= maxTexts {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		t := z.Token()
		values := map[string]string{}
		for _, a := range t.Attr {
			values[a.Key] = a.Val
		}
		switch t.Data {
		case "input":
			if strings.EqualFold(values["type"], "hidden") && values["name"] != "" {
				visit("input", values["name"], func() { w.leaf(values["value"]) })
			}
		case "meta":
			if values["name"] != "" {
				visit("meta", values["name"], func() { w.leaf(values["content"]) })
			}
		case "script":
			if strings.Contains(values["type"], "json") && z.Next() == html.TextToken {
				text := string(z.Text())
				visit("script", values["id"], func() { w.json(text) })
			}
		case "form", "a":
			for _, key := range [...]string{"action", "href"} {
				if target := values[key]; target != "" && isURL(target) {
					visit(t.Data, key, func() { w.url(target) })
				}
			}
		}
	}
}
