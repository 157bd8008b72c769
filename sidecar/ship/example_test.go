package ship_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// A recorder writes segments into a directory, and a shipper sends them from there.
func Example() {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := recording.ParseSegmentKey(strings.TrimPrefix(r.URL.Path, contract.SegmentsPath))
		io.Copy(io.Discard, r.Body)
		fmt.Println(r.Method, "segment", key.Number, "of", key.Pod)
		w.Header().Set(contract.HeaderContract, fmt.Sprint(contract.Version))
		w.WriteHeader(http.StatusCreated)
	}))
	defer collector.Close()
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	sink, err := contract.ParseSink(collector.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := ship.New(ship.Options{Dir: spool.Dir(dir), Collector: sink})
	r, err := spool.Open(dir, spool.Options{SegmentOptions: spool.SegmentOptions{Namespace: "shop", Workload: "cart", Pod: "cart-0", Completed: s.Wake}})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Start()
	r.Write(&recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Location: "/cart"})
	if err := r.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	s.Close(context.Background())
	fmt.Println("stored:", s.Stats().Shipped, "left:", s.Stats().Segments)
	// Output:
	// PUT segment 0 of cart-0
	// stored: 1 left: 0
}
