package duckdb

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/collector/compact"
	"github.com/tapedeck/tapedeck/recording/store"
)

// DuckDB reads the same from a compacted recording as from the original. While both are there, a
// query can read each exchange once.
func TestACompactedRecording(t *testing.T) {
	t.Chdir(t.TempDir())
	recorded := record(t, "recordings")
	if err := os.CopyFS("compacted", os.DirFS("recordings")); err != nil {
		t.Fatal(err)
	}
	sum, err := compact.Run(t.Context(), store.Dir("compacted"), compact.Options{OlderThan: -1})
	if err != nil || sum.Exchanges == 0 {
		t.Fatalf("%v, %+v", err, sum)
	}
	db := open(t)
	db.mustRun(t, ".read recordings/_duckdb.sql")
	for _, query := range []string{
		"SELECT count(*), count(DISTINCT uuid), sum(duration), min(ts), max(ts), sum(length(http.req.bodyBase64)) FROM exchanges('PLACE')",
		"SELECT workload, hour, direction, l7protocol, count(*) FROM exchanges('PLACE') GROUP BY ALL ORDER BY ALL",
		"SELECT * EXCLUDE (filename) FROM counters('PLACE') ORDER BY ALL",
	} {
		before, after := db.mustRun(t, strings.ReplaceAll(query, "PLACE", "recordings")), db.mustRun(t, strings.ReplaceAll(query, "PLACE", "compacted"))
		if strings.Join(before, "\n") != strings.Join(after, "\n") || len(before) == 0 {
			t.Errorf("%s\nbefore\n%s\nafter\n%s", query, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
	// This is the moment between writing and deleting.
	err = fs.WalkDir(os.DirFS("compacted"), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(name, "-merged-") {
			return err
		}
		text, err := os.ReadFile(filepath.Join("compacted", name))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join("recordings", name), text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := db.mustRun(t, "SELECT count(*) > "+line(len(recorded.rows))+" FROM exchanges('recordings')"); got[0] != line(true) {
		t.Errorf("there are no duplicates: %s", got)
	}
	if got := db.mustRun(t, "SELECT count(*) FROM (FROM exchanges('recordings') QUALIFY row_number() OVER (PARTITION BY uuid, ts) = 1)"); got[0] != line(len(recorded.rows)) {
		t.Errorf("%s of %d exchanges", got, len(recorded.rows))
	}
}
