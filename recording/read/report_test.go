package read

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

const hour = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/"

// A read counts by kind what it can't read, and reads everything around it.
func TestFindings(t *testing.T) {
	good := lines(exchange(1, at(time.Second), 0), exchange(2, at(2*time.Second), 0))
	counters := recording.Counters{Pod: "p", Process: recording.UUID{1}}.AppendLine(nil, "c1", "shop", "cart")
	whole := zip(append(bytes.Clone(good), counters...))
	for _, c := range []struct {
		name, key string
		body      []byte
		want      string // locations
		findings  string
		damaged   bool
	}{
		{"nothing", "20261122T200000.000Z-p-0.jsonl.zst", whole, "/1 /2", "", false},
		{"a torn segment", "20261122T200000.000Z-p-0.jsonl.zst", whole[:len(whole)-9], "", "1 torn segment: KEY\n1 segment without counters: KEY", true},
		{"a torn plain one", "20261122T200000.000Z-p-0.jsonl", good[:len(good)-3], "/1", "1 torn segment: KEY", true},
		{"a torn open one", "20261122T200000.000Z-p-0.jsonl.zst.part", whole[:len(whole)-9], "", "1 open segment: KEY", false},
		{"an empty open one", "20261122T200000.000Z-p-0.jsonl.zst.part", nil, "", "", false},
		{"an empty one", "20261122T200000.000Z-p-0.jsonl.zst", nil, "", "1 torn segment: KEY", true},
		{"a long value", "20261122T200000.000Z-p-0.jsonl", []byte(`{"duration":` + strings.Repeat("9", 1<<20) + "}\n"), "", "1 malformed record: KEY: line 1: duration: json: cannot unmarshal number 999", true},
		{"no counters", "20261122T200000.000Z-p-0.jsonl.zst", zip(good), "/1 /2", "1 segment without counters: KEY", false},
		{"malformed lines", "20261122T200000.000Z-p-0.jsonl.zst", zip(append([]byte("oops\n{\"uuid\":1}\n"), append(bytes.Clone(good), counters...)...)), "/1 /2",
			"2 malformed records: KEY: line 1: invalid character 'o' looking for beginning of value; KEY: line 2: uuid: json: cannot unmarshal number into Go value of type string", true},
		{"many malformed lines", "20261122T200000.000Z-p-0.jsonl.zst", zip(append(bytes.Repeat([]byte("{]\n"), 1000), append(bytes.Clone(good), counters...)...)), "/1 /2", "1000 malformed records: KEY: line 1", true},
		{"damaged compression", "20261122T200000.000Z-p-0.jsonl.zst", append(bytes.Clone(whole), "rest"...), "/1 /2", "1 unreadable file: KEY: invalid input: magic number mismatch", true},
		{"a large window", "20261122T200000.000Z-p-0.jsonl.zst", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0, 0, 'x', '\n'}, "", "1 unreadable file: KEY: window size exceeded\n1 segment without counters: KEY", true},
		{"another kind of record", "20261122T200000.000Z-p-0.jsonl.zst", zip(append([]byte("{\"msgType\":\"other\"}\n"), append(bytes.Clone(good), counters...)...)), "/1 /2", `1 record of another kind: KEY: line 1: no exchange: msgType is "other"`, false},
		{"a loss", "20261122T200000.000Z-p-0.jsonl.zst", zip(append([]byte(`{"msgType":"rrpair","ts":"2026-11-22T20:00:00Z","location":"/0","netinfo":{"color":"red"}}`+"\n"), counters...)), "/0", "1 exchange read with a loss: KEY: netinfo.color: not kept", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := (&memory{}).put(hour+c.key, c.body)
			for _, order := range []Order{Streamed, Sorted} {
				got, report := readAll(t, Query{}, Options{Order: order}, m)
				want := strings.ReplaceAll(c.findings, "KEY", hour+c.key)
				if text := findings(report); locations(got) != c.want || !strings.HasPrefix(text, want) || want == "" && text != "" || (report.Damaged() != nil) != c.damaged {
					t.Errorf("%s\n%s\nwant %s\n%s\ndamaged: %v", locations(got), text, c.want, want, report.Damaged())
				}
				if text := findings(report); len(text) > 5<<10 {
					t.Errorf("the findings have %d bytes", len(text))
				}
				if m.open != 0 {
					t.Errorf("%d segments are open", m.open)
				}
			}
		})
	}
}

