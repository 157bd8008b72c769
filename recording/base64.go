package recording

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// base64Pairs holds the two base64 digits of each 12-bit value.
var base64Pairs = func() (t [1 << 12]uint16) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = uint16(digits[i>>6]) | uint16(digits[i&63])<<8
	}
	return t
}()

// appendBase64 appends bytes as base64 in quotes. It takes a third of the instructions that
// encoding/base64 takes, which was a third of the time of recording exchanges with bodies.
func appendBase64(dst, src []byte) []byte {
	dst = append(slices.Grow(dst, base64.StdEncoding.EncodedLen(len(src))+len(`""`)), '"')
	n := encodeBase64(dst[len(dst):cap(dst)], src)
	return append(base64.StdEncoding.AppendEncode(dst[:len(dst)+n/6*8], src[n:]), '"')
}

// encodeBase64 encodes six bytes at a time while at least eight are left, and returns how many
// it encoded.
func encodeBase64(dst, src []byte) int {
	n := 0
	for i := 0; i <= len(src)-8; i += 6 {
		six := binary.BigEndian.Uint64(src[i : i+8])
		text := uint64(base64Pairs[six>>16&0xfff])
		text = text<<16 | uint64(base64Pairs[six>>28&0xfff])
		text = text<<16 | uint64(base64Pairs[six>>40&0xfff])
		text = text<<16 | uint64(base64Pairs[six>>52])
		binary.LittleEndian.PutUint64(dst[n:n+8], text)
		n += 8
	}
	return n / 8 * 6
}
