package pull

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/store"
)

// largeOf returns a large segment that was made from segments with these keys.
func largeOf(t *testing.T, number int, keys ...string) (key, text string) {
	t.Helper()
	p, err := recording.ParsePartition(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, key := range keys {
		names = append(names, path.Base(key))
	}
	return recording.LargeKey(p, number).String(), string(recording.Sources{Names: names}.AppendLine(nil, p))
}

// A large segment that was made since the last call is copied, and replaces the segments it was
// made from. A segment whose records are in a large one is not copied as well.
func TestACopyOfWhatWasCompacted(t *testing.T) {
	from, to := t.TempDir(), store.Dir(t.TempDir())
	const fourth = folder + "20261122T201500.000Z-cart-0-3.jsonl.zst"
	files{second: "2", fourth: "4"}.write(t, from)
	pulled := func() Summary {
		t.Helper()
		sum, err := Place(t.Context(), store.Dir(from), To{Store: to}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	pulled()
	key, text := largeOf(t, 0, second, fourth)
	other, more := largeOf(t, 1, folder+"20261122T202000.000Z-cart-1-0.jsonl.zst")
	files{key: text, other: more, third: "3"}.write(t, from) // and the segments that it was made from are still there
	want := files{key: text, other: more, third: "3", columns.Name: string(columns.File())}
	if sum := pulled(); sum.Segments != 3 {
		t.Errorf("%+v", sum)
	}
	if diff := cmp.Diff(want, filesOf(t, to)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if sum := pulled(); sum.Segments != 0 || sum.Known != 3 {
		t.Errorf("%+v", sum)
	}
	if diff := cmp.Diff(want, filesOf(t, to)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A pod could hide other pods' records by listing their segments as sources.
func TestAnArchiveBringsNoLargeSegment(t *testing.T) {
	key, text := largeOf(t, 0, first)
	to := store.Dir(t.TempDir())
	files{first: "1"}.write(t, string(to))
	if _, err := Archive(t.Context(), exported(t, files{key: text}), To{Store: to}); err == nil || !strings.Contains(err.Error(), "pods don't write such segments") {
		t.Error(err)
	}
	if diff := cmp.Diff(files{first: "1"}, filesOf(t, to)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
