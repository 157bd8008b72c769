package read_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/recording/read"
)

func TestTheFilesThatAQueryNeedsAreListed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.jsonl")
	for _, file := range []string{name, filepath.Join(dir, "notes.txt")} {
		if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := read.Path(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := read.Open(context.Background(), read.Query{}, read.Options{}, s, s)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for store, o := range r.Listed() {
		if store != n || o.Key != "a.jsonl" || o.Size != 3 || !o.Modified.Equal(info.ModTime()) {
			t.Errorf("file %d of store %d is %+v", n, store, o)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d files, want one from each store", n)
	}
}
