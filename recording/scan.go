package recording

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// grammar says how a text is read.
type grammar uint8

const (
	prose     grammar = iota // a header's value: parameters, URLs and quoted text in it
	target                   // a URL, or a part of one
	authority                // the same, which may begin with user information
	webhook                  // the path of a host whose paths are secrets
)

// span is a secret in a text, as the text spells it or as it was before it was escaped.
type span struct {
	from, to int
	secret   string
}

// mark says which characters a text has that secrets are found by.
type mark uint8

const (
	equals mark = 1 << iota
	escape
	slash
	at
	quote
)

var marks = [256]mark{'=': equals, '%': escape, '/': slash, '@': at, '"': quote, '\'': quote}

func marksOf(s string) (m mark) {
	for i := range len(s) {
		m |= marks[s[i]]
	}
	return m
}

// maxEscapes is how often a text may have been escaped. No program does it more
// often, so what is left then is secret for all that is known.
const maxEscapes = 6

// text redacts secrets that are written in a text: values of parameters with
// secret names, user information, segments of paths, and well-known tokens. A text
// is read as it stands, and again each time it can be unescaped.
//
//	/cb?to=https%3A%2F%2Fa%2F%3Fkey%3Dhush      as it stands
//	/cb?to=https://a/?key=hush                  unescaped: `hush` goes, where its escaped form stands
func (r *Redact) text(s string, g grammar) string {
	m := marksOf(s)
	if m == 0 && g != authority && !mayBeKnown(s) {
		return s
	}
	var room [4]span
	found := r.find(room[:0], s, g, m)
	if m&escape != 0 {
		found = r.findEscaped(found, s, g)
	}
	if len(found) == 0 {
		return s
	}
	return r.replace(s, found)
}

// findEscaped finds secrets in what a text is when it is unescaped.
func (r *Redact) findEscaped(found []span, s string, g grammar) []span {
	t, places, changed := unescape(s, nil)
	for n := 0; changed; n++ {
		if n == maxEscapes {
			return append(found, span{from: strings.IndexByte(s, '%'), to: len(s)})
		}
		before := len(found)
		found = r.find(found, t, g, marksOf(t)|quote)
		for i := before; i < len(found); i++ {
			f := &found[i]
			f.secret = t[f.from:f.to]
			f.from, f.to = places[f.from], places[f.to]
		}
		t, places, changed = unescape(t, places)
	}
	return found
}

// unescape undoes one level of percent-encoding, and returns where each byte, and
// the end, stands in the original.
func unescape(s string, places []int) (t string, moved []int, changed bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, places, false
	}
	b := make([]byte, 0, len(s))
	moved = make([]int, 0, len(s)+1)
	origin := func(i int) int {
		if places == nil {
			return i
		}
		return places[i]
	}
	for i := 0; i < len(s); i++ {
		c, at := s[i], i
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, changed = byte(v), true
				i += 2
			}
		}
		b, moved = append(b, c), append(moved, origin(at))
	}
	return string(b), append(moved, origin(len(s))), changed
}

// unescaped undoes percent-encoding as often as a text is read.
func unescaped(s string) string {
	for changed := true; changed; {
		s, _, changed = unescape(s, nil)
	}
	return s
}

// replace puts tokens in the places of the secrets. Those that overlap are one.
func (r *Redact) replace(s string, found []span) string {
	slices.SortStableFunc(found, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	out, done := make([]byte, 0, len(s)+2*tokenLen), 0
	for i := 0; i < len(found); {
		one := found[i]
		for i++; i < len(found) && found[i].from < one.to; i++ {
			if found[i].to > one.to {
				one.to, one.secret = found[i].to, ""
			}
		}
		out = append(out, s[done:one.from]...)
		out = append(out, r.token(cmp.Or(one.secret, s[one.from:one.to]))...)
		done = one.to
	}
	return string(append(out, s[done:]...))
}

// find appends the secrets of a text as it stands.
func (r *Redact) find(found []span, s string, g grammar, m mark) []span {
	if m&equals != 0 || m&quote != 0 {
		found = r.pairs(found, s, g, m&quote != 0)
	}
	if m&at != 0 {
		found = users(found, s, g)
	}
	if m&slash != 0 {
		found = r.segments(found, s, g)
	}
	if n := known(s); n > 0 {
		found = append(found, span{from: 0, to: n})
	} else if i := strings.IndexByte(s, ' '); i > 0 {
		if n := known(s[i+1:]); n > 0 {
			found = append(found, span{from: i + 1, to: i + 1 + n})
		}
	}
	return found
}

// pairs finds the values of secret names: name=value, "name":"value" and
// name: value.
func (r *Redact) pairs(found []span, s string, g grammar, colons bool) []span {
	path := -1 // how far it goes; -1: nobody has asked
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
		name, quoted := nameBefore(s, i)
		if s[i] == ':' && !quoted && (i+1 == len(s) || s[i+1] != ' ') {
			continue
		}
		from := i + 1
		if name == "" || r.verdict(name).of(inParameter) == plain {
			if n := known(s[from:]); n > 0 {
				found = append(found, span{from: from, to: from + n})
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
		if to > from {
			found = append(found, span{from: from, to: to})
			i = to - 1
		}
	}
	return found
}

// begins marks what a parameter's name can't have in it, so it begins behind it.
var begins = set("?&;#,/ \t\r\n\"'<>({|=!\\")

func set(chars string) (t [256]bool) {
	for i := range len(chars) {
		t[chars[i]] = true
	}
	return t
}

// nameBefore finds the name that ends before a separator.
func nameBefore(s string, i int) (name string, quoted bool) {
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
	}
	return s[start:i], false
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// valueFrom finds where a value begins and ends. In a URL's path, a slash and the
// query end it, too.
func valueFrom(s string, from int, g grammar, parameter, inPath bool) (start, end int) {
	if parameter && g != prose { // a URL has no quotes
		if inPath {
			return from, from + valueEnd(s[from:], "&;#/?")
		}
		return from, from + valueEnd(s[from:], "&;#")
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
	case !parameter && g != prose:
		return from, from + valueEnd(rest, ",}]&;#\r\n")
	case !parameter:
		return from, from + valueEnd(rest, ",}]\r\n")
	}
	return from, from + proseEnd(rest)
}

// valueEnd is the length of a value that one of these characters ends.
func valueEnd(rest, ends string) int {
	if n := strings.IndexAny(rest, ends); n >= 0 {
		return n
	}
	return len(rest)
}

// proseEnd is the length of a value in a header. What divides values may be a part
// of this one, so it only ends where another name follows.
func proseEnd(rest string) int {
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case strings.IndexByte("&;<>\"\r\n", c) >= 0:
			return i
		case c == ',' || isBlank(c):
			next := strings.TrimLeft(rest[i:], ", \t")
			n := 0
			for n < len(next) && n < maxGlued && !begins[next[n]] {
				n++
			}
			if next == "" || n > 0 && n < len(next) && next[n] == '=' {
				return i
			}
			i = len(rest) - len(next) - 1
		}
	}
	return len(rest)
}

