package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// This file parses the parts of canonical JSON: literals, strings, numbers, times and base64.

// lit reads the literal if it comes next. After an opening brace, it ignores the literal's leading
// comma.
func (p *canonical) lit(s string) bool {
	n := p.ahead(s)
	p.i += n
	return n > 0
}

// is reads the byte if it comes next.
func (p *canonical) is(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

// ahead is lit without consuming the literal. It returns the literal's length, or 0 if something
// else comes next.
func (p *canonical) ahead(s string) int {
	if s[0] == ',' && p.b[p.i-1] == '{' {
		s = s[1:]
	}
	n := len(s)
	if len(p.b)-p.i < n || n > 2 && p.b[p.i+2] != s[2] || string(p.b[p.i:p.i+n]) != s {
		return 0
	}
	return n
}

// member reads an optional string.
func (p *canonical) member(name string, to, last *string) bool {
	return !p.lit(name) || p.string(to, last)
}

func (p *canonical) flag(name string, to *bool) bool {
	if p.lit(name) {
		*to = true
		return p.lit(`true`)
	}
	return true
}

// small reads an optional number.
func (p *canonical) small(name string, to *int) bool {
	var n int64
	if !p.lit(name) {
		return true
	}
	ok := p.integer(&n) && int64(int(n)) == n
	*to = int(n)
	return ok
}

// count reads an optional number in quotes.
func (p *canonical) count(name string, to *int64) bool {
	return !p.lit(name) || p.is('"') && p.integer(to) && p.is('"')
}

func (p *canonical) integer(to *int64) bool {
	negative := p.is('-')
	start, n := p.i, uint64(0)
	for ; p.i < len(p.b) && '0' <= p.b[p.i] && p.b[p.i] <= '9'; p.i++ {
		if p.i-start == 19 { // more digits might not fit into a uint64
			return false
		}
		n = n*10 + uint64(p.b[p.i]-'0')
	}
	if *to = int64(n); negative {
		*to = -*to
	}
	return n <= math.MaxInt64 && p.i > start && (p.b[start] != '0' || p.i == start+1)
}

func (p *canonical) uuid(to *UUID) bool {
	const digits = 22 // without the two padding characters
	if len(p.b)-p.i < digits+4 || p.b[p.i] != '"' || string(p.b[p.i+1+digits:p.i+4+digits]) != `=="` {
		return false
	}
	var out [18]byte
	n, err := base64.StdEncoding.Decode(out[:], p.b[p.i+1:p.i+3+digits])
	if err != nil || n != len(to) {
		return false
	}
	copy(to[:], out[:])
	p.i += digits + 4
	return true
}

// time reads an optional time in UTC, such as `"2026-11-22T20:15:00.123456789Z"`.
func (p *canonical) time(name string, to *time.Time) bool {
	if !p.lit(name) || len(p.b)-p.i < len(minute)+len(`00Z"`) {
		return false
	}
	b := p.b[p.i:]
	if string(b[:len(minute)]) != string(p.minute[:]) && !p.newMinute([len(minute)]byte(b)) {
		return false
	}
	second := digits(b[18:20])
	if second < 0 || second > 59 {
		return false
	}
	i, nanos := 20, 0
	if b[i] == '.' {
		unit := 100_000_000
		for i++; i < len(b) && '0' <= b[i] && b[i] <= '9' && unit > 0; i++ {
			nanos += int(b[i]-'0') * unit
			unit /= 10
		}
		if i == 21 {
			return false
		}
	}
	if len(b) < i+2 || b[i] != 'Z' || b[i+1] != '"' {
		return false
	}
	*to = p.began.Add(time.Duration(second)*time.Second + time.Duration(nanos))
	p.i += i + 2
	return true
}

const minute = `"2026-11-22T20:15:`

// newMinute parses a time's minute and caches it.
func (p *canonical) newMinute(b [len(minute)]byte) bool {
	if b[0] != '"' || b[5] != '-' || b[8] != '-' || b[11] != 'T' || b[14] != ':' || b[17] != ':' {
		return false
	}
	year, month, day, hour, min := digits(b[1:5]), digits(b[6:8]), digits(b[9:11]), digits(b[12:14]), digits(b[15:17])
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || min < 0 || min > 59 {
		return false
	}
	t := time.Date(year, time.Month(month), day, hour, min, 0, 0, time.UTC)
	if t.Day() != day { // such as February 30
		return false
	}
	p.minute, p.began = b, t
	return true
}

// digits returns the value of decimal digits, or -1 if there is any other character.
func digits(b []byte) (n int) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// Flags that say how a string's JSON text differs from the string.
const (
	isEscaped = 1 << iota
	isUnicode
)

// quoted reads a string. raw is the text between the quotes, and differs has the flags above.
func (p *canonical) quoted() (raw []byte, differs int, ok bool) {
	if !p.is('"') {
		return nil, 0, false
	}
	b := p.b[p.i:]
	for i := 0; ; i++ {
		for i <= len(b)-8 {
			odd := oddBytes(binary.LittleEndian.Uint64(b[i:])) & tops
			i += bits.TrailingZeros64(odd) / 8 // 8 if all bytes are plain
			if odd != 0 {
				break
			}
		}
		if i >= len(b) {
			return nil, 0, false
		}
		switch c := b[i]; {
		case c == '"':
			p.i += i + 1
			return b[:i], differs, true
		case c == '\\':
			differs |= isEscaped
			i++ // skip the escaped character, which may be a quote
		case c >= utf8.RuneSelf:
			differs |= isUnicode
		case c < ' ':
			return nil, 0, false
		}
	}
}

// string reads a string. If it equals last, it returns last. Only strings without escapes are
// cached, so their JSON text is the string.
func (p *canonical) string(to, last *string) bool {
	if n := p.i + 1 + len(*last); n < len(p.b) && p.b[p.i] == '"' && p.b[n] == '"' && string(p.b[p.i+1:n]) == *last {
		*to = *last
		p.i = n + 1
		return true
	}
	raw, differs, ok := p.quoted()
	if !ok {
		return false
	}
	if *to, ok = p.text(raw, differs); ok && differs&isEscaped == 0 && len(*to) <= maxRememberedText {
		*last = *to
	}
	return ok
}

// chunkBytes is the size of the buffers that short strings share. Each string keeps its whole
// buffer alive.
const chunkBytes = 2 << 10

// text returns the string of a raw JSON text.
func (p *canonical) text(raw []byte, differs int) (string, bool) {
	if differs != 0 || len(raw) > chunkBytes/16 {
		return text(raw, differs)
	}
	if p.chunk.Cap()-p.chunk.Len() < len(raw) {
		p.chunk = strings.Builder{}
		p.chunk.Grow(chunkBytes)
	}
	start := p.chunk.Len()
	p.chunk.Write(raw)
	return p.chunk.String()[start:], true
}

// name reads a name. There are few different names, so a map caches them.
func (p *canonical) name(to *string) bool {
	raw, differs, ok := p.quoted()
	if !ok {
		return false
	}
	if differs == 0 {
		if known, ok := p.names[string(raw)]; ok {
			*to = known
			return true
		}
	}
	if *to, ok = text(raw, differs); ok && len(*to) <= maxRememberedText {
		if p.names == nil || len(p.names) >= maxRememberedNames {
			p.names = map[string]string{}
		}
		p.names[*to] = *to
	}
	return ok
}

// text returns the string of a raw JSON text.
func text(raw []byte, differs int) (string, bool) {
	if differs&isUnicode != 0 && !utf8.Valid(raw) {
		return "", false
	}
	if differs&isEscaped == 0 {
		return string(raw), true
	}
	plain, _, ok := unescape(raw)
	return plain, ok
}

// escapes maps the letter of a JSON escape, except `u`, to its character.
var escapes = [...]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape returns the string of a raw JSON text. exact is false if U+FFFD replaced half a
// surrogate pair.
func unescape(raw []byte) (plain string, exact, ok bool) {
	at := bytes.IndexByte(raw, '\\')
	if at < 0 {
		return string(raw), true, true
	}
	exact = true
	var out strings.Builder
	out.Grow(len(raw))
	for ; at >= 0; at = bytes.IndexByte(raw, '\\') {
		out.Write(raw[:at])
		if raw = raw[at+1:]; len(raw) == 0 {
			return "", false, false
		}
		c := raw[0]
		raw = raw[1:]
		switch {
		case c == 'u':
			r := hex4(raw)
			if r < 0 {
				return "", false, false
			}
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				var low rune
				if digits, ok := bytes.CutPrefix(raw, []byte(`\u`)); ok {
					low = hex4(digits)
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					raw = raw[6:]
				} else {
					exact = false
				}
			}
			out.WriteRune(r)
		case int(c) < len(escapes) && escapes[c] != 0:
			out.WriteByte(escapes[c])
		default:
			return "", false, false
		}
	}
	out.Write(raw)
	return out.String(), exact, true
}

