package index_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	text := append(exchange(1, "GET", "/carts/17", 200).AppendJSON(nil), '\n')
	text = append(exchange(2, "POST", "/carts", 503).AppendJSON(text), '\n')
	if err := os.WriteFile(filepath.Join(dir, "recording.jsonl"), text, 0o600); err != nil {
		panic(err)
	}

	place, err := read.Path(dir)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	x, err := index.Open(ctx, index.Options{Forget: true}, read.Query{}, index.Source{Name: "my recording", Store: place})
	if err != nil {
		panic(err)
	}
	defer x.Close()
	page, err := x.List(ctx, index.Filter{Problems: true}, index.Sort{By: index.ByDuration, Descending: true}, "", 50)
	if err != nil {
		panic(err)
	}
	for _, r := range page.Rows {
		fmt.Println(r.ID, r.Endpoint, r.Status)
	}
	// Output: 2 POST /carts 503
}