func TestMissingSegmentsAreFound(t *testing.T) {
	m := &memory{}
	remove := map[string]bool{}
	write := func(p *pod, from, count int, gone ...int) {
		for n := range count {
			key := p.segment(m, at(time.Duration(from+n)*5*time.Minute), exchange(from+n, at(time.Duration(from+n)*5*time.Minute), 0))
			for _, g := range gone {
				if g == n {
					remove[key] = true
				}
			}
		}
	}
	// A pod was restarted twice. The first process lost a segment. The second was killed and left its
	// last segments open. The oldest segments of the third were removed.
	first, second, third := newPod("cart-0"), newPod("cart-0"), newPod("cart-0")
	second.process[15], third.process[15] = 2, 3
	write(first, 0, 5, 3)
	write(second, 5, 3)
	write(third, 10, 4, 0, 1)
	other := newPod("cart-1")
	write(other, 0, 10, 2, 3, 7)
	for key := range remove {
		delete(m.Objects, key)
	}
	// A segment in the middle has no counters, because its writer was killed. Its name shows that it
	// exists.
	for key, body := range m.Objects {
		if strings.HasSuffix(key, "-cart-0-1.jsonl.zst") && strings.Contains(key, "T2030") {
			delete(m.Objects, key)
			m.put(key+recording.PartSuffix, body[:len(body)/2])
		}
	}
	_, report := readAll(t, Query{}, Options{}, m)
	got := report.Findings()[0]
	if got.Kind != MissingSegment || got.Count != 4 || len(got.Examples) != 2 {
		t.Fatalf("%s", findings(report))
	}
	for _, want := range []string{"pod cart-0: 1 of its segments 0 to 4, such as number 3", "pod cart-1: 3 of its segments 0 to 9, such as number 2"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s: %s is missing", got, want)
		}
	}
	if err := report.Err(); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "4 missing segments") || report.Damaged() != nil || report.Err(MissingSegment) != nil {
		t.Errorf("%v, %v, %v", err, report.Damaged(), report.Err(MissingSegment))
	}
	sum, processes := report.Tally.Sum()
	if processes != 4 || sum.Recorded != 5+3+4+10 {
		t.Errorf("%d processes, %+v", processes, sum)
	}
}

func TestSegmentNumbers(t *testing.T) {
	for _, c := range []struct {
		in            []int
		count, number int
	}{
		{[]int{0}, 0, 0}, {[]int{0, 1, 2, 3}, 0, 0}, {[]int{3, 2, 1, 0}, 0, 0}, {[]int{0, 2}, 1, 1}, {[]int{9, 0, 5, 4, 6, 5}, 3 + 2, 1},
		{[]int{0, 2, 1}, 0, 0}, {[]int{7}, 0, 0}, {[]int{-5, 5}, 9, -4}, {[]int{1, 1 << 40}, 1<<40 - 2, 2},
	} {
		var n numbers
		for _, i := range c.in {
			n.add(i)
		}
		if missing := n.missing(); count(missing) != c.count || c.count > 0 && missing[0][0] != c.number {
			t.Errorf("%v: %v are missing; %v", c.in, missing, n)
		}
	}
}

// failing is a store whose calls fail.
type failing struct {
	*memory
	get, list, folders error
}

func (f failing) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if f.get != nil && strings.Contains(key, "-bad-") {
		return nil, f.get
	}
	return f.memory.Get(ctx, key)
}

func (f failing) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return withError(f.memory.List(ctx, prefix), f.list)
}

func (f failing) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return withError(f.memory.Folders(ctx, prefix), f.folders)
}

