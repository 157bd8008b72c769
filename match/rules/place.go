package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/internal/rulefile"
	"github.com/tapedeck/tapedeck/match/canon"
)

// PlaceKind is the part of a message that a place is in.
type PlaceKind uint8

const (
	Host PlaceKind = iota
	Port
	Path
	Query
	Header
	Form
	Body
	Status
)

// PlaceDoc is a row of the table of places.
type PlaceDoc struct {
	Kind PlaceKind
	// Name is the beginning of the place. If it ends in a colon, more follows.
	Name, Doc, Example string
	// Request and Response report whether requests and responses have such a place.
	Request, Response bool
}

var places = []PlaceDoc{
	{Host, "host", "The requested host.", "host", true, false},
	{Port, "port", "The requested port.", "port", true, false},
	{Path, "path:", "Segments of the path: `*` stands for the segment itself, a final `**` for all that follow. The rest of the pattern must equal the path.", "path:/v1/track/*", true, false},
	{Query, "query:", "A query parameter. `*` stands for any characters in its name. If its value is JSON, a path into it can follow.", "query:utm_*", true, false},
	{Header, "header:", "A header, in any case.", "header:X-Tenant", true, true},
	{Form, "form:", "A field of a form or a part of a multipart body, as with `query:`.", "form:csrf", true, false},
	{Body, "body", "The whole body, whatever its format.", "body", true, true},
	{Body, "body:$", "A value in JSON, in a GraphQL request or in a protobuf message: `.name`, `.*`, `[0]`, `[*]`, `[\"a name\"]`, `..name` at any depth. Fields of a message without a descriptor have numbers as names. A place includes everything below it.", "body:$.items[*].id", true, true},
	{Body, "body:/", "A value in XML: `/name`, `/name[1]`, `/*`, `//name` at any depth, `/@attribute`. Names are compared without their namespaces.", "body:/Envelope//MessageID", true, true},
	{Status, "status", "The status code.", "response:status", false, true},
}

// Places returns the table of places.
func Places() []PlaceDoc { return places }

// responsePrefix begins places of responses.
const responsePrefix = "response:"

// Place names one or several parts of a request or response.
type Place struct {
	Text     string
	Kind     PlaceKind
	Response bool
	Action   Action
	Rule     *Rule // nil if the place is not from a rule

	name     string   // of a header, in lower case
	segments []string // of a path
	rest     bool     // a path's last `**`
	steps    []step
}

// step matches one or several steps of a tree.
type step struct {
	axis  canon.Axis
	name  string // a pattern
	index int    // -1: any
	deep  bool   // at any depth
}

// ParsePlace reads a place.
func ParsePlace(text string) (Place, error) {
	p := Place{Text: text}
	rest, response := strings.CutPrefix(text, responsePrefix)
	p.Response = response
	for _, d := range places {
		after, ok := strings.CutPrefix(rest, d.Name)
		if strings.HasSuffix(d.Name, "$") || strings.HasSuffix(d.Name, "/") {
			after = rest[min(len(rest), len("body:")):]
		}
		switch {
		case !ok || !strings.ContainsAny(d.Name, ":") && after != "":
			continue
		case response && !d.Response:
			return p, fmt.Errorf("a response has no %s", strings.Trim(d.Name, ":"))
		case !response && !d.Request:
			return p, fmt.Errorf("a request has no %s; want %s", d.Name, d.Example)
		}
		p.Kind = d.Kind
		return p, p.parse(after)
	}
	var names []string
	for _, d := range places {
		names = append(names, d.Name)
	}
	return p, fmt.Errorf("want one of %s, such as %s", strings.Join(names, " "), places[len(places)-3].Example)
}

