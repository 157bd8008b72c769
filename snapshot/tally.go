package snapshot

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// maxTally is how many names a tally counts separately. A recording is not trusted: each exchange may have
// a different host.
const maxTally = 10_000

// tally counts by name.
type tally struct {
	counts map[string]int64
	rest   int64 // the count of further names, for which there is no room
}

func (t *tally) add(name string) {
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	name = shorten(cmp.Or(name, recording.Undefined))
	if _, known := t.counts[name]; !known && len(t.counts) == maxTally {
		t.rest++
		return
	}
	t.counts[strings.Clone(name)]++
}

// shorten cuts a name that is longer than a host can be, so that it can't fill the manifest.
func shorten(name string) string {
	if len(name) <= contract.MaxHostName {
		return name
	}
	return strings.ToValidUTF8(name[:contract.MaxHostName], "") + "…"
}

// most returns the most frequent names, and the sum of the other counts.
func (t *tally) most() (list []Count, rest int64) {
	list = []Count{}
	for name, n := range t.counts {
		list = append(list, Count{name, n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Exchanges, a.Exchanges), strings.Compare(a.Name, b.Name))
	})
	rest = t.rest
	for _, c := range list[min(len(list), maxNames):] {
		rest += c.Exchanges
	}
	return list[:min(len(list), maxNames)], rest
}
