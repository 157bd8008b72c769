// Package readtest reads recordings for tests. It imports recording, recording/read and the
// standard library.
package readtest

import (
	"os"
	"testing"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// All returns the exchanges of a folder in the order of their start. Damage fails the test.
func All(t testing.TB, folder string) (all []*recording.Exchange) {
	t.Helper()
	from, err := read.Path(folder)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range read.All(t.Context(), read.Options{Order: read.Sorted, Foreign: convert.Files{}}, from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// OfOtherTools is [All] for a folder of files that other tools recorded. If the folder does not
// exist, the test is skipped.
func OfOtherTools(t testing.TB, folder string) []*recording.Exchange {
	t.Helper()
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("there are no files of other tools: %v", err)
	}
	return All(t, folder)
}
