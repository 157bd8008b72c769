package redact

import "strings"

// pairs finds the values of secret names: name=value, "name":"value" and
// name: value.
func (r *Sink) pairs(found []span, s string, g grammar, colons bool) []span {
	path := -1 // where the path ends; -1 if not computed yet
	user := -1 // 1 if a parameter names a user, 0 if none does; -1 if not computed yet
	for i := 0; i < len(s); i++ {
		if colons {
			if s[i] != '=' && s[i] != ':' {
				continue
			}
		} else if next := strings.IndexByte(s[i:], '='); next >= 0 {
			i += next
		} else {
			break
		}
		if s[i] == ':' && !mayDivide(s, i) {
			continue
		}
		name, quoted := nameBefore(s, i)
		if s[i] == ':' && !quoted && strings.IndexByte(name, ':') >= 0 {
			continue // such as a URN
		}
		from := i + 1
		if !r.isPair(name, s, i, g, quoted, &user) {
			for from < len(s) && (isBlank(s[from]) || s[from] == '"') {
				from++
			}
			if n := known(s[from:]); n > 0 {
				found = append(found, span{from, from + n})
				i = from + n - 1
			}
			continue
		}
		if path < 0 {
			if path = strings.IndexAny(s, "?#"); path < 0 {
				path = len(s)
			}
		}
		from, to := valueFrom(s, from, g, s[i] == '=', from <= path)
		if g == content && isParameter(s, i, name) {
			to = from + valueEnd(s[from:to], " \t")
		}
		if to > from {
			found = append(found, span{from, to})
			i = to - 1
		}
	}
	return found
}

// isParameter reports whether the name before a separator is a URL parameter.
func isParameter(s string, i int, name string) bool {
	begin := i - len(name) - 1
	return begin >= 0 && (s[begin] == '?' || s[begin] == '&')
}

// maxJudged is how much of a value is read to judge whether it is secret.
const maxJudged = 256

// isPair reports whether the value after the separator at i is secret because of its name.
func (r *Sink) isPair(name, s string, i int, g grammar, quoted bool, user *int) bool {
	if name == "" {
		return false
	}
	if g == code && s[i] == '=' { // perhaps not an assignment, as in x?token=a:b
		if !isParameter(s, i, name) {
			return r.isQuotedSecret(name, s, i, g)
		}
		if r.verdict(name).of(inParameter) == plain {
			return false
		}
		value := s[i+1 : min(len(s), i+1+maxJudged)]
		return isRandom(value[:segmentEnd(value, 0)])
	}
	if g == content && s[i] == '=' && i+1 < len(s) && s[i+1] == '"' { // label="value"
		from, to := valueFrom(s[:min(len(s), i+1+maxJudged)], i+1, g, true, false)
		v := r.verdict(name)
		return isSecretText(v, v.of(inBody), s[from:to], false)
	}
	if g == prose || g.isURL() || s[i] == '=' {
		return r.verdict(name).of(inParameter) != plain || s[i] == '=' && secretBeside(name, s, i+1, user)
	}
	v := r.verdict(name)
	if v.of(inBody) == plain {
		return false
	}
	s = s[:min(len(s), i+1+maxJudged)]
	from, to := valueFrom(s, i+1, g, false, false)
	if value := s[from:to]; (quoted || g != code) && from > i+1 && (s[from-1] == '"' || s[from-1] == '\'') || v.of(inHeader) == scheme {
		return isSecretText(v, v.of(inBody), value, false)
	} else if g == code {
		return r.isQuotedSecret(name, s, i, g)
	} else if quoted {
		return value != "" && (value[0] == '{' || value[0] == '[' || bool(v.numbers) && isDigit(value[0]) && len(value) >= minNumber)
	} else {
		return len(value) >= 6 && strings.ContainsAny(value, "0123456789") && strings.IndexByte(value, ' ') < 0 // password: hunter2
	}
}

// isQuotedSecret reports whether a program assigns a random text to a name that isn't in quotes:
// `apiKey: "…"`, `window.API_TOKEN = "…"`. A text that doesn't look random is more likely a name.
func (r *Sink) isQuotedSecret(name, s string, i int, g grammar) bool {
	if r.verdict(name).of(inBody) == plain {
		return false
	}
	s = s[:min(len(s), i+1+maxJudged)]
	from, to := valueFrom(s, i+1, g, s[i] == '=', false)
	return from > i+1 && (s[from-1] == '"' || s[from-1] == '\'') && looksRandom(s[from:to])
}

// secretBeside reports whether the value at from is secret although its name doesn't say so: the value
// of `p` if another parameter names a user, and a random value of `appid`.
func secretBeside(name, s string, from int, user *int) bool {
	switch {
	case len(name) == 1 && name[0]|0x20 == 'p':
		if *user < 0 {
			*user = 0
			if namesUser(s) {
				*user = 1
			}
		}
		value := s[from : from+valueEnd(s[from:], "&;#")]
		return *user > 0 && (len(value) > 3 || strings.Trim(value, "0123456789") != "") // otherwise it is a page number
	case len(name) == len("appid") && strings.EqualFold(name, "appid"):
		return isRandom(s[from : from+valueEnd(s[from:], "&;#")])
	}
	return false
}

