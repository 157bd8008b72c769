package redact

import "strings"

// search is where in an exchange secrets are searched.
type search struct {
	r       *Sink
	places  *places // that were found
	at      string  // what is searched, as a path
	request bool    // a client sent it
	depth   int     // of texts within texts
	max     int     // bytes that a text may have once its secrets are replaced
	cut     bool    // it would have more
	final   bool    // out: nothing comes of what stands for the secrets, so it needn't be read again
	// variables of GraphQL that stand for the values of secret names: login(password: $p)
	variables map[string]string
}

const (
	// maxDepth is how deep texts are read within texts, as JSON in a string of JSON: each
	// doubles the backslashes of the one within it.
	maxDepth = 6
	// minValue is the length of the shortest text that is searched for what is found under
	// any name. What is shorter has hardly room for a secret and its name.
	minValue = minKnown
)

// found lists the place of a value with a name; "" for the whole of what is searched.
func (q *search) found(name string) {
	path := append(make([]byte, 0, 64), q.at...)
	if name != "" {
		path = appendStep(path, name)
	}
	q.places.add(path)
}

// within is the search in a text that stands in a value. Its places are not listed, for
// that of the value is.
func (q *search) within() search {
	return search{r: q.r, places: new(places), request: q.request, depth: q.depth + 1, max: q.max, variables: q.variables}
}

// value redacts the text of a value that isn't secret by its name. What is in it may
// be a document of its own.
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

// embedded redacts a text if it is a document of a kind that is found in values; nil if
// it isn't, or has no secrets.
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

// grammarOf tells a URL from other values.
func grammarOf(text string) grammar {
	if strings.IndexByte(text, ' ') < 0 && (text[0] == '/' || strings.Contains(text[:min(len(text), maxScheme)], "://")) {
		return target
	}
	return content
}

// maxScheme is longer than the schemes of URLs are.
const maxScheme = 32

// secret returns what stands for a value that is secret by its name.
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

// token returns what stands for a secret. An authentication scheme before it stays: the
// secret has the same token without it.
func (r *Sink) token(text string) string {
	n := schemeOf(text)
	return text[:n] + r.tokens.Of(text[n:])
}
