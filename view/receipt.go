package view

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/mock/fault"
)

// shownReceipt is the data of receipt.html. Its lists are bounded, with a count of the rest.
type shownReceipt struct {
	Item *item
	*mock.Receipt
	Problems  []string
	Tiles     []tile
	Endpoints list[mock.Count]
	Misses    list[shownMiss]
	Faults    list[fault.Count]
	Injected  list[mock.Injection]
	Unused    list[string]
	Findings  list[string]
	Command   string
}

// tile is a number at the head of a page, and whether it is bad news.
type tile struct {
	Name  string
	Value int64
	Bad   bool
}

// list is the beginning of a list, and the number of further elements.
type list[T any] struct {
	First []T
	More  int
}

// maxListed bounds the elements of a list on the page.
const maxListed = 500

func listOf[T any](all []T) list[T] {
	n := min(len(all), maxListed)
	return list[T]{all[:n], len(all) - n}
}

// shownMiss is a miss with the nearest recorded request, and how it differs from that.
type shownMiss struct {
	mock.Miss
	Nearest     *match.Nearest
	Differences list[match.Difference]
	Known       *match.Known
	Hints       []string
}

// receipt shows what a mock did.
func (s *Server) receipt(w http.ResponseWriter, r *http.Request, it *item) error {
	c := it.Receipt
	data := shownReceipt{
		Item: it, Receipt: c, Endpoints: listOf(endpointsOf(c)), Faults: listOf(c.Faults), Injected: listOf(c.Injected), Unused: listOf(c.UnusedRules), Findings: listOf(c.Recording.Findings),
		Tiles: []tile{
			{"Served", c.Served, false}, {"Missed", c.Missed, c.Missed > 0}, {"Escaped", c.Escaped, c.Escaped > 0}, {"Passed through", c.Passthrough, false},
			{"Masked", c.Masked, false}, {"Recorded", int64(c.Loaded), false}, {"Never used", int64(c.NeverUsed), false},
		},
		Problems: problemsOf(c),
	}
	var misses []shownMiss
	for _, m := range c.Misses {
		one := shownMiss{Miss: m}
		if e := m.Explanation; e != nil {
			one.Known, one.Hints = e.Known, e.Hints
			if e.Nearest != nil {
				one.Nearest = e.Nearest
				one.Differences = listOf(e.Nearest.List)
				one.Differences.More += max(0, e.Nearest.More)
			}
		}
		misses = append(misses, one)
	}
	data.Misses = listOf(misses)
	if c.Command != nil {
		data.Command = strings.Join(c.Command.Args, " ")
	}
	return s.render(w, r, "receipt.html", data)
}

// endpointsOf returns the endpoints, those with misses first.
func endpointsOf(c *mock.Receipt) []mock.Count {
	all := slices.Clone(c.Endpoints)
	slices.SortStableFunc(all, func(a, b mock.Count) int {
		if (a.Missed > 0) == (b.Missed > 0) {
			return 0
		}
		if a.Missed > 0 {
			return -1
		}
		return 1
	})
	return all
}

// problemsOf describes the problems of a run in sentences.
func problemsOf(c *mock.Receipt) (all []string) {
	add := func(is bool, text string) {
		if is {
			all = append(all, text)
		}
	}
	some := func(n int64, one, many string) {
		add(n == 1, "1 "+one)
		add(n > 1, number(n)+" "+many)
	}
	some(c.Missed, "request was missed: the recording has no answer to it.", "requests were missed: the recording has no answer to them.")
	some(c.Escaped, "connection to a host that is not listed for passthrough was rejected.", "connections to hosts that are not listed for passthrough were rejected.")
	some(c.Distrusted, "connection failed because its client does not trust the CA of this run.", "connections failed because their clients do not trust the CA of this run.")
	some(c.Unfinished, "request was cancelled by its client.", "requests were cancelled by their clients.")
	some(int64(len(c.UnfiredFaults())), "fault rule never fired.", "fault rules never fired.")
	add(c.Served+c.Missed+c.Passthrough == 0, "The mock got no requests. Does the application use the proxy variables, or an address of the mock?")
	return all
}
