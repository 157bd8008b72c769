package read

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Both orders give the same records for any files, or report what they left out.
func FuzzRead(f *testing.F) {
	talk := parts(1, 3, begin)
	f.Add(lines(exchange(1, begin, time.Second), talk[0], exchange(2, at(time.Second), 0), talk[1]), lines(talk[2], exchange(3, begin, time.Hour)))
	f.Add([]byte("### REQUEST ###\n```\nGET http://a/ HTTP/1.1\n```\n"), []byte("[{\"location\":\"/1\"},\n{}]"))
	f.Add(zip(lines(exchange(1, begin, 0))), zip(lines(exchange(1, begin, 0)))[:40])
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := (&memory{}).put("20261122T200000.000Z-a-0.jsonl.zst", a).put("20261122T200001.000Z-b-0.jsonl.zst.part", b)
		var texts [2][]string
		var reports [2]*Report
		for i, o := range []Options{{Parts: true}, {Parts: true, Order: Sorted, MaxHeld: 100, TempDir: t.TempDir()}} {
			var got []*Record
			got, reports[i] = readAll(t, Query{}, o, m)
			for n, rec := range got {
				if o.Order == Sorted && n > 0 && rec.TS.Before(got[n-1].TS) {
					t.Fatal("out of order")
				}
				texts[i] = append(texts[i], string(rec.Exchange.AppendJSON(nil)))
			}
			slices.Sort(texts[i])
			if m.open > 0 {
				t.Error("a file is open")
			}
			readAll(t, Query{}, Options{Order: o.Order, Light: true, Recycle: true}, m)
		}
		dropped := reports[0].Count(Duplicate) + reports[1].Count(Duplicate) // duplicates that come late are not noticed
		if dropped == 0 && !slices.Equal(texts[0], texts[1]) || reports[0].Read != reports[1].Read || reports[0].Count(Malformed) != reports[1].Count(Malformed) {
			t.Errorf("streamed\n%s\nsorted\n%s", strings.Join(texts[0], "\n"), strings.Join(texts[1], "\n"))
		}
	})
}

// Recycled records have the same content as records that are kept.
func TestRecycledRecordsAreTheSame(t *testing.T) {
	m := &memory{}
	for n, name := range []string{"cart-0", "cart-1"} {
		var all []*recording.Exchange
		for i := range 300 {
			e := exchange(1000*n+i, at(time.Duration(i)*time.Second), time.Duration(i%7)*time.Second)
			switch i % 5 {
			case 0:
				e.HTTP = nil
			case 1:
				e.Tags = nil
			case 2:
				e.HTTP.Req.Headers, e.Tags = recording.Headers{{Name: "A", Value: name}}, append(e.Tags, recording.Tag{Name: recording.TagTruncated, Value: "true"})
			}
			all = append(all, e)
		}
		all = append(all, parts(n+1, 4, at(10*time.Second))...)
		newPod(name).segment(m, begin, all...)
	}
	for _, o := range []Options{{}, {Light: true}, {Order: Sorted}, {Order: Sorted, Light: true}, {Parts: true}} {
		var want, got []string
		for _, recycle := range []bool{false, true} {
			o.Recycle = recycle
			r, err := Open(t.Context(), Query{}, o, m)
			if err != nil {
				t.Fatal(err)
			}
			var kept []*recording.Exchange
			for rec, err := range r.Records() {
				if err != nil {
					t.Fatal(err)
				}
				if recycle {
					got = append(got, string(rec.Exchange.AppendJSON(nil)))
				} else {
					kept = append(kept, rec.Exchange)
				}
			}
			for _, e := range kept {
				want = append(want, string(e.AppendJSON(nil)))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: recycled\n%s\nkept\n%s", o, got, want)
		}
	}
}
