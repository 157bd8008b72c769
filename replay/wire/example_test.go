package wire_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// A recorded request is encoded once and sent to a target.
func ExampleClient_Send() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s asks for %s", r.Host, r.URL)
	}))
	defer server.Close()
	target, err := url.Parse(server.URL)
	if err != nil {
		panic(err)
	}
	client, err := wire.New(wire.Options{Target: target})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	recorded := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{
		Method: "GET", URI: "/cart?user=7", Version: "1.1",
		Headers: recording.Headers{{Name: "Host", Value: "shop.example"}},
	}}}
	encoded, err := wire.Append(nil, recorded)
	if err != nil {
		panic(err)
	}
	var result wire.Result
	if err := client.Send(context.Background(), encoded, &result); err != nil {
		panic(err)
	}
	fmt.Println(result.Live.HTTP.Res.StatusMessage)
	fmt.Printf("%s\n", result.Live.HTTP.Res.Body)
	// Output:
	// 200 OK
	// shop.example asks for /cart?user=7
}
