package carry_test

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
)

// A login issues a token, and the request that follows carries it.
func Example() {
	began := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	login := func(token string) *recording.Exchange {
		return &recording.Exchange{TS: began, Command: "POST", Location: "/login", HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "POST", URI: "/login"},
			Res: recording.HTTPResponse{StatusCode: 200, Body: []byte(`{"token":"` + token + `"}`)},
		}}
	}
	orders := &recording.Exchange{TS: began.Add(time.Second), Command: "GET", Location: "/orders", HTTP: &recording.HTTP{
		Req: recording.HTTPRequest{Method: "GET", URI: "/orders", Headers: recording.Headers{{Name: "Authorization", Value: "Bearer q8ZkT0vXw2LrB5nD"}}},
	}}
	recorded := login("q8ZkT0vXw2LrB5nD")

	f := carry.NewFinder(carry.Options{})
	f.Add(recorded)
	f.Add(orders)
	g := f.Finish()
	for e := range g.Edges() {
		fmt.Println(e.From, e.Issuer, "->", e.To, e.Consumer, e.Encoding)
	}
	fmt.Println("step 1 waits for", g.After(1))

	s := g.NewState(carry.StateOptions{})
	s.Answered(0, recorded, login("Yc4Wn9Qe1RtU7iOp"))
	s.Apply(1, orders)
	fmt.Println(orders.HTTP.Req.Headers.Get("Authorization"))
	// Output:
	// 0 res.body.token -> 1 req.header.Authorization behind the scheme
	// step 1 waits for [0]
	// Bearer Yc4Wn9Qe1RtU7iOp
}
