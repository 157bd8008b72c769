package collector_test

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// A sidecar records into its spool and sends that to a collector. The stored recording can be read
// like any other place.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	key := []byte("0123456789abcdef0123456789abcdef") // of a Secret, by [collector.KeyFiles]
	c, err := collector.New(collector.Options{Store: store.Dir(dir + "/store"), Keys: func() [][]byte { return [][]byte{key} }})
	if err != nil {
		panic(err)
	}
	write, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	reads, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- c.Serve(serving, collector.Ports{Write: write, Read: reads}) }()

	sink, err := contract.ParseSink("http://" + write.Addr().String())
	if err != nil {
		panic(err)
	}
	s := ship.New(ship.Options{Dir: spool.Dir(dir + "/spool"), Collector: sink, Token: func() (string, error) { return contract.CollectorToken(key, "c1", "shop"), nil }})
	r, err := spool.Open(dir+"/spool", spool.Options{SegmentOptions: spool.SegmentOptions{Cluster: "c1", Namespace: "shop", Workload: "cart", Pod: "cart-0", Completed: s.Wake}})
	if err != nil {
		panic(err)
	}
	s.Start()
	if err := r.Write(&recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Cluster: "c1", Namespace: "shop", Service: "cart", Location: "/cart"}); err != nil {
		panic(err)
	}
	if err := r.Close(ctx); err != nil {
		panic(err)
	}
	s.Close(ctx)

	from, err := place.OpenText(ctx, "http://"+reads.Addr().String())
	if err != nil {
		panic(err)
	}
	exchanges, err := read.Open(ctx, read.Query{}, read.Options{}, from)
	if err != nil {
		panic(err)
	}
	for e, err := range exchanges.Exchanges() {
		fmt.Println(e.Namespace, e.Service, e.Location, err)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// shop cart /cart <nil>
	// <nil>
}
