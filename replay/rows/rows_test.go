package rows

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row has gaps between its fields, as Go lays them out.
type row struct {
	a int64
	b bool
	c [3]uint16
	d float64
}

func rowOf(n int) row { return row{int64(n), n%3 == 0, [3]uint16{uint16(n), 1, 2}, float64(n) / 7} }

func table(t *testing.T, n int) *Table[row] {
	t.Helper()
	w := NewWriter[row](t.TempDir(), "rows", 0)
	for i := range n {
		if w.Len() != i {
			t.Fatalf("%d rows, want %d", w.Len(), i)
		}
		if err := w.Add(rowOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	made, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	return made
}

// Every row can be read back, in any order and from several goroutines, around all sizes at which a
// table changes its form.
func TestRows(t *testing.T) {
	for _, n := range []int{0, 1, inMemory - 1, inMemory, inMemory + 1, inMemory + pageRows, inMemory + 3*pageRows + 5, pageRows * slots * 2} {
		made := table(t, n)
		if made.Len() != n || (made.file != nil) != (n >= inMemory) {
			t.Fatalf("%d rows: %d, on disk: %v", n, made.Len(), made.file != nil)
		}
		var all sync.WaitGroup
		for seed := range uint64(4) {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 0))
				for range min(n, 5000) {
					i := rng.IntN(n)
					if got := made.At(i); got != rowOf(i) {
						t.Errorf("row %d of %d is %v", i, n, got)
						return
					}
				}
			})
		}
		all.Wait()
		for range min(n, 500) {
			from := rand.IntN(n)
			to := from + rand.IntN(min(n-from, 3*pageRows)+1)
			got := made.Range(from, to)
			if len(got) != to-from {
				t.Fatalf("%d rows from %d to %d", len(got), from, to)
			}
			for i := range got {
				if got[i] != rowOf(from+i) {
					t.Fatalf("row %d of %d is %v", from+i, n, got[i])
				}
			}
		}
		if err := made.Err(); err != nil {
			t.Error(err)
		}
	}
}

// The memory of a table does not grow with the number of rows.
func TestMemoryStaysFlat(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	short := table(t, 100_000)
	sum := 0.0
	for i := range short.Len() {
		sum += short.At(i).d
	}
	afterShort := heap()
	long := table(t, 1_000_000)
	for i := range long.Len() {
		sum += long.At(i).d
	}
	if first, second := afterShort-before, heap()-afterShort; second > first+64<<10 && second > 3<<20 {
		t.Errorf("100,000 rows take %d bytes, and 1,000,000 take %d", first, second)
	}
	runtime.KeepAlive(short)
	runtime.KeepAlive(long)
	runtime.KeepAlive(sum)
}

func TestErrors(t *testing.T) {
	w := NewWriter[row](t.TempDir(), "recorded steps", 1000)
	var err error
	for i := 0; err == nil && i <= inMemory; i++ {
		err = w.Add(rowOf(i))
	}
	if err == nil || !strings.Contains(err.Error(), "keep recorded steps on disk: the file is full") {
		t.Errorf("a full file: %v", err)
	}
	w.Abandon()
	if _, err := NewWriter[row](t.TempDir()+"/none", "rows", 0).Finish(); err != nil {
		t.Errorf("a table that needs no file: %v", err)
	}
	all := make([]row, inMemory+9)
	for i := range all {
		all[i] = rowOf(i)
	}
	for _, dir := range []string{t.TempDir(), t.TempDir() + "/none"} {
		kept := Keep(dir, "rows", 0, all)
		if kept.Len() != len(all) || kept.At(inMemory) != rowOf(inMemory) || len(kept.Range(0, len(all))) != len(all) {
			t.Errorf("%d rows are kept in %s", kept.Len(), dir)
		}
		kept.Close()
	}
	damaged := table(t, inMemory+9)
	damaged.file.Truncate(pageRows)
	if got := damaged.At(inMemory); got != (row{}) || damaged.Err() == nil {
		t.Errorf("%v, %v", got, damaged.Err())
	}
	defer func() {
		if recover() == nil {
			t.Error("rows with pointers are taken")
		}
	}()
	NewWriter[struct{ s string }]("", "rows", 0)
}

func BenchmarkAt(b *testing.B) {
	w := NewWriter[row](b.TempDir(), "rows", 0)
	for i := range 200_000 {
		if err := w.Add(rowOf(i)); err != nil {
			b.Fatal(err)
		}
	}
	t, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if t.At(n%200_000).a != int64(n%200_000) {
			b.Fatal("another row")
		}
	}
}
