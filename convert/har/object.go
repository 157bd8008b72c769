package har

import (
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// object is a JSON object that is being made.
type object []recording.Member

func (o *object) set(name string, value []byte) {
	for i := range *o {
		if (*o)[i].Name == name {
			(*o)[i].Value = value
			return
		}
	}
	*o = append(*o, recording.Member{Name: name, Value: value})
}

func (o *object) text(name, value string) { o.set(name, recording.AppendString(nil, value)) }

func (o *object) number(name string, n int64) {
	o.set(name, strconv.AppendInt(nil, n, 10))
}

// millis sets a time in milliseconds, -1 if it is not known.
func (o *object) millis(name string, d time.Duration) {
	if d < 0 {
		o.number(name, -1)
		return
	}
	o.set(name, strconv.AppendFloat(nil, float64(d.Nanoseconds())/1e6, 'f', -1, 64))
}

func (o object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(recording.AppendString(dst, m.Name), ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}')
}

// array makes a JSON array of objects.
func array(all []object) []byte {
	dst := []byte{'['}
	for i, o := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = o.append(dst)
	}
	return append(dst, ']')
}

func pairs(all []pair) []byte {
	out := make([]object, len(all))
	for i, p := range all {
		out[i].text("name", p.name)
		out[i].text("value", p.value)
	}
	return array(out)
}
