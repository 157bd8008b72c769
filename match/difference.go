package match

import (
	"strconv"
	"strings"
)

// Kind says how a value differs. The first four names are those of the ecosystem's tools.
type Kind string

const (
	ValueChanged Kind = "value_changed"
	FieldAdded   Kind = "field_added"   // only the live side has it
	FieldRemoved Kind = "field_removed" // only the recorded side has it
	TypeChanged  Kind = "type_changed"
	OrderChanged Kind = "order_changed" // the same items in another order
)

// Difference is one place at which two requests or two responses differ. Values are redacted
// and cut to [MaxValue] bytes.
type Difference struct {
	// Place is a place such as `status`, `header:Content-Type`, `query:id` or `body:$.user.name`.
	Place string `json:"place"`
	Kind  Kind   `json:"kind"`
	// Recorded is empty if the recorded side has no such place, and Live if the live side has
	// none.
	Recorded string `json:"recorded,omitempty"`
	Live     string `json:"live,omitempty"`
	// RecordedType and LiveType are set if the type changed, such as `number` and `string`.
	RecordedType string `json:"recordedType,omitempty"`
	LiveType     string `json:"liveType,omitempty"`
	// Class is the class of both values, such as `uuid`, if they have the same class.
	Class string `json:"class,omitempty"`
}

// Differences is the result of a comparison.
type Differences struct {
	List []Difference `json:"differences"`
	// More is the number of differences that are not listed.
	More int `json:"more,omitempty"`
}

const (
	// MaxDifferences bounds the differences that a comparison lists; the rest are only counted.
	// MaxAlike bounds the listed differences with the same pattern, so that a long array does not
	// hide other differences.
	MaxDifferences = 25
	MaxAlike       = 3
	// MaxValue bounds the bytes of a value that a difference shows.
	MaxValue = 256
	// MaxNearest bounds the recorded requests that are compared to explain a miss.
	MaxNearest = 50
)

// message begins the place of a conversation's message, followed by its number and a bracket.
const message = "message["

// line separates the place of a text from a line number in it.
const line = ":line "

// Pattern returns the place without numbers, as rules write it: body:$.items[*].id for
// body:$.items[3].id. Reports group the differences of many exchanges by it.
func (d Difference) Pattern() string {
	if place, _, ok := strings.Cut(d.Place, line); ok && strings.Trim(d.Place[len(place)+len(line):], "0123456789") == "" {
		return Difference{Place: place}.Pattern() + line + "*"
	}
	if rest, ok := strings.CutPrefix(d.Place, message); ok {
		_, inside, _ := strings.Cut(rest, "]")
		return message + "*]" + strings.TrimPrefix(Difference{Place: "body" + inside}.Pattern(), "body")
	}
	var b strings.Builder
	xml := strings.HasPrefix(d.Place, "body:/")
	path := strings.Index(d.Place, ":$") // the part in JSON: a form field's name may have brackets, too
	for i := 0; i < len(d.Place); {
		rest := d.Place[i:]
		if strings.HasPrefix(rest, `["`) {
			if quoted, err := strconv.QuotedPrefix(rest[1:]); err == nil {
				b.WriteString(rest[:1+len(quoted)])
				i += 1 + len(quoted)
				continue
			}
		}
		if rest[0] != '[' && rest[0] != '#' {
			b.WriteByte(rest[0])
			i++
			continue
		}
		n := 1
		for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		switch {
		case n == 1 || rest[0] == '[' && (n == len(rest) || rest[n] != ']' || !xml && (path < 0 || i < path)):
			b.WriteByte(rest[0])
			n = 1
		case rest[0] == '[':
			n++
			if !xml {
				b.WriteString("[*]")
			}
		}
		i += n
	}
	return b.String()
}
