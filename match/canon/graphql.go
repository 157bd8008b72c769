package canon

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"
)

// walkGraphQL reads a GraphQL request in JSON, or a list of them. It works like [walkJSON],
// except that
//
//   - the document is compared by its tokens, so white space, commas, comments and the order
//     of arguments don't count;
//   - null or empty operationName, variables and extensions equal missing ones.
//
// Literals in the document are part of it. Put values that vary into variables.
func walkGraphQL(src []byte, v Visitor) error {
	if !isGraphQL(src) {
		return errors.New("GraphQL: want a JSON object with a query, operationName, variables and extensions")
	}
	return walkJSON(src, &graphQL{v: v})
}

// graphQL is a visitor that passes a request on to another visitor, with these exceptions.
type graphQL struct {
	v       Visitor
	depth   int
	base    int // depth of a request
	held    []byte
	holding bool // in a member that may equal a missing one; it is not passed on yet
	told    bool // v has seen a part of the request
	query   bool
	text    []byte
}

func (g *graphQL) Enter(s Step) {
	if g.depth == 0 && s.Axis == Item {
		g.base = 1
	}
	g.release()
	g.depth++
	g.query = false
	g.told = g.told && g.depth > g.base
	if s.Axis == Member && g.depth == g.base+1 {
		switch string(s.Name) {
		case "operationName", "variables", "extensions":
			if s.N == 0 {
				g.held, g.holding = append(g.held[:0], s.Name...), true
				return
			}
		case "query":
			g.query = true
		}
	}
	g.told = g.told || g.depth > g.base
	g.v.Enter(s)
}

func (g *graphQL) release() {
	if g.holding {
		g.holding, g.told = false, true
		g.v.Enter(Step{Axis: Member, Name: g.held})
	}
}

func (g *graphQL) Leaf(k Kind, value []byte) {
	if g.holding && (k == Null || k == Object || k == Text && len(value) == 0) {
		return
	}
	g.release()
	g.told = true
	if g.query && k == Text {
		if text, err := appendGraphQL(g.text[:0], value); err == nil {
			g.text, value = text, text
		}
	}
	g.v.Leaf(k, value)
}

func (g *graphQL) Leave() {
	g.depth--
	g.query = false
	if g.holding {
		g.holding = false
		return
	}
	if g.depth < g.base && !g.told {
		g.v.Leaf(Object, nil)
	}
	g.v.Leave()
}

// isGraphQL reports whether a JSON body is a GraphQL request: it has a document or the hash of a
// persisted one, and only the members of a request.
func isGraphQL(src []byte) bool {
	if !bytes.Contains(src, []byte(`"query"`)) && !bytes.Contains(src, []byte(`"persistedQuery"`)) {
		return false
	}
	var s graphQLSigns
	return walkJSON(src, &s) == nil && s.asked && !s.other
}

type graphQLSigns struct {
	depth, base  int
	query        bool
	asked, other bool
}

func (g *graphQLSigns) Enter(s Step) {
	if g.depth == 0 && s.Axis == Item {
		g.base = 1
	}
	g.depth++
	switch g.depth {
	case g.base + 1:
		g.query = false
		switch string(s.Name) {
		case "query":
			g.query = true
		case "operationName", "variables", "extensions", "id", "documentId":
		default:
			g.other = true
		}
	case g.base + 2:
		g.asked = g.asked || string(s.Name) == "persistedQuery"
	}
}

func (g *graphQLSigns) Leaf(k Kind, value []byte) {
	if g.query && g.depth == g.base+1 && k == Text && bytes.IndexByte(value, '{') >= 0 {
		if _, err := appendGraphQL(nil, value); err == nil {
			g.asked = true
		}
	}
}

func (g *graphQLSigns) Leave() { g.depth-- }

// walkDocument reads a body that is a GraphQL document (application/graphql).
func walkDocument(src []byte, v Visitor) error {
	text, err := appendGraphQL(nil, src)
	if err == nil {
		v.Leaf(Text, text)
	}
	return err
}

