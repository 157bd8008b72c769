package match_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

func Example() {
	exchange := func(at time.Time, uri string) *recording.Exchange {
		return &recording.Exchange{TS: at, HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "GET", Host: "shop.example.com", URL: "/items", URI: uri},
			Res: recording.HTTPResponse{StatusCode: 200},
		}}
	}
	m, err := match.New(match.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	recorded := exchange(time.Date(2026, 6, 12, 15, 4, 5, 0, time.UTC), "/items?page=1&ts=1781276645")
	b := m.NewBuilder()
	b.Add(match.Recorded{Exchange: recorded, Ref: 7})
	index, err := b.Build(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	r := m.Request(exchange(now, "/items?ts=1795167000&page=1"))
	found := index.Lookup(r, nil)
	fmt.Println(found.How, index.Ref(found.Entries[0]), found.Masks[0].Place, found.Masks[0].Class)

	r = m.Request(exchange(now, "/items?ts=1795167000&page=2"))
	found = index.Lookup(r, nil)
	index.Explain(r, found, func(match.Ref) (*recording.Exchange, error) { return recorded, nil }).Text(os.Stdout)
	// Output:
	// masked 7 query:ts epoch-s
	// GET shop.example.com/items?ts=1795167000&page=2
	// not found: the nearest of 1 recorded request to this endpoint is
	// GET shop.example.com/items?page=1&ts=1781276645
	// 00000000-0000-0000-0000-000000000000; it differs in
	//   query:page: recorded "1", live "2"
	// keys:
	//   equal    http:method "GET"
	//   equal    http:host "shop.example.com"
	//   equal    http:url "/items"
	//   differs  http:queryparams "page=2&ts=1795167000", recorded "page=1&ts=1781276645"
	//   differs  http:queryparams:page "2", recorded "1"
	//   masked   http:queryparams:ts "1795167000", recorded "1781276645"
	// values of a class:
	//   masked   query:ts (epoch-s): A time less than a month from the exchange's own.
	// If the response does not depend on it, a rule makes them the same: {mask: ["query:page"]}
}
