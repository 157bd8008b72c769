package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// decodeFrom decodes blocks from a given one on. It decodes all of them with another decoder, too:
// a field that the table claims to know must be the right one.
func decodeFrom(t *testing.T, blocks [][]byte, from int) (known, fields int) {
	t.Helper()
	whole := hpack.NewDecoder(4096, nil)
	whole.SetAllowedMaxDynamicTableSize(1 << 20)
	late := &table{limit: 4096}
	for i, block := range blocks {
		want, err := whole.DecodeFull(block)
		if err != nil {
			t.Fatal(err)
		}
		if i < from {
			continue
		}
		var got []hpack.HeaderField
		if err := late.read(block, func(f hpack.HeaderField) { got = append(got, f) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("block %d has %d fields, want %d", i, len(got), len(want))
		}
		for j, f := range got {
			fields++
			if f == unknown {
				continue
			}
			known++
			if f.Name != want[j].Name || f.Value != want[j].Value {
				t.Fatalf("block %d: %s=%s, want %s=%s", i, f.Name, f.Value, want[j].Name, want[j].Value)
			}
		}
		if late.size > late.limit {
			t.Fatalf("the table has %d bytes", late.size)
		}
	}
	return known, fields
}

// The table never takes a field for another one, whatever an encoder does with its table.
func TestTableAfterALoss(t *testing.T) {
	known, fields := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		e.SetMaxDynamicTableSizeLimit(1 << 16)
		var blocks [][]byte
		for range 60 {
			b.Reset()
			if r.IntN(10) == 0 {
				e.SetMaxDynamicTableSize(uint32([]int{0, 40, 100, 300, 4096, 1 << 16}[r.IntN(6)]))
			}
			for range 1 + r.IntN(6) {
				f := hpack.HeaderField{Name: fmt.Sprint("x-", r.IntN(20)), Value: fmt.Sprint(r.IntN(5)), Sensitive: r.IntN(10) == 0}
				switch r.IntN(10) {
				case 0:
					f = hpack.HeaderField{Name: ":method", Value: "GET"}
				case 1:
					f.Value = strings.Repeat("v", r.IntN(5000))
				case 2:
					f.Name = "authorization"
				}
				if err := e.WriteField(f); err != nil {
					t.Fatal(err)
				}
			}
			blocks = append(blocks, bytes.Clone(b.Bytes()))
		}
		k, n := decodeFrom(t, blocks, 1+r.IntN(50))
		known, fields = known+k, fields+n
	}
	if known*2 < fields {
		t.Errorf("%d of %d fields are known", known, fields)
	}
}

// The table reads blocks that our encoder never writes: insertions that the peer's table has no
// room for, and names taken from unknown entries.
func TestTableOfAnotherEncoder(t *testing.T) {
	insert := func(name, value string) string {
		return "\x40" + string(rune(len(name))) + name + string(rune(len(value))) + value
	}
	for _, c := range []struct{ name, block, want string }{
		{"static", "\x82\x84", ":method=GET :path=/"},
		{"inserted since", insert("a", "b") + "\xbe", "a=b a=b"},
		{"inserted before", "\xbe", ":unknown="},
		{"after those since", insert("a", "b") + "\xbf\xbe", "a=b :unknown= a=b"},
		{"a name from before", "\x7e\x06secret", ":unknown="},
		{"and inserted", "\x7e\x06secret\xbe", ":unknown= :unknown="},
		{"whose name is taken again", "\x7e\x06secret\x7e\x05other\xbf", ":unknown= :unknown= :unknown="},
		{"after one with an unknown name", insert("a", "b") + "\x7e\x01c\xbf", "a=b a=c a=b"},
		{"of a static name", "\x41\x01h\xbe", ":authority=h :authority=h"},
		{"the table is emptied", insert("a", "b") + "\x20\x3f\xe1\x1f" + insert("c", "d") + "\xbe\xbf", "a=b c=d c=d :unknown="},
		{"not inserted", "\x00\x01a\x01b\xbe", "a=b :unknown="},
		{"never to be inserted, an unknown name", "\x1f\x2f\x06secret", ":unknown="},
	} {
		var got []string
		err := (&table{limit: 4096}).read([]byte(c.block), func(f hpack.HeaderField) { got = append(got, f.Name+"="+f.Value) })
		if text := strings.Join(got, " "); text != c.want || err != nil {
			t.Errorf("%s: %s, %v, want %s", c.name, text, err, c.want)
		}
	}
}

// FuzzTable reads any bytes as a block. If the library can read them, too, both find the same.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x82\x40\x01a\x01b\xbe"))
	f.Add([]byte("\x7e\x06secret\x20\x3f\xe1\x1f\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, block []byte) {
		want, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
		if err == nil { // nothing was before it: all is known
			if known, fields := decodeFrom(t, [][]byte{block}, 0); known != fields || fields != len(want) {
				t.Fatalf("%d of %d fields are known", known, fields)
			}
			return
		}
		late := &table{limit: 4096}
		late.read(block, func(hpack.HeaderField) {})
		if late.size > late.limit {
			t.Fatalf("the table has %d bytes", late.size)
		}
	})
}
