package decode_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// printer is a sink.
type printer struct{}

func (printer) Write(e *recording.Exchange) error {
	fmt.Printf("%s %s: %s %s answered %s %q\n", e.Direction, e.L7Protocol, e.Command, e.Location, e.Status, e.HTTP.Res.Body)
	return nil
}
func (printer) Flush(context.Context) error { return nil }
func (printer) Close(context.Context) error { return nil }

// A reader gets the bytes of a flow, cut anywhere, and the sink gets exchanges.
func Example() {
	decoders := decode.New(decode.Config{}, printer{})
	reader := decoders.Open(&tap.Flow{Direction: tap.In, Started: time.Now()})
	now := time.Now()
	reader.Data(tap.FromClient, now, []byte("GET /cart HTTP/1.1\r\nHo"))
	reader.Data(tap.FromClient, now, []byte("st: shop\r\n\r\n"))
	reader.Data(tap.FromServer, now, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nempty"))
	reader.Close(now)
	// Output: IN http: GET /cart answered 200 "empty"
}
