package match

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/match/canon"
)

// appendStep appends a step to the name of a place, as rules write it: body:$.a[0],
// body:/a/b[2]/@c, query:id, query:filter:$.id.
func appendStep(dst []byte, parent canon.Axis, s canon.Step) []byte {
	if parent == canon.Field && s.Axis != canon.Attribute {
		dst = append(dst, ":$"...)
	}
	switch s.Axis {
	case canon.Item:
		return append(strconv.AppendInt(append(dst, '['), int64(s.N), 10), ']')
	case canon.Member:
		if isBare(s.Name) {
			dst = append(append(dst, '.'), s.Name...)
		} else {
			dst = append(strconv.AppendQuote(append(dst, '['), string(s.Name)), ']')
		}
		if s.N > 0 { // a repeated name
			dst = strconv.AppendInt(append(dst, '#'), int64(s.N), 10)
		}
		return dst
	case canon.Element:
		dst = append(append(dst, '/'), localName(s.Name)...)
		if s.N > 0 {
			dst = append(strconv.AppendInt(append(dst, '['), int64(s.N)+1, 10), ']')
		}
		return dst
	case canon.Attribute:
		return append(append(dst, "/@"...), localName(s.Name)...)
	case canon.Children:
		return append(dst, "/*"...)
	}
	dst = append(dst, s.Name...)
	if s.N > 0 {
		dst = strconv.AppendInt(append(dst, '#'), int64(s.N), 10)
	}
	return dst
}

func localName(name []byte) []byte { return name[bytes.LastIndexByte(name, '}')+1:] }

func isBare(name []byte) bool {
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRune(name[i:])
		if r <= ' ' || r == utf8.RuneError || r == 0x7f || bytes.IndexByte([]byte(`.[]"'*#:/`), name[i]) >= 0 {
			return false
		}
		i += n
	}
	return len(name) > 0
}

// rootPlace returns the name of the root of a body.
func rootPlace(f canon.Format) string {
	switch f {
	case canon.GraphQL, canon.JSON, canon.JSONLines, canon.Protobuf:
		return "body:$"
	case canon.XML:
		return "body:"
	case canon.Form, canon.Multipart:
		return "form:"
	}
	return "body"
}
