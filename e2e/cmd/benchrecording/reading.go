package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// wanted is the status to filter by, and wantedText the part of a line that has it.
const (
	wanted     = "503"
	wantedText = `"status":"` + wanted + `"`
)

// scanLines decompresses a recording and counts its lines. scanText counts the occurrences of a text.
func scanLines(ctx context.Context, w *watch, in input) (int, error) {
	return scan(ctx, w, in.dir, "\n")
}
func scanText(ctx context.Context, w *watch, in input) (int, error) {
	return scan(ctx, w, in.dir, wantedText)
}

func scan(ctx context.Context, w *watch, dir, text string) (count int, err error) {
	w.begin()
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	buf := make([]byte, 64<<10)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, recording.SegmentSuffix) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := z.Reset(f); err != nil {
			return err
		}
		for kept := 0; ; { // the text may begin in the last bytes, and end in the next ones
			n, err := z.Read(buf[kept:])
			w.bytes += int64(n)
			part := buf[:kept+n]
			count += bytes.Count(part, []byte(text))
			kept = copy(buf, part[max(0, len(part)-len(text)+1):])
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
	})
	return count, err
}

// list reads the parts of exchanges that a list needs. filter reads only those with one
// status.
func list(ctx context.Context, w *watch, in input) (int, error) {
	return readAll(ctx, w, in, read.Query{}, read.Options{Light: true, Recycle: true})
}

func filter(ctx context.Context, w *watch, in input) (int, error) {
	match := func(e *recording.Exchange) bool { return e.Status == wanted }
	return readAll(ctx, w, in, read.Query{Glance: match, Match: match}, read.Options{Light: true, Recycle: true})
}

// whole reads all of each exchange. sorted reads them in order, whatever their duration.
func whole(ctx context.Context, w *watch, in input) (int, error) {
	return readAll(ctx, w, in, read.Query{}, read.Options{})
}

func sorted(ctx context.Context, w *watch, in input) (int, error) {
	return readAll(ctx, w, in, read.Query{}, read.Options{Order: read.Sorted, Light: true, TempDir: os.TempDir()})
}

func readAll(ctx context.Context, w *watch, in input, q read.Query, o read.Options) (int, error) {
	w.begin()
	r, err := read.Open(ctx, q, o, store.Dir(in.dir))
	if err != nil {
		return 0, err
	}
	n, sum := 0, int64(0)
	for rec, err := range r.Records() {
		if err != nil {
			return 0, err
		}
		asked, answered := rec.Sizes()
		sum += asked + answered
		n++
	}
	if late := r.Report().Count(read.Late); late > 0 {
		return 0, fmt.Errorf("%d of %d exchanges came late", late, n)
	}
	if q.Match == nil && sum < int64(n)*bodyBytes/2 {
		return 0, fmt.Errorf("%d exchanges have %d bytes of bodies", n, sum)
	}
	return n, r.Report().Err()
}

// inspectAll and inspectSome run the program, which prints a line for each exchange.
func inspectAll(ctx context.Context, w *watch, in input) (int, error) {
	return command(ctx, w, -1, in.tapedeck, "inspect", in.dir)
}

func inspectSome(ctx context.Context, w *watch, in input) (int, error) {
	return command(ctx, w, -1, in.tapedeck, "inspect", "--status", wanted, in.dir)
}

// grep is what people use without Tapedeck.
func grep(ctx context.Context, w *watch, in input) (int, error) {
	return command(ctx, w, 0, "sh", "-c", `find "$1" -name '*`+recording.SegmentSuffix+`' -print0 | xargs -0 zstd -dcq | LC_ALL=C grep '`+wantedText+`'`, "sh", in.dir)
}

// command counts the lines that a program prints, plus more.
func command(ctx context.Context, w *watch, more int, name string, args ...string) (int, error) {
	w.begin()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		more += bytes.Count(buf[:n], []byte("\n"))
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return more, cmd.Wait()
}
