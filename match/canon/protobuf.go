package canon

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// walkProtobuf reads a message by its wire format alone:
//
//   - The order of fields counts only among fields of the same number, because a parser accepts
//     fields in any order.
//   - A varint is compared as an unsigned number, whatever its length.
//   - The type of a length-delimited field is a guess: text if all of it is printable, a message
//     if it parses as one, and bytes otherwise. So the order of fields in nested messages
//     doesn't count either, unless all their bytes are printable.
//   - Packed and unpacked lists differ, and so do missing fields and fields with their default
//     value. Without a descriptor, nothing shows that they mean the same.
func walkProtobuf(src []byte, m protoreflect.MessageDescriptor, v Visitor) error {
	if m != nil {
		return walkMessage(src, m, v)
	}
	if !isMessage(src) {
		return errors.New("protobuf: want a message")
	}
	w := wire{v: v}
	w.message(src, 0)
	return nil
}

// maxNested bounds the depth of nested messages. Each level is read again for every level above
// it, so this also bounds the work.
const maxNested = 64

// isMessage reports whether b is a sequence of fields.
func isMessage(b []byte) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ == protowire.StartGroupType || typ == protowire.EndGroupType {
			return false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

type wire struct {
	v     Visitor
	names counter
	name  []byte
	text  []byte
}

func (w *wire) message(b []byte, depth int) {
	if len(b) == 0 {
		w.v.Leaf(Object, nil)
		return
	}
	w.names.open()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		b = b[n:]
		w.name = append(strconv.AppendUint(w.name[:0], uint64(num), 10), wireNames[typ]...)
		w.v.Enter(Step{Axis: Member, Name: w.name, N: w.names.next(w.name)})
		switch typ {
		case protowire.VarintType:
			value, n := protowire.ConsumeVarint(b)
			b = b[n:]
			w.text = strconv.AppendUint(w.text[:0], value, 10)
			w.v.Leaf(Number, w.text)
		case protowire.BytesType:
			value, n := protowire.ConsumeBytes(b)
			b = b[n:]
			w.bytes(value, depth)
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			w.v.Leaf(Bytes, b[:n])
			b = b[n:]
		}
		w.v.Leave()
	}
	w.names.close()
}

// wireNames are the suffixes of a field's number for wire types that the kind of its value doesn't show.
var wireNames = map[protowire.Type]string{protowire.Fixed32Type: "f", protowire.Fixed64Type: "d"}

func (w *wire) bytes(value []byte, depth int) {
	if seconds, nanos, ok := wireTimestamp(value); ok {
		w.text = appendTimestamp(w.text[:0], seconds, nanos)
		w.v.Leaf(Time, w.text)
		return
	}
	switch {
	case isPrintable(value):
		w.v.Leaf(Text, value)
	case depth < maxNested && isMessage(value):
		w.message(value, depth+1)
	default:
		w.v.Leaf(Bytes, value)
	}
}

// isPrintable reports whether b is text without control characters.
func isPrintable(b []byte) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return false
		}
		i += n
	}
	return true
}

const (
	minTimestamp = 100_000_000    // 1973
	maxTimestamp = 10_000_000_000 // 2286
)

// wireTimestamp reads a message that looks like a google.protobuf.Timestamp: seconds in field 1,
// from 1973 to 2286, and nanoseconds in field 2. A timestamp is a single value, because its parts
// vary only together.
func wireTimestamp(b []byte) (seconds uint64, nanos uint64, ok bool) {
	if len(b) == 0 || b[0] != 1<<3 {
		return 0, 0, false
	}
	seconds, n := protowire.ConsumeVarint(b[1:])
	if n < 0 || seconds < minTimestamp || seconds >= maxTimestamp {
		return 0, 0, false
	}
	if b = b[1+n:]; len(b) == 0 {
		return seconds, 0, true
	}
	nanos, n = protowire.ConsumeVarint(b[1:])
	if b[0] != 2<<3 || n < 0 || n != len(b)-1 || nanos >= 1e9 {
		return 0, 0, false
	}
	return seconds, nanos, true
}

func appendTimestamp(dst []byte, seconds, nanos uint64) []byte {
	dst = append(strconv.AppendUint(dst, seconds, 10), '.')
	digits := strconv.AppendUint(make([]byte, 0, 10), nanos+1e9, 10)
	return append(dst, digits[1:]...)
}

// printProtobuf writes the fields in the order of their numbers.
func printProtobuf(dst []byte, n *node) []byte {
	if len(n.children) > 0 && n.children[0].axis == Member && !isNumbered(n.children[0].name) {
		return printJSON(dst, n) // read by a descriptor
	}
	fields := slices.Clone(n.children)
	number := func(f *node) int {
		v, _ := strconv.Atoi(string(trimWire(f.name)))
		return v
	}
	slices.SortStableFunc(fields, func(a, b *node) int {
		if c := number(a) - number(b); c != 0 {
			return c
		}
		return slices.Compare(a.name, b.name)
	})
	for _, f := range fields {
		num := protowire.Number(number(f))
		switch last := f.name[len(f.name)-1]; {
		case last == 'f':
			dst = append(protowire.AppendTag(dst, num, protowire.Fixed32Type), f.value...)
		case last == 'd':
			dst = append(protowire.AppendTag(dst, num, protowire.Fixed64Type), f.value...)
		case f.kind == Number && len(f.children) == 0:
			v, _ := strconv.ParseUint(string(f.value), 10, 64)
			dst = protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
		default:
			dst = protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), printNested(f))
		}
	}
	return dst
}

func printNested(f *node) []byte {
	switch {
	case len(f.children) > 0:
		return printProtobuf(nil, f)
	case f.kind == Time:
		text := string(f.value)
		seconds, _ := strconv.ParseUint(text[:len(text)-10], 10, 64)
		nanos, _ := strconv.ParseUint(text[len(text)-9:], 10, 64)
		b := protowire.AppendVarint([]byte{1 << 3}, seconds)
		if nanos > 0 {
			b = protowire.AppendVarint(append(b, 2<<3), nanos)
		}
		return b
	}
	return f.value
}

func trimWire(name []byte) []byte {
	if last := name[len(name)-1]; last == 'f' || last == 'd' {
		return name[:len(name)-1]
	}
	return name
}

func isNumbered(name []byte) bool { return len(name) > 0 && '0' <= name[0] && name[0] <= '9' }
