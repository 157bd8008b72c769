package match_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

// shop is a recording of n requests. Half of them read one of many products, and half of them
// order something, each with a different identifier and time.
func shop(n int, yield func(*recording.Exchange)) {
	for i := range n {
		at := captured.Add(time.Duration(i) * time.Millisecond)
		e := &recording.Exchange{TS: at, HTTP: &recording.HTTP{}}
		e.HTTP.Req.Host = "shop.example.com"
		e.HTTP.Res.StatusCode = 200
		e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: "application/json"}}
		if i%2 == 0 {
			product(e, i)
			e.HTTP.Res.Body = fmt.Appendf(nil, `{"id":%d,"name":"product %d","price":{"amount":%d,"currency":"EUR"}}`, i, i, i%977)
		} else {
			order(e, i, at)
			e.HTTP.Res.Body = fmt.Appendf(nil, `{"order":%d,"at":%q}`, i, at.Format(time.RFC3339Nano))
		}
		yield(e)
	}
}

func product(e *recording.Exchange, i int) {
	e.HTTP.Req.Method = "GET"
	e.HTTP.Req.URL = "/v1/products/" + strconv.Itoa(i)
	e.HTTP.Req.URI = e.HTTP.Req.URL + "?currency=EUR&fields=name,price"
}

func order(e *recording.Exchange, i int, at time.Time) {
	e.HTTP.Req.Method = "POST"
	e.HTTP.Req.URL, e.HTTP.Req.URI = "/v1/orders", "/v1/orders"
	e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: "application/json"}}
	e.HTTP.Req.Body = fmt.Appendf(nil, `{"requestId":"%08x-1c9d-4b49-b5ab-%012x","at":%q,"customer":{"name":"customer %d","country":"DE"},"lines":[{"product":%d,"count":2},{"product":%d,"count":1}],"note":%q}`,
		uint32(at.Unix())^uint32(i*2654435761), at.UnixNano()&0xffffffffffff, at.Format(time.RFC3339Nano), i/8, i%1000, i%31, strings.Repeat("please ", 100))
}

func build(tb testing.TB, n int) (*match.Matcher, *match.Index) {
	m, err := match.New(match.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	b := m.NewBuilder()
	i := 0
	shop(n, func(e *recording.Exchange) {
		b.Add(match.Recorded{Exchange: e, Ref: match.Ref(i)})
		i++
	})
	x, err := b.Build(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return m, x
}

// BenchmarkLookup finds requests in recordings of different sizes. The larger one is only
// measured if TAPEDECK_BENCH_LARGE is set: it takes a minute to make.
func BenchmarkLookup(b *testing.B) {
	sizes := []int{10_000}
	if os.Getenv("TAPEDECK_BENCH_LARGE") != "" {
		sizes = append(sizes, 1_000_000)
	}
	for _, n := range sizes {
		m, x := build(b, n)
		for _, c := range []struct {
			name string
			make func(e *recording.Exchange, i int)
			want match.How
		}{
			{"exact", func(e *recording.Exchange, i int) { product(e, i*2%n) }, match.Exact},
			{"masked", func(e *recording.Exchange, i int) { order(e, (i*2+1)%n, replayed.Add(time.Duration(i))) }, match.Masked},
			{"miss", func(e *recording.Exchange, i int) { product(e, n+i) }, match.None},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				live := make([]*recording.Exchange, 1000)
				for i := range live {
					e := &recording.Exchange{TS: replayed, HTTP: &recording.HTTP{}}
					e.HTTP.Req.Host = "shop.example.com"
					c.make(e, i*(n/1000))
					live[i] = e
				}
				b.ReportAllocs()
				before := cpu(b)
				for i := 0; b.Loop(); i++ {
					r := m.Request(live[i%len(live)])
					if res := x.Lookup(r, nil); res.How != c.want {
						b.Fatalf("%d: %v, want %v", i, res.How, c.want)
					}
					m.Release(r)
				}
				b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpu returns the CPU time of this process, so that other processes make no difference.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBuild adds a recording and reports what an exchange costs: time, and memory that remains
// in use.
func BenchmarkBuild(b *testing.B) {
	n := 100_000
	if os.Getenv("TAPEDECK_BENCH_LARGE") != "" {
		n = 1_000_000
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := cpu(b)
		_, x := build(b, n)
		took := cpu(b) - start
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/exchange")
		b.ReportMetric(float64(took.Nanoseconds())/float64(n), "cpu-ns/exchange")
		runtime.KeepAlive(x)
	}
}
