package show

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// protobuf shows a message from its wire format. Fields have numbers, and each value is shown in all forms
// that it can have, because the wire format has no types.
func (b *builder) protobuf(c content, body *Body) error {
	v := fields{limit: b.left}
	if err := canon.Protobuf.Walk(c.bytes, canon.Params{}, &v); err != nil {
		return err
	}
	b.text(body, v.b.String())
	if v.left > 0 {
		body.MoreParts = v.left
	}
	if c.depth == 0 {
		body.Notes = append(body.Notes, wireNote)
	}
	return nil
}

// wireNote says how reliable the shown fields of protobuf are.
const wireNote = "protobuf is read by its wire format, which has neither names nor types: whether a field is text, a message or a time is a guess from its bytes"

// fields writes the fields of a message, one on each line.
type fields struct {
	b     strings.Builder
	limit int
	left  int // the number of lines that were not written
	names []string
	empty bool // whether the current message has no fields yet
}

func (f *fields) Enter(s canon.Step) {
	if len(f.names) > 0 && f.empty { // this is the first field of the message
		f.line("%s {", f.number())
	}
	f.names = append(f.names, string(s.Name))
	f.empty = true
}

// number returns the number of the current field.
func (f *fields) number() string { return strings.TrimRight(f.names[len(f.names)-1], "fd") }

// line writes a line at the depth of the current field.
func (f *fields) line(format string, args ...any) {
	if f.b.Len() >= f.limit {
		f.left++
		return
	}
	for range min(len(f.names)-1, clean.MaxIndent) {
		f.b.WriteString("  ")
	}
	fmt.Fprintf(&f.b, format, args...)
	f.b.WriteByte('\n')
}

func (f *fields) Leave() {
	if !f.empty {
		f.line("}")
	}
	f.names = f.names[:len(f.names)-1]
	f.empty = false
}

// Leaf writes a value. Leave writes no closing brace for a field with a value.
func (f *fields) Leaf(k canon.Kind, value []byte) {
	switch {
	case len(f.names) == 0: // a message without fields
		return
	case f.b.Len() >= f.limit: // the text would be cut off
		f.left++
		return
	}
	f.line("%s: %s", f.number(), f.value(k, value))
}

// maxBytes is how many bytes of a binary field are shown.
const maxBytes = 64

func (f *fields) value(k canon.Kind, value []byte) string {
	switch name := f.names[len(f.names)-1]; {
	case k == canon.Text:
		return quoteText(value)
	case k == canon.Time:
		seconds, nanos, _ := strings.Cut(string(value), ".")
		s, _ := strconv.ParseInt(seconds, 10, 64)
		n, _ := strconv.ParseInt(nanos, 10, 64)
		return time.Unix(s, n).UTC().Format(time.RFC3339Nano)
	case k == canon.Object:
		return "{}"
	case k == canon.Number:
		if n, err := strconv.ParseUint(string(value), 10, 64); err == nil && n > math.MaxInt64 {
			return fmt.Sprintf("%s (%d)", value, int64(n))
		}
		return string(value)
	case strings.HasSuffix(name, "f") && len(value) == 4:
		n := binary.LittleEndian.Uint32(value)
		return fmt.Sprintf("0x%08x (%d, %v)", n, int32(n), math.Float32frombits(n))
	case strings.HasSuffix(name, "d") && len(value) == 8:
		n := binary.LittleEndian.Uint64(value)
		return fmt.Sprintf("0x%016x (%d, %v)", n, int64(n), math.Float64frombits(n))
	case len(value) > maxBytes:
		return fmt.Sprintf("%s and %d more bytes", hex.EncodeToString(value[:maxBytes]), len(value)-maxBytes)
	}
	return hex.EncodeToString(value) + fmt.Sprintf(" (%d bytes)", len(value))
}

// quoted escapes the characters that would end a quoted text or its line.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// quoteText returns a text in quotes, on one line.
func quoteText(value []byte) string { return `"` + quoted.Replace(string(value)) + `"` }