// hex4 returns the value of four hexadecimal digits, or -1 if there is any other character.
func hex4(b []byte) (r rune) {
	if len(b) < 4 {
		return -1
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// skip reads a string without returning it.
func (p *canonical) skip() bool {
	raw, differs, ok := p.quoted()
	if ok && differs&isEscaped != 0 {
		_, _, ok = unescape(raw)
	}
	return ok
}

func (p *canonical) base64(to *[]byte, left *int64, light bool) bool {
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return false
	}
	raw := p.b[p.i+1:]
	end := bytes.IndexByte(raw, '"')
	if end < 0 || end%4 != 0 {
		return false
	}
	raw = raw[:end]
	p.i += end + 2
	n := len(raw) / 4 * 3
	for i := 1; i <= 2 && i <= len(raw) && raw[len(raw)-i] == '='; i++ {
		n--
	}
	if light {
		*left = int64(n)
		return isBase64(raw[:(n*4+2)/3])
	}
	out := make([]byte, len(raw)/4*3)
	got, err := base64.StdEncoding.Decode(out, raw)
	*to = out[:n]
	return err == nil && got == n
}

// isBase64 reports whether b has only base64 digits.
func isBase64(b []byte) bool {
	if len(b) < 8 {
		few := [8]byte([]byte("AAAAAAAA"))
		copy(few[:], b)
		b = few[:]
	}
	odd := notBase64(binary.LittleEndian.Uint64(b[len(b)-8:]))
	for i := 0; i <= len(b)-8; i += 8 {
		odd |= notBase64(binary.LittleEndian.Uint64(b[i:]))
	}
	return odd&tops == 0
}

// notBase64 sets the top bit of each byte that isn't a base64 digit. In each sum below, the top bit
// shows whether a byte is at least some value, so two sums differ in this bit for bytes between the
// two values.
func notBase64(w uint64) uint64 {
	low := w &^ tops
	letter := low | ' '*ones // in lower case
	in := (letter + (0x80-'a')*ones) ^ (letter + (0x80-('z'+1))*ones) ^
		(low + (0x80-'/')*ones) ^ (low + (0x80-('9'+1))*ones)
	plus := (low ^ '+'*ones) + 0x7f*ones // 0 for a plus
	return plus&^in | w
}
