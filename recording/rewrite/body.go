package rewrite

import (
	"errors"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// maxBody limits the size of a decoded body.
const maxBody = 256 << 20

// body is the body of a request or a response, without its codings.
type body struct {
	half    recording.Half
	bytes   *[]byte // where it is stored
	place   fieldpath.Path
	text    string
	cut     bool // the rest can't be read
	changed bool
}

// body returns the body of the request if i is 0, or of the response if i is 1.
func (d *draft) body(i int) *body {
	if d.bodies[i] != nil {
		return d.bodies[i]
	}
	b := &body{half: d.e.Request(), place: fieldpath.Of("req", "body")}
	if i == 1 {
		b = &body{half: d.e.Response(), place: fieldpath.Of("res", "body")}
	}
	if h := d.e.HTTP; h != nil {
		b.bytes = &h.Req.Body
		if i == 1 {
			b.bytes = &h.Res.Body
		}
	}
	d.bodies[i] = b
	if len(b.half.Body) == 0 {
		return b
	}
	text, err := b.half.Decode(&d.w.decoder, nil, maxBody)
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF): // a limit cut it at capture
		b.cut = true
	case len(text) == 0:
		if unknown := new(coding.UnknownError); !errors.As(err, &unknown) || unknown.Coding != "aws-chunked" { // aws-chunked is framing in clear text
			d.w.report.Unreadable++
		}
		text = b.half.Body
	default:
		d.w.report.Unreadable++
		b.cut = true
	}
	b.text = string(text)
	return b
}

// set changes the text.
func (b *body) set(d *draft, text string) {
	b.text, b.changed, d.changed = text, true, true
}

// sides has the tags for a request's body and for a response's body.
var sides = map[string]struct{ name, cut, sent string }{
	"req": {"request", recording.TagRequestBodySize, recording.TagRequestSentSize},
	"res": {"response", recording.TagResponseBodySize, recording.TagResponseSentSize},
}

// finish stores a changed body without its codings, and sets the tag `decoded`.
func (b *body) finish(d *draft) {
	if !b.changed {
		return
	}
	tags, side := &d.e.Tags, sides[b.place[0].Name]
	if sent := len(b.half.Body); tags.Get(side.cut) == "" && tags.Get(side.sent) == "" && sent != len(b.text) {
		tags.Set(side.sent, strconv.Itoa(sent))
	}
	*b.bytes = []byte(b.text)
	if b.text == "" {
		*b.bytes = nil
		return
	}
	if len(b.half.Codings()) > 0 {
		value := side.name
		if was := tags.Get(recording.TagDecoded); was != "" && was != value {
			value = "true"
		}
		tags.Set(recording.TagDecoded, value)
	}
}

// at changes the values at a place in the body.
func (b *body) at(d *draft, p fieldpath.Path) {
	if b.text == "" {
		return
	}
	if p.Covers(b.place) && d.rule.Do == "drop" {
		b.set(d, "")
		d.changedAt(b.place, p.String())
		return
	}
	if text, ok := d.document(b.text, b.half.Headers.Get("Content-Type"), b.place, p); ok {
		if text != b.text {
			b.set(d, text)
		}
		return
	}
	if p.Covers(b.place) { // the body has no places in it
		b.set(d, d.replacement(b.text))
		d.changedAt(b.place, p.String())
	}
}

// mask changes the values that a rule looks for.
func (b *body) mask(d *draft, f *finder) {
	if b.text == "" || !f.in(b.text) {
		return
	}
	text, ok := d.maskDocument(b.text, b.half.Headers.Get("Content-Type"), b.place, f)
	if ok && f.in(text) { // a wanted value may extend over several values of the document
		ok = false
	}
	if !ok {
		text = d.maskText(b.text, b.place, f)
	}
	b.set(d, text)
}

// maskText changes values in a text, or in bytes, without any structure.
func (d *draft) maskText(text string, place fieldpath.Path, f *finder) string {
	d.changedAt(place, kindOf(place))
	if utf8.ValidString(text) {
		return f.mask(text, d.replacement)
	}
	// A binary message stores the lengths of its parts, so its size must not change.
	return f.mask(text, d.sizedReplacement)
}

