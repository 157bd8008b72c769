package read

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

func TestQueries(t *testing.T) {
	m := &memory{}
	for n, partition := range []recording.Partition{{Cluster: "c1", Namespace: "shop", Workload: "cart"}, {Cluster: "c1", Namespace: "shop", Workload: "rates"}, {Cluster: "c2", Namespace: "shop", Workload: "cart"}, {}} {
		p := newPod("pod")
		p.process[15] = byte(n)
		p.partition = partition
		for hour := range 3 {
			began := at(time.Duration(hour) * time.Hour)
			e := exchange(100*n+hour, began.Add(time.Minute), time.Second)
			e.Cluster, e.Namespace, e.Service = partition.Cluster, partition.Namespace, partition.Workload
			if n == 3 && hour == 1 {
				e.Direction = recording.Out
			}
			p.segment(m, began, e)
		}
	}
	for _, c := range []struct {
		name string
		q    Query
		want string
		read int // segments
	}{
		{"all", Query{}, "/0 /100 /200 /300 /1 /101 /201 /301 /2 /102 /202 /302", 12},
		{"a cluster", Query{Clusters: []string{"c2"}}, "/200 /201 /202", 3},
		{"two clusters", Query{Clusters: []string{"c2", "c1"}, Workloads: []string{"cart"}}, "/0 /200 /1 /201 /2 /202", 6},
		{"an absent one", Query{Clusters: []string{"c3"}}, "", 0},
		{"a workload", Query{Namespaces: []string{"shop"}, Workloads: []string{"rates"}}, "/100 /101 /102", 3},
		{"an unknown name", Query{Namespaces: []string{recording.Undefined}}, "/300 /301 /302", 3},
		{"from", Query{From: at(2 * time.Hour)}, "/2 /102 /202 /302", 8}, // exchanges of the hour before may end in it
		{"from later", Query{From: at(2*time.Hour + 2*time.Minute)}, "", 4},
		{"up to a time", Query{To: at(time.Hour), Longest: time.Minute}, "/0 /100 /200 /300", 8}, // exchanges that ended in the next hour may have begun before
		{"a time", Query{From: at(time.Hour), To: at(2 * time.Hour), Workloads: []string{"rates"}}, "/101", 3},
		{"a time with the longest of exchanges", Query{To: at(time.Minute), Longest: -1, Workloads: []string{"rates"}}, "", 3},
		{"a direction", Query{Direction: recording.Out}, "/301", 12},
		{"what matches", Query{Match: func(e *recording.Exchange) bool { return strings.HasSuffix(e.Location, "02") }}, "/102 /202 /302", 12},
	} {
		m.opened = nil
		got, report := readAll(t, c.q, Options{}, m)
		if locations(got) != c.want || report.Segments != c.read || len(m.opened) != c.read || report.Records != uint64(len(got)) || report.Err() != nil {
			t.Errorf("%s: %s of %d segments; want %s of %d; %s", c.name, locations(got), len(m.opened), c.want, c.read, findings(report))
		}
	}
	for _, q := range []Query{{Direction: "in"}, {From: at(1), To: at(1)}} {
		if _, err := Open(t.Context(), q, Options{}, m); err == nil {
			t.Errorf("%+v is accepted", q)
		}
	}
}

// A reader finds the files that belong to a recording, in places with and without partitions.
func TestWhatBelongsToARecording(t *testing.T) {
	line := func(location string) []byte {
		return []byte(`{"msgType":"rrpair","ts":"2026-11-22T20:15:00Z","location":"` + location + `"}` + "\n")
	}
	const name = "20261122T201500.123Z-cart-7d4b9-x2x-0.jsonl.zst"
	for _, c := range []struct {
		name string
		keys map[string][]byte
		want string
	}{
		{"partitions", map[string][]byte{
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/" + name: zip(line("/1")),
			"namespace=n/workload=w/date=2026-11-22/hour=20/" + name:           zip(line("/old")),
			"snapshots/1/segments/0.jsonl.zst":                                 zip(line("/snapshot")),
			"runs/1/cluster=c/" + name:                                         zip(line("/run")),
			"mine.jsonl":                                                       line("/mine"),
			"_duckdb.sql":                                                      []byte("SELECT"),
		}, "/1 /old"},
		{"a folder of partitions", map[string][]byte{"workload=w/date=2026-11-22/hour=20/" + name: zip(line("/1"))}, "/1"},
		{"an hour", map[string][]byte{name: zip(line("/1")), name + recording.PartSuffix: zip(line("/2"))}, "/1"},
		{"in an hour, a segment that is being written", map[string][]byte{
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/" + name + ".part":                                           zip(line("/1")),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/" + strings.Replace(name, "-0.", "-1.", 1):                   zip(line("/2")),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/" + strings.Replace(name, "-0.", "-1.", 1) + ".part":         zip(line("/3")),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/.tmp-x.jsonl.zst":                                            zip(line("/4")),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/notes.json":                                                  line("/5"),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/" + strings.Replace(name, "-0.", "-9.", 1):                           zip(line("/6")),
			"cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20/" + strings.Replace(name, "-0.", "-2.", 1) + ".part.part.gz": line("/7"),
		}, "/1 /2"},
		{"files outside of partitions", map[string][]byte{
			"a/2.jsonl": append(line("/1"), line("/2")...), "4.jsonl.zst": zip(line("/zst")), "notes.txt": line("/no"), "5.jsonl.part": line("/part"), "1.json": line("/json"),
			"snapshots/1/x.jsonl": line("/snapshot"), "runs/x.jsonl": line("/run"),
		}, "/1 /2 /part /zst"},
		{"nothing", map[string][]byte{"notes.txt": nil}, ""},
	} {
		m := &memory{Memory: storetest.Memory{Objects: c.keys}}
		got, report := readAll(t, Query{}, Options{}, m)
		names := strings.Fields(locations(got))
		slices.Sort(names)
		want := strings.Fields(c.want)
		slices.Sort(want)
		if !slices.Equal(names, want) || report.Err() != nil {
			t.Errorf("%s: %s, want %s; %s", c.name, names, want, findings(report))
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-22T20:15:00Z": "2026-11-22T20:15:00Z", "2026-11-22T20:15:00.5+01:00": "2026-11-22T19:15:00.5Z", "2026-11-22T20:15:30": "2026-11-22T20:15:30Z",
		"2026-11-22T20:15": "2026-11-22T20:15:00Z", "2026-11-22": "2026-11-22T00:00:00Z", "90m": "2026-11-22T18:30:00Z", "0s": "2026-11-22T20:00:00Z",
		"": "", "yesterday": "", "-1h": "", "20:15": "", "2026-13-01": "", "1h30": "",
	} {
		got, err := ParseTime(text, begin)
		if (err != nil) != (want == "") || err == nil && got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestPath(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "what is this?")
	if err := os.WriteFile(odd, []byte(`{"location":"/1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{odd, dir} {
		from, err := Path(name)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := readAll(t, Query{}, Options{}, from)
		if want := map[bool]string{true: "/1"}[name == odd]; locations(got) != want {
			t.Errorf("%s: %s", name, locations(got))
		}
	}
	if _, err := Path(filepath.Join(dir, "nowhere")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestQueriesThatNothingAnswers(t *testing.T) {
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Direction: "in"}, `direction "in": want IN or OUT`},
		{Query{From: at(time.Hour), To: at(0)}, "the end must be after the start"},
		{Query{From: at(0), To: at(time.Hour), Longest: time.Second}, ""},
	} {
		if err := c.q.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.q, err, c.want)
		}
	}
}
