package collector

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/contract"
)

// Limits on a segment when decompressed.
const (
	// MaxWindow is the largest window of zstd, which every decoder must support (RFC 8878,
	// section 3.1.1.1.2). Sidecars use 128 KiB.
	MaxWindow = 8 << 20
	// MaxBytes is the size of a segment. Sidecars end one at 64 MiB.
	MaxBytes = 256 << 20
	// maxBlocks bounds the blocks of zstd: a frame with an empty block every three bytes would take a
	// minute to decompress to nothing. MaxBytes in blocks of 4 KiB, the smallest window that a
	// recorder might use, take half of it; a sidecar adds one block each second.
	maxBlocks = 128 << 10
)

// checkFrame accepts exactly one zstd frame. Some readers stop after the first frame, so a client
// could hide data after it. checkFrame reads only the frame's structure (RFC 8878, section 3.1.1),
// and decompresses nothing.
func checkFrame(in *bufio.Reader) error {
	damaged := func(what string) error { return refuse(contract.RefusedSegment, "%s", what) }
	var head zstd.Header
	start, err := in.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return tempFailed(err)
	}
	switch err := head.Decode(start); {
	case err != nil:
		return damaged("the segment does not begin with a zstd frame")
	case head.Skippable:
		return damaged("the segment begins with a skippable zstd frame, want an ordinary one")
	case head.DictionaryID != 0:
		return damaged("the segment is compressed with a dictionary, want none")
	case head.WindowSize > MaxWindow:
		return refuse(contract.RefusedTooLarge, "the zstd window has %d bytes; at most %d are allowed", head.WindowSize, MaxWindow)
	case head.HasFCS && head.FrameContentSize > MaxBytes:
		return refuse(contract.RefusedTooLarge, "the segment has %d bytes when decompressed; at most %d are allowed", head.FrameContentSize, MaxBytes)
	}
	if err := skip(in, head.HeaderSize); err != nil {
		return err
	}
	last := false
	for n := 0; !last; n++ {
		if n == maxBlocks {
			return refuse(contract.RefusedTooLarge, "the segment has more than %d zstd blocks, which is the limit", maxBlocks)
		}
		var b [3]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return broken(err)
		}
		block := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		size := block >> 3
		switch block >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3:
			return damaged("a zstd block has an invalid type")
		}
		last = block&1 == 1
		if err := skip(in, size); err != nil {
			return err
		}
	}
	if head.HasCheckSum {
		if err := skip(in, 4); err != nil {
			return err
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return damaged("found data after the zstd frame")
	}
	return nil
}

func skip(in *bufio.Reader, n int) error {
	if _, err := in.Discard(n); err != nil {
		return broken(err)
	}
	return nil
}

// broken returns the refusal of a frame that can't be read to its end.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(contract.RefusedSegment, "the end of the zstd frame is missing")
	}
	return tempFailed(err)
}
