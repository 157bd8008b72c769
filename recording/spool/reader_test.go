package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// segmentOf returns the bytes of a compressed segment of n records that was flushed
// after each, and how many bytes there were after each flush.
func segmentOf(t testing.TB, n int) (data []byte, flushed []int) {
	t.Helper()
	store := &flaky{}
	s, err := NewSegments(store, SegmentOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.WriteLines(append(numbered(i).AppendJSON(nil), '\n'), 1)
		s.Flush()
		flushed = append(flushed, len(store.segments[0].data))
	}
	s.Close()
	return store.segments[0].data, flushed
}

// kill -9 leaves a segment cut anywhere. Every record flushed before the cut is read, and the only
// error is ErrTorn.
func TestReaderSkipsATornTail(t *testing.T) {
	data, flushed := segmentOf(t, 8)
	var plain bytes.Buffer
	for i := range 8 {
		plain.Write(append(numbered(i).AppendJSON(nil), '\n'))
	}
	check := func(name string, whole []byte, atLeast func(cut int) int) {
		for cut := range len(whole) + 1 {
			n, err := readAll(whole[:cut])
			if err != nil && err != recording.ErrTorn {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
			if n < atLeast(cut) {
				t.Fatalf("%s cut at %d: %d records, want at least %d", name, cut, n, atLeast(cut))
			}
			if cut == len(whole) && (n != 8 || err != nil) {
				t.Errorf("%s whole: %d records, %v", name, n, err)
			}
		}
	}
	check("compressed", data, func(cut int) (n int) {
		for n < len(flushed) && flushed[n] <= cut {
			n++
		}
		return n
	})
	check("plain", plain.Bytes(), func(cut int) int { return bytes.Count(plain.Bytes()[:cut], []byte("\n")) })
}

func readAll(data []byte) (n int, err error) {
	r, err := recording.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		var e recording.Exchange
		if err := r.Next(&e); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

func TestReaderReadsSegmentsStillBeingWritten(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{FlushEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	r.Write(numbered(1))
	r.Flush(t.Context())
	found, odd := locations(t, dir)
	if len(found) != 1 || len(odd) != 1 || odd[0].Kind != read.TornPart {
		t.Errorf("found %v, odd: %v", found, odd)
	}
	if names := files(t, dir); len(names) != 1 || filepath.Ext(names[0]) != recording.PartSuffix {
		t.Errorf("files %v", names)
	}
}

// An RRPair that another recorder wrote is read, and keeps its content when it is written.
func TestForeignRecordIsRead(t *testing.T) {
	line, err := os.ReadFile("testdata/foreign.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r, err := recording.NewReader(bytes.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	var e recording.Exchange
	if err := r.Next(&e); err != nil {
		t.Fatal(err)
	}
	if got, want := string(e.AppendJSON(nil)), strings.TrimSpace(string(line)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzReader(f *testing.F) {
	data, _ := segmentOf(f, 3)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte(`{"tags":{"a":"b"},"http":{"req":{"headers":{"A":["b"]}}}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := recording.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Close()
		for {
			var e recording.Exchange
			err := r.Next(&e)
			var bad *recording.LineError
			switch {
			case errors.As(err, &bad):
			case err != nil:
				return
			default:
				// An exchange that was read can be written, and is the same when it is read again.
				once := e.AppendJSON(nil)
				again, err := recording.NewReader(bytes.NewReader(append(once, '\n')))
				if err != nil {
					t.Fatal(err)
				}
				var e2 recording.Exchange
				if err := again.Next(&e2); err != nil {
					t.Fatalf("%s: %v", once, err)
				}
				if twice := e2.AppendJSON(nil); !bytes.Equal(once, twice) {
					t.Fatalf("%s became %s", once, twice)
				}
			}
		}
	})
}
