package read_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Failed requests are returned in the order of their start, and the report says what is
// wrong with the recording.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "recordings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	text := `{"msgType":"rrpair","ts":"2026-11-22T20:15:02Z","direction":"IN","location":"/cart","status":"503"}
{"msgType":"rrpair","ts":"2026-11-22T20:15:01Z","direction":"IN","location":"/login","status":"500"}
{"msgType":"rrpair","ts":"2026-11-22T20:15:00Z","direction":"IN","location":"/","status":"200"}
no JSON
`
	if err := os.WriteFile(filepath.Join(dir, "pairs.jsonl"), []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	failed := func(e *recording.Exchange) bool { return e.Status >= "500" }
	r, err := read.Open(context.Background(), read.Query{Direction: recording.In, Match: failed}, read.Options{Order: read.Sorted}, store.Dir(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range r.Records() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.TS.Format("15:04:05"), e.Location, e.Status)
	}
	fmt.Println(r.Report().Err())
	// Output:
	// 20:15:01 /login 500
	// 20:15:02 /cart 503
	// the recording is not complete: 1 malformed record: pairs.jsonl: line 4: invalid character 'o' in literal null (expecting 'u')
}
