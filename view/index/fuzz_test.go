package index

import (
	"strings"
	"testing"
)

// Any text that somebody searches for is data.
func FuzzText(f *testing.F) {
	for _, text := range []string{`order "connection refused"`, `"`, `*`, `NEAR(a b)`, `col:a`, "a\x00b", "\xff", "東京", "a-b-", strings.Repeat(`"a `, 100)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		items := parseText(text)
		if len(items) > maxItems {
			t.Errorf("%d items", len(items))
		}
		for _, it := range items {
			if it.text == "" || len(it.prefix) > maxWord {
				t.Errorf("item %+v", it)
			}
			if len(it.pairs) > max(0, len(it.words)-1) {
				t.Errorf("%d pairs of %d words", len(it.pairs), len(it.words))
			}
			for _, w := range it.words {
				if len(w) > maxWord || strings.IndexByte(w, pairMark) >= 0 {
					t.Errorf("word %q", w)
				}
			}
		}
	})
}

// A cursor reads back as it was made, and any other text is an error.
func FuzzCursor(f *testing.F) {
	f.Add(makeCursor(pageAfter, 7, 42), 100)
	f.Add("", 0)
	f.Add("bgAAAACqqqqqqqqq", 1)
	f.Fuzz(func(t *testing.T, text string, rows int) {
		rows &= 1<<31 - 1
		side, at, err := readCursor(text, rows, 42)
		if err != nil {
			return
		}
		if at < 0 || at >= rows || makeCursor(side, at, 42) != text {
			t.Errorf("cursor %q is %c %d of %d", text, side, at, rows)
		}
	})
}

// Parts have checksums, but these don't show who wrote them.
func FuzzParts(f *testing.F) {
	f.Add(appendValues(nil, []int64{3, 1, 2}), 3)
	f.Add(appendTexts(nil, []string{"a", ""}), 2)
	f.Add(appendRows(nil, []uint32{0, 1, 2, 9}), 10)
	f.Add((&entry{}).append(nil), 1)
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 'a'}, 1)
	f.Fuzz(func(t *testing.T, data []byte, rows int) {
		if rows < 0 || rows > 1000 {
			return
		}
		_, _ = readValues(make([]int64, rows), data, rows)
		_, _ = readTexts(data)
		_ = addRows(newSet(rows), data, rows)
		if p, err := readPaths(data, rows); err == nil {
			p.contain([]byte("a"), func(i int) {
				if !strings.Contains(string(p.of(i)), "a") {
					t.Errorf("path %q", p.of(i))
				}
			})
		}
		var e entry
		e.read(&bytesReader{data: data})
	})
}

func TestRowsOfAWordComeBack(t *testing.T) {
	for _, rows := range [][]uint32{{0}, {0, 1, 2}, {5, 6, 9, 1000}, {63, 64, 65, 127, 128}} {
		s := newSet(1001)
		if err := addRows(s, appendRows(nil, rows), 1001); err != nil {
			t.Fatal(err)
		}
		n := 0
		for row := range s.rows() {
			if n >= len(rows) || uint32(row) != rows[n] {
				t.Fatalf("%v: row %d", rows, row)
			}
			n++
		}
		if n != len(rows) {
			t.Errorf("%v: %d rows", rows, n)
		}
	}
}

func TestValuesComeBack(t *testing.T) {
	const most, least = 1<<63 - 1, -1 << 63
	for _, values := range [][]int64{{7}, {7, 7}, {-1, 0, 254}, {0, 255, 256}, {-5, 1 << 20}, {0, 1 << 40}, {most, least, 0}} {
		got, err := readValues(make([]int64, len(values)), appendValues(nil, values), len(values))
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if got[i] != values[i] {
				t.Errorf("%v came back as %v", values, got)
			}
		}
	}
}
