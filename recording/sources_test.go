package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
)

var (
	largeHour      = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	largePartition = Partition{Cluster: "c1", Namespace: "shop", Workload: "cart", Hour: largeHour}
)

func TestSourcesOfALargeSegment(t *testing.T) {
	var text []byte
	text = Sources{Names: []string{"a.jsonl.zst", "b.jsonl.zst"}}.AppendLine(text, largePartition)
	text = Sources{Of: []int32{1, 0}}.AppendLine(text, largePartition)
	for n := range 5 {
		if n == 2 {
			text = Sources{Of: []int32{0, 7, 1}}.AppendLine(text, largePartition)
		}
		e := Exchange{MsgType: MsgType, TS: largeHour, L7Protocol: HTTP1, Location: fmt.Sprint("/", n), HTTP: &HTTP{Req: HTTPRequest{URL: "http://cart/", URI: "/", Version: "1.1", Method: "GET", Host: "cart"}, Res: HTTPResponse{StatusCode: 200}}}
		text = append(e.AppendJSON(text), '\n')
	}
	text = Counters{Pod: "b"}.AppendLine(text, "c1", "shop", "cart") // without an origin
	text = Sources{Of: []int32{1}}.AppendLine(text, largePartition)
	text = Counters{Pod: "b"}.AppendLine(text, "c1", "shop", "cart")

	for _, glances := range []bool{false, true} {
		r, err := NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		r.Decoder = &Decoder{Light: true, Reuse: true}
		r.Counted = func(Counters) { got = append(got, fmt.Sprint("counters ", r.Origin())) }
		if glances {
			r.Decoder.Glance = func(e *Exchange) bool {
				got = append(got, fmt.Sprint("glance ", r.Origin()))
				return false
			}
		}
		var e Exchange
		for {
			err := r.Next(&e)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Location, " ", r.Origin()))
		}
		want := []string{"/0 1", "/1 0", "/2 0", "/3 -1", "/4 1", "counters -1", "counters 1"}
		if glances {
			for i := range 5 {
				want[i] = "glance" + want[i][2:]
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(r.Sources(), []string{"a.jsonl.zst", "b.jsonl.zst"}) {
			t.Errorf("%q, want %q; %q", got, want, r.Sources())
		}
	}
}

func TestALargeSegmentMayHaveManySources(t *testing.T) {
	var names []string
	for i := range 1200 {
		names = append(names, fmt.Sprint(i))
	}
	text := Sources{Names: names}.AppendLine(nil, largePartition)
	want := []int32{0, 9, 10, 19, 907, 1199}
	text = Sources{Of: want}.AppendLine(text, largePartition)
	text = append(text, strings.Repeat(`{"location":"/"}`+"\n", len(want))...)
	r, err := NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range want {
		if err := r.Next(new(Exchange)); err != nil || r.Origin() != int(want) {
			t.Errorf("origin %d, %v; want %d", r.Origin(), err, want)
		}
	}
}

// Only the first line lists sources, and no more bytes are read than necessary.
func TestSegmentSources(t *testing.T) {
	line := Sources{Names: []string{"a.jsonl.zst"}}.AppendLine(nil, largePartition)
	exchange := []byte(`{"msgType":"rrpair","ts":"2026-11-22T20:00:00Z","location":"/"}` + "\n")
	long := Sources{Names: []string{strings.Repeat("a", MaxSources+1<<20)}}.AppendLine(nil, largePartition)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for _, c := range []struct {
		name, text string
		want       int
		wrong      string
	}{
		{"a large segment", string(line) + string(exchange), 1, ""},
		{"written differently", `{"sources" : ["a", "b"], "msgType": "sources"}`, 2, ""},
		{"an ordinary segment", string(exchange) + string(line), 0, ""},
		{"counters", string(Counters{}.AppendLine(nil, "", "", "")), 0, ""},
		{"nothing", "", 0, ""},
		{"other text", "oops\n", 0, ""},
		{"a torn line", string(line[:40]), 0, ""},
		{"names that are numbers", `{"msgType":"sources","sources":[1]}`, 0, "cannot unmarshal number"},
		{"too many names", string(long), 0, "more than"},
	} {
		for _, body := range [][]byte{[]byte(c.text), enc.EncodeAll([]byte(c.text), nil)} {
			names, err := SegmentSources(bytes.NewReader(body))
			if len(names) != c.want || c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%s: %d names, %v", c.name, len(names), err)
			}
		}
	}
	begins := io.MultiReader(bytes.NewReader(line), iotest.ErrReader(errors.New("more is read")))
	if names, err := SegmentSources(begins); len(names) != 1 || err != nil {
		t.Error(names, err)
	}
}

