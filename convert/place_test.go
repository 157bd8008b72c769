package convert_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// TestFilesOfAPlace reads a place without partitions: it finds files of any tool that have
// exchanges, and no others.
func TestFilesOfAPlace(t *testing.T) {
	line := `{"msgType":"rrpair","ts":"2026-11-22T20:15:00Z","location":"/line"}` + "\n"
	m := &storetest.Memory{Objects: map[string][]byte{
		"a/b/1.json":   []byte("{\n  \"msgType\": \"rrpair\",\n  \"location\": \"/json\"\n}"),
		"2.jsonl":      []byte(line),
		"3.md":         []byte("### REQUEST ###\n```\nGET http://a/md HTTP/1.1\n```\n"),
		"README.md":    []byte("# Read me\n"),
		"package.json": []byte(`{"name":"x"}`),
		"notes.txt":    []byte(line),
		"runs/x.jsonl": []byte(line),
	}}
	r, err := read.Open(t.Context(), read.Query{}, read.Options{Foreign: convert.Files{}}, m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range r.Exchanges() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Location)
	}
	slices.Sort(got)
	if all := strings.Join(got, " "); all != "/json /line /md" || r.Report().Err() != nil {
		t.Errorf("got %s, want /json /line /md; %v", all, r.Report().Findings())
	}
}
