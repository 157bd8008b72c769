package read

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store in memory that counts how it is used.
type memory struct {
	storetest.Memory
	mu     sync.Mutex
	opened []string // keys, in order
	open   int
	most   int // open at a time
}

func (m *memory) put(key string, body []byte) *memory {
	if m.Objects == nil {
		m.Objects = map[string][]byte{}
	}
	m.Objects[key] = body
	return m
}

func (m *memory) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := m.Memory.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened = append(m.opened, key)
	m.open++
	m.most = max(m.most, m.open)
	return &object{body, m}, nil
}

type object struct {
	io.Reader
	m *memory
}

func (o *object) Close() error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.open--
	return nil
}

// begin is when all test recordings begin.
var begin = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// at is a time after begin.
func at(d time.Duration) time.Time { return begin.Add(d) }

// exchange returns an HTTP exchange whose UUID is its number.
func exchange(number int, ts time.Time, took time.Duration) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: ts, Duration: took.Milliseconds(), Direction: recording.In, L7Protocol: recording.HTTP1,
		Cluster: "c1", Namespace: "shop", Service: "cart", Location: fmt.Sprintf("/%d", number), Status: "200",
		Tags: recording.Tags{{Name: recording.TagSequence, Value: fmt.Sprint(number)}},
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", Host: "cart"}, Res: recording.HTTPResponse{StatusCode: 200, Body: []byte("hello")}}}
	e.UUID[12], e.UUID[13], e.UUID[14], e.UUID[15] = byte(number>>24), byte(number>>16), byte(number>>8), byte(number)
	return e
}

// pod writes segments as a process does.
type pod struct {
	partition recording.Partition
	name      string
	process   recording.UUID
	number    int
	recorded  int
}

func newPod(name string) *pod {
	p := &pod{partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, name: name}
	copy(p.process[:], name)
	return p
}

// segment puts a segment into the store and returns its key.
func (p *pod) segment(m *memory, began time.Time, exchanges ...*recording.Exchange) string {
	key := recording.SegmentKey{Partition: p.partition, Began: began, Pod: p.name, Number: p.number}.String()
	p.recorded += len(exchanges)
	c := recording.Counters{Pod: p.name, Process: p.process, Segment: p.number, Recorded: uint64(p.recorded)}
	p.number++
	m.put(key, zip(c.AppendLine(lines(exchanges...), "c1", "shop", "cart")))
	return key
}

// lines returns exchanges as JSON lines.
func lines(exchanges ...*recording.Exchange) (text []byte) {
	for _, e := range exchanges {
		text = append(e.AppendJSON(text), '\n')
	}
	return text
}

func zip(text []byte) []byte { return encoder().EncodeAll(text, nil) }

var encoder = sync.OnceValue(func() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(64<<10))
	if err != nil {
		panic(err)
	}
	return w
})

// readAll reads everything.
func readAll(t testing.TB, q Query, o Options, stores ...Store) ([]*Record, *Report) {
	t.Helper()
	r, err := Open(t.Context(), q, o, stores...)
	if err != nil {
		t.Fatal(err)
	}
	var all []*Record
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all, r.Report()
}

// locations returns the locations of records, which identify them.
func locations(all []*Record) string {
	var names []string
	for _, r := range all {
		names = append(names, r.Location)
	}
	return strings.Join(names, " ")
}

// findings returns the findings of a report, one on each line.
func findings(r *Report) string {
	var texts []string
	for _, f := range r.Findings() {
		texts = append(texts, f.String())
	}
	return strings.Join(texts, "\n")
}
