package compare

import (
	"hash/maphash"
	"strings"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

// Hasher hashes the compared parts of answers. Equal hashes mean equal answers. Answers with
// different hashes may still be equal: [Comparer.Compare] decides. A Hasher is safe for concurrent
// use.
type Hasher struct {
	seed    maphash.Seed
	unheard map[string]bool // in canonical form
}

// NewHasher returns a hasher. Hashes of different hashers can't be compared.
func NewHasher() *Hasher {
	h := &Hasher{seed: maphash.MakeSeed(), unheard: map[string]bool{}}
	for _, name := range match.Unheard() {
		h.unheard[name] = true
	}
	return h
}

// Answer returns the hash of an answer, or 0 if there is none or if it is a conversation.
func (h *Hasher) Answer(e *recording.Exchange) uint64 {
	if e.HTTP == nil || e.HTTP.Res.StatusCode == 0 || e.Conversation() != nil || e.Incomplete() != "" || e.Truncated() {
		return 0
	}
	res := &e.HTTP.Res
	sum := maphash.Bytes(h.seed, res.Body) + uint64(res.StatusCode)*0x9e3779b97f4a7c15
	var m maphash.Hash
	m.SetSeed(h.seed)
	for i := range res.Headers { // whatever their order
		f := &res.Headers[i]
		if h.skips(f.Name) {
			continue
		}
		m.Reset()
		writeLower(&m, f.Name)
		m.WriteByte(0)
		m.WriteString(f.Value)
		sum += m.Sum64() | 1
	}
	return sum | 1
}

func (h *Hasher) skips(name string) bool {
	var buf [32]byte
	if len(name) > len(buf) {
		return false
	}
	for i := range len(name) {
		buf[i] = lower(name[i])
	}
	return h.unheard[string(buf[:len(name)])]
}

func writeLower(m *maphash.Hash, s string) {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		m.WriteString(s)
		return
	}
	for i := range len(s) {
		m.WriteByte(lower(s[i]))
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