// Reading continues after any line of sources, and no origin is out of range.
func FuzzSources(f *testing.F) {
	f.Add([]byte(`{"msgType":"sources","sources":["a"],"of":[0,1,2]}`))
	f.Add([]byte(`{"msgType":"sources","of":[]}`))
	f.Add([]byte(`{"msgType":"sources","of":[1,,2]}`))
	f.Add([]byte(`{"msgType":"sources","of":[-1]}`))
	f.Add([]byte(`{"msgType":"sources","of":[99999999999]}`))
	f.Add([]byte(`{"msgType":"sources","of":null,"sources":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		line = bytes.ReplaceAll(line, []byte("\n"), nil)
		names, err := SegmentSources(bytes.NewReader(line))
		if err != nil && names != nil {
			t.Error(names, err)
		}
		text := append(bytes.Clone(line), "\n{\"msgType\":\"rrpair\",\"location\":\"/behind\"}\n"...)
		r, err := NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		defer r.Close()
		var e Exchange
		for {
			err := r.Next(&e)
			if at := r.Origin(); at < -1 || at >= len(r.Sources()) {
				t.Fatalf("origin %d of %d", at, len(r.Sources()))
			}
			var bad *LineError
			if errors.As(err, &bad) {
				continue
			}
			if err != nil {
				break
			}
		}
		if bytes.HasPrefix(line, sourcesPrefix) && bytes.HasSuffix(line, []byte("}")) && names != nil && e.Location != "/behind" {
			t.Errorf("%q hides the record after it", line)
		}
	})
}

func TestPartitionsAreParsedAsTheyAreWritten(t *testing.T) {
	text := largePartition.String()
	for _, c := range []string{text, text + "/"} {
		if p, err := ParsePartition(c); err != nil || p != largePartition {
			t.Errorf("%s: %+v, %v", c, p, err)
		}
	}
	for _, bad := range []string{"", "/", text + "//", "/" + text, text + "/x", strings.Replace(text, "hour=20", "hour=25", 1), strings.Replace(text, "hour=20", "hour=2", 1),
		strings.Replace(text, "cluster=c1", "cluster=..", 1), strings.Replace(text, "cluster=", "", 1), "namespace=shop/workload=cart/date=2026-11-22/hour=20"} {
		if p, err := ParsePartition(bad); err == nil {
			t.Errorf("%q is parsed as %+v", bad, p)
		}
	}
	key := LargeKey(largePartition, 12)
	parsed, err := ParseSegmentKey(key.String())
	if err != nil || !parsed.IsLarge() || parsed.Number != 12 || !strings.HasPrefix(key.String(), LargePrefix(largePartition)) {
		t.Errorf("%s: %+v, %v", key, parsed, err)
	}
	for _, k := range []SegmentKey{
		{Partition: largePartition, Began: largeHour.Add(time.Millisecond), Pod: MergedPod},
		{Partition: largePartition, Began: largeHour, Pod: "cart"}, {Partition: largePartition, Began: largeHour, Pod: MergedPod, Part: true},
		{Partition: largePartition, Began: largeHour, Pod: MergedPod, Digest: "9f86d081884c7d65"},
	} {
		if parsed, err := ParseSegmentKey(k.String()); err != nil || parsed.IsLarge() {
			t.Errorf("%s is a large segment's key: %v", k, err)
		}
	}
}
