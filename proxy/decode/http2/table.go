package http2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck/tapedeck/recording"
)

// table decodes header blocks (RFC 7541) of a side whose earlier blocks were lost.
// The library's decoder cannot: it needs every insertion since the connection began.
//
//	index  1 ‥ 61     62 ‥ 61+n            from 62+n
//	       static     inserted since       inserted before the loss:
//	       table      the loss, newest     unknown name, unknown value
//	                  first
//
// New entries are added at the front, and eviction removes from the back. So an index below
// 62+n names the same entry in the peer's table, whatever that table has after it and
// however large it is. An entry that the peer has evicted, or never stored because it was
// too large, has no entries after it, so a conforming peer sends no index that reaches it.
// So the table may drop entries at any time, and does not need the peer's limit.
type table struct {
	entries []hpack.HeaderField // oldest first
	size    int
	limit   int // maximum of size
}

// unknown replaces a field whose name was in a lost block. Its value is dropped even if it
// is readable, because it may be a credential.
var unknown = hpack.HeaderField{Name: recording.UnknownName}

const (
	staticEntries = 61
	entryCost     = 32 // RFC 7541, section 4.1
)

// static is the table of RFC 7541, appendix A, which the library's decoder yields.
var static = func() (t [staticEntries + 1]hpack.HeaderField) {
	for i := 1; i <= staticEntries; i++ {
		d := hpack.NewDecoder(0, func(f hpack.HeaderField) { t[i] = f })
		if _, err := d.Write([]byte{0x80 | byte(i)}); err != nil {
			panic(err) // all 61 exist
		}
	}
	return t
}()

// read decodes a whole block and calls emit for each of its fields.
func (t *table) read(block []byte, emit func(hpack.HeaderField)) error {
	for len(block) > 0 {
		var err error
		switch b := block[0]; {
		case b&0x80 != 0: // indexed field
			var i uint64
			if i, block, err = number(block, 7); err == nil && i == 0 {
				err = errBlock
			}
			if err == nil {
				emit(t.at(i))
			}
		case b&0xe0 == 0x20: // size update
			var n uint64
			if n, block, err = number(block, 5); err == nil {
				t.evict(int(min(n, maxTable)))
			}
		case b&0xc0 == 0x40: // literal, to be inserted
			var f hpack.HeaderField
			if f, block, err = t.literal(block, 6); err == nil {
				emit(f)
				t.insert(f)
			}
		default: // literal, not to be inserted
			var f hpack.HeaderField
			if f, block, err = t.literal(block, 4); err == nil {
				emit(f)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// at returns the entry at an index. The first index is 1.
func (t *table) at(i uint64) hpack.HeaderField {
	if i <= staticEntries {
		return static[i]
	}
	i -= staticEntries + 1
	if n := uint64(len(t.entries)); i < n {
		return t.entries[n-1-i]
	}
	return unknown
}

func (t *table) literal(block []byte, prefix uint) (f hpack.HeaderField, rest []byte, err error) {
	i, rest, err := number(block, prefix)
	if err != nil {
		return f, nil, err
	}
	if i > 0 {
		f.Name = t.at(i).Name
	} else if f.Name, rest, err = text(rest); err != nil {
		return f, nil, err
	}
	if f.Value, rest, err = text(rest); err != nil {
		return f, nil, err
	}
	if f.Name == unknown.Name {
		f = unknown
	}
	return f, rest, nil
}

func (t *table) insert(f hpack.HeaderField) {
	t.entries = append(t.entries, f)
	t.size += cost(f)
	t.evict(t.limit)
}

// evict drops the oldest entries until the rest has at most size bytes.
func (t *table) evict(size int) {
	n := 0
	for ; n < len(t.entries) && t.size > size; n++ {
		t.size -= cost(t.entries[n])
	}
	clear(t.entries[:n])
	t.entries = t.entries[n:] // append moves the rest now and then
}

// cost returns the size of an entry. It only bounds memory, so it need not be the size that
// the peer counts.
func cost(f hpack.HeaderField) int { return len(f.Name) + len(f.Value) + entryCost }

// number reads an integer with a prefix of that many bits (RFC 7541, section 5.1).
func number(p []byte, prefix uint) (n uint64, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, errBlock
	}
	most := uint64(1)<<prefix - 1
	if n = uint64(p[0]) & most; n < most {
		return n, p[1:], nil
	}
	for shift, i := uint(0), 1; i < len(p) && shift < 35; shift, i = shift+7, i+1 {
		n += uint64(p[i]&0x7f) << shift
		if p[i]&0x80 == 0 {
			return n, p[i+1:], nil
		}
	}
	return 0, nil, errBlock
}

// text reads a string literal (RFC 7541, section 5.2).
func text(p []byte) (s string, rest []byte, err error) {
	if len(p) == 0 {
		return "", nil, errBlock
	}
	huffman := p[0]&0x80 != 0
	n, p, err := number(p, 7)
	if err != nil || n > uint64(len(p)) {
		return "", nil, errBlock
	}
	if !huffman {
		return string(p[:n]), p[n:], nil
	}
	if s, err = hpack.HuffmanDecodeToString(p[:n]); err != nil {
		return "", nil, errBlock
	}
	return s, p[n:], nil
}
