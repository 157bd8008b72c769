package convert_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

const corpus = "../../shared/corpus/traffic"

// readPlace returns the exchanges in a folder of the corpus, their losses, and the report.
func readPlace(t *testing.T, name string) ([]*read.Record, *read.Report) {
	t.Helper()
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("there are no files of other tools: %v", err)
	}
	store, err := read.Path(filepath.Join(corpus, name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := read.Open(t.Context(), read.Query{}, read.Options{Order: read.Sorted, Foreign: convert.Files{}}, store)
	if err != nil {
		t.Fatal(err)
	}
	var all []*read.Record
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all, r.Report()
}

// What files of other tools have comes in, and whatever doesn't is counted by what it is.
func TestFilesOfOtherToolsComeIn(t *testing.T) {
	for _, c := range []struct {
		folder   string
		records  int
		findings map[read.Kind]uint64
		losses   []string // all that there are, without the values in them
	}{
		{"rrpair", 145, nil, []string{"REQUEST body"}}, // forms, which are shown as JSON
		// One file is broken on purpose, and two have the same entry.
		{"har", 41, map[read.Kind]uint64{read.Malformed: 1, read.Duplicate: 1}, []string{
			"log.__page_count__", "log.pages", "request.postData", "response.content.comment", "response.content.text",
		}},
		{"wiremock", 14, map[read.Kind]uint64{read.NoExchange: 1}, []string{
			"request.bodyPatterns.contains", "request.headers.Accept.contains", "request.host", "request.method", "requiredScenarioState", "response.bodyFileName",
		}},
	} {
		t.Run(c.folder, func(t *testing.T) {
			got, report := readPlace(t, c.folder)
			if len(got) != c.records {
				t.Errorf("%d exchanges, want %d", len(got), c.records)
			}
			known := map[string]bool{}
			for _, path := range c.losses {
				known[path] = true
			}
			seen := map[string]bool{}
			for _, rec := range got {
				for _, loss := range rec.Losses {
					path, _, _ := strings.Cut(loss, ":")
					if seen[path] = true; !known[path] {
						t.Errorf("%s: %s", rec.Key, loss)
					}
				}
			}
			if len(seen) != len(known) {
				t.Errorf("losses of %v, want %v", seen, c.losses)
			}
			for _, f := range report.Findings() {
				if f.Kind != read.Lossy && f.Count != c.findings[f.Kind] {
					t.Errorf("%s", f)
				}
			}
		})
	}
}

// trip writes exchanges in a format, reads them, and returns them by their identity; lossy
// names what was said to be lost.
func trip(t *testing.T, format string, all []*recording.Exchange) (got map[recording.UUID]*recording.Exchange, lossy map[recording.UUID]recording.LossList) {
	t.Helper()
	f, err := convert.Find(format)
	if err != nil {
		t.Fatal(err)
	}
	got, lossy = map[recording.UUID]*recording.Exchange{}, map[recording.UUID]recording.LossList{}
	var b bytes.Buffer
	if f.Marshal != nil {
		for _, e := range all {
			readAll(t, f, f.Marshal(nil, e), got)
		}
		return got, lossy
	}
	w := f.Create(&b, "v1")
	for _, e := range all {
		losses, err := w.Write(e)
		if _, left := err.(*recording.LeftOutError); err != nil && !left {
			t.Fatal(err)
		}
		if len(losses) > 0 {
			lossy[e.UUID] = losses
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	readAll(t, f, b.Bytes(), got)
	return got, lossy
}

func readAll(t *testing.T, f *convert.Format, file []byte, into map[recording.UUID]*recording.Exchange) {
	t.Helper()
	in, found, err := convert.Detect(bytes.NewReader(file), "file")
	if err != nil || found == nil || found.Name != f.Name {
		t.Fatalf("%s is taken for %v, %v", f.Name, found, err)
	}
	r := f.Open(in, nil)
	for {
		e := new(recording.Exchange)
		losses, err := r.Next(e)
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatal(err)
			}
			return
		}
		if len(losses) > 0 {
			t.Errorf("%s: what was written is read with a loss: %v", e.UUID, losses)
		}
		into[e.UUID] = e
	}
}

func exchangesOf(t *testing.T, folders ...string) (all []*recording.Exchange) {
	for _, folder := range folders {
		records, _ := readPlace(t, folder)
		for _, rec := range records {
			all = append(all, rec.Exchange)
		}
	}
	return all
}

// Markdown and HAR give every exchange back as it was.
func TestExchangesSurviveATrip(t *testing.T) {
	all := exchangesOf(t, "rrpair", "har", "wiremock")
	for _, format := range []string{"markdown", "har"} {
		got, _ := trip(t, format, all)
		n := 0
		for _, e := range all {
			if format == "har" && e.HTTP == nil {
				continue
			}
			n++
			want := e.AppendJSON(nil)
			if back := got[e.UUID]; back == nil || !bytes.Equal(back.AppendJSON(nil), want) {
				t.Errorf("%s: %s\nbecame %v", format, want, back)
			}
		}
		if n < 150 || len(got) != n {
			t.Errorf("%s: %d of %d", format, len(got), n)
		}
	}
}

// Bodies survive a trip through GoReplay, unless the writer says that a message can't have one.
func TestBodiesSurviveGoReplay(t *testing.T) {
	all := exchangesOf(t, "rrpair", "har", "wiremock")
	first, lossy := trip(t, "goreplay", all)
	byID := map[string]*recording.Exchange{}
	for u, e := range first {
		byID[string(u[:12])] = e
	}
	n := 0
	for _, e := range all {
		if e.HTTP == nil {
			continue
		}
		n++
		back := byID[string(e.UUID[:12])]
		if back == nil {
			t.Errorf("%s is lost", e.UUID)
			continue
		}
		if !bytes.Equal(back.HTTP.Req.Body, e.HTTP.Req.Body) {
			t.Errorf("%s: the request's body was %q and is %q", e.UUID, e.HTTP.Req.Body, back.HTTP.Req.Body)
		}
		if said := strings.Contains(strings.Join(lossy[e.UUID], " "), "can't have one"); !said && !bytes.Equal(back.HTTP.Res.Body, e.HTTP.Res.Body) {
			t.Errorf("%s: the answer's body was %q and is %q", e.UUID, e.HTTP.Res.Body, back.HTTP.Res.Body)
		}
	}
	if n < 150 {
		t.Errorf("%d exchanges", n)
	}
}
