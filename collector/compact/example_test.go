package compact_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tapedeck/tapedeck/collector/compact"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Two segments of an hour that is over become one.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "recordings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	began := time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)
	for i, pod := range []string{"cart-0", "cart-1"} {
		key := recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, Began: began, Pod: pod}.String()
		line := fmt.Sprintf(`{"msgType":"rrpair","ts":"2026-11-22T20:15:0%dZ","direction":"IN","location":"/%s"}`+"\n", 2-i, pod)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(key)), 0o700); err != nil {
			fmt.Println(err)
			return
		}
		if err := os.WriteFile(filepath.Join(dir, key), []byte(line), 0o600); err != nil {
			fmt.Println(err)
			return
		}
	}
	place := store.Dir(dir)
	sum, err := compact.Run(context.Background(), place, compact.Options{Now: began.Add(4 * time.Hour)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d segments became %d, with %d exchanges\n", sum.Sources, sum.Large, sum.Exchanges)
	for o, err := range place.List(context.Background(), "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(filepath.Base(o.Key))
	}
	for e, err := range read.All(context.Background(), read.Options{}, place) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.TS.Format(time.TimeOnly), e.Location)
	}
	// Output:
	// 2 segments became 1, with 2 exchanges
	// 20261122T200000.000Z-merged-0.jsonl.zst
	// 20:15:01 /cart-1
	// 20:15:02 /cart-0
}