func withError[T any](all iter.Seq2[T, error], err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err != nil && !yield(none, err) {
			return
		}
		for v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func TestAStoreThatFails(t *testing.T) {
	denied := fmt.Errorf("list s3://bucket: %w", fs.ErrPermission)
	m := &memory{}
	newPod("bad").segment(m, begin, exchange(1, begin, 0))
	newPod("good").segment(m, begin, exchange(2, begin, 0))

	got, report := readAll(t, Query{}, Options{}, failing{memory: m, get: denied})
	if locations(got) != "/2" || report.Count(Unreadable) != 1 || report.Damaged() == nil || !strings.Contains(findings(report), "-bad-0.jsonl.zst: list s3://bucket: permission denied") {
		t.Errorf("%s; %s", locations(got), findings(report))
	}
	// If a part of the store can be listed, the rest of it is read.
	got, report = readAll(t, Query{}, Options{}, failing{memory: m, list: denied, folders: denied})
	if locations(got) != "/1 /2" || report.Damaged() == nil {
		t.Errorf("%s; %s", locations(got), findings(report))
	}
	// If nothing can be listed, Open fails.
	if _, err := Open(t.Context(), Query{}, Options{}, failing{memory: &memory{}, list: denied, folders: denied}); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Query{}, Options{}, store.Dir(filepath.Join(t.TempDir(), "nowhere"))); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A segment that is completed between listing and reading is read once.
func TestASegmentThatIsCompletedMeanwhile(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	key := p.segment(m, begin, exchange(1, begin, 0), exchange(2, begin, 0))
	m.put(key+recording.PartSuffix, m.Objects[key])
	delete(m.Objects, key)
	r, err := Open(t.Context(), Query{}, Options{}, m)
	if err != nil {
		t.Fatal(err)
	}
	m.put(key, m.Objects[key+recording.PartSuffix])
	delete(m.Objects, key+recording.PartSuffix)
	n := 0
	for _, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 || len(r.Report().Findings()) > 0 {
		t.Errorf("%d records; %s", n, findings(r.Report()))
	}
}

// A read that stops early, or whose context ends, leaves nothing open.
func TestReadingStops(t *testing.T) {
	m := &memory{}
	var all []*recording.Exchange
	for n := range 10_000 {
		all = append(all, exchange(n, at(time.Duration(n)*time.Second), 0))
	}
	for n := range 5 {
		newPod(fmt.Sprint("cart-", n)).segment(m, begin, all...)
	}
	for _, order := range []Order{Streamed, Sorted} {
		o := Options{Order: order, MaxHeld: 1 << 20, TempDir: t.TempDir()}
		r, err := Open(t.Context(), Query{}, o, m)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range r.Records() {
			if n++; n == 3 || err != nil {
				break
			}
		}
		if n != 3 || m.open != 0 {
			t.Errorf("%d records, %d segments are open", n, m.open)
		}
		for rec, err := range r.Records() {
			if err == nil || rec != nil || !strings.Contains(err.Error(), "already read") {
				t.Errorf("a second time: %v, %v", rec, err)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		if r, err = Open(ctx, Query{}, o, m); err != nil {
			t.Fatal(err)
		}
		cancel()
		var last error
		for _, err := range r.Records() {
			last = err
		}
		if !errors.Is(last, context.Canceled) || m.open != 0 {
			t.Errorf("%v, %d segments are open", last, m.open)
		}
	}
}

// If there is no room for the temporary file, the error names the directory.
func TestSortedWithoutARoom(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	p.segment(m, begin, exchange(1, begin, 0), exchange(2, begin, 0))
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	r, err := Open(t.Context(), Query{}, Options{Order: Sorted, MaxHeld: 1, TempDir: nowhere}, m)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range r.Records() {
		last = err
	}
	if !errors.Is(last, os.ErrNotExist) || !strings.Contains(last.Error(), nowhere) || !strings.Contains(last.Error(), "temporary file") {
		t.Error(last)
	}
}

// A light read leaves out headers and bodies. Everything else is the same as in the whole record.
func TestLight(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	p.segment(m, begin, append(parts(1, 3, begin), exchange(1, begin, 0))...)
	for _, order := range []Order{Streamed, Sorted} {
		whole, _ := readAll(t, Query{}, Options{Order: order}, m)
		light, _ := readAll(t, Query{}, Options{Order: order, Light: true}, m)
		for i, w := range whole {
			l := light[i]
			wc, ws := w.Sizes()
			lc, ls := l.Sizes()
			if w.UUID != l.UUID || w.Host() != l.Host() || wc != lc || ws != ls || l.Request().Headers != nil || l.Response().Body != nil || w.Offset != l.Offset || w.Size != l.Size {
				t.Errorf("whole %+v\nlight %+v", w, l)
			}
		}
	}
}
