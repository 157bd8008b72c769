package show_test

import (
	"fmt"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

func ExampleNew() {
	e := &recording.Exchange{
		L7Protocol: recording.HTTP1, Direction: recording.In, NetworkAddress: "cart:8080", Command: "POST", Location: "/cart",
		TS: time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC), Duration: 12,
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{
				Method: "POST", URL: "/cart", URI: "/cart?dry=yes", Version: "1.1", Body: []byte(`item=7&note=two+of+them`),
				Headers: recording.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
			},
			Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", Body: []byte(`{"total":1.50}`)},
		},
	}
	x := show.New(e, show.Options{})
	fmt.Println(x.Title, "has a", x.Request.Body.Kind, "and gets", x.Response.Body.Kind)
	_ = x.Write(os.Stdout)
	// Output:
	// POST /cart has a form and gets JSON
	// IN http 00000000-0000-0000-0000-000000000000 to cart:8080
	// 2026-11-22T20:15:00.000000000Z, 12 ms
	//
	// > POST /cart?dry=yes HTTP/1.1
	// > Content-Type: application/x-www-form-urlencoded
	//
	// item: 7
	// note: two of them
	//
	// < HTTP/1.1 200 OK
	//
	// {
	//   "total": 1.50
	// }
}
