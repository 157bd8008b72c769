package har

import (
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// object is a JSON object that is being written.
type object struct {
	dst  []byte
	some bool // it has members
}

// begin begins an object at the end of dst.
func begin(dst []byte) object { return object{dst: append(dst, '{')} }

// end ends the object, and returns dst with it.
func (o *object) end() []byte { return append(o.dst, '}') }

// key begins a member, whose value is to be appended to dst.
func (o *object) key(name string) {
	if o.some {
		o.dst = append(o.dst, ',')
	}
	o.some = true
	o.dst = append(recording.AppendString(o.dst, name), ':')
}

func (o *object) raw(name string, value []byte) {
	o.key(name)
	o.dst = append(o.dst, value...)
}

func (o *object) text(name, value string) {
	o.key(name)
	o.dst = recording.AppendString(o.dst, value)
}

func (o *object) number(name string, n int64) {
	o.key(name)
	o.dst = strconv.AppendInt(o.dst, n, 10)
}

// pairs writes an array of names and values.
func (o *object) pairs(name string, all recording.Headers) {
	o.key(name)
	o.dst = append(o.dst, '[')
	for i := range all {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		one := begin(o.dst)
		one.text("name", all[i].Name)
		one.text("value", all[i].Value)
		o.dst = one.end()
	}
	o.dst = append(o.dst, ']')
}

// millis formats a duration as a number of milliseconds in JSON.
func millis(d time.Duration) []byte {
	return strconv.AppendFloat(nil, float64(d.Nanoseconds())/1e6, 'f', -1, 64)
}