// document changes the values at a place in a document: JSON, XML, events or a form. It returns false
// if the text is not a document.
func (d *draft) document(text, contentType string, at, p fieldpath.Path) (string, bool) {
	if covers := p.Covers; looksLikeJSON(text) {
		j := jsonEdit{
			leaf: func(q fieldpath.Path, text string, isString bool) string {
				if !covers(q) {
					return text
				}
				with := d.leaf(text, isString)
				if with != text {
					d.changedAt(q, p.String())
				}
				return with
			},
		}
		if d.rule.Do == "drop" {
			j.leaf = func(_ fieldpath.Path, text string, _ bool) string { return text }
			j.drop = func(q fieldpath.Path) bool {
				if !covers(q) {
					return false
				}
				d.changedAt(q, p.String())
				return true
			}
		}
		return j.edit(text, at)
	}
	if isXML(text, contentType) {
		drops := d.rule.Do == "drop"
		x := xmlEdit{
			leaf: func(q fieldpath.Path, text string) string {
				if drops || !p.Covers(q) || strings.TrimSpace(text) == "" {
					return text
				}
				d.changedAt(q, p.String())
				return d.replacement(text)
			},
			drop: func(q fieldpath.Path) bool {
				if !drops || !p.Covers(q) {
					return false
				}
				d.changedAt(q, p.String())
				return true
			},
		}
		text = x.edit(text, at)
		if x.cut {
			d.changedAt(at, p.String())
		}
		return text, true
	}
	kind, params, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "text/event-stream":
		return d.events(text, at, p), true
	case "application/x-www-form-urlencoded":
		return d.form(p, at, text), true
	case "multipart/form-data":
		return d.multipart(text, params["boundary"], func(name, content string) (string, bool) {
			place := append(at[:len(at):len(at)], fieldpath.Step{Name: name})
			if looksLikeJSON(content) {
				return d.document(content, "", place, p)
			}
			if !p.Covers(place) || content == "" {
				return content, true
			}
			d.changedAt(place, p.String())
			if d.rule.Do == "drop" {
				return "", false
			}
			return d.replacement(content), true
		})
	}
	return text, false
}

// events changes the values at a place in server-sent events. The data of each event is a document.
func (d *draft) events(text string, at, p fieldpath.Path) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		data, ok := strings.CutPrefix(line, "data:")
		if !ok {
			out.WriteString(line)
			continue
		}
		content := strings.TrimRight(data, "\r\n")
		with, ok := d.document(content, "", at, p)
		if !ok && p.Covers(at) && strings.TrimSpace(content) != "" {
			d.changedAt(at, p.String())
			if with = ""; d.rule.Do != "drop" {
				with = " " + d.replacement(strings.TrimSpace(content))
			}
		}
		out.WriteString("data:" + with + data[len(content):])
	}
	return out.String()
}

// leaf returns the replacement of a JSON value. A number becomes a number. If the action is redact, true
// and false become null, because their tokens would be easy to tell apart.
func (d *draft) leaf(text string, isString bool) string {
	switch {
	case isString && text == "", text == "null":
		return text
	case isString:
		return d.replacement(text)
	case d.rule.Do == "redact" && !isNumber(text):
		return "null"
	}
	return d.replacementNumber(text)
}

// maskDocument changes the values that a rule looks for in a document, as in document.
func (d *draft) maskDocument(text, contentType string, at fieldpath.Path, f *finder) (string, bool) {
	if looksLikeJSON(text) {
		j := jsonEdit{
			leaf: func(q fieldpath.Path, text string, isString bool) string {
				if !f.in(text) {
					return text
				}
				d.changedAt(safe(q, f), kindOf(q))
				if isString {
					return f.mask(text, d.replacement)
				}
				return d.replacementNumber(text)
			},
			name: func(q fieldpath.Path, text string) string {
				if !f.in(text) {
					return text
				}
				d.changedAt(append(safe(q, f), fieldpath.Step{Kind: fieldpath.AnyMember}), kindOf(q))
				return f.mask(text, d.replacement)
			},
		}
		return j.edit(text, at)
	}
	kind, params, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-www-form-urlencoded":
		return d.maskForm(text, at, f), true
	case "multipart/form-data":
		return d.multipart(text, params["boundary"], func(name, content string) (string, bool) {
			if !f.in(content) {
				return content, true
			}
			place := safe(append(at[:len(at):len(at)], fieldpath.Step{Name: name}), f)
			if with, ok := d.maskDocument(content, "", place, f); ok {
				return with, true
			}
			return d.maskText(content, place, f), true
		})
	}
	return text, false
}

