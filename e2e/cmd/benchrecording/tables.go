package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/figures"
)

// contender is a task, with a name for people.
type contender struct{ name, work string }

// median gives the contenders their turns, each in the directory that place returns.
func (b *bencher) median(ctx context.Context, contenders []contender, n int, place func() (string, error)) ([]taken, error) {
	all := make([][]taken, len(contenders))
	for range b.turns {
		for i, c := range contenders {
			dir, err := place()
			if err != nil {
				return nil, err
			}
			t, err := b.run(ctx, c.work, dir, n)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], t)
		}
	}
	medians := make([]taken, len(contenders))
	for i, turns := range all {
		slices.SortFunc(turns, func(a, b taken) int { return cmp.Compare(a.CPU, b.CPU) })
		medians[i] = turns[len(turns)/2]
	}
	return medians, nil
}

func (b *bencher) writing(ctx context.Context) error {
	contenders := []contender{
		{"zstd alone, of the same lines", "write-zstd"},
		{"encode and write", "write"},
		{"redact, encode and write", "write-redacted"},
	}
	dir := ""
	rows, err := b.median(ctx, contenders, written, func() (_ string, err error) {
		os.RemoveAll(dir)
		dir, err = os.MkdirTemp(b.dir, "written-")
		return dir, err
	})
	os.RemoveAll(dir)
	if err != nil {
		return err
	}
	fmt.Printf("Writing %s exchanges, %.0f MiB of JSON lines\n\n", figures.Thousands(written), mib(rows[0].Bytes))
	fmt.Printf("  %-32s %10s %10s %8s %12s\n", "", "CPU", "each", "ratio", "MiB per s")
	for i, c := range contenders {
		fmt.Printf("  %-32s %9.2fs %7.1f µs %7.2fx %12.0f\n", c.name, rows[i].CPU.Seconds(), micros(rows[i].CPU, written), ratio(rows[i].CPU, rows[0].CPU),
			mib(rows[i].Bytes)/rows[i].CPU.Seconds())
	}
	fmt.Println()
	return nil
}

func (b *bencher) reading(ctx context.Context) error {
	dir, err := b.recording(ctx, b.exchanges)
	if err != nil {
		return err
	}
	listing := []contender{
		{"zstd, and count lines", "scan-lines"},
		{"list", "list"},
		{"tapedeck inspect", "inspect"},
		{"read all of each", "whole"},
	}
	filtering := []contender{
		{"zstd, and search a text", "scan-text"},
		{"zstd -dc | grep", "grep"},
		{"filter by status", "filter"},
		{"tapedeck inspect --status", "inspect-some"},
	}
	if _, err := exec.LookPath("zstd"); err != nil {
		filtering = slices.Delete(filtering, 1, 2)
		fmt.Print("zstd -dc is left out: there is no zstd (Debian: apt-get install zstd)\n\n")
	}
	rows, err := b.median(ctx, slices.Concat(listing, filtering), 0, func() (string, error) { return dir, nil })
	if err != nil {
		return err
	}
	bytes, err := size(dir)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		title      string
		contenders []contender
		rows       []taken
		want       int
	}{
		{"Listing", listing, rows[:len(listing)], b.exchanges},
		{"Filtering", filtering, rows[len(listing):], rows[len(listing)].Count},
	} {
		base := t.rows[0]
		fmt.Printf("%s %s exchanges, %.0f MiB of JSON lines in %.0f MiB of segments\n\n", t.title, figures.Thousands(b.exchanges), mib(base.Bytes), mib(bytes))
		fmt.Printf("  %-32s %10s %10s %8s %12s\n", "", "CPU", "each", "ratio", "found")
		for i, c := range t.contenders {
			r := t.rows[i]
			fmt.Printf("  %-32s %9.2fs %7.1f µs %7.2fx %12s\n", c.name, r.CPU.Seconds(), micros(r.CPU, b.exchanges), ratio(r.CPU, base.CPU), figures.Thousands(r.Count))
			if c.work != "scan-lines" && r.Count != t.want { // each segment ends with a line that is not an exchange
				return fmt.Errorf("%s: %d exchanges, want %d", c.name, r.Count, t.want)
			}
		}
		fmt.Println()
	}
	return nil
}

func (b *bencher) memory(ctx context.Context) error {
	few, many := b.exchanges/10, b.exchanges
	fmt.Printf("Peak of resident memory, by exchanges\n\n  %-32s %12s %12s %8s\n", "", figures.Thousands(few), figures.Thousands(many), "ratio")
	for _, c := range []contender{
		{"list", "list"},
		{"list, sorted", "sorted"},
		{"read all of each", "whole"},
		{"tapedeck inspect", "inspect"},
	} {
		var peaks [2]int64
		for i, n := range []int{few, many} {
			dir, err := b.recording(ctx, n)
			if err != nil {
				return err
			}
			t, err := b.run(ctx, c.work, dir, 0)
			if err != nil {
				return err
			}
			peaks[i] = t.Peak
		}
		fmt.Printf("  %-32s %8.0f MiB %8.0f MiB %7.2fx\n", c.name, mib(peaks[0]), mib(peaks[1]), float64(peaks[1])/float64(peaks[0]))
	}
	fmt.Println()
	return nil
}

func (b *bencher) count(ctx context.Context) error {
	c, err := newCounter(ctx, b)
	if err != nil || c == nil {
		return err
	}
	for _, t := range []struct {
		title string
		place func(n int) (string, error)
		rows  []contender
	}{
		{"capture an exchange with JSON bodies of 1 KiB in the request and in the answer, from its bytes to the disk", func(int) (string, error) { return os.MkdirTemp(b.dir, "written-") }, []contender{
			{"without redaction of bodies", "capture-headers"},
			{"with it, bodies without secrets", "capture-clean"},
			{"with it, one secret in each", "capture-secret"},
		}},
		{"read an exchange", func(n int) (string, error) { return b.recording(ctx, n) }, []contender{
			{"zstd, and count lines", "scan-lines"},
			{"zstd, and search a text", "scan-text"},
			{"filter by status", "filter"},
			{"read all of each", "whole"},
		}},
	} {
		fmt.Printf("Instructions to %s\n\n", t.title)
		base := 0.0
		for _, r := range t.rows {
			each, err := c.each(ctx, r.work, t.place)
			if err != nil {
				return err
			}
			base = cmp.Or(base, each)
			fmt.Printf("  %-32s %10s %7.2fx\n", r.name, figures.Thousands(int(each)), each/base)
		}
		fmt.Println()
	}
	return nil
}

// recording returns the directory of a recording with n exchanges, and writes it if it
// isn't there.
func (b *bencher) recording(ctx context.Context, n int) (string, error) {
	dir := filepath.Join(cmp.Or(b.recordings, b.dir), strconv.Itoa(n))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	making := dir + ".part"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	if _, err := b.run(ctx, "record", making, n); err != nil {
		return "", err
	}
	return dir, os.Rename(making, dir)
}

// size returns the number of bytes of the files in a directory.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

func micros(d time.Duration, n int) float64 { return d.Seconds() / float64(n) * 1e6 }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
