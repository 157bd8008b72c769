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

// collection is a folder with files of other tools: rrpair, har and wiremock.
type collection struct {
	root string
	http int // least number of HTTP exchanges
	want map[string]content
}

// content describes a folder of a collection.
type content struct {
	records  int
	findings map[read.Kind]uint64
	losses   []string // all losses, without the values in them
}

var collections = map[string]collection{
	"own": {"testdata/own", 10, map[string]content{
		"rrpair":   {3, nil, []string{"REQUEST body"}}, // a form, which is shown as JSON
		"har":      {4, map[read.Kind]uint64{read.Malformed: 1}, []string{"log.pages"}},
		"wiremock": {5, nil, []string{"request.bodyPatterns.contains", "request.headers.Accept.contains", "request.host", "request.method", "request.urlPattern", "requiredScenarioState", "response.bodyFileName"}},
	}},
	"corpus": {"../../shared/corpus/traffic", 150, map[string]content{
		"rrpair": {145, nil, []string{"REQUEST body"}},
		// One file is broken on purpose, and two have the same entry.
		"har": {41, map[read.Kind]uint64{read.Malformed: 1, read.Duplicate: 1}, []string{
			"log.__page_count__", "log.pages", "request.postData", "response.content.comment", "response.content.text",
		}},
		"wiremock": {14, map[read.Kind]uint64{read.NoExchange: 1}, []string{
			"request.bodyPatterns.contains", "request.headers.Accept.contains", "request.host", "request.method", "requiredScenarioState", "response.bodyFileName",
		}},
	}},
}

// inEach runs a test for each collection that exists on this machine. Tapedeck's own always exists.
func inEach(t *testing.T, test func(t *testing.T, c collection)) {
	t.Helper()
	for name, c := range collections {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(c.root); err != nil && name != "own" {
				t.Skipf("there are no such files: %v", err)
			}
			test(t, c)
		})
	}
}

// read returns the exchanges in a folder of the collection, their losses, and the report.
func (c collection) read(t *testing.T, folder string) ([]*read.Record, *read.Report) {
	t.Helper()
	store, err := read.Path(filepath.Join(c.root, folder))
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

// Files of other tools are read, and everything that is lost is named.
func TestFilesOfOtherTools(t *testing.T) {
	inEach(t, func(t *testing.T, c collection) {
		for folder, want := range c.want {
			t.Run(folder, func(t *testing.T) {
				got, report := c.read(t, folder)
				if len(got) != want.records {
					t.Errorf("%d exchanges, want %d", len(got), want.records)
				}
				known := map[string]bool{}
				for _, path := range want.losses {
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
					t.Errorf("losses of %v, want %v", seen, want.losses)
				}
				for _, f := range report.Findings() {
					if f.Kind != read.Lossy && f.Count != want.findings[f.Kind] {
						t.Errorf("%s", f)
					}
				}
			})
		}
	})
}

// trip writes exchanges in a format, reads them, and returns them by their identity. lossy names
// the losses that were reported.
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
		t.Fatalf("%s is recognised as %v, %v", f.Name, found, err)
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

// exchanges returns the exchanges of all folders.
func (c collection) exchanges(t *testing.T) (all []*recording.Exchange) {
	t.Helper()
	for _, folder := range []string{"rrpair", "har", "wiremock"} {
		records, _ := c.read(t, folder)
		for _, rec := range records {
			all = append(all, rec.Exchange)
		}
	}
	return all
}

// Exchanges survive a trip through markdown and HAR unchanged.
func TestExchangesSurviveATrip(t *testing.T) {
	inEach(t, func(t *testing.T, c collection) {
		all := c.exchanges(t)
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
			if n < c.http || len(got) != n {
				t.Errorf("%s: %d of %d", format, len(got), n)
			}
		}
	})
}

// Bodies survive a trip through GoReplay, unless the writer says that a message can't have one.
func TestBodiesSurviveGoReplay(t *testing.T) {
	inEach(t, func(t *testing.T, c collection) {
		all := c.exchanges(t)
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
		if n < c.http {
			t.Errorf("%d exchanges", n)
		}
	})
}