// token is a lexical token of GraphQL (October 2021, section 2.1).
type token struct {
	kind  byte // n: name, d: number, s: string; punctuators are their first byte
	text  []byte
	close int // of an opening bracket: distance to the closing one, in tokens
}

var errGraphQL = errors.New("GraphQL: want an executable document")

// maxTokens bounds the tokens of a document.
const maxTokens = 1 << 18

// appendGraphQL appends a document with the least white space, and with arguments, fields of input
// objects and variables in the order of their names.
func appendGraphQL(dst, src []byte) ([]byte, error) {
	tokens, err := lexGraphQL(src)
	if err != nil {
		return nil, err
	}
	if first := tokens[0]; first.kind != '{' && (first.kind != 'n' || !slices.Contains(definitions, string(first.text))) {
		return nil, errGraphQL
	}
	if !slices.ContainsFunc(tokens, func(t token) bool { return t.kind == '{' }) { // no selection set
		return nil, errGraphQL
	}
	p := graphQLPrinter{dst: dst}
	if err := p.print(tokens, false, 0); err != nil {
		return nil, err
	}
	return p.dst, nil
}

var definitions = []string{"query", "mutation", "subscription", "fragment"}

type graphQLPrinter struct {
	dst  []byte
	last byte // kind of the last token
}

func (p *graphQLPrinter) token(t token) {
	wordy := func(k byte) bool { return k == 'n' || k == 'd' || k == 's' }
	if wordy(p.last) && (wordy(t.kind) || p.last == 'd' && t.kind == '.') {
		p.dst = append(p.dst, ' ')
	}
	p.dst = append(p.dst, t.text...)
	p.last = t.kind
}

// print writes tokens. Within arguments, braces delimit input objects.
func (p *graphQLPrinter) print(tokens []token, arguments bool, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		p.token(t)
		if closers[t.kind] == 0 {
			continue
		}
		end := i + t.close
		inner := tokens[i+1 : end]
		var err error
		if t.kind == '(' || t.kind == '{' && arguments {
			err = p.entries(inner, depth+1)
		} else {
			err = p.print(inner, arguments, depth+1)
		}
		if err != nil {
			return err
		}
		p.token(tokens[end])
		i = end
	}
	return nil
}

var closers = [256]byte{'(': ')', '[': ']', '{': '}'}

// entries writes name: value pairs in the order of their names.
func (p *graphQLPrinter) entries(tokens []token, depth int) error {
	var starts []int
	for i := 0; i < len(tokens); i++ {
		switch {
		case closers[tokens[i].kind] != 0:
			i += tokens[i].close
		case tokens[i].kind == '$' && startsEntry(tokens[i+1:]):
			starts = append(starts, i)
			i++
		case startsEntry(tokens[i:]):
			starts = append(starts, i)
		}
	}
	if len(starts) == 0 || starts[0] != 0 {
		return p.print(tokens, true, depth)
	}
	entries := make([][]token, len(starts))
	for i, from := range starts {
		to := len(tokens)
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		entries[i] = tokens[from:to]
	}
	name := func(e []token) []byte {
		if e[0].kind == '$' {
			return e[1].text
		}
		return e[0].text
	}
	slices.SortStableFunc(entries, func(a, b []token) int { return bytes.Compare(name(a), name(b)) })
	for _, e := range entries {
		if err := p.print(e, true, depth); err != nil {
			return err
		}
	}
	return nil
}

func startsEntry(tokens []token) bool {
	return len(tokens) > 1 && tokens[0].kind == 'n' && tokens[1].kind == ':'
}

