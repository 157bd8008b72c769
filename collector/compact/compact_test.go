package compact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

func TestMain(m *testing.M) {
	if killed() {
		return
	}
	goleak.VerifyTestMain(m)
}

// hour is the hour of most segments here, and later is when it can be compacted.
var (
	hour  = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	later = hour.Add(24 * time.Hour)
	cart  = recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart", Hour: hour}
)

// Readers of any recording see the same exchanges, counters and gaps after a compaction. A second
// run has nothing to do.
func TestReadersSeeTheSame(t *testing.T) {
	for seed := range uint64(30) {
		m := newMemory()
		write(m, seed, 2+int(seed)%7, 1+int(seed)%9)
		before := m.clone()
		o := Options{MaxHeld: 4000, TempDir: t.TempDir()}
		if seed%3 == 1 {
			o.MaxBytes = 3000 // several large segments
		}
		sum := compactAll(t, m, o)
		if sum.Sources != sum.Deleted || sum.Damaged+sum.Busy > 0 {
			t.Errorf("%+v", sum)
		}
		for _, q := range []read.Query{
			{}, {From: hour.Add(20 * time.Minute)}, {To: hour.Add(40 * time.Minute), Longest: time.Minute}, {Workloads: []string{"rates"}},
			{From: hour.Add(30 * time.Minute), To: hour.Add(50 * time.Minute)},
			{Glance: func(e *recording.Exchange) bool { return strings.HasSuffix(e.Location, "1") }, Match: func(e *recording.Exchange) bool { return strings.HasSuffix(e.Location, "1") }},
		} {
			for _, o := range []read.Options{{Order: read.Sorted}, {Parts: true}} {
				want, got := seen(t, before, q, o), seen(t, m, q, o)
				if want != got {
					t.Fatalf("seed %d, %+v, %+v: what a reader sees (-before +after):\n%s", seed, q, o, diff(want, got))
				}
			}
		}
		after := m.clone()
		if sum := compactAll(t, m, o); sum.Compacted > 0 || !maps.EqualFunc(after.Objects, m.Objects, bytes.Equal) {
			t.Errorf("a second run did something: %+v", sum)
		}
	}
}

// The first line of a large segment lists its sources. The exchanges follow in the order of their
// start, in one frame, and the counters come last.
func TestALargeSegment(t *testing.T) {
	m := newMemory()
	next := 0
	a := &pod{Partition: cart, name: "a", process: recording.UUID{1}, next: &next}
	b := &pod{Partition: cart, name: "b", process: recording.UUID{2}, next: &next}
	keyA, bodyA := a.segment(hour.Add(time.Minute), true, false, a.exchange(hour.Add(2*time.Minute), 0), a.exchange(hour.Add(time.Minute), time.Minute))
	keyB, bodyB := b.segment(hour.Add(2*time.Minute), true, true, b.exchange(hour.Add(90*time.Second), time.Minute))
	m.Objects[keyA], m.Objects[keyB] = bodyA, bodyB
	sum := compactAll(t, m, Options{})
	const key = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T200000.000Z-merged-0.jsonl.zst"
	if keys := m.Keys(); !slices.Equal(keys, []string{key}) {
		t.Fatal(keys)
	}
	if sum.Large != 1 || sum.Sources != 2 || sum.Deleted != 2 || sum.Exchanges != 3 || sum.Before != int64(len(bodyA)+len(bodyB)) || sum.After != int64(len(m.Objects[key])) {
		t.Errorf("%+v", sum)
	}
	var h zstd.Header
	if err := h.Decode(m.Objects[key]); err != nil || h.WindowSize > 8<<20 {
		t.Errorf("%+v, %v", h, err)
	}
	if n := bytes.Count(m.Objects[key], []byte{0x28, 0xb5, 0x2f, 0xfd}); n != 1 {
		t.Errorf("%d frames", n)
	}
	text := unzip(t, m.Objects[key])
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 1+1+3+2 {
		t.Fatal(text)
	}
	if want := fmt.Sprintf(`{"msgType":"sources","ts":"2026-11-22T20:00:00Z","cluster":"c1","namespace":"shop","service":"cart","sources":[%q,%q]}`, path.Base(keyA), path.Base(keyB)); lines[0] != want {
		t.Errorf("%s\nwant\n%s", lines[0], want)
	}
	if !strings.HasSuffix(lines[1], `,"of":[0,1,0,0,1]}`) {
		t.Error(lines[1])
	}
	both := unzip(t, bodyA) + unzip(t, bodyB)
	for i, part := range []string{`"location":"/2"`, `"location":"/3"`, `"location":"/1"`, `"pod":"a"`, `"pod":"b"`} {
		if line := lines[2+i]; !strings.Contains(line, part) || !strings.Contains(both, line+"\n") {
			t.Errorf("line %d: %s", 2+i, line)
		}
	}
}

