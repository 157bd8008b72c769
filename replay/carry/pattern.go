package carry

import (
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// pattern is a place as users write it, in the grammar of fieldpath. A number in brackets selects
// one element of an array, or one segment of a path.
//
//	req.path[2]  req.query.cursor  req.header.Authorization  req.cookie.sid
//	req.body.items[].id  res.header.Location.path[1]  res.body.items[0].id
//	client.message[].token  server.message[].1.2
type pattern []patternStep

type patternStep struct {
	fieldpath.Step
	n int32 // number of an element, or -1 for any
}

// parts lists the names with which the places of each kind of message begin.
var parts = map[string][]string{"req": {"path", "query", "header", "cookie", "body"}, "res": {"header", "cookie", "body"}}

// senders are the sides of conversations.
var senders = map[string]string{"req": recording.Client, "res": recording.Server}

// parsePattern parses a place of a request (side "req") or of a response (side "res"). If text has no
// side, it begins with one of the parts. The messages of a conversation are also a part.
func parsePattern(text, side string) (pattern, error) {
	plain, numbers := withoutNumbers(text)
	path, err := fieldpath.Parse(plain)
	if err != nil {
		return nil, err
	}
	message := len(path) > 1 && path[0].Name == senders[side] && path[1].Name == "message"
	if !message && path[0] != (fieldpath.Step{Name: side}) {
		path = append(fieldpath.Of(side), path...)
	}
	if len(path) < 2 || !message && (path[1].Kind != fieldpath.Member || !slices.Contains(parts[side], path[1].Name)) {
		return nil, fmt.Errorf("found %.80q, want a place that begins with %s.%s, or %s.message", text, side, strings.Join(parts[side], ", "+side+"."), senders[side])
	}
	if path[1].Name == "header" && len(path) > 2 {
		path[2].Name = textproto.CanonicalMIMEHeaderKey(path[2].Name)
	}
	var p pattern
	for _, s := range path {
		next := patternStep{s, -1}
		if s.Kind == fieldpath.Element {
			next.n, numbers = numbers[0], numbers[1:]
		}
		p = append(p, next)
	}
	return p, nil
}

// withoutNumbers empties the brackets of a place, and returns their numbers, with -1 for empty
// brackets.
func withoutNumbers(text string) (plain string, numbers []int32) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(text):
			b.WriteByte(c)
			i++
		case c == '[' && !quoted:
			inside, _, ok := strings.Cut(text[i+1:], "]")
			n, err := strconv.ParseUint(inside, 10, 31)
			if !ok || err != nil && inside != "" {
				break
			}
			b.WriteString("[]")
			i += len(inside) + 1
			if err != nil {
				numbers = append(numbers, -1)
			} else {
				numbers = append(numbers, int32(n))
			}
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String(), numbers
}

// is reports whether the pattern matches a place.
func (p pattern) is(path []placeStep) bool {
	return len(p) > 0 && p.covers(path) && (len(p) == len(path) || p[len(p)-1].Kind == fieldpath.Anything)
}

// covers reports whether the pattern matches a place, or a place that contains it.
func (p pattern) covers(path []placeStep) bool {
	for i, s := range p {
		if s.Kind == fieldpath.Anything {
			return true
		}
		if i == len(path) {
			return false
		}
		switch at := path[i]; {
		case s.Kind == fieldpath.Element && (at.kind == member || s.n >= 0 && s.n != at.n),
			s.Kind != fieldpath.Element && at.kind != member,
			s.Kind == fieldpath.Member && s.Name != at.name:
			return false
		}
	}
	return true
}
