package class

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"strconv"
	"time"
)

const uuidLen = 36

// onlyUUID returns the position of the only UUID in s, or -1 if there is none or more than one.
func onlyUUID(s []byte) int {
	found := -1
	for i := 8; i+uuidLen-8 <= len(s); {
		n := bytes.IndexByte(s[i:], '-')
		if n < 0 {
			break
		}
		if i += n; i+uuidLen-8 <= len(s) && isUUID(s[i-8:i-8+uuidLen]) {
			if found >= 0 {
				return -1
			}
			found = i - 8
			i += uuidLen - 8
		}
		i++
	}
	return found
}

func isHex(s []byte) bool {
	for _, c := range s {
		if hexValue[c] < 0 {
			return false
		}
	}
	return true
}

var hexValue = digitsOf("0123456789abcdef", "0123456789ABCDEF")

func digitsOf(alphabets ...string) (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for _, a := range alphabets {
		for i := range len(a) {
			t[a[i]] = int8(i)
		}
	}
	return t
}

func isUUID(s []byte) bool {
	for i, c := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && hexValue[c] < 0 {
			return false
		}
	}
	return true
}

func ofUUID(s []byte, at time.Time) Value {
	var b [16]byte
	digits := bytes.ReplaceAll(s, []byte("-"), nil)
	if _, err := hex.Decode(b[:], digits); err != nil {
		return Value{}
	}
	switch b[6] >> 4 {
	case 7:
		ms := int64(binary.BigEndian.Uint64(b[:8]) >> 16)
		return Value{Class: UUIDv7, Near: isNear(time.UnixMilli(ms), at, minted)}
	case 1:
		ticks := int64(binary.BigEndian.Uint16(b[6:8])&0x0fff)<<48 | int64(binary.BigEndian.Uint16(b[4:6]))<<32 | int64(binary.BigEndian.Uint32(b[:4]))
		return Value{Class: UUIDv1, Near: isNear(gregorian(ticks), at, minted)}
	case 6:
		ticks := int64(binary.BigEndian.Uint32(b[:4]))<<28 | int64(binary.BigEndian.Uint16(b[4:6]))<<12 | int64(binary.BigEndian.Uint16(b[6:8])&0x0fff)
		return Value{Class: UUIDv1, Near: isNear(gregorian(ticks), at, minted)}
	}
	return Value{Class: UUID}
}

// gregorian converts ticks of 100 ns since the beginning of the Gregorian calendar.
func gregorian(ticks int64) time.Time {
	const unix = 122_192_928_000_000_000
	ticks -= unix
	return time.Unix(ticks/1e7, ticks%1e7*100)
}

func hexTime(s []byte) time.Time {
	n, _ := strconv.ParseUint(string(s), 16, 32)
	return time.Unix(int64(n), 0)
}

var crockford = digitsOf("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "0123456789abcdefghjkmnpqrstvwxyz")

func ulidTime(s []byte) (time.Time, bool) {
	var ms int64
	for i, c := range s {
		d := crockford[c]
		if d < 0 {
			return time.Time{}, false
		}
		if i < 10 {
			ms = ms<<5 | int64(d)
		}
	}
	return time.UnixMilli(ms), s[0] <= '7'
}

var base62 = digitsOf("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

func ksuidTime(s []byte) (time.Time, bool) {
	n, base := new(big.Int), big.NewInt(62)
	for _, c := range s {
		d := base62[c]
		if d < 0 {
			return time.Time{}, false
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(d)))
	}
	return time.Unix(n.Rsh(n, 128).Int64()+1_400_000_000, 0), true
}

var base32hex = digitsOf("0123456789abcdefghijklmnopqrstuv")

func xidTime(s []byte) (time.Time, bool) {
	var n uint64
	for i, c := range s {
		d := base32hex[c]
		if d < 0 {
			return time.Time{}, false
		}
		if i < 7 {
			n = n<<5 | uint64(d)
		}
	}
	return time.Unix(int64(n>>3), 0), true
}

// isJWT reports whether s is a JSON Web Token. Three parts are not enough: api.nasa.gov has three, too.
func isJWT(s []byte) bool {
	if !bytes.HasPrefix(s, []byte("ey")) || bytes.Count(s, []byte(".")) < 2 {
		return false
	}
	head, _, _ := bytes.Cut(s, []byte("."))
	b := make([]byte, base64.RawURLEncoding.DecodedLen(len(head)))
	n, err := base64.RawURLEncoding.Decode(b, head)
	return err == nil && bytes.HasPrefix(b[:n], []byte("{")) && bytes.Contains(b[:n], []byte(`"alg"`))
}

// looksRandom reports whether s looks generated: it is long, consists of characters that encodings
// use, and has digits between letters more than once.
func looksRandom(s []byte) bool {
	if len(s) < 16 {
		return false
	}
	changes, last := 0, byte(0)
	for _, c := range s {
		kind := kinds[c]
		if kind == 0 {
			return false
		}
		if kind != last && kind != '-' {
			if last != 0 && (kind == 'd') != (last == 'd') {
				changes++
			}
			last = kind
		}
	}
	return changes >= 4
}

// kinds are digits, letters, and other characters of base64, URLs and file names.
var kinds = func() (t [256]byte) {
	for c := range 256 {
		switch {
		case '0' <= c && c <= '9':
			t[c] = 'd'
		case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80:
			t[c] = 'l'
		}
	}
	for _, c := range []byte("-_+/=~.") {
		t[c] = '-'
	}
	return t
}()