func unzip(t testing.TB, body []byte) string {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := d.DecodeAll(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A segment that can't be read completely remains, and is named. None of its records are in the
// large segment.
func TestDamagedSegmentsStay(t *testing.T) {
	good := newMemory()
	write(good, 1, 1, 6)
	next := 0
	p := &pod{Partition: cart, name: "odd", next: &next}
	line := string(p.exchange(hour, 0).AppendJSON(nil)) + "\n"
	whole := zip([]byte(line + line))
	for name, body := range map[string][]byte{
		"torn":           whole[:len(whole)-3],
		"malformed":      zip([]byte(line + "{]\n" + line)),
		"damaged":        append(bytes.Clone(whole), "rest"...),
		"another kind":   zip([]byte(line + `{"msgType":"other"}` + "\n")),
		"several lines":  zip([]byte(strings.Replace(line, ",", ",\n", 1))),
		"bad counters":   zip([]byte(line + `{"msgType":"counters","counters":7}` + "\n")),
		"nothing":        {},
		"large by lines": zip([]byte(`{"msgType":"sources","sources":["x"]}` + "\n" + line)),
	} {
		t.Run(name, func(t *testing.T) {
			m := good.clone()
			key := recording.SegmentKey{Partition: cart, Began: hour.Add(30 * time.Minute), Pod: "odd"}.String()
			m.Objects[key] = body
			want := seen(t, good, read.Query{}, read.Options{Order: read.Sorted})
			sum, err := Run(t.Context(), m, Options{Now: later, TempDir: t.TempDir()})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), key) || sum.Damaged != 1 || sum.Left[0].Key != key || sum.Large != 1 {
				t.Errorf("%v; %+v", err, sum)
			}
			if !bytes.Equal(m.Objects[key], body) || len(m.Objects) != 2 {
				t.Errorf("%v", m.Keys())
			}
			delete(m.Objects, key)
			if got := seen(t, m, read.Query{}, read.Options{Order: read.Sorted}); got != want {
				t.Errorf("something of it is in the large segment:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Objects that are not a recorder's segments in a partition remain, and so do segments that need no
// compaction.
func TestTheRestStays(t *testing.T) {
	m := newMemory()
	write(m, 1, 1, 1) // one segment
	for _, key := range []string{
		"_duckdb.sql", "pairs.jsonl", "snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e/" + cart.String() + "/20261122T200000.001Z-merged-1000000.jsonl.zst",
		"snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e/" + cart.String() + "/20261122T200000.001Z-merged-1000001.jsonl.zst", "snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e/snapshot.json",
		"runs/1/report.json", cart.String() + "/pairs.jsonl", cart.String() + "/pairs.json", cart.String() + "/20261122T201000.000Z-p-1.jsonl.zst.part", cart.String() + "/deeper/20261122T201000.000Z-p-1.jsonl.zst",
		"namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201000.000Z-p-1.jsonl.zst",
	} {
		m.Objects[key] = []byte("x")
	}
	young := &pod{Partition: cart, name: "young", next: new(int)}
	for range 2 {
		key, body := young.segment(later.Add(-2*time.Hour), true, false)
		m.Objects[key] = body
	}
	before := m.clone()
	if sum := compactAll(t, m, Options{}); sum.Compacted+sum.Sources+sum.Deleted > 0 || !maps.EqualFunc(before.Objects, m.Objects, bytes.Equal) {
		t.Errorf("%+v", sum)
	}
	if sum := compactAll(t, m, Options{OlderThan: -1}); sum.Sources != 2 {
		t.Errorf("%+v", sum)
	}
	m.Objects[read.EndMark] = []byte("{}")
	if _, err := Run(t.Context(), m, Options{Now: later}); err == nil || !strings.Contains(err.Error(), "tapedeck redact") {
		t.Error(err)
	}
}

func TestPartitionsAreSelected(t *testing.T) {
	all := newMemory()
	write(all, 3, 10, 4)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "cart rates"}, {Options{Workloads: []string{"rates"}}, "rates"}, {Options{Workloads: []string{"rates", "cart"}, Clusters: []string{"c1"}}, "cart rates"},
		{Options{Namespaces: []string{"other"}}, ""}, {Options{Clusters: []string{"c2"}}, ""},
	} {
		m := all.clone()
		compactAll(t, m, c.o)
		var got []string
		for _, w := range []string{"cart", "rates"} {
			p := cart
			p.Workload = w
			if m.Objects[recording.LargeKey(p, 0).String()] != nil {
				got = append(got, w)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.o, got, c.want)
		}
	}
}

// A dry run says what a run would do, and does nothing.
func TestADryRun(t *testing.T) {
	m := newMemory()
	write(m, 2, 4, 5)
	before := m.clone()
	dry := compactAll(t, m, Options{DryRun: true})
	if !maps.EqualFunc(before.Objects, m.Objects, bytes.Equal) {
		t.Error("it changed something")
	}
	if sum := compactAll(t, m, Options{}); dry.Sources != sum.Sources || dry.Before != sum.Before || dry.Compacted != sum.Compacted || dry.Sources == 0 {
		t.Errorf("%+v, then %+v", dry, sum)
	}
}

// A partition that fails doesn't keep the others from being compacted.
func TestFailuresAreOfOnePartition(t *testing.T) {
	m := newMemory()
	write(m, 3, 10, 4)
	down := errors.New("the store is down")
	_, err := Run(t.Context(), failing{m, "workload=cart", down}, Options{Now: later})
	if !errors.Is(err, down) || !strings.Contains(err.Error(), "workload=cart") {
		t.Error(err)
	}
	rates := cart
	rates.Workload = "rates"
	if m.Objects[recording.LargeKey(rates, 0).String()] == nil || m.Objects[recording.LargeKey(cart, 0).String()] != nil {
		t.Error(m.Keys())
	}
	_, err = Run(t.Context(), failing{m, "", down}, Options{Now: later})
	if !errors.Is(err, down) {
		t.Error(err)
	}
}

// failing fails to read objects whose key contains part.
type failing struct {
	*memory
	part string
	err  error
}

func (f failing) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if strings.Contains(key, f.part) {
		return nil, f.err
	}
	return f.memory.Get(ctx, key)
}

// Compaction of a thousand pods opens one segment at a time, and stays within the memory that is
// allowed. A reader streams the result in order.
func TestAThousandPods(t *testing.T) {
	m := newMemory()
	next := 0
	for i := range 1000 {
		p := &pod{Partition: cart, name: fmt.Sprint("cart-", i), process: recording.UUID{1, byte(i), byte(i >> 8)}, next: &next}
		began := hour.Add(time.Duration(i%12) * 5 * time.Minute)
		key, body := p.segment(began, true, true, p.exchange(began.Add(time.Duration(i)*time.Millisecond), time.Second), p.exchange(began.Add(time.Duration(i%7)*time.Second), 2*time.Second),
			p.exchange(began.Add(-time.Second), 10*time.Second), p.exchange(began.Add(time.Minute), 10*time.Minute))
		m.Objects[key] = body
	}
	s := &opened{memory: m}
	if sum := compactAll(t, s, Options{MaxHeld: 10_000, TempDir: t.TempDir()}); sum.Sources != 1000 || sum.Exchanges != 4000 || sum.Large != 1 {
		t.Fatalf("%+v", sum)
	}
	if s.most != 1 {
		t.Errorf("%d segments were open", s.most)
	}
	r, err := read.Open(t.Context(), read.Query{}, read.Options{}, m)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rec, err := range r.Records() {
		if err != nil || rec.Late {
			t.Fatalf("%v, %v", rec, err)
		}
		n++
	}
	if rep := r.Report(); n != 4000 || len(rep.Findings()) > 0 || len(rep.Processes) != 1000 {
		t.Errorf("%d exchanges, %v, %d processes", n, rep.Findings(), len(rep.Processes))
	}
}

// opened counts open segments.
type opened struct {
	*memory
	open, most int
}

func (o *opened) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := o.memory.Get(ctx, key)
	o.open++
	o.most = max(o.most, o.open)
	return closing{r, o}, err
}

type closing struct {
	io.Reader
	o *opened
}

func (c closing) Close() error { c.o.open--; return nil }
