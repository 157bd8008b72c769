package compact

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// busy returns an hour of pods that answer with JSON, and its decompressed size in bytes.
var busy = sync.OnceValues(func() (*memory, int64) {
	const pods, segments, exchanges = 50, 12, 100
	m := newMemory()
	size := int64(0)
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("cart item price total shipping address order customer name city street status pending paid refund voucher quantity currency discount created")
	body := func() []byte {
		var b bytes.Buffer
		b.WriteByte('{')
		for range 25 {
			fmt.Fprintf(&b, "%q:%q,%q:%d,", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(1_000_000))
		}
		b.WriteString(`"end":true}`)
		return b.Bytes()
	}
	next := 0
	for i := range pods {
		p := &pod{Partition: cart, name: fmt.Sprintf("cart-7d4b9c6f5-%d", i), process: recording.UUID{1, byte(i)}, next: &next}
		for n := range segments {
			began := hour.Add(time.Duration(n) * 5 * time.Minute)
			var all []*recording.Exchange
			for k := range exchanges {
				e := p.exchange(began.Add(time.Duration(k)*3*time.Second+time.Duration(r.IntN(3e9))), time.Duration(r.IntN(500))*time.Millisecond)
				for b := range e.UUID {
					e.UUID[b] = byte(r.Uint32())
				}
				e.Location = fmt.Sprintf("/cart/%d/items/%d", r.IntN(100_000), r.IntN(100))
				e.HTTP.Req.Headers = recording.Headers{{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "shop/1.0"}, {Name: "X-Request-Id", Value: fmt.Sprintf("%016x", r.Uint64())}}
				e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: "application/json"}}
				e.HTTP.Res.Body = body()
				all = append(all, e)
			}
			key, b := p.segment(began, true, n == segments-1, all...)
			m.Objects[key] = b
			size += int64(len(must(decoder().DecodeAll(b, nil))))
		}
	}
	return m, size
})

var decoder = sync.OnceValue(func() *zstd.Decoder { return must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkCompact compacts 600 segments of an hour. For comparison, zstd alone decompresses the
// same segments and compresses them as one.
func BenchmarkCompact(b *testing.B) {
	m, size := busy()
	before := int64(0)
	for _, body := range m.Objects {
		before += int64(len(body))
	}
	b.Run("compact", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			sum := compactAll(b, m.clone(), Options{})
			b.ReportMetric(float64(sum.After)/float64(before), "size-ratio")
		}
	})
	for _, c := range []struct {
		name   string
		level  zstd.EncoderLevel
		window int
	}{
		{"zstd", level, window},
		{"zstd-fastest", zstd.SpeedFastest, window}, {"zstd-8MiB", level, 8 << 20}, {"zstd-better", zstd.SpeedBetterCompression, window}, {"zstd-best", zstd.SpeedBestCompression, window},
	} {
		b.Run(c.name, func(b *testing.B) {
			enc := must(zstd.NewWriter(nil, zstd.WithEncoderLevel(c.level), zstd.WithWindowSize(c.window), zstd.WithEncoderConcurrency(1)))
			dec := must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(1)))
			defer dec.Close()
			keys := m.Keys()
			slices.Sort(keys)
			b.SetBytes(size)
			for b.Loop() {
				var out bytes.Buffer
				enc.Reset(&out)
				for _, key := range keys {
					if err := dec.Reset(bytes.NewReader(m.Objects[key])); err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(enc, dec); err != nil {
						b.Fatal(err)
					}
				}
				if err := enc.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(out.Len())/float64(before), "size-ratio")
			}
		})
	}
}
