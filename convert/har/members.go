package har

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// object reads the members of an object for which fields has a function, and returns the unknown
// ones. It ignores those whose function is nil, because they follow from others.
func (p *parser) object(path string, raw []byte, fields map[string]func(raw []byte) error) ([]recording.Member, error) {
	var others []recording.Member
	seen := map[string]bool{}
	err := recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		at := func() string { return strings.TrimPrefix(path+"."+name, ".") }
		if seen[name] {
			p.losses.Add(at(), "occurs more than once; the last one is kept")
			others = slices.DeleteFunc(others, func(m recording.Member) bool { return m.Name == name })
		}
		seen[name] = true
		f, known := fields[name]
		switch {
		case !known:
			if v := p.keep(at, value); v != nil {
				others = append(others, recording.Member{Name: name, Value: v})
			}
		case f != nil && string(value) != "null":
			if err := f(value); err != nil {
				return fmt.Errorf("%s: %w", at(), err)
			}
		}
		return nil
	})
	if err != nil && path != "" && !strings.HasPrefix(err.Error(), path) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return others, err
}

// keep returns a value in the form that a record can keep, or nil if it can't.
func (p *parser) keep(path func() string, raw []byte) json.RawMessage {
	kept, why := web.Keep(raw)
	if why != "" {
		p.losses.Add(path(), why)
	}
	return kept
}

// text reads a string into to.
func (p *parser) text(path string, to *string) func([]byte) error {
	return func(raw []byte) error {
		plain, exact, err := recording.Unquote(raw)
		if err != nil {
			return fmt.Errorf("found %.40s, want a text", raw)
		}
		if *to = plain; !exact {
			p.losses.Add(path, "is not all Unicode; U+FFFD replaces the rest")
		}
		return nil
	}
}

// number reads a number into to. Other values, and absurdly large numbers, are losses.
func (p *parser) number(path string, to *float64) func([]byte) error {
	return func(raw []byte) error {
		v, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
		if err != nil || math.IsNaN(v) || v > maxMillis*1e6 || v < -1e15 {
			p.losses.Add(path, fmt.Sprintf("%.40s is not a plausible number, not used", raw))
			return nil
		}
		*to = v
		return nil
	}
}

// pairs reads a list of names and values.
func (p *parser) pairs(path string, most int, to *recording.Headers) func([]byte) error {
	return func(raw []byte) error {
		*to = nil
		return recording.EachElement(raw, most, func(raw []byte) error {
			one, err := p.pair(path+"[]", raw)
			*to = append(*to, one)
			return err
		})
	}
}

// pair reads a name and its value. It uses no map of fields, because logs have many pairs.
func (p *parser) pair(path string, raw []byte) (one recording.Header, err error) {
	var seen [2]bool
	err = recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		to, at := &one.Value, 1
		switch name {
		case "name":
			to, at = &one.Name, 0
		case "value":
		case "path", "domain", "expires", "httpOnly", "secure", "sameSite", "fileName", "contentType": // follow from the fields
			return nil
		default:
			if name != "comment" || string(value) != `""` {
				p.losses.Add(path+"."+name, "not kept")
			}
			return nil
		}
		if seen[at] {
			p.losses.Add(path+"."+name, "occurs more than once; the last one is kept")
		}
		seen[at] = true
		if string(value) == "null" {
			return nil
		}
		return p.text(path+"."+name, to)(value)
	})
	return one, err
}
