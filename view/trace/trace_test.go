package trace_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/view/index"
	"github.com/tapedeck/tapedeck/view/trace"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const shared = "4bf92f3577b34da6a3ce929d0e0e4736"

// row returns a record, such as `IN shop 10+50 GET /cart`, with the time since noon and the duration
// in milliseconds. The ID is also its UUID; parent is the ID of another record, or 0.
func row(id byte, text string, parent byte) index.Row {
	var r index.Row
	var at, took int
	if _, err := fmt.Sscanf(text, "%s %s %d+%d %s %s", &r.Direction, &r.Pod, &at, &took, &r.Method, &r.Path); err != nil {
		panic(err)
	}
	r.ID, r.Trace = int64(id), shared
	r.UUID[0], r.Parent[0] = id, parent
	r.Start, r.Duration = noon.Add(time.Duration(at)*time.Millisecond), time.Duration(took)*time.Millisecond
	return r
}

// calls pairs records as the two sides of a call: the ID of the caller's and of the callee's.
func calls(rows []index.Row, pairs ...[2]int64) []index.Row {
	for _, p := range pairs {
		rows[p[0]-1].Other, rows[p[1]-1].Other = p[1], p[0]
	}
	return rows
}

// drawn writes a tree, one span on each line.
func drawn(t *trace.Trace) string {
	var b strings.Builder
	for _, s := range t.Spans {
		b.WriteString(strings.Repeat("  ", s.Depth))
		if s.Caller != nil {
			fmt.Fprintf(&b, "%s calls %s %s", s.Caller.Pod, s.Caller.Method, s.Caller.Path)
		} else {
			fmt.Fprintf(&b, "%s %s", s.Callee.Method, s.Callee.Path)
		}
		if s.Callee != nil {
			fmt.Fprintf(&b, " at %s", s.Callee.Pod)
		}
		fmt.Fprintf(&b, " %d ms", s.Start.Milliseconds())
		if s.Link != trace.Root {
			fmt.Fprintf(&b, ", %s", s.Link)
		}
		if s.Skew != 0 {
			fmt.Fprintf(&b, ", moved by %s", s.Skew)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name string
		rows []index.Row
		want string
	}{
		{"a request with the calls that it caused", []index.Row{
			row(1, "IN shop 0+100 GET /cart", 0), row(2, "OUT shop 10+20 GET /price", 1), row(3, "OUT shop 40+20 GET /stock", 1),
		}, `
GET /cart at shop 0 ms
  shop calls GET /price 10 ms, recorded
  shop calls GET /stock 40 ms, recorded
`},
		{"a call that both sides recorded is one span, and continues in the other pod", calls([]index.Row{
			row(1, "IN shop 0+100 GET /cart", 0), row(2, "OUT shop 10+50 GET /price", 1), row(3, "IN price 15+40 GET /price", 0), row(4, "OUT price 20+10 GET /rate", 3),
		}, [2]int64{2, 3}), `
GET /cart at shop 0 ms
  shop calls GET /price at price 10 ms, recorded
    price calls GET /rate 20 ms, recorded
`},
		{"the caller's record is not among the rows", calls([]index.Row{
			row(1, "IN shop 0+100 GET /cart", 0), row(2, "OUT shop 10+50 GET /price", 1), row(3, "IN price 15+40 GET /price", 0),
		}, [2]int64{2, 3})[2:], `
GET /price at price 0 ms
`},
		{"the callee's clock is behind", calls([]index.Row{
			row(1, "OUT shop 1000+50 GET /price", 0), row(2, "IN price 400+30 GET /price", 0), row(3, "OUT price 410+10 GET /rate", 2),
		}, [2]int64{1, 2}), `
shop calls GET /price at price 0 ms, moved by 610ms
  price calls GET /rate 20 ms, recorded
`},
		{"a retry: each attempt goes with the request that it became", calls([]index.Row{
			row(1, "OUT shop 0+10 GET /price", 0), row(2, "OUT shop 20+10 GET /price", 0), row(3, "IN price 22+5 GET /price", 0), row(4, "IN price 2+5 GET /price", 0),
		}, [2]int64{1, 4}, [2]int64{2, 3}), `
shop calls GET /price at price 0 ms
shop calls GET /price at price 20 ms
`},
		{"no header was passed on, so the innermost request that was served is taken", []index.Row{
			row(1, "IN shop 0+100 GET /cart", 0), row(2, "IN shop 20+30 GET /inner", 0), row(3, "OUT shop 30+5 GET /a", 0), row(4, "OUT shop 80+5 GET /b", 0), row(5, "OUT shop 200+5 GET /c", 0),
		}, `
GET /cart at shop 0 ms
  shop calls GET /b 80 ms, inferred
GET /inner at shop 20 ms
  shop calls GET /a 30 ms, inferred
shop calls GET /c 200 ms
`},
		{"records that name each other as their causes are in the tree once", calls([]index.Row{
			row(1, "OUT a 0+10 GET /x", 2), row(2, "IN b 1+5 GET /x", 0), row(3, "OUT b 2+3 GET /y", 4), row(4, "IN a 2+1 GET /y", 0),
		}, [2]int64{1, 2}, [2]int64{3, 4}), `
a calls GET /x at b 0 ms
b calls GET /y at a 2 ms
`},
		{"nothing", nil, "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), drawn(trace.Build(c.rows))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestEveryRowIsInTheTreeOnce builds trees of rows with any relations to each other.
func TestEveryRowIsInTheTreeOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var rows []index.Row
		for i := range random.IntN(20) {
			r := row(byte(random.IntN(10)), fmt.Sprintf("%s pod%d %d+%d GET /%d", []string{"IN", "OUT"}[random.IntN(2)], random.IntN(3), random.IntN(5000), random.IntN(3000), random.IntN(2)), byte(random.IntN(10)))
			r.ID, r.Other = int64(i+1), random.Int64N(21) // which need not be mutual
			rows = append(rows, r)
		}
		got := trace.Build(rows)
		seen := map[int64]int{}
		for _, s := range got.Spans {
			for _, r := range []*index.Row{s.Caller, s.Callee} {
				if r != nil {
					seen[r.ID]++
				}
			}
			if s.Start < 0 || s.Start+s.Row().Duration > got.Length {
				t.Fatalf("a span from %s on, for %s, lies outside of %s", s.Start, s.Row().Duration, got.Length)
			}
		}
		for _, r := range rows {
			if seen[r.ID] != 1 {
				t.Fatalf("row %d is in the tree %d times:\n%v", r.ID, seen[r.ID], rows)
			}
		}
		again := append([]index.Row(nil), rows...)
		random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if diff := cmp.Diff(drawn(got), drawn(trace.Build(again))); diff != "" {
			t.Fatalf("another order of the rows gives another tree:\n%s", diff)
		}
	}
}
