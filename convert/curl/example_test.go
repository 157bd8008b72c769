package curl_test

import (
	"fmt"

	"github.com/tapedeck/tapedeck/convert/curl"
	"github.com/tapedeck/tapedeck/recording"
)

func ExampleNew() {
	e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{
		Method: "POST", Host: "cart:8080", URI: "/cart", Version: "1.1", Body: []byte(`{"note":"it's @home"}`),
		Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "shop/1"}},
	}}}
	command, losses, err := curl.New(e)
	if err != nil {
		fmt.Println("there is no command:", err)
		return
	}
	fmt.Println(command.Lines())
	fmt.Println(len(losses), "losses")
	// Output:
	// curl --disable \
	//   --globoff \
	//   --path-as-is \
	//   --proto '=http,https' \
	//   --request POST \
	//   --header 'Content-Type: application/json' \
	//   --header 'User-Agent: shop/1' \
	//   --header 'Accept:' \
	//   --data-raw '{"note":"it'\''s @home"}' \
	//   --url 'http://cart:8080/cart'
	// 0 losses
}
