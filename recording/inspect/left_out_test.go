package inspect

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// The notes say how much of the traffic a recording lacks: the sum of what the last segment of each
// process says.
func TestWhatWasLeftOutIsNoted(t *testing.T) {
	dir := t.TempDir()
	written := byte(0)
	for _, pod := range []string{"cart-0", "cart-1"} {
		filtered := uint64(0)
		r, err := spool.Open(filepath.Join(dir, pod), spool.Options{SegmentOptions: spool.SegmentOptions{
			Pod: pod, MaxBytes: 1, Counters: func() recording.Counters {
				filtered += 10
				return recording.Counters{Filtered: filtered, SampledOut: 3}
			}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // two segments, and a third one that marks the end
			e := sample()[0]
			written++
			e.UUID[15] = written
			if err := r.Write(e); err != nil {
				t.Fatal(err)
			}
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, output := range Outputs() {
		var out, notes bytes.Buffer
		if err := Run(t.Context(), &out, &notes, "test:", []string{dir}, Path, Options{Output: output}); err != nil {
			t.Fatal(err)
		}
		if want := "note: not in the recording: 0 dropped, 60 filtered, 6 sampled out; 4 recorded by 2 processes, according to the last complete segment of each\n"; notes.String() != want {
			t.Errorf("%s: noted %q, want %q", output, notes.String(), want)
		}
		if strings.Contains(out.String(), "counters") {
			t.Errorf("%s: the counters are shown as an exchange:\n%s", output, out.String())
		}
	}
}
