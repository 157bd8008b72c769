// Package fieldpath names the places of values in an exchange. Redaction uses this form to list where
// secrets were, and comparisons of exchanges use it to list where they differ.
//
//	req.header.Authorization
//	req.query.api_key
//	req.body.user.password
//	res.body.items[].card
//	client.message.payload.token
//	req.body."user[password]"
//
// The grammar, in the notation of RFC 5234:
//
//	list   = path *( "," path )
//	path   = name *( "." name / "[]" )        ; `[]` is any element of an array
//	name   = bare / quoted / "*" / "**"       ; `*` is any one name, `**` anything below
//	bare   = 1*( any character but . , [ ] " * \ space, and control characters )
//	quoted = a JSON string
//
// Arrays have no indexes, because a path names all elements. `**` must come last. A list in which `**` is
// a whole path names only some of the places.
//
// It imports only the standard library.
package fieldpath

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a step.
type Kind uint8

const (
	// Member is the member with the step's name.
	Member Kind = iota
	// Element is any element of an array.
	Element
	// AnyMember is a member with any name.
	AnyMember
	// Anything is every value here and below.
	Anything
)

// Step is one step of a path.
type Step struct {
	Kind Kind
	Name string // only for a Member
}

// Path names a place.
type Path []Step

// Of returns the path of members with these names.
func Of(names ...string) Path {
	p := make(Path, len(names))
	for i, name := range names {
		p[i].Name = name
	}
	return p
}

// String returns the path in the form that [Parse] reads.
func (p Path) String() string {
	var b []byte
	for _, s := range p {
		switch s.Kind {
		case Element:
			b = append(b, "[]"...)
		case AnyMember:
			b = append(dot(b), '*')
		case Anything:
			b = append(dot(b), "**"...)
		default:
			b = AppendName(b, s.Name)
		}
	}
	return string(b)
}

// AppendName appends the name of a member to a path. It adds a dot, unless dst is empty or ends with one,
// and quotes the name if necessary.
func AppendName(dst []byte, name string) []byte {
	dst = dot(dst)
	if isBare(name) {
		return append(dst, name...)
	}
	quoted, _ := json.Marshal(strings.ToValidUTF8(name, "\ufffd")) // a string can always be encoded
	return append(dst, quoted...)
}

func dot(dst []byte) []byte {
	if n := len(dst); n == 0 || dst[n-1] == '.' {
		return dst
	}
	return append(dst, '.')
}

// special are the characters that a bare name can't have.
const special = ".,[]\"*\\ "

func isBare(name string) bool {
	if name == "" || !utf8.ValidString(name) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == 0x7f || strings.IndexByte(special, c) >= 0 {
			return false
		}
	}
	return true
}

// Parse reads one path.
func Parse(s string) (Path, error) {
	p, rest, err := parse(s)
	if err == nil && rest != "" {
		err = fmt.Errorf("found %.20q after the path", rest)
	}
	if err != nil {
		return nil, fmt.Errorf("field path %.80q: %w", s, err)
	}
	return p, nil
}

// ParseList parses paths that are separated by commas. An empty string is an empty list.
func ParseList(s string) ([]Path, error) {
	var all []Path
	for rest := s; rest != ""; {
		p, after, err := parse(rest)
		if err == nil && after != "" && (after[0] != ',' || after == ",") {
			err = fmt.Errorf("found %.20q, want a comma and a path", after)
		}
		if err != nil {
			return nil, fmt.Errorf("list of field paths %.80q: %w", s, err)
		}
		all = append(all, p)
		rest = strings.TrimPrefix(after, ",")
	}
	return all, nil
}

// parse reads a path up to a comma or the end.
func parse(s string) (p Path, rest string, err error) {
	for first := true; s != "" && s[0] != ','; first = false {
		if len(p) > 0 && p[len(p)-1].Kind == Anything {
			return nil, "", errors.New("`**` must be the end of a path")
		}
		if after, ok := strings.CutPrefix(s, "[]"); ok && !first {
			p, s = append(p, Step{Kind: Element}), after
			continue
		}
		if !first {
			if s[0] != '.' {
				return nil, "", fmt.Errorf("found %.20q, want a dot, `[]` or a comma", s)
			}
			s = s[1:]
		}
		var step Step
		if step, s, err = parseName(s); err != nil {
			return nil, "", err
		}
		p = append(p, step)
	}
	if len(p) == 0 {
		return nil, "", errors.New("the path is empty")
	}
	return p, s, nil
}

func parseName(s string) (step Step, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		end := 1
		for end < len(s) && s[end] != '"' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(s) {
			return step, "", fmt.Errorf("the quote that begins with %.20q isn't closed", s)
		}
		if err := json.Unmarshal([]byte(s[:end+1]), &step.Name); err != nil {
			return step, "", fmt.Errorf("%.20q isn't a JSON string: %w", s[:end+1], err)
		}
		return step, s[end+1:], nil
	}
	end := strings.IndexAny(s, ".,[")
	if end < 0 {
		end = len(s)
	}
	switch name := s[:end]; {
	case name == "*":
		step.Kind = AnyMember
	case name == "**":
		step.Kind = Anything
	case !isBare(name):
		return step, "", fmt.Errorf("found %.20q, want a name; put a name with any of `%s` in double quotes", name, special)
	default:
		step.Name = name
	}
	return step, s[end:], nil
}

// Covers reports whether the path names the value at q, or a value that contains it. Elements cover
// elements, and names are compared exactly.
func (p Path) Covers(q Path) bool {
	for i, s := range p {
		switch {
		case s.Kind == Anything:
			return true
		case i == len(q):
			return false
		case s.Kind == AnyMember && (q[i].Kind == Member || q[i].Kind == AnyMember):
		case s != q[i]:
			return false
		}
	}
	return true
}