// users finds the user information of every URL in a text.
func users(found []span, s string, g grammar) []span {
	for i := 0; ; {
		if i > 0 || g != authority {
			next := strings.Index(s[i:], "//")
			if next < 0 {
				return found
			}
			i += next + 2
		} else if s[0] == '/' {
			g = target
			continue
		}
		end := strings.IndexAny(s[i:], "/?# \t\"<>")
		if end < 0 {
			end = len(s) - i
		}
		if at := strings.LastIndexByte(s[i:i+end], '@'); at > 0 {
			found = append(found, span{from: i, to: i + at})
		}
		if g == authority {
			g = target
		} else {
			i += end
		}
	}
}

// segmentEnds ends a segment of a path.
var segmentEnds = set("/?#&;,\"<> \t")

// segments finds those of a path that another one announces as secret:
// /reset-password/…, and those that are well-known tokens.
func (r *Redact) segments(found []span, s string, g grammar) []span {
	for i := strings.IndexByte(s, '/'); i >= 0 && i < len(s); {
		from, to := i+1, segmentEnd(s, i+1)
		segment := s[from:to]
		if from > 1 && s[i-1] == '/' { // an authority
			if isWebhookHost(segment) && to < len(s) && s[to] == '/' {
				g = webhook
				to = segmentEnd(s, to+1) // what is behind it says what it is for
			}
		} else if n := known(segment); n > 0 {
			found = append(found, span{from: from, to: to})
		} else if g == webhook && from > 1 && segment != "" {
			found = append(found, span{from: from, to: to})
		} else if n := bot(segment); n > 0 {
			found = append(found, span{from: from + n, to: to})
		} else if to < len(s) && s[to] == '/' && r.announces(segment) {
			from, to = to+1, segmentEnd(s, to+1)
			for to < len(s) && s[to] == '/' && isStep(s[from:to]) {
				from, to = to+1, segmentEnd(s, to+1)
			}
			if !isStep(s[from:to]) {
				found = append(found, span{from: from, to: to})
			}
		}
		next := strings.IndexByte(s[to:], '/')
		if next < 0 {
			break
		}
		if g == webhook && next > 0 && strings.IndexAny(s[to:to+next], "?#&\"<> ") >= 0 {
			g = target // that path has ended
		}
		i = to + next
	}
	return found
}

func segmentEnd(s string, from int) int {
	for from < len(s) && !segmentEnds[s[from]] {
		from++
	}
	return from
}

// announces tells whether a segment says that the next one is a secret. Few end
// with letters that make it worth to be looked up.
func (r *Redact) announces(segment string) bool {
	n := len(segment)
	if n < 3 || n > maxGlued || r.last[segment[n-2]&31]>>(segment[n-1]&31)&1 == 0 {
		return false
	}
	return r.verdict(segment).of(inPath) != plain
}

// steps are what may follow such a segment and is no secret: an operation on it.
var steps = func() map[string]bool {
	m := make(map[string]bool)
	for _, step := range strings.Fields(`accessor callback change check complete confirm create delete edit exchange forgot form generate
		info introspect introspection issue list login logout lookup new obtain refresh renew request reset resend revoke rotate roles send set show sign
		status success update validate verify`) {
		m[step] = true
	}
	return m
}()

func isStep(segment string) bool {
	first, _, _ := strings.Cut(segment, "-")
	return segment == "" || steps[first]
}

// isWebhookHost knows the hosts whose paths are secrets: hooks.slack.com,
// x.webhook.office.com.
func isWebhookHost(host string) bool {
	k := len(host) - 1
	for k >= 3 && (host[k]|0x20 != 'k' || host[k-1]|0x20 != 'o') { // few hosts have a hook anywhere
		k--
	}
	if k < 3 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		switch strings.ToLower(label) {
		case "hooks", "webhook", "webhooks":
			return strings.Contains(host, ".")
		}
	}
	return false
}

// bot is the length of what is before the token in a segment of Telegram's API:
// bot123456:token.
func bot(segment string) int {
	if !strings.HasPrefix(segment, "bot") || len(segment) < 5 || !isDigit(segment[3]) {
		return 0
	}
	id, _, ok := strings.Cut(segment[3:], ":")
	if !ok || strings.Trim(id, "0123456789") != "" {
		return 0
	}
	return len("bot") + len(id) + 1
}
