package redact

import "strings"

// graphql redacts literals in a GraphQL document if their argument, input field or
// variable has a secret name: `login(password: "hush")`.
func (q *search) graphql(s string) []byte {
	d := draft{src: s, max: q.max}
	type bracket struct { // an open bracket, with the strongest form of the names before it and around it
		form form
		name string
	}
	var name string // the name whose value may follow
	var open []bracket
	var inside bracket
	var named verdict // the verdict on name
	valueOf := func() (form, verdict) {
		f := named.of(inBody)
		return max(f, inside.form), named
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '#':
			i += valueEnd(s[i:], "\n")
		case c == '"':
			from, to, next := graphqlString(s, i)
			f, v := valueOf()
			text := string(appendUnescaped(nil, s[from:to]))
			var out string
			if f != plain && isSecretText(v, f, text, q.request) {
				out = q.r.secret(f, text)
			} else {
				out = q.value(text)
			}
			if out != text {
				q.found(name)
				d.replace(from, to, string(appendEscaped(nil, out)))
			}
			i, name, named = next, "", verdict{}
		case isDigit(c) || c == '-':
			to := i + 1
			for to < len(s) && (isNameChar[s[to]] || s[to] == '.' || s[to] == '+') {
				to++
			}
			f, v := valueOf()
			if number := s[i:to]; f != plain && bool(v.numbers) && len(number) >= minNumber || card(number) == len(number) && len(number) >= minCard {
				q.found(name)
				d.replace(i, to, q.r.tokens.OfNumber(number))
			}
			i, name, named = to, "", verdict{}
		case isNameChar[c]:
			to := i + 1
			for to < len(s) && isNameChar[s[to]] {
				to++
			}
			// A name before a colon names an argument, a field or an alias. A name before an equals
			// sign is a type, so the name of the variable before it remains in effect.
			next := graphqlNext(s[to:min(len(s), to+maxComment)])
			switch {
			case next != "" && next[0] == ':':
				name = strings.TrimPrefix(s[i:to], "$")
				named = q.r.names.lookUp(name).verdict
			case next == "" || next[0] != '=':
				if c == '$' {
					q.rememberVariable(s[i+1:to], name, named.of(inBody), inside.name)
				}
				name, named = "", verdict{}
			}
			i = to
		case c == '[' || c == '{':
			f := named.of(inBody)
			if f > random {
				f = whole
			}
			open = append(open, inside)
			if f > inside.form {
				inside = bracket{f, name}
			}
			i++
			if c == '{' {
				name, named = "", verdict{}
			}
		case (c == ']' || c == '}') && len(open) > 0:
			inside = open[len(open)-1]
			open = open[:len(open)-1]
			i, name, named = i+1, "", verdict{}
		default:
			i++
		}
		if len(open) > maxLevels {
			open = open[:copy(open, open[len(open)/2:])]
		}
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}

// graphqlNext returns a text without leading white space and comments.
func graphqlNext(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n,!]")
		comment, rest, ok := strings.Cut(s, "\n")
		if !ok || !strings.HasPrefix(comment, "#") {
			return s
		}
		s = rest
	}
}

// maxVariables is how many variables of an operation are remembered.
const maxVariables = 64

// rememberVariable remembers a variable whose value is secret because of the name before it or around
// it.
func (q *search) rememberVariable(variable, name string, f form, around string) {
	if f == plain {
		name = around
	}
	if name == "" || len(q.variables) == maxVariables {
		return
	}
	if q.variables == nil {
		q.variables = map[string]string{}
	}
	q.variables[strings.Clone(variable)] = strings.Clone(name)
}

// isGraphQL reports whether a text begins like a GraphQL operation.
func isGraphQL(text string) bool {
	for _, word := range [...]string{"query", "mutation", "subscription"} {
		if rest, ok := strings.CutPrefix(text, word); ok && rest != "" && (isSpace(rest[0]) || rest[0] == '{' || rest[0] == '(') && strings.IndexByte(rest, '{') >= 0 {
			return true
		}
	}
	return false
}

// graphqlString finds the text of a string or of a block string, from `from` to `to`, and where the
// text after it begins.
func graphqlString(s string, i int) (from, to, next int) {
	const quotes = `"""`
	if strings.HasPrefix(s[i:], quotes) {
		from = i + len(quotes)
		if n := strings.Index(s[from:], quotes); n >= 0 {
			return from, from + n, from + n + len(quotes)
		}
		return from, len(s), len(s)
	}
	to = stringEnd(s, i+1)
	return i + 1, to, min(to+1, len(s))
}
