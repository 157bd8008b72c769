package collector_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/collector"
)

// Keys are replaced while the collector runs. One that can't be read leaves the old one.
func TestKeysAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 32)
	write("new", first+"\n")
	write("old", second+"\n")
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		keys, err := collector.KeyFiles([]string{dir + "/new", dir + "/old"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		is := func(want ...string) {
			t.Helper()
			var got []string
			for _, k := range keys() {
				got = append(got, string(k))
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("keys %q, want %q", got, want)
			}
		}
		is(first, second)
		third := strings.Repeat("3", 32)
		write("new", third)
		time.Sleep(10 * time.Second)
		is(third, second)
		write("old", "short")
		for range 3 {
			time.Sleep(10 * time.Second)
			is(third, second)
		}
		if n := strings.Count(log.String(), "the old one stays in use"); n != 1 || strings.Contains(log.String(), third) {
			t.Errorf("the log: %s", &log)
		}
		write("old", first)
		time.Sleep(10 * time.Second)
		is(third, first)
	})
	if _, err := collector.KeyFiles([]string{dir + "/none"}, nil); err == nil {
		t.Error("a key that is not there passed")
	}
}
