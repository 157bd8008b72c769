package spool_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// A recorder stores exchanges in a directory. read.All reads them back.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "recordings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	r, err := spool.Open(dir, spool.Options{
		SegmentOptions: spool.SegmentOptions{Namespace: "shop", Workload: "cart", Pod: "cart-0"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Write(&recording.Exchange{
		MsgType: recording.MsgType, TS: time.Now().UTC(), Direction: recording.In, Command: "GET", Location: "/cart", Status: "200",
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", URI: "/cart?token=hush"}},
	})
	if err := r.Close(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	for e, err := range read.All(context.Background(), read.Options{}, store.Dir(dir)) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(e.Direction, e.Command, e.Location, e.Status)
	}
	fmt.Println("stored:", r.Stats().Stored)
	// Output:
	// IN GET /cart 200
	// stored: 1
}
