package collector

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// realistic returns a segment of requests with headers and JSON bodies, and its key.
func realistic(tb testing.TB, records int) (segment []byte, raw int, key recording.SegmentKey) {
	tb.Helper()
	hour := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	key = recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart", Hour: hour}, Began: hour, Pod: "cart-0"}
	random := rand.New(rand.NewPCG(1, 2))
	var text []byte
	for i := range records {
		var body bytes.Buffer
		for range 1 + random.IntN(40) {
			fmt.Fprintf(&body, `{"sku":"A-%06d","price":%d.%02d,"stock":%t},`, random.IntN(1e6), random.IntN(1000), random.IntN(100), random.IntN(2) == 0)
		}
		e := recording.Exchange{
			MsgType: recording.MsgType, UUID: recording.UUID{byte(i), byte(i >> 8), byte(i >> 16)}, TS: hour.Add(time.Duration(i) * time.Millisecond), Direction: recording.In, L7Protocol: recording.HTTP1,
			Duration: int64(random.IntN(100)), Cluster: "c1", Namespace: "shop", Service: "cart", Command: "GET", Location: fmt.Sprintf("/cart/%d", i), Status: "200", NetworkAddress: "cart:80",
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "GET", Host: "cart", URL: fmt.Sprintf("/cart/%d", i), Headers: recording.Headers{{Name: "Accept", Value: "application/json"}, {Name: "Traceparent", Value: fmt.Sprintf("00-%016x%016x-%016x-01", random.Uint64(), random.Uint64(), random.Uint64())}, {Name: "User-Agent", Value: "okhttp/4.12.0"}}},
				Res: recording.HTTPResponse{StatusCode: 200, ContentType: "application/json", Body: body.Bytes(), Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "Date", Value: "Sun, 22 Nov 2026 20:15:00 GMT"}}},
			},
			NetInfo: &recording.NetInfo{ID: "1", StartTime: hour},
		}
		text = append(e.AppendJSON(text), '\n')
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false))
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(text, nil), len(text), key
}

// BenchmarkCheck measures the cost of checking a segment, next to that of decompressing it.
func BenchmarkCheck(b *testing.B) {
	segment, raw, key := realistic(b, 20_000)
	b.Logf("%d records, %d bytes each, %d compressed", 20_000, raw/20_000, len(segment)/20_000)
	b.Run("check", func(b *testing.B) {
		c := &checker{long: oneBuffer(), decoder: recording.Decoder{Reuse: true}}
		b.SetBytes(int64(raw))
		b.ReportAllocs()
		for b.Loop() {
			if err := c.check(io.NewSectionReader(bytes.NewReader(segment), 0, int64(len(segment))), key); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(segment))*float64(b.N)/b.Elapsed().Seconds()/1e6, "compressed-MB/s")
	})
	b.Run("decompress", func(b *testing.B) {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			b.Fatal(err)
		}
		defer z.Close()
		b.SetBytes(int64(raw))
		for b.Loop() {
			if err := z.Reset(bytes.NewReader(segment)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, z); err != nil {
				b.Fatal(err)
			}
		}
	})
}
