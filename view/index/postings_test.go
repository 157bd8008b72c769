package index

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Words that don't fit into memory are in several runs, which become one.
func TestWordsOfSeveralRunsAreFound(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	v, err := newInverter(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewSource(1))
	const rows = 3000
	texts := make([][]string, rows)
	for row := range texts {
		for range 5 {
			texts[row] = append(texts[row], fmt.Sprintf("w%d", r.Intn(20)), fmt.Sprintf("n%dx", r.Intn(50_000)), "always")
		}
		if err := v.add(row, []byte(strings.Join(texts[row], " ")+"\x00short\x00")); err != nil {
			t.Fatal(err)
		}
		if r.Intn(200) == 0 && len(v.pairs) > 0 {
			if err := v.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	name := filepath.Join(dir, "index")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := create(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	runs := len(v.ends)
	blocks, err := v.finish(ctx, w, func(int, int) {})
	if err != nil || runs < 5 || blocks < 3 {
		t.Fatalf("%d blocks of %d runs, %v", blocks, runs, err)
	}
	if err := w.finish(name, name); err != nil {
		t.Fatal(err)
	}
	x := &Index{rows: rows}
	if x.file, err = openFile(ctx, name); err != nil {
		t.Fatal(err)
	}
	defer x.file.close()
	data, err := x.file.part(ctx, kindFirst, 0)
	if err != nil {
		t.Fatal(err)
	}
	if x.firsts, err = readTexts(data); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		word := texts[r.Intn(rows)][r.Intn(15)]
		prefix := r.Intn(2) == 0
		if prefix {
			word = word[:1+r.Intn(len(word))]
		}
		found := newSet(rows)
		if err := x.term(ctx, found, word, prefix); err != nil {
			t.Fatal(err)
		}
		for row := range texts {
			want := false
			for _, have := range append(texts[row], "short") {
				want = want || have == word || prefix && strings.HasPrefix(have, word)
			}
			if found.has(row) != want {
				t.Fatalf("%q (prefix: %v) in row %d: %v, want %v", word, prefix, row, found.has(row), want)
			}
		}
	}
}
