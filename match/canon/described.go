package canon

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// walkMessage reads a message by its descriptor. Fields have names, packed and unpacked lists are
// the same, and the entries of a map have no order. Where the schema says so, a field with its
// default value equals a missing field. Fields that the descriptor doesn't list are read by the
// wire format.
func walkMessage(src []byte, d protoreflect.MessageDescriptor, v Visitor) error {
	m := dynamicpb.NewMessage(d)
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth, AllowPartial: true}).Unmarshal(src, m); err != nil {
		return fmt.Errorf("protobuf: read a %s: %w", d.FullName(), err)
	}
	described{v}.message(m)
	return nil
}

type described struct{ v Visitor }

func (w described) message(m protoreflect.Message) {
	if d := m.Descriptor(); d.FullName() == "google.protobuf.Timestamp" {
		f := d.Fields()
		seconds, nanos := m.Get(f.ByNumber(1)).Int(), m.Get(f.ByNumber(2)).Int()
		if seconds >= 0 && nanos >= 0 && nanos < 1e9 {
			w.v.Leaf(Time, appendTimestamp(nil, uint64(seconds), uint64(nanos)))
			return
		}
	}
	empty := true
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		empty = false
		w.v.Enter(Step{Axis: Member, Name: []byte(f.TextName())})
		switch {
		case f.IsMap():
			value.Map().Range(func(k protoreflect.MapKey, value protoreflect.Value) bool {
				w.v.Enter(Step{Axis: Member, Name: []byte(k.String())})
				w.value(f.MapValue(), value)
				w.v.Leave()
				return true
			})
		case f.IsList():
			for i := range value.List().Len() {
				w.v.Enter(Step{Axis: Item, N: i})
				w.value(f, value.List().Get(i))
				w.v.Leave()
			}
		default:
			w.value(f, value)
		}
		w.v.Leave()
		return true
	})
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		empty = false
		w.v.Enter(Step{Axis: Member, Name: []byte("(unknown)")})
		if isMessage(unknown) {
			(&wire{v: w.v}).message(unknown, 0)
		} else {
			w.v.Leaf(Bytes, unknown)
		}
		w.v.Leave()
	}
	if empty {
		w.v.Leaf(Object, nil)
	}
}

func (w described) value(f protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		w.message(value.Message())
	case protoreflect.BoolKind:
		w.v.Leaf(Bool, strconv.AppendBool(nil, value.Bool()))
	case protoreflect.StringKind:
		w.v.Leaf(Text, []byte(value.String()))
	case protoreflect.BytesKind:
		w.v.Leaf(Bytes, value.Bytes())
	case protoreflect.EnumKind:
		if known := f.Enum().Values().ByNumber(value.Enum()); known != nil {
			w.v.Leaf(Text, []byte(known.Name()))
		} else {
			w.v.Leaf(Number, strconv.AppendInt(nil, int64(value.Enum()), 10))
		}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		w.float(value.Float(), f.Kind() == protoreflect.FloatKind)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		w.v.Leaf(Number, strconv.AppendUint(nil, value.Uint(), 10))
	default:
		w.v.Leaf(Number, strconv.AppendInt(nil, value.Int(), 10))
	}
}

func (w described) float(v float64, single bool) {
	size := 64
	if single {
		size = 32
	}
	text := strconv.AppendFloat(nil, v, 'g', -1, size)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		w.v.Leaf(Text, text)
		return
	}
	w.v.Leaf(Number, appendNumber(nil, text))
}
