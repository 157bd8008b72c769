package redact

import "strings"

// search is the search for secrets in one part of an exchange.
type search struct {
	r       *Sink
	places  *places // where secrets were found
	at      string  // the path of the part
	request bool    // whether a client sent it
	depth   int     // how deeply the text is nested in other texts
	max     int     // the most bytes that a text may have once its secrets are replaced
	cut     bool    // whether the text was cut at max
	final   bool    // a result: whether redacting the text again would change nothing
	// GraphQL variables that are values of secret names: login(password: $p)
	variables map[string]string
}

const (
	// maxDepth is how deep nested texts are searched, such as JSON in a JSON string. Each level doubles
	// the backslashes of the levels in it.
	maxDepth = 6
	// minValue is the length of the shortest text that is searched for secrets under any name. A
	// shorter text hardly has room for a secret and its name.
	minValue = minKnown
)

// found lists the place of the value with this name or, for "", the place of the whole part.
func (q *search) found(name string) {
	path := append(make([]byte, 0, 64), q.at...)
	if name != "" {
		path = appendStep(path, name)
	}
	q.places.add(path)
}

// within returns a search for a text inside a value. It lists no places, because the place of the value
// is listed.
func (q *search) within() search {
	return search{r: q.r, places: new(places), request: q.request, depth: q.depth + 1, max: q.max, variables: q.variables}
}

// value redacts the text of a value whose name doesn't make it secret. The text may be a document.
func (q *search) value(text string) string {
	if len(text) < minValue {
		return text
	}
	if q.depth < maxDepth {
		inner := q.within()
		out := inner.embedded(text)
		if inner.variables != nil {
			q.variables = inner.variables
		}
		if out != nil {
			q.cut = q.cut || inner.cut
			return string(out)
		}
	}
	return q.r.text(text, grammarOf(text))
}

// embedded redacts a text if it is a document in a format that is frequent in values. It returns nil if
// the text is no such document, or if it has no secrets.
func (q *search) embedded(text string) []byte {
	start := strings.TrimLeft(text[:min(len(text), 64)], " \t\r\n")
	if start == "" {
		return nil
	}
	switch c := start[0]; {
	case (c == '{' || c == '[') && strings.IndexByte(text, '"') > 0:
		return q.json(text)
	case isGraphQL(start):
		return q.graphql(text)
	case c == '<' && strings.IndexByte(text, '>') > 0:
		return q.markup(text)
	}
	return nil
}

// grammarOf distinguishes URLs from other values.
func grammarOf(text string) grammar {
	if strings.IndexByte(text, ' ') < 0 && (text[0] == '/' || strings.Contains(text[:min(len(text), maxScheme)], "://")) {
		return target
	}
	return content
}

// maxScheme limits the length of a URL's scheme with its `://`.
const maxScheme = 32

// secret returns the replacement of a value that is secret because of its name.
func (r *Sink) secret(f form, value string) string {
	switch f {
	case scheme, setCookie:
		return r.fieldValue(f, value)
	case cookies:
		if strings.IndexByte(value, '=') > 0 {
			return r.fieldValue(f, value)
		}
	}
	return r.token(value)
}

// token returns the replacement of a secret. It keeps an authentication scheme before the secret, so the
// secret has the same token with and without a scheme.
func (r *Sink) token(text string) string {
	n := schemeOf(text)
	return text[:n] + r.tokens.Of(text[n:])
}
