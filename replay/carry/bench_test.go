package carry

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// document returns JSON of about 1 KiB, with different values for each number.
func document(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":%d,"uuid":"%08x-5717-4562-b3fc-2c963f66afa6","token":"tok_%016x","status":"PENDING","createdAt":"2026-11-29T10:00:00Z","items":[`, n, n, uint64(n)*0x9e3779b97f4a7c15)
	for i := range 8 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"shirt-%d","name":"A blue shirt, size %d","price":%d.50,"currency":"EUR","available":true}`, i, i, 20+i)
	}
	b.WriteString(`]}`)
	return b.String()
}

func BenchmarkAdd(b *testing.B) {
	f := NewFinder(Options{})
	e := exchange(0, "GET", "/orders/17", "", 200, "", "Authorization", "Bearer tok_1234567890abcdef", "Accept", "application/json", "<Content-Type", "application/json")
	bodies := make([][]byte, 1024)
	for i := range bodies {
		bodies[i] = []byte(document(i))
	}
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.HTTP.Res.Body = bodies[i%len(bodies)]
		f.Add(e)
	}
}

func BenchmarkIssues(b *testing.B) {
	f := NewFinder(Options{})
	f.Add(exchange(0, "POST", "/login", "", 200, `{"token":"tok_9f8a7b6c5d"}`))
	f.Add(exchange(10, "GET", "/", "", 200, `{}`, "Authorization", "Bearer tok_9f8a7b6c5d"))
	s := f.Finish().NewState(StateOptions{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if s.Issues(i&1) == s.Changes(i&1) {
			b.Fatal("the wrong step")
		}
	}
}

func BenchmarkApply(b *testing.B) {
	f := NewFinder(Options{})
	login := exchange(0, "POST", "/login", "", 200, `{"token":"tok_9f8a7b6c5d"}`)
	use := exchange(10, "POST", "/orders", document(1), 200, `{}`, "Authorization", "Bearer tok_9f8a7b6c5d")
	f.Add(login)
	f.Add(use)
	g := f.Finish()
	g.issues.Range(0, 1)[0].uses = 1 << 31 // more often than the benchmark asks
	s := g.NewState(StateOptions{})
	s.Answered(0, login, login)
	b.ReportAllocs()
	for b.Loop() {
		sent := *use
		h := *use.HTTP
		sent.HTTP = &h
		if n, _ := s.Apply(1, &sent); n != 1 {
			b.Fatal("nothing was written")
		}
	}
}

// A finder needs a few hundred bytes for a step, whatever the steps contain: here each step has its
// own path, token and ids, and carries the id of the previous step.
func TestMemoryPerStep(t *testing.T) {
	const steps = 30_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := NewFinder(Options{})
	for i := range steps {
		uri := "/orders"
		if i > 0 {
			uri = fmt.Sprintf("/orders/%08x-5717-4562-b3fc-2c963f66afa6", i-1)
		}
		f.Add(exchange(2*i, "GET", uri, "", 200, document(i), "Cookie", fmt.Sprintf("sid=%d", i/10)))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	finding := float64(after.HeapAlloc-before.HeapAlloc) / steps
	g := f.Finish()
	runtime.GC()
	runtime.ReadMemStats(&after)
	found := float64(after.HeapAlloc-before.HeapAlloc) / steps
	t.Logf("%.0f bytes for a step while finding, %.0f in the graph; %d edges", finding, found, g.edges.Len())
	if g.edges.Len() < steps-1 || finding > 800 || found > 200 {
		t.Errorf("%.0f bytes for a step while finding, %.0f in the graph, %d edges", finding, found, g.edges.Len())
	}
	runtime.KeepAlive(g)
}
