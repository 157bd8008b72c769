package scratch

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

// A reader in order, one that jumps, and both at the same time get the bytes that were written.
func TestAheadReadsWhatWasWritten(t *testing.T) {
	w, err := Create(t.TempDir(), "records", 0)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	var all []byte
	var ends []int
	for len(all) < 5<<20 { // more than is kept
		record := make([]byte, random.Uint64()%3000)
		if len(ends)%500 == 0 {
			record = make([]byte, 200<<10) // several pages
		}
		_, _ = random.Read(record)
		if _, err := w.Add(record); err != nil {
			t.Fatal(err)
		}
		all = append(all, record...)
		ends = append(ends, len(all))
	}
	f, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := NewAhead(f)
	read := func(i int) {
		from := 0
		if i > 0 {
			from = ends[i-1]
		}
		got := make([]byte, ends[i]-from)
		if n, err := a.ReadAt(got, int64(from)); err != nil || n != len(got) || !bytes.Equal(got, all[from:ends[i]]) {
			t.Errorf("record %d: %d of %d bytes, %v; or other bytes", i, n, len(got), err)
		}
	}
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for i := range ends {
				read(i)
			}
		})
	}
	readers.Go(func() {
		for range ends {
			read(rand.IntN(len(ends)))
		}
	})
	readers.Wait()
	if n, err := a.ReadAt(make([]byte, 10), int64(len(all)-4)); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("beyond the end: %d bytes, %v", n, err)
	}
}

// Only records that are read in order are read ahead, also after a gap.
func TestAheadReadsPagesInOrder(t *testing.T) {
	w, err := Create(t.TempDir(), "records", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(make([]byte, 100*pageSize)); err != nil {
		t.Fatal(err)
	}
	f, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := NewAhead(f)
	for _, read := range []struct {
		page, size int64
		ahead      bool
	}{
		{0, 100, true}, {1, 100, true}, {2, 100, true},
		{20, 100, false}, {20, 100, true}, {21, 100, true}, // after a gap
		{50, 100, false}, {60, 100, false}, {70, 100, false}, // not in order
		{2, 100, true}, {3, 100, true}, // another reader continues
		{4, 2 * pageSize, false}, {6, 100, false}, {6, 100, true},
	} {
		if _, err := a.ReadAt(make([]byte, read.size), read.page*pageSize); err != nil {
			t.Fatal(err)
		}
		if p := a.last(read.page); (p != nil && p.bytes != nil) != read.ahead {
			t.Errorf("page %d after a read of %d bytes: read ahead %v, want %v", read.page, read.size, !read.ahead, read.ahead)
		}
	}
}

// A file that can't be read gives the error, not zeros.
func TestAheadReturnsTheErrorOfTheFile(t *testing.T) {
	w, err := Create(t.TempDir(), "records", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add([]byte("record")); err != nil {
		t.Fatal(err)
	}
	f, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if n, err := NewAhead(f).ReadAt(make([]byte, 6), 0); err == nil {
		t.Errorf("read %d bytes of a closed file", n)
	}
}
