package replay

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
)

// kept loads a recording of sessions with a login and nine reads each, goes through it, and
// returns the size of the heap that is still live, in bytes.
func kept(t *testing.T, exchanges int) int64 {
	t.Helper()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // frees what pools held
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(i int) *recording.Exchange {
		c := call{at: time.Duration(i) * time.Millisecond, took: 5 * time.Millisecond, method: "GET", path: "/items", answer: `{}`}
		token := fmt.Sprintf("tok-%07d-Zk93hf72KdLq", i/10)
		if i%10 == 0 {
			c.method, c.path, c.answer = "POST", "/login", `{"token":"`+token+`"}`
		} else {
			c.authorization = "Bearer " + token
		}
		return c.exchange(i)
	}
	c := &Comparison{Hasher: compare.NewHasher(), Comparer: compare.New(compare.Options{Matcher: m})}
	p, g, err := Prepare(t.Context(), func(yield func(*recording.Exchange, error) bool) {
		for i := range exchanges {
			if !yield(exchange(i), nil) {
				return
			}
		}
	}, PrepareOptions{Compare: c, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer g.Close()
	of := newPass(g, carry.StateOptions{}, p.Len(), false)
	for i := range exchanges {
		e := exchange(i)
		of.live.Apply(i, e)
		of.live.answered(i, e, e, nil)
		if known := of.live.known(i) != nil; known != (p.Step(i).At > 0 || i == 0) {
			t.Fatalf("step %d knows its session's values: %v", i, known)
		}
		of.done(i, 0)
	}
	grown := heap() - before
	runtime.KeepAlive(of)
	runtime.KeepAlive(c)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	if err := g.Err(); err != nil {
		t.Error(err)
	}
	return grown
}

// A replay's memory does not grow with its recording, except for one bit per request, which says
// whether it was answered.
func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("loads a long recording")
	}
	const few, many = 50_000, 250_000
	short, long := kept(t, few), kept(t, many)
	each := float64(long-short) / (many - few)
	t.Logf("%d requests keep %d bytes, %d keep %d: %.2f for each further request", few, short, many, long, each)
	if each > 2 {
		t.Errorf("%.1f bytes are kept for each request", each)
	}
}
