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

// In public recordings of other tools' demonstrations just those values are carried that
// their clients took from responses.
func TestPublicSessions(t *testing.T) {
	for folder, want := range map[string][]string{
		"node-auth": {"3 res.body.access_token -> 4 req.header.Authorization", "11 res.body.customers[].id -> 12 req.path[1]", "16 res.body.access_token -> 17 req.header.Authorization"},
		"ruby-api-http": {"0 res.body.access_token -> 7 req.header.Authorization", "0 res.body.access_token -> 10 req.header.Authorization",
			"21 res.body.access_token -> 25 req.header.Authorization", "21 res.body.access_token -> 31 req.header.Authorization",
			"21 res.body.access_token -> 32 req.header.Authorization", "21 res.body.access_token -> 36 req.header.Authorization"},
		"go-drift": nil, // its client makes all values up
		"dlp":      nil,
	} {
		t.Run(folder, func(t *testing.T) {
			f := carry.NewFinder(carry.Options{})
			steps := 0
			for _, e := range readtest.OfOtherTools(t, filepath.Join("../../../shared/corpus/traffic/rrpair", folder)) {
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