func lexGraphQL(src []byte) ([]token, error) {
	var tokens []token
	var open []int // brackets
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	for i := 0; i < len(src); {
		from := i
		switch c := src[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
			i++
			continue
		case c == '#':
			for i < len(src) && src[i] != '\n' && src[i] != '\r' {
				i++
			}
			continue
		case isNameStart(c):
			for i < len(src) && (isNameStart(src[i]) || '0' <= src[i] && src[i] <= '9') {
				i++
			}
			tokens = append(tokens, token{kind: 'n', text: src[from:i]})
		case c == '-' || '0' <= c && c <= '9':
			if i = numberEnd(src, i); i < 0 || i < len(src) && (isNameStart(src[i]) || src[i] == '.' && !bytes.HasPrefix(src[i:], []byte("..."))) {
				return nil, errGraphQL
			}
			tokens = append(tokens, token{kind: 'd', text: src[from:i]})
		case c == '"':
			text, n := graphQLString(src[i:])
			if n == 0 {
				return nil, errGraphQL
			}
			i += n
			tokens = append(tokens, token{kind: 's', text: appendJSONString(nil, text)})
		case c == '.':
			if !bytes.HasPrefix(src[i:], []byte("...")) {
				return nil, errGraphQL
			}
			i += 3
			tokens = append(tokens, token{kind: '.', text: src[from:i]})
		case bytes.IndexByte([]byte("!$&():=@[]{|}"), c) >= 0:
			i++
			tokens = append(tokens, token{kind: c, text: src[from:i]})
			if closers[c] != 0 {
				open = append(open, len(tokens)-1)
			} else if c == ')' || c == ']' || c == '}' {
				if len(open) == 0 || closers[tokens[open[len(open)-1]].kind] != c {
					return nil, errGraphQL
				}
				last := open[len(open)-1]
				tokens[last].close = len(tokens) - 1 - last
				open = open[:len(open)-1]
			}
		default:
			return nil, errGraphQL
		}
		if len(tokens) > maxTokens {
			return nil, errors.New("GraphQL: more than " + strconv.Itoa(maxTokens) + " tokens")
		}
	}
	if len(tokens) == 0 || len(open) > 0 {
		return nil, errGraphQL
	}
	return tokens, nil
}

func isNameStart(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// graphQLString reads a string or a block string. n is its length, or 0 if src doesn't begin with one.
func graphQLString(src []byte) (text []byte, n int) {
	if block := []byte(`"""`); bytes.HasPrefix(src, block) {
		i := 3
		var raw []byte
		for {
			end := bytes.Index(src[i:], block)
			if end < 0 {
				return nil, 0
			}
			if end > 0 && src[i+end-1] == '\\' {
				raw = append(append(raw, src[i:i+end-1]...), block...)
				i += end + 3
				continue
			}
			return blockValue(append(raw, src[i:i+end]...)), i + end + 3
		}
	}
	var out []byte
	for i := 1; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			return out, i + 1
		case c == '\n' || c == '\r':
			return nil, 0
		case c != '\\':
			out = append(out, c)
			continue
		}
		if with, n := appendEscape(out, src[i:]); n > 0 {
			out, i = with, i+n-1
			continue
		}
		rest := src[i:] // the only other escape is \u{…}
		end := bytes.IndexByte(rest, '}')
		if end < 4 || end > 9 || rest[1] != 'u' || rest[2] != '{' {
			return nil, 0
		}
		r, err := strconv.ParseUint(string(rest[3:end]), 16, 32)
		if err != nil || !utf8.ValidRune(rune(r)) {
			return nil, 0
		}
		out = utf8.AppendRune(out, rune(r))
		i += end
	}
	return nil, 0
}

// blockValue strips the common indentation of a block string, and its blank first and last
// lines (section 2.9.4).
func blockValue(raw []byte) []byte {
	raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	lines := bytes.Split(raw, []byte("\n"))
	blank := func(l []byte) bool { return len(bytes.Trim(l, " \t")) == 0 }
	indent := -1
	for _, l := range lines[1:] {
		if n := len(l) - len(bytes.TrimLeft(l, " \t")); !blank(l) && (indent < 0 || n < indent) {
			indent = n
		}
	}
	for i := range lines {
		if i > 0 && indent > 0 {
			lines[i] = lines[i][min(indent, len(lines[i])):]
		}
	}
	for len(lines) > 0 && blank(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && blank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return bytes.Join(lines, []byte("\n"))
}
