package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// tail reads a segment, and returns how many exchanges it has, and its counters.
func tail(t *testing.T, segment []byte) (exchanges int, c *recording.Counters) {
	t.Helper()
	r, err := recording.NewReader(bytes.NewReader(segment))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		switch err := r.Next(new(recording.Exchange)); {
		case err == io.EOF:
			return exchanges, r.Counters()
		case err != nil:
			t.Fatal(err)
		}
		exchanges++
	}
}

// Each segment says what its process recorded and left out up to the segment's end.
func TestASegmentEndsWithItsProcessCounters(t *testing.T) {
	store := new(flaky)
	dropped := uint64(7)
	key := []byte("0123456789abcdef")
	r, err := OpenFiles(store, Options{
		QueueBytes: 2 << 10,
		Redact:     redact.Options{Key: key},
		SegmentOptions: SegmentOptions{Namespace: "shop", Workload: "cart", Pod: "cart-0", MaxBytes: 1 << 10,
			Counters: func() recording.Counters {
				return recording.Counters{Dropped: dropped, Filtered: 5, SampledOut: 4, Cut: 3, Incomplete: 2}
			}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		if err := r.Write(numbered(n)); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.Write(&recording.Exchange{Location: strings.Repeat("x", 4<<10)}) != TooLarge {
		t.Error("an exchange that is larger than the queue was taken")
	}
	r.Write(numbered(40))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(store.segments) < 3 {
		t.Fatalf("%d segments", len(store.segments))
	}
	sum, first := 0, (*recording.Counters)(nil)
	for i, s := range store.segments {
		n, c := tail(t, s.data)
		sum += n
		if c == nil {
			t.Fatalf("segment %d has no counters", i)
		}
		if first == nil {
			first = c
		}
		want := recording.Counters{Cluster: recording.Undefined, Namespace: "shop", Pod: "cart-0", Process: first.Process, Started: first.Started, Segment: i, Recorded: uint64(sum),
			Dropped: 7, Filtered: 5, SampledOut: 4, Cut: 3, Incomplete: 2, RedactKey: contract.RedactKeyID(key)}
		if i == len(store.segments)-1 {
			want.Dropped++ // the exchange that was too large
			want.End = true
		}
		if *c != want || c.Process == (recording.UUID{}) || time.Since(c.Started) > time.Hour {
			t.Errorf("segment %d: %+v, want %+v", i, *c, want)
		}
	}
	if s := r.Stats(); uint64(sum) != s.Stored {
		t.Errorf("the segments hold %d exchanges, %d are counted", sum, s.Stored)
	}
}

// A segment that is truncated because the disk is full counts the records that remain in it.
func TestASegmentThatIsCutBackCountsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(flaky)
		r, err := OpenFiles(store, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			r.Write(numbered(n))
		}
		time.Sleep(1500 * time.Millisecond) // bubble time: they are flushed
		synctest.Wait()
		store.fail, store.after = syscall.ENOSPC, 0
		for n := range 5 {
			r.Write(numbered(n))
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		store.fail = nil
		time.Sleep(2 * time.Second)
		r.Write(numbered(6))
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, c := tail(t, store.segments[0].data); n != 5 || c != nil {
			t.Errorf("without room for counters: %d exchanges, %+v", n, c)
		}
		if n, c := tail(t, store.segments[1].data); n != 1 || c == nil || c.Recorded != 6 || c.Dropped != 5 || c.Segment != 1 {
			t.Errorf("then: %d exchanges, %+v", n, c)
		}
	})
}

// A truncated segment ends with its counters, even if there is room for nothing else.
func TestASegmentThatIsCutBackEndsWithCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(flaky)
		s, err := NewSegments(store, SegmentOptions{})
		if err != nil {
			t.Fatal(err)
		}
		line := append(numbered(1).AppendJSON(nil), '\n')
		s.WriteLines(line, 1)
		if _, err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		s.WriteLines(line, 1)
		if f, err := s.abandon(errors.New("gone")); f != (Fate{Stored: 1, Lost: 1}) || err == nil {
			t.Errorf("%+v, %v", f, err)
		}
		if n, c := tail(t, store.segments[0].data); n != 1 || c == nil || c.Recorded != 1 {
			t.Errorf("%d exchanges, %+v", n, c)
		}
	})
}

// Readers that don't know counters, such as queries and older versions of this package, find a
// line of JSON whose members have the types that they expect, and which names no direction.
func TestCountersAreNoExchangeToAnybody(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(1))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, odd := locations(t, dir); len(found) != 1 || len(odd) > 0 {
		t.Errorf("%v, %v", found, odd)
	}
	for _, name := range files(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		var e recording.Exchange
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || e.MsgType != recording.CountersType || e.Direction != "" || e.Service != recording.Undefined || e.TS.IsZero() {
			t.Errorf("%s: %v", lines[len(lines)-1], err)
		}
	}
}

func TestCountersThatCannotBeReadAreNamed(t *testing.T) {
	r, err := recording.NewReader(strings.NewReader(`{"msgType":"counters","counters":{"recorded":-1}}` + "\n" + `{"msgType":"counters"}` + "\n" +
		`{"msgType":"counters","counters":{"dropped":18446744073709551615}}` + "\n" + `{"msgType":"counters","counters":{"segment":9223372036854775807}}` + "\n" + `{"msgType":"rrpair","direction":"IN"}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var e recording.Exchange
	for line := 1; line <= 4; line++ {
		var bad *recording.LineError
		if err := r.Next(&e); !errors.As(err, &bad) || bad.Line != line {
			t.Errorf("line %d: %v", line, err)
		}
	}
	if err := r.Next(&e); err != nil || e.Direction != recording.In || r.Counters() != nil {
		t.Errorf("%+v, %v", e, err)
	}
}
