package recording

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
)

// UUID identifies an exchange. In JSON it is base64. As text it has the canonical form.
type UUID [16]byte

// String returns the canonical form, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseUUID reads the canonical form or base64.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(u) {
		raw, err = base64.StdEncoding.DecodeString(s)
	}
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("uuid %q: want 32 hexadecimal digits or base64 of 16 bytes", s)
	}
	return UUID(raw), nil
}

// MarshalJSON implements [json.Marshaler].
func (u UUID) MarshalJSON() ([]byte, error) { return appendUUID(nil, u), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (u *UUID) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := ParseUUID(s)
	if err == nil {
		*u = v
	}
	return err
}

// Tag is one entry of [Tags].
type Tag struct{ Name, Value string }

// Tags maps names to values and keeps their order. Names are unique.
type Tags []Tag

// Get returns the value of the tag, or "" if there is none.
func (t Tags) Get(name string) string {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value
		}
	}
	return ""
}

// Set sets the value of a tag. It adds the tag if it is missing.
func (t *Tags) Set(name, value string) {
	for i := range *t {
		if (*t)[i].Name == name {
			(*t)[i].Value = value
			return
		}
	}
	*t = append(*t, Tag{name, value})
}

// MarshalJSON implements [json.Marshaler]: an object of strings.
func (t Tags) MarshalJSON() ([]byte, error) { return (*Encoder)(nil).appendTags(nil, t), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Tags) UnmarshalJSON(b []byte) error {
	*t = (*t)[:0]
	return EachMember(b, MaxTags, func(name string, value []byte) error {
		var v string
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		t.Set(name, v)
		return nil
	})
}

// Header is one field line of an HTTP message. Several lines may have the same name.
type Header struct{ Name, Value string }

// Headers are field lines, in order. In JSON they are an object of lists, which groups the lines
// by name.
type Headers []Header

// Get returns the first value of the header, or "" if there is none. The name must be in canonical
// form.
func (h Headers) Get(name string) string {
	if i := h.index(name); i >= 0 {
		return h[i].Value
	}
	return ""
}

// Values returns the values of all lines with the name, in any case.
func (h Headers) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h {
			if strings.EqualFold(h[i].Name, name) && !yield(h[i].Value) {
				return
			}
		}
	}
}

// index finds the first line with the name. It returns -1 if there is none.
func (h Headers) index(name string) int {
	for i := range h {
		if h[i].Name == name {
			return i
		}
	}
	return -1
}

// MarshalJSON implements [json.Marshaler].
func (h Headers) MarshalJSON() ([]byte, error) { return appendHeaders(nil, h), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Headers) UnmarshalJSON(b []byte) error {
	*h = (*h)[:0]
	return EachMember(b, MaxHeaders, func(name string, values []byte) error {
		return EachElement(values, MaxHeaders-len(*h), func(value []byte) error {
			var v string
			err := json.Unmarshal(value, &v)
			*h = append(*h, Header{name, v})
			return err
		})
	})
}
