package carry

import (
	"encoding/json"
	"html"
	"net/url"
	"strings"
)

// style is a way to escape a string.
type style func(text string) string

// Styles of each kind of document. The first style is used if the recorded text does not show which
// one its writer used.
var (
	jsonStyles   = []style{quoted, quotedForHTML, quotedSlashes}
	pathStyles   = []style{url.PathEscape, component, only("%/?#"), lower(url.PathEscape), lower(component)}
	formStyles   = []style{url.QueryEscape, component, only("%&#+"), lower(url.QueryEscape), lower(component)}
	markupStyles = []style{markup, html.EscapeString}
)

// inStyle escapes with in the style in which text was escaped to raw.
func inStyle(raw, text, with string, styles []style) string {
	for _, s := range styles {
		if s(text) == raw {
			return s(with)
		}
	}
	return styles[0](with)
}

// only returns a style that escapes the characters in must and those that can't be in a URL, and no
// others.
func only(must string) style {
	return func(text string) string {
		const digits = "0123456789ABCDEF"
		var b strings.Builder
		for i := range len(text) {
			if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(must, c) >= 0 {
				b.Write([]byte{'%', digits[c>>4], digits[c&15]})
			} else {
				b.WriteByte(c)
			}
		}
		return b.String()
	}
}

// quoted escapes a string as JSON does, without the quotes.
func quoted(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can always be encoded
	return b.String()[1 : b.Len()-2]
}

// quotedForHTML also escapes <, > and &, as Go does.
func quotedForHTML(text string) string {
	b, _ := json.Marshal(text) // a string can always be encoded
	return string(b[1 : len(b)-1])
}

// quotedSlashes also escapes slashes, as PHP does.
func quotedSlashes(text string) string { return strings.ReplaceAll(quoted(text), "/", `\/`) }

// component escapes a string like JavaScript's encodeURIComponent.
func component(text string) string { return componentReplacer.Replace(url.QueryEscape(text)) }

var componentReplacer = strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*")

// lower returns a style that writes escapes in lower case.
func lower(s style) style {
	return func(text string) string {
		out := []byte(s(text))
		for i := 0; i+2 < len(out); i++ {
			if out[i] == '%' {
				copy(out[i+1:i+3], strings.ToLower(string(out[i+1:i+3])))
				i += 2
			}
		}
		return string(out)
	}
}

// markup escapes the characters that XML requires.
func markup(text string) string { return markupReplacer.Replace(text) }

var markupReplacer = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

// unescaped undoes percent-encoding. In forms, `+` becomes a space.
func unescaped(raw string, form bool) string {
	if strings.IndexByte(raw, '%') < 0 && (!form || strings.IndexByte(raw, '+') < 0) {
		return raw
	}
	unescape := url.PathUnescape
	if form {
		unescape = url.QueryUnescape
	}
	if text, err := unescape(raw); err == nil {
		return text
	}
	return raw
}
