package compact

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// memory is a store in memory, of which a test takes copies.
type memory struct{ *storetest.Memory }

func newMemory() *memory { return &memory{storetest.NewMemory()} }

func (m *memory) clone() *memory {
	return &memory{&storetest.Memory{Objects: maps.Clone(m.Objects)}}
}

// pod writes segments, like a sidecar that ships to a collector.
type pod struct {
	recording.Partition
	name     string
	process  recording.UUID
	started  time.Time
	number   int
	recorded uint64
	next     *int // number of the next exchange
}

func (p *pod) exchange(ts time.Time, took time.Duration) *recording.Exchange {
	*p.next++
	n := *p.next
	e := &recording.Exchange{MsgType: recording.MsgType, TS: ts, Duration: took.Milliseconds(), Direction: recording.In, L7Protocol: recording.HTTP1,
		Cluster: p.Cluster, Namespace: p.Namespace, Service: p.Workload, Location: fmt.Sprintf("/%d", n), Status: "200",
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", Host: "cart"}, Res: recording.HTTPResponse{StatusCode: 200, Body: []byte("hello")}}}
	e.UUID[12], e.UUID[13], e.UUID[14], e.UUID[15] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return e
}

// segment returns a segment with its key. Without counters its writer was killed.
func (p *pod) segment(began time.Time, counters, end bool, exchanges ...*recording.Exchange) (string, []byte) {
	var text []byte
	for _, e := range exchanges {
		text = append(e.AppendJSON(text), '\n')
	}
	p.recorded += uint64(len(exchanges))
	if counters {
		c := recording.Counters{Pod: p.name, Process: p.process, Started: p.started, Segment: p.number, Recorded: p.recorded, Filtered: p.recorded / 2, End: end}
		text = c.AppendLine(text, p.Cluster, p.Namespace, p.Workload)
	}
	body := zip(text)
	k := recording.SegmentKey{Partition: p.Partition, Began: began, Pod: p.name, Number: p.number, Digest: fmt.Sprintf("%x", hashOf(string(body)))[:recording.DigestDigits]}
	p.number++
	return k.String(), body
}

func zip(text []byte) []byte { return encoder().EncodeAll(text, nil) }

var encoder = sync.OnceValue(func() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10))
	if err != nil {
		panic(err)
	}
	return w
})

// write puts a recording of some pods into the store, which is the same for the same seed:
// several processes, workloads and hours, long exchanges and conversations in parts, segments
// without counters, and segments that are lost.
func write(m *memory, seed uint64, pods, segments int) {
	r := rand.New(rand.NewPCG(seed, 1))
	next := int(seed) * 1_000_000
	for i := range pods {
		p := &pod{Partition: cart, name: fmt.Sprintf("cart-%d-%d", seed, i/2), started: hour.Add(time.Duration(i%2) * 30 * time.Minute), next: &next}
		p.process = recording.UUID{byte(seed), byte(i + 1)}
		if i%5 == 4 {
			p.Workload = "rates"
		}
		at := p.started.Add(time.Duration(r.IntN(1000)) * time.Second)
		for n := range segments {
			var all []*recording.Exchange
			for range r.IntN(8) {
				took := time.Duration(r.IntN(2000)) * time.Millisecond
				if r.IntN(20) == 0 {
					took = time.Duration(r.IntN(40)) * time.Minute
				}
				e := p.exchange(at.Add(time.Duration(r.IntN(60))*time.Second).Add(-took), took)
				if r.IntN(10) == 0 {
					e.HTTP, e.L7Protocol = nil, recording.WebSocket
					for part := range 3 {
						c := *e
						c.WebSocket = &recording.Conversation{Part: part + 1, Last: part == 2}
						c.Tags = recording.Tags{{Name: recording.TagConversation, Value: e.UUID.String()}}
						c.UUID[0] = byte(part)
						all = append(all, &c)
					}
					continue
				}
				all = append(all, e)
			}
			key, body := p.segment(at, r.IntN(6) > 0, n == segments-1, all...)
			if r.IntN(12) > 0 {
				m.Objects[key] = body
			}
			at = at.Add(time.Duration(1+r.IntN(600)) * time.Second)
		}
	}
}

// seen describes everything that a reader finds in a place: the exchanges, and the report on them.
func seen(t testing.TB, s read.Store, q read.Query, o read.Options) string {
	t.Helper()
	r, err := read.Open(t.Context(), q, o, s)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var last time.Time
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if o.Order == read.Sorted && rec.TS.Before(last) {
			t.Fatalf("%s is out of order", rec.UUID)
		}
		last = rec.TS
		lines = append(lines, string(rec.Exchange.AppendJSON(nil)))
	}
	slices.Sort(lines)
	rep := r.Report()
	for _, f := range rep.Findings() {
		slices.Sort(f.Examples)
		switch f.Kind {
		case read.Late, read.Divided: // only in the streamed order
		case read.NoCounters, read.MissingPart: // they name the segment
			lines = append(lines, fmt.Sprint(f.Count, " ", f.Kind))
		default:
			lines = append(lines, f.String())
		}
	}
	for _, p := range rep.Processes {
		lines = append(lines, fmt.Sprintf("%+v", p))
	}
	sum, n := rep.Tally.Sum()
	return strings.Join(append(lines, fmt.Sprintf("%d records of %d; %d processes, %+v", rep.Records, rep.Read, n, sum)), "\n")
}

func diff(a, b string) string { return cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")) }

func compactAll(t testing.TB, s store.Store, o Options) Summary {
	t.Helper()
	o.Now = later
	sum, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
