package match_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read/readtest"
)

// written returns exchanges in the formats of other tools that were written for these tests,
// and corpus those that other tools recorded.
func written(t *testing.T) []*recording.Exchange {
	t.Helper()
	return readtest.All(t, "testdata/othertools")
}

func corpus(t *testing.T) []*recording.Exchange {
	t.Helper()
	return readtest.OfOtherTools(t, "../../shared/corpus/traffic/rrpair")
}

// TestFilesOfOtherToolsFindThemselves looks up each recorded request, at another time.
func TestFilesOfOtherToolsFindThemselves(t *testing.T) {
	t.Run("written", func(t *testing.T) { findThemselves(t, written, 12) })
	t.Run("recorded", func(t *testing.T) { findThemselves(t, corpus, 50) })
}

func findThemselves(t *testing.T, read func(*testing.T) []*recording.Exchange, atLeast int) {
	recorded, live := read(t), read(t)
	m, x := indexOf(t, match.Options{}, recorded...)
	http, alone := 0, 0
	for i, e := range live {
		e.TS = replayed
		res := x.Lookup(m.Request(e), nil)
		if res.How != match.Exact || !slices.Contains(refs(x, res), match.Ref(i)) {
			t.Errorf("%s %s %s: %v %v", e.L7Protocol, e.Command, e.Location, res.How, refs(x, res))
		}
		if e.HTTP != nil {
			http++
			if len(res.Entries) == 1 {
				alone++
			}
		}
	}
	if http < atLeast || alone == 0 {
		t.Errorf("%d exchanges of HTTP, %d alone with their request", http, alone)
	}
}

// TestSignaturesOfOtherTools compares the keys that other tools wrote with ours.
func TestSignaturesOfOtherTools(t *testing.T) {
	t.Run("written", func(t *testing.T) { signatures(t, written(t), 40) })
	t.Run("recorded", func(t *testing.T) { signatures(t, corpus(t), 200) })
}

func signatures(t *testing.T, all []*recording.Exchange, atLeast int) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, e := range all {
		if e.HTTP == nil || len(e.Signature) == 0 {
			continue
		}
		for _, p := range m.Request(e).Signature() {
			want, ok := e.Signature[p.Name]
			if !ok || p.Name == "http:requestBodyHash" {
				continue
			}
			compared++
			got := p.Value
			if p.Name == "http:queryparams" {
				got, _ = url.QueryUnescape(got)
			}
			if p.Name == "http:host" && string(want) == "localhost" || p.Name == "http:requestBodyJSON" {
				continue // the address of the tool's own proxy; and JSON is not in a canonical form
			}
			if string(want) != got {
				t.Errorf("%s of %s %s: %q, want %q", p.Name, e.Command, e.Location, got, want)
			}
		}
	}
	if compared < atLeast {
		t.Errorf("%d keys", compared)
	}
}
