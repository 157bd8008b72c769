package match

import (
	"cmp"
	"slices"
	"sort"
)

// near finds requests of an endpoint that differ from a given one in few places. It divides each
// request into bands by the names of its places, so that a difference in one place changes only one
// band. It takes 68 bytes for each entry.
type near struct {
	bands   [][numBands]uint32 // by entry, with volatile values masked
	entries []Entry            // by endpoint
	by      [numBands][]Entry  // by endpoint and band
}

func newNear(all []ordered, x *Index) *near {
	n := &near{bands: make([][numBands]uint32, len(all)), entries: make([]Entry, len(all))}
	sizes := make([]uint32, len(x.points))
	of := make([]uint32, len(all))
	for i := range all {
		n.bands[i] = all[i].bands
		of[i] = x.endpoints[all[i].endpoint]
		sizes[of[i]]++
	}
	at := uint32(0)
	for i, size := range sizes {
		x.points[i].from, x.points[i].to = at, at
		at += size
	}
	for i := range all {
		e := &x.points[of[i]]
		n.entries[e.to] = Entry(i)
		e.to++
	}
	for b := range n.by {
		n.by[b] = slices.Clone(n.entries)
		for i := range x.points {
			e := &x.points[i]
			slices.SortFunc(n.by[b][e.from:e.to], func(x, y Entry) int {
				return cmp.Or(cmp.Compare(n.bands[x][b], n.bands[y][b]), cmp.Compare(x, y))
			})
		}
	}
	return n
}

// to returns at most MaxNearest entries of an endpoint. Those with the most bands in common with
// the request come first.
func (n *near) to(e *endpoint, bands *[numBands]uint32) []Entry {
	var ranges [][]Entry
	for b := range n.by {
		all := n.by[b][e.from:e.to]
		from := sort.Search(len(all), func(i int) bool { return n.bands[all[i]][b] >= bands[b] })
		to := from + sort.Search(len(all)-from, func(i int) bool { return n.bands[all[from+i]][b] > bands[b] })
		ranges = append(ranges, all[from:to])
	}
	slices.SortStableFunc(ranges, func(a, b []Entry) int { return len(a) - len(b) })
	ranges = append(ranges, n.entries[e.from:e.to])
	var found []closeTo
	left := maxExamined
	for _, r := range ranges {
		for _, entry := range r[:min(len(r), left)] {
			c := closeTo{entry: entry}
			for b, have := range n.bands[entry] {
				if have == bands[b] {
					c.common++
				}
			}
			found = append(found, c)
		}
		left -= min(len(r), left)
	}
	slices.SortFunc(found, func(a, b closeTo) int {
		return cmp.Or(cmp.Compare(b.common, a.common), cmp.Compare(a.entry, b.entry))
	})
	found = slices.Compact(found)
	entries := make([]Entry, 0, MaxNearest)
	for _, c := range found[:min(len(found), MaxNearest)] {
		entries = append(entries, c.entry)
	}
	return entries
}

// maxExamined bounds the entries whose bands are compared.
const maxExamined = 1000

type closeTo struct {
	entry  Entry
	common int // number of equal bands
}