// namesUser reports whether a query has a parameter for a user.
func namesUser(s string) bool {
	for i := 0; i < len(s); {
		next := strings.IndexAny(s[i:], "?&;")
		if next < 0 {
			return false
		}
		i += next + 1
		name, _, ok := strings.Cut(s[i:min(len(s), i+len("username="))], "=")
		if !ok {
			continue
		}
		switch strings.ToLower(name) {
		case "u", "usr", "user", "username", "login":
			return true
		}
	}
	return false
}

// mayDivide reports whether a colon can divide a name from its value. The colon of a scheme, of a port
// or of a time can't.
func mayDivide(s string, i int) bool {
	if i == 0 || i+1 == len(s) || s[i+1] == '/' && i+2 < len(s) && s[i+2] == '/' {
		return false
	}
	if isDigit(s[i-1]) && isDigit(s[i+1]) { // in a time
		return false
	}
	n := i + 1
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n == i+1 || n < len(s) && !segmentEnds[s[n]] || s[i-1] == '"' || s[i-1] == '\''
}

// begins marks characters that a parameter's name can't have. A name begins after the last of them.
var begins = set("?&;#,/ \t\r\n\"'<>({|=!\\")

func set(chars string) (t [256]bool) {
	for i := range len(chars) {
		t[chars[i]] = true
	}
	return t
}

// nameBefore finds the name that ends before a separator. If the separator is a colon, the search stops
// at an earlier colon, which then is the first character of the name.
func nameBefore(s string, i int) (name string, quoted bool) {
	colon := s[i] == ':'
	for i > 0 && isBlank(s[i-1]) {
		i--
	}
	if i > 0 && (s[i-1] == '"' || s[i-1] == '\'') {
		q := s[i-1]
		text := strings.TrimRight(s[:i-1], `\`)
		if open := strings.LastIndexByte(text, q); open >= 0 {
			return text[open+1:], true
		}
	}
	start := i
	for start > 0 && !begins[s[start-1]] {
		start--
		if colon && s[start] == ':' { // not a name; without this check, the cost of many colons would be quadratic
			break
		}
	}
	return s[start:i], false
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// valueFrom finds where a value begins and ends. In a URL's path, a slash or the query ends it, too.
func valueFrom(s string, from int, g grammar, parameter, inPath bool) (start, end int) {
	if parameter && g.isURL() { // a URL has no quotes
		if inPath {
			return from, from + valueEnd(s[from:], "&;#/?")
		}
		end := from
		for end += valueEnd(s[end:], "&;#"); end < len(s) && s[end] == ';' && !beginsPair(s[end+1:]); {
			end++ // a semicolon divides parameters only if another parameter follows
			end += valueEnd(s[end:], "&;#")
		}
		return from, end
	}
	for from < len(s) && isBlank(s[from]) {
		from++
	}
	escaped := 0
	for from+escaped < len(s) && s[from+escaped] == '\\' {
		escaped++
	}
	rest := s[from:]
	switch open := from + escaped; {
	case open == len(s):
		return from, open
	case s[open] == '"' || s[open] == '\'':
		for end = open + 1; end < len(s); end++ {
			if s[end] == '\\' && escaped == 0 {
				end++
			} else if s[end] == s[open] {
				break
			}
		}
		end = min(end, len(s))
		if end < len(s) && escaped > 0 {
			end = max(open+1, end-escaped)
		}
		return open + 1, end
	case rest[0] == '{' || rest[0] == '[':
		depth := 0
		for i := range len(rest) {
			switch rest[i] {
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return from, from + i + 1
				}
			}
		}
		return from, len(s)
	case !parameter && g.isURL() && inPath:
		return from, from + valueEnd(rest, "&;#/?\"")
	case !parameter && g.isURL():
		return from, from + valueEnd(rest, ",}]&;#\r\n")
	case !parameter:
		return from, from + valueEnd(rest, ",}]\r\n")
	}
	return from, from + proseEnd(rest)
}

// valueEnd returns the length of a value that ends before any of the characters in ends.
func valueEnd(rest, ends string) int {
	if n := strings.IndexAny(rest, ends); n >= 0 {
		return n
	}
	return len(rest)
}

// proseEnd returns the length of a value in a header. A comma or a space may be part of the value, so it
// ends the value only if another name follows.
func proseEnd(rest string) int {
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case strings.IndexByte("&;<>\"\r\n", c) >= 0:
			return i
		case c == ',' || isBlank(c):
			next := strings.TrimLeft(rest[i:], ", \t")
			if next == "" || beginsPair(next) {
				return i
			}
			i = len(rest) - len(next) - 1
		}
	}
	return len(rest)
}

// beginsPair reports whether a text begins with a name and an equals sign.
func beginsPair(s string) bool {
	n := 0
	for n < len(s) && n < maxGlued && !begins[s[n]] {
		n++
	}
	return n > 0 && n < len(s) && s[n] == '='
}
