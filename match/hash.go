package match

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"github.com/dchest/siphash"

	"github.com/tapedeck/tapedeck/match/canon"
)

// key identifies a request or a part of one. A request's key is the sum of the keys of its values,
// so the order of values does not matter, and adding a difference masks a value. The key of a value
// is SipHash-2-4 with 128 bits, under a random secret of the Matcher. Therefore the writer of a
// recording can't choose values whose sums are equal. The probability that two of 10^12 requests
// have equal keys by chance is 10^-15.
type key struct{ hi, lo uint64 }

func (k key) plus(l key) key {
	lo, carry := bits.Add64(k.lo, l.lo, 0)
	hi, _ := bits.Add64(k.hi, l.hi, carry)
	return key{hi, lo}
}

func (k key) minus(l key) key {
	lo, borrow := bits.Sub64(k.lo, l.lo, 0)
	hi, _ := bits.Sub64(k.hi, l.hi, borrow)
	return key{hi, lo}
}

func (k key) compare(l key) int {
	switch {
	case k == l:
		return 0
	case k.hi < l.hi || k.hi == l.hi && k.lo < l.lo:
		return -1
	}
	return 1
}

// secret computes keys.
type secret struct{ k0, k1 uint64 }

func newSecret() secret {
	var b [16]byte
	rand.Read(b[:])
	return secret{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

func (s secret) of(b []byte) key {
	hi, lo := siphash.Hash128(s.k0, s.k1, b)
	return key{hi, lo}
}

func (s secret) short(b []byte) uint64 { return siphash.Hash(s.k0, s.k1, b) }

func appendKey(dst []byte, k key) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, k.hi), k.lo)
}

// mix combines two numbers.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xd6e8feb86659fd93)
	return hi ^ lo ^ a
}

// leaf returns the key of a value, given in parts, at a place.
func (s secret) leaf(path key, kind canon.Kind, parts ...[]byte) key {
	b := append(appendKey(make([]byte, 0, 128), path), byte(kind))
	for _, p := range parts {
		b = append(b, p...)
	}
	return s.of(b)
}

// any returns the key for any value at a place.
func (s secret) any(path key) key {
	return s.of(append(appendKey(make([]byte, 0, 17), path), '*'))
}
