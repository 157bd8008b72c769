package duckdb

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording/columns"
)

// TestFilesThatDiffer queries files from which DuckDB would infer different columns, each case in a
// separate place. A file has JSON lines; files are read in the order of their names.
func TestFilesThatDiffer(t *testing.T) {
	const whole = `{"msgType":"rrpair","ts":"2026-11-22T08:15:00.123456789Z","duration":12,"uuid":"Xu0AAAAAQACAAAAAAAAABw==","direction":"IN","status":"200",` +
		`"tags":{"sequence":"1"},"http":{"req":{"headers":{"Accept":["*/*"]}},"res":{"statusCode":200}},"grpc":{"part":1,"clientBytes":"9007199254740993"}}`
	for name, test := range map[string]struct {
		files []string
		query string
		want  []string
	}{
		"a file with few members": {
			[]string{`{"msgType":"rrpair","uuid":"AA=="}`, whole},
			"SELECT CAST(id AS VARCHAR), duration, http.res.statusCode, grpc.clientBytes FROM exchanges('place') ORDER BY ALL NULLS FIRST",
			[]string{"NULL | NULL | NULL | NULL", "5eed0000-0000-4000-8000-000000000007 | 12 | 200 | 9007199254740993"},
		},
		"a file with counters alone": {
			[]string{`{"msgType":"counters","ts":"2026-11-22T08:20:00Z","namespace":"n","service":"w","counters":{"pod":"p","segment":0,"recorded":18446744073709551615}}`, whole},
			"SELECT pod, segment, recorded, dropped, (SELECT count(*) FROM exchanges('place')) FROM counters('place')",
			[]string{"p | 0 | 18446744073709551615 | NULL | 1"},
		},
		"an empty file": {
			[]string{"", whole},
			"SELECT ts, hour, date FROM exchanges('place')",
			[]string{"2026-11-22T08:15:00.123456Z | 8 | 2026-11-22T00:00:00Z"},
		},
		"types, whatever the first file has": {
			[]string{`{"msgType":"rrpair"}`},
			"SELECT typeof(ts), typeof(tags), typeof(http.req.headers), typeof(grpc.clientBytes), typeof(id), typeof(date), typeof(hour), typeof(workload) FROM exchanges('place')",
			[]string{"TIMESTAMP | MAP(VARCHAR, VARCHAR) | MAP(VARCHAR, VARCHAR[]) | BIGINT | UUID | DATE | INTEGER | VARCHAR"},
		},
		"members that the columns lack, of other types in each file": {
			[]string{`{"msgType":"rrpair","later":"text","http":{"req":{"later":{"a":1}}}}`, `{"msgType":"rrpair","later":[{"a":2026}],"http":{"req":{"later":7}}}`},
			"SELECT count(*), count(http) FROM exchanges('place')",
			[]string{"2 | 2"},
		},
		"numbers as texts, and texts as numbers": {
			[]string{`{"msgType":"rrpair","duration":"12","status":200,"http":{"res":{"statusCode":"404"}},"grpc":{"clientBytes":5}}`, whole},
			"SELECT duration, status, http.res.statusCode, grpc.clientBytes FROM exchanges('place') ORDER BY ALL",
			[]string{"12 | 200 | 200 | 9007199254740993", "12 | 200 | 404 | 5"},
		},
		"names that differ in case alone": {
			[]string{`{"msgType":"rrpair","http":{"req":{"headers":{"Accept":["a"],"accept":["b"]}}}}`},
			"SELECT http.req.headers['Accept'], http.req.headers['accept'], http.req.headers['ACCEPT'] FROM exchanges('place')",
			[]string{"[a] | [b] | NULL"},
		},
		"a time that nanoseconds since 1970 don't hold": {
			[]string{`{"msgType":"rrpair","netinfo":{"startTime":"0001-01-01T00:00:00Z"}}`, whole},
			"SELECT netinfo.startTime FROM exchanges('place') WHERE netinfo IS NOT NULL",
			[]string{"0001-01-01T00:00:00Z"},
		},
		"a type that can't be converted": {
			[]string{`{"msgType":"rrpair","duration":"12ms","http":{"req":{"headers":{"Accept":"a"}}}}`, whole},
			"SELECT duration, http.req.headers['Accept'] FROM exchanges('place', lenient := true) ORDER BY ALL NULLS FIRST",
			[]string{"NULL | NULL", "12 | [*/*]"},
		},
		"a line that is not JSON": {
			[]string{whole + "\n" + `{"msgType":"rrp` + "\n" + whole, "[]\n" + whole},
			"SELECT count(*) FROM exchanges('place', lenient := true)",
			[]string{"3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for i, lines := range test.files {
				put(t, string(rune('a'+i)), compress(t, lines))
			}
			db := open(t)
			if diff := cmp.Diff(test.want, db.mustRun(t, ".read place/_duckdb.sql\n"+test.query)); diff != "" {
				t.Errorf("want (-) DuckDB (+):\n%s", diff)
			}
		})
	}
}

// A line that doesn't fit is an error that names the file, unless the query is lenient.
func TestErrorsNameTheFile(t *testing.T) {
	for name, lines := range map[string]string{
		"a line that is not JSON":        `{"msgType":"rrp`,
		"a type that can't be converted": `{"msgType":"rrpair","duration":"12ms"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			put(t, "odd", compress(t, lines))
			_, err := open(t).run(t.Context(), ".read place/_duckdb.sql\nSELECT duration FROM exchanges('place')")
			if err == nil || !strings.Contains(err.Error(), "odd.jsonl.zst") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Files that were joined have several frames.
func TestAllFramesAreRead(t *testing.T) {
	t.Chdir(t.TempDir())
	frame := compress(t, `{"msgType":"rrpair"}`+"\n")
	put(t, "joined", bytes.Repeat(frame, 3))
	if got := open(t).mustRun(t, ".read place/_duckdb.sql\nSELECT count(*) FROM exchanges('place/')"); got[0] != "3" {
		t.Errorf("%s exchanges, want 3", got[0])
	}
}

// One query can read several places, such as two recordings to compare. The current directory is a
// place, too.
func TestSeveralPlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "one", compress(t, `{"msgType":"rrpair","location":"/a"}`))
	if err := os.CopyFS("other place", os.DirFS("place")); err != nil {
		t.Fatal(err)
	}
	t.Chdir("place")
	if got := open(t).mustRun(t, ".read _duckdb.sql\nSELECT count(*) FROM exchanges() JOIN exchanges('../other place') USING (location)"); got[0] != "1" {
		t.Errorf("%s pairs, want 1", got[0])
	}
}

// put writes a segment into `place`, next to the columns file.
func put(t *testing.T, name string, content []byte) {
	t.Helper()
	const partition = "place/cluster=c/namespace=n/workload=w/date=2026-11-22/hour=08"
	if err := os.MkdirAll(partition, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{filepath.Join(partition, name+".jsonl.zst"): content, filepath.Join("place", columns.Name): columns.File()} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compress(t *testing.T, text string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll([]byte(text), nil)
}
