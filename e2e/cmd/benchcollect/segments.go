package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// segment is what all pods send, each time as another pod or with another number.
type segment struct {
	bytes  []byte
	raw    int // bytes of the JSON lines in it
	digest [sha256.Size]byte
	hour   time.Time // the current hour, because the collector looks for segments of past hours among compacted ones
}

// newSegment makes a segment.
func newSegment(exchanges int) (s segment, err error) {
	s.bytes, s.raw, err = makeSegment(exchanges)
	s.digest, s.hour = sha256.Sum256(s.bytes), time.Now().UTC().Truncate(time.Hour)
	return s, err
}

// key returns the key of a pod's segment with a number.
func (s *segment) key(pod, number int) string {
	return recording.SegmentKey{
		Partition: recording.Partition{Cluster: cluster, Namespace: namespace, Workload: "cart"},
		Began:     s.hour.Add(time.Duration(number) * time.Second), Pod: fmt.Sprintf("cart-%d", pod), Number: number, Digest: hex.EncodeToString(s.digest[:])[:recording.DigestDigits],
	}.String()
}

// The origin of the segments.
const cluster, namespace = "c1", "shop"

// makeSegment makes a segment of requests with JSON bodies, compressed like a sidecar's.
func makeSegment(exchanges int) (segment []byte, raw int, err error) {
	random := rand.New(rand.NewPCG(1, 2))
	hour := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	var text []byte
	for i := range exchanges {
		var body bytes.Buffer
		for range 1 + random.IntN(40) {
			fmt.Fprintf(&body, `{"sku":"A-%06d","price":%d.%02d,"stock":%t},`, random.IntN(1e6), random.IntN(1000), random.IntN(100), random.IntN(2) == 0)
		}
		path := fmt.Sprintf("/cart/%d", i)
		e := recording.Exchange{
			MsgType: recording.MsgType, UUID: recording.UUID{byte(i), byte(i >> 8), 1}, TS: hour.Add(time.Duration(i) * time.Millisecond), Direction: recording.In, L7Protocol: recording.HTTP1,
			Cluster: cluster, Namespace: namespace, Service: "cart", Command: "GET", Location: path, Status: "200", NetworkAddress: "cart:80",
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "GET", Host: "cart", URL: path, Headers: recording.Headers{
					{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "okhttp/4.12.0"},
					{Name: "Traceparent", Value: fmt.Sprintf("00-%016x%016x-%016x-01", random.Uint64(), random.Uint64(), random.Uint64())}}},
				Res: recording.HTTPResponse{StatusCode: 200, ContentType: "application/json", Body: body.Bytes(), Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}}},
			},
			NetInfo: &recording.NetInfo{ID: "1", StartTime: hour},
		}
		text = append(e.AppendJSON(text), '\n')
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(128<<10))
	if err != nil {
		return nil, 0, err
	}
	defer z.Close()
	return z.EncodeAll(text, nil), len(text), nil
}