// maskURI changes values in a path, segment by segment, and in the query after it.
func (d *draft) maskURI(uri string, f *finder) string {
	path, query, hasQuery := strings.Cut(uri, "?")
	if f.in(path) {
		segments := strings.Split(path, "/")
		for i, s := range segments {
			if f.in(s) {
				segments[i] = f.mask(s, d.replacement)
			}
		}
		if path = strings.Join(segments, "/"); f.in(path) { // a value extends over several segments
			path = f.mask(path, d.replacement)
		}
		d.changedAt(inPath, kindOf(inPath))
	}
	if hasQuery {
		path += "?" + d.maskForm(query, fieldpath.Of("req", "query"), f)
	}
	if f.in(path) { // a value extends over the path and the query
		return f.mask(path, d.replacement)
	}
	return path
}

// maskForm changes values and names of parameters.
func (d *draft) maskForm(text string, at fieldpath.Path, f *finder) string {
	pairs := strings.Split(text, "&")
	for i, pair := range pairs {
		if !f.in(pair) {
			continue
		}
		name, value, hasValue := strings.Cut(pair, "=")
		pairs[i] = f.mask(name, d.replacement)
		d.changedAt(safe(append(at[:len(at):len(at)], fieldpath.Step{Name: formText(name)}), f), kindOf(at))
		if hasValue {
			pairs[i] += "=" + f.mask(value, d.replacement)
		}
	}
	return strings.Join(pairs, "&")
}

// safe returns a place without the names that contain a wanted value.
func safe(p fieldpath.Path, f *finder) fieldpath.Path {
	out := slices.Clone(p)
	for i, s := range out {
		if s.Kind == fieldpath.Member && f.in(s.Name) {
			out[i] = fieldpath.Step{Kind: fieldpath.AnyMember}
		}
	}
	return out
}

// multipart calls change for each part of a form, and replaces the part's content with the result. If
// change returns false, the part is left out. Nothing else changes. multipart returns false if the text
// is not such a form.
func (d *draft) multipart(text, boundary string, change func(name, content string) (string, bool)) (string, bool) {
	if boundary == "" {
		return text, false
	}
	delimiter := "--" + boundary
	if !strings.HasPrefix(text, delimiter) && !strings.Contains(text, "\r\n"+delimiter) {
		return text, false
	}
	parts := strings.Split("\r\n"+text, "\r\n"+delimiter) // RFC 2046, section 5.1.1
	out := parts[:1]
	for _, part := range parts[1:] {
		head, content, ok := strings.Cut(part, "\r\n\r\n")
		if !ok || strings.HasPrefix(part, "--") {
			out = append(out, part)
			continue
		}
		with, keep := change(partName(head), content)
		if !keep {
			continue
		}
		out = append(out, head+"\r\n\r\n"+with)
	}
	return strings.TrimPrefix(strings.Join(out, "\r\n"+delimiter), "\r\n"), true
}

// partName returns the name of a part of a form.
func partName(head string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(strings.TrimSpace(name), "Content-Disposition") {
			continue
		}
		if _, params, err := mime.ParseMediaType(strings.TrimSpace(value)); err == nil {
			return params["name"]
		}
		if _, rest, ok := strings.Cut(value, `name="`); ok {
			name, _, _ := strings.Cut(rest, `"`)
			if text, err := strconv.Unquote(`"` + name + `"`); err == nil {
				return text
			}
			return name
		}
	}
	return ""
}
