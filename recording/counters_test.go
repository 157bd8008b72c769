package recording

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A reader rejects counters that no process can reach, so that sums over processes don't overflow.
func TestImpossibleCountersAreRejected(t *testing.T) {
	const most = 1 << 53
	for _, c := range []struct {
		name string
		of   Counters
		want bool
	}{
		{"none", Counters{}, true},
		{"some", Counters{Segment: 3, Recorded: 7, Dropped: 1, End: true}, true},
		{"the last segment", Counters{Segment: 1<<31 - 1}, true},
		{"after the last segment", Counters{Segment: 1 << 31}, false},
		{"before the first segment", Counters{Segment: -1}, false},
		{"the most", Counters{Recorded: most, Dropped: most, Filtered: most, SampledOut: most, Cut: most, Incomplete: most}, true},
		{"too many recorded", Counters{Recorded: most + 1}, false},
		{"too many dropped", Counters{Dropped: most + 1}, false},
		{"too many filtered", Counters{Filtered: most + 1}, false},
		{"too many sampled out", Counters{SampledOut: most + 1}, false},
		{"too many cut", Counters{Cut: most + 1}, false},
		{"too many incomplete", Counters{Incomplete: most + 1}, false},
	} {
		r, err := NewReader(strings.NewReader(string(c.of.AppendLine(nil, "c1", "shop", "cart")) + `{"location":"/after"}`))
		if err != nil {
			t.Fatal(err)
		}
		var met []Counters
		r.Counted = func(c Counters) { met = append(met, c) }
		var e Exchange
		err = r.Next(&e)
		if !c.want {
			var bad *LineError
			if !errors.As(err, &bad) || bad.Line != 1 || !strings.Contains(err.Error(), "can't read the counters") || len(met) > 0 || r.Counters() != nil {
				t.Errorf("%s: %v, %v", c.name, met, err)
			}
			err = r.Next(&e)
		} else {
			want := c.of
			want.Cluster, want.Namespace, want.Pod = "c1", "shop", Undefined
			if diff := cmp.Diff([]Counters{want}, met); diff != "" || r.Counters() == nil {
				t.Errorf("%s: -want +got:\n%s", c.name, diff)
			}
		}
		if err != nil || e.Location != "/after" {
			t.Errorf("%s: then %q, %v", c.name, e.Location, err)
		}
		if err := r.Next(&e); err != io.EOF {
			t.Errorf("%s: at the end %v", c.name, err)
		}
	}
}

func TestLeftOutSumsAllReasons(t *testing.T) {
	if n := (&Counters{Recorded: 1000, Dropped: 1, Filtered: 20, SampledOut: 300, Cut: 4000, Incomplete: 50000}).LeftOut(); n != 321 {
		t.Error(n)
	}
}
