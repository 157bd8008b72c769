package match

import "slices"

// table is a hash table of the entries with a key. It takes 28 bytes for each key, and 4 for each
// entry.
type table struct {
	slots   []uint32 // index in keys plus one; the length is a power of two
	keys    []key
	starts  []uint32 // start of each key's entries; one longer than keys
	entries []Entry
}

type keyed struct {
	key   key
	entry Entry
}

// newTable returns a table of pairs, which it sorts in place.
func newTable(pairs []keyed) *table {
	slices.SortFunc(pairs, func(a, b keyed) int {
		if c := a.key.compare(b.key); c != 0 {
			return c
		}
		return int(a.entry) - int(b.entry)
	})
	distinct := 0
	for i := range pairs {
		if i == 0 || pairs[i].key != pairs[i-1].key {
			distinct++
		}
	}
	t := &table{
		keys:    make([]key, 0, distinct),
		starts:  make([]uint32, 0, distinct+1),
		entries: make([]Entry, 0, len(pairs)),
	}
	for i, p := range pairs {
		if i == 0 || p.key != pairs[i-1].key {
			t.keys = append(t.keys, p.key)
			t.starts = append(t.starts, uint32(len(t.entries)))
		}
		t.entries = append(t.entries, p.entry)
	}
	t.starts = append(t.starts, uint32(len(t.entries)))
	size := 4
	for size < distinct+distinct/2 {
		size *= 2
	}
	t.slots = make([]uint32, size)
	for i, k := range t.keys {
		slot := t.slot(k)
		for t.slots[slot] != 0 {
			slot = (slot + 1) & uint64(size-1)
		}
		t.slots[slot] = uint32(i) + 1
	}
	return t
}

func (t *table) slot(k key) uint64 { return k.lo & uint64(len(t.slots)-1) }

// find returns the entries of a key in order, or nil if there are none.
func (t *table) find(k key) []Entry {
	for slot := t.slot(k); ; slot = (slot + 1) & uint64(len(t.slots)-1) {
		i := t.slots[slot]
		if i == 0 {
			return nil
		}
		if t.keys[i-1] == k {
			return t.entries[t.starts[i-1]:t.starts[i]:t.starts[i]]
		}
	}
}
