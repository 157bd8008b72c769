package spool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording/read"
)

// killDir, if set, turns the test binary into the writer that will be killed.
const killDir = "TAPEDECK_TEST_KILL_DIR"

// TestKilledWriterLosesTheTailAlone kills a process while it writes, with a signal that it can't catch.
// Everything that it had flushed is found, without gaps.
func TestKilledWriterLosesTheTailAlone(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		writeForEver(dir)
	}
	for _, flushes := range []int{1, 7, 30} {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		flushed := 0
		for lines := bufio.NewScanner(out); flushes > 0 && lines.Scan(); flushes-- {
			if flushed, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Process.Kill()
		cmd.Wait()

		found, odd := locations(t, dir)
		for i, location := range found {
			if location != fmt.Sprintf("/%d", i) {
				t.Fatalf("record %d is %s", i, location)
			}
		}
		if len(found) < flushed || flushed == 0 {
			t.Errorf("%d records found, and %d had been flushed", len(found), flushed)
		}
		for _, f := range odd {
			if f.Kind != read.TornPart {
				t.Error(f)
			}
		}
	}
}

// writeForEver writes records, and prints how many it has flushed.
func writeForEver(dir string) {
	r, err := Open(dir, Options{SegmentOptions: SegmentOptions{MaxBytes: 64 << 10}, FlushEvery: time.Millisecond})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		for r.Write(numbered(n)) != nil { // it is faster than the disk, so it tries again
		}
		if n%100 == 99 {
			if r.Flush(context.Background()) == nil {
				fmt.Println(n + 1)
			}
		}
	}
}
