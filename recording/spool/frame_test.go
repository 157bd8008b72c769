package spool

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Some zstd readers stop after the first frame, so a segment has only one, however often it was
// flushed.
func TestSegmentIsOneFrame(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		r.Write(numbered(n))
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := files(t, dir)
	if len(names) != 1 {
		t.Fatalf("segments %v, want one", names)
	}
	data, err := os.ReadFile(filepath.Join(dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	var head zstd.Header
	if err := head.Decode(data); err != nil {
		t.Fatal(err)
	}
	if head.WindowSize > window || head.HasCheckSum {
		t.Errorf("the frame is %+v", head)
	}
	// Count its blocks up to the last one (RFC 8878, section 3.1.1.2).
	blocks := 0
	for rest, last := data[head.HeaderSize:], false; ; blocks++ {
		if last {
			if len(rest) > 0 {
				t.Errorf("%d bytes follow the frame", len(rest))
			}
			break
		}
		block := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
		size := block >> 3
		if kind := block >> 1 & 3; kind == 1 { // one byte, repeated
			size = 1
		}
		last, rest = block&1 == 1, rest[3+size:]
	}
	if blocks < 10 {
		t.Errorf("%d blocks, want one for each flush", blocks)
	}
}
