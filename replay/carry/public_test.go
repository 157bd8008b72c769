package carry_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read/readtest"
	"github.com/tapedeck/tapedeck/replay/carry"
)

// In recordings of other tools, only values that the clients took from responses are carried. The
// first folder was written for this test; the others are public.
func TestPublicSessions(t *testing.T) {
	const public = "../../../shared/corpus/traffic/rrpair"
	for folder, want := range map[string][]string{
		"../../match/testdata/othertools": {
			"0 res.body.access_token -> 1 req.header.Authorization", "0 res.body.access_token -> 2 req.header.Authorization", "1 res.body.events[].id -> 2 req.path[1]",
			"0 res.body.access_token -> 3 req.header.Authorization", "1 res.body.events[].id -> 3 req.body.event",
			"0 res.body.access_token -> 4 req.header.Authorization", "3 res.header.Location.path[1] -> 4 req.path[1]"},
		filepath.Join(public, "node-auth"): {"3 res.body.access_token -> 4 req.header.Authorization", "11 res.body.customers[].id -> 12 req.path[1]", "16 res.body.access_token -> 17 req.header.Authorization"},
		filepath.Join(public, "ruby-api-http"): {"0 res.body.access_token -> 7 req.header.Authorization", "0 res.body.access_token -> 10 req.header.Authorization",
			"21 res.body.access_token -> 25 req.header.Authorization", "21 res.body.access_token -> 31 req.header.Authorization",
			"21 res.body.access_token -> 32 req.header.Authorization", "21 res.body.access_token -> 36 req.header.Authorization"},
		filepath.Join(public, "go-drift"): nil, // the client makes up all values
		filepath.Join(public, "dlp"):      nil,
	} {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			f := carry.NewFinder(carry.Options{})
			steps := 0
			for _, e := range readtest.OfOtherTools(t, folder) {
				if e.HTTP != nil && e.Direction == recording.In {
					f.Add(e)
					steps++
				}
			}
			if steps < 5 {
				t.Fatalf("%d exchanges", steps)
			}
			var got []string
			for e := range f.Finish().Edges() {
				got = append(got, fmt.Sprintf("%d %s -> %d %s", e.From, e.Issuer, e.To, e.Consumer))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
		})
	}
}