func (p *Place) parse(rest string) (err error) {
	switch p.Kind {
	case Header:
		if p.name = strings.ToLower(rest); rest == "" || strings.ContainsAny(rest, " *:") {
			err = errors.New("want the name of a header after header:")
		}
	case Path:
		if !strings.HasPrefix(rest, "/") || !strings.Contains(rest, "*") {
			return errors.New("want a path that begins with / and in which * stands for the segment that is meant")
		}
		rest, p.rest = strings.CutSuffix(rest, "/**")
		p.segments = strings.Split(rest, "/")[1:]
	case Query, Form:
		name, path, ok := strings.Cut(rest, ":$")
		if name == "" {
			return errors.New("want the name of a field, or * for any")
		}
		p.steps = []step{{axis: canon.Field, name: name, index: -1}}
		if ok {
			err = p.jsonPath(path)
		}
	case Body:
		switch {
		case strings.HasPrefix(rest, "$"):
			err = p.jsonPath(rest[1:])
		case strings.HasPrefix(rest, "/"):
			err = p.xmlPath(rest)
		}
	}
	return err
}

var errPath = errors.New("want .name, .*, ..name, [0], [*] or [\"a name\"] after $")

func (p *Place) jsonPath(s string) error {
	for s != "" {
		var st step
		st.index = -1
		switch {
		case strings.HasPrefix(s, ".."):
			st.deep = true
			s = s[1:]
			fallthrough
		case s[0] == '.':
			end := strings.IndexAny(s[1:], ".[")
			if end < 0 {
				end = len(s) - 1
			}
			st.axis, st.name, s = canon.Member, s[1:1+end], s[1+end:]
			if st.name == "" {
				return errPath
			}
		case strings.HasPrefix(s, "[*]"):
			st.axis, s = canon.Item, s[3:]
		case strings.HasPrefix(s, `["`):
			d := json.NewDecoder(strings.NewReader(s[1:]))
			if err := d.Decode(&st.name); err != nil {
				return errPath
			}
			st.axis = canon.Member
			st.name = escapeGlob(st.name)
			after, ok := strings.CutPrefix(s[1+d.InputOffset():], "]")
			if !ok {
				return errPath
			}
			s = after
		case s[0] == '[':
			end := strings.IndexByte(s, ']')
			n, err := strconv.Atoi(s[1:max(1, end)])
			if err != nil || n < 0 {
				return errPath
			}
			st.axis, st.index, s = canon.Item, n, s[end+1:]
		default:
			return errPath
		}
		p.steps = append(p.steps, st)
	}
	return nil
}

func (p *Place) xmlPath(s string) error {
	errPath := errors.New("want /name, /name[1], /*, //name or /@attribute")
	for s != "" {
		st := step{axis: canon.Element, index: -1}
		after, ok := strings.CutPrefix(s, "//")
		if st.deep = ok; !ok {
			after = s[1:]
		}
		if rest, ok := strings.CutPrefix(after, "@"); ok {
			st.axis, after = canon.Attribute, rest
		}
		end := strings.IndexByte(after, '/')
		if end < 0 {
			end = len(after)
		}
		st.name, s = after[:end], after[end:]
		if name, index, ok := strings.Cut(st.name, "["); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if err != nil || n < 1 {
				return errPath
			}
			st.name, st.index = name, n-1
		}
		if st.name == "" {
			return errPath
		}
		p.steps = append(p.steps, st)
	}
	return nil
}

// escapeGlob replaces the stars of a quoted name with NUL, so that they are not wildcards. Names
// never contain NUL.
func escapeGlob(name string) string { return strings.ReplaceAll(name, "*", "\x00") }

func (s *step) matches(t canon.Step) bool {
	if s.axis != t.Axis || s.index >= 0 && s.index != t.N {
		return false
	}
	if s.axis == canon.Item {
		return true
	}
	name := t.Name
	if s.axis == canon.Element || s.axis == canon.Attribute {
		if i := bytes.LastIndexByte(name, '}'); i >= 0 {
			name = name[i+1:]
		}
	}
	switch {
	case strings.IndexByte(s.name, 0) >= 0:
		return strings.ReplaceAll(s.name, "\x00", "*") == string(name)
	case strings.IndexByte(s.name, '*') >= 0:
		return rulefile.Glob(s.name, string(name))
	}
	return s.name == string(name)
}
