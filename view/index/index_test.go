package index_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func TestARecordingIsListedAndReadInFull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "one.jsonl")
	line := `{"msgType":"rrpair","ts":"2026-11-22T20:15:00.000001Z","l7protocol":"http","duration":12,"uuid":"a7gQea0dEdGAtADAT9QwyA==","direction":"IN","service":"cart","command":"GET","location":"/carts/17","http":{"req":{"url":"/carts/17","uri":"/carts/17?x=1","method":"GET","host":"cart"},"res":{"contentType":"text/plain","statusCode":200,"bodyBase64":"aGVsbG8="}}}`
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place, err := read.Path(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	x, err := index.Open(ctx, index.Options{Dir: t.TempDir()}, read.Query{}, index.Source{Name: "one", Store: place})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	p, err := x.List(ctx, index.Filter{Text: "hello"}, index.Sort{}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if p.Total != 1 || len(p.Rows) != 1 || p.Rows[0].Endpoint != "GET /carts/{id}" || p.Rows[0].Path != "/carts/17?x=1" {
		t.Errorf("found %+v", p)
	}
	e, err := x.Exchange(ctx, p.Rows[0].ID)
	if err != nil || string(e.HTTP.Res.Body) != "hello" {
		t.Errorf("read %+v, %v", e, err)
	}
}
