// Command benchview measures the index of tapedeck view: how long it takes to make one for a
// million exchanges, how much space it needs, and how long questions take.
//
// Each question goes to an index that was just opened, so that nothing is cached from the one
// before. The slowest are printed, and the command fails if one takes a second or more.
//
//	usage: benchview [-exchanges n] [-recording directory]
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/machine"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func main() {
	exchanges := flag.Int("exchanges", 1_000_000, "exchanges in the recording")
	dir := flag.String("recording", "", "a directory to leave the recording in, and to find it again")
	only := flag.Bool("record", false, "only write the recording")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *only {
		_, err = record(*dir, *exchanges)
	} else {
		err = bench(ctx, *dir, *exchanges)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchview:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, dir string, exchanges int) error {
	work, err := os.MkdirTemp("", "benchview-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if dir == "" {
		dir = filepath.Join(work, "recording")
	}
	if _, err := os.Stat(dir); err != nil { // in a separate process, whose memory does not count
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, self, "-record", "-recording", dir, "-exchanges", strconv.Itoa(exchanges))
		if cmd.Stderr = os.Stderr; cmd.Run() != nil {
			return errors.New("the recording could not be written")
		}
	}
	place, err := read.Path(dir)
	if err != nil {
		return err
	}
	fmt.Println(machine.Describe())
	cache := filepath.Join(work, "cache")
	open := func() (*index.Index, error) {
		return index.Open(ctx, index.Options{Dir: cache}, read.Query{}, index.Source{Name: dir, Store: place})
	}
	begin := time.Now()
	x, err := open()
	if err != nil {
		return err
	}
	took := time.Since(begin)
	p, err := x.List(ctx, index.Filter{}, index.Sort{}, "", 1)
	x.Close()
	if err != nil {
		return err
	}
	fmt.Printf("%d exchanges in %d MB\nmade in      %.1f s, %.1f s of processor time\nindex        %d MB\npeak memory  %s\n",
		p.Total, size(dir)>>20, took.Seconds(), processor().Seconds(), size(cache)>>20, peak())

	type answer struct {
		name string
		took time.Duration
		n    int64
	}
	var all []answer
	for _, q := range questions() {
		begin := time.Now()
		x, err := open()
		if err != nil {
			return err
		}
		if q.name == "open" {
			all = append(all, answer{q.name, time.Since(begin), p.Total})
			x.Close()
			continue
		}
		begin = time.Now()
		n, err := q.ask(ctx, x)
		all = append(all, answer{q.name, time.Since(begin), n})
		if x.Close(); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	slices.SortFunc(all, func(a, b answer) int { return cmp.Compare(b.took, a.took) })
	fmt.Printf("%d questions, the slowest first:\n", len(all))
	for _, a := range all {
		fmt.Printf("%8.1f ms  %-34s %9d\n", float64(a.took.Microseconds())/1000, a.name, a.n)
	}
	if all[0].took >= time.Second {
		return fmt.Errorf("%s takes %s", all[0].name, all[0].took)
	}
	return nil
}

// question is asked of an index, and returns how many rows or lines it found.
type question struct {
	name string
	ask  func(ctx context.Context, x *index.Index) (int64, error)
}

func questions() (all []question) {
	list := func(name string, f index.Filter, s index.Sort, pages int) {
		all = append(all, question{name, func(ctx context.Context, x *index.Index) (n int64, err error) {
			for cursor := ""; pages > 0; pages-- {
				p, err := x.List(ctx, f, s, cursor, 100)
				if err != nil {
					return 0, err
				}
				if n, cursor = p.Total, p.Next; cursor == "" {
					break
				}
			}
			return n, nil
		}})
	}
	all = append(all, question{name: "open"})
	for _, by := range []index.Column{index.ByStart, index.ByDuration, index.ByStatus, index.ByMethod, index.ByHost, index.ByPath, index.ByWorkload, index.BySize} {
		list("sort by "+string(by), index.Filter{}, index.Sort{By: by}, 1)
		list("sort by "+string(by)+", descending", index.Filter{Method: "POST"}, index.Sort{By: by, Descending: true}, 1)
	}
	middle := begin.Add(3 * time.Hour)
	for name, f := range map[string]index.Filter{
		"direction": {Direction: recording.Out}, "protocol": {Protocol: "http"}, "method": {Method: "POST"}, "cluster": {Cluster: "prod"}, "namespace": {Namespace: "shop"},
		"workload": {Workload: "order-0"}, "pod": {Pod: "order-0-7d4b9-x0z"}, "endpoint": {Endpoint: "POST /api/v1/orders"}, "trace": {Trace: strings.Repeat("0", 32)},
		"host": {Host: "order-3"}, "path": {Path: "/orders/77"}, "status": {Status: "404"}, "class of status": {Status: "5xx"}, "no answer": {Status: "none"},
		"time": {From: middle, To: middle.Add(time.Minute)}, "slower": {Slower: 200 * time.Millisecond}, "problems": {Problems: true},
		"a rare word": {Text: "user-777"}, "a common word": {Text: "mozilla"}, "no word": {Text: "nowhere"}, "a letter": {Text: "a"}, "a digit": {Text: "1"},
		"several words": {Text: "parcel label invoice"}, "a phrase": {Text: `"parcel label"`}, "a common phrase": {Text: `"no cache no store"`},
		"words and filters": {Text: "receipt mozilla", Method: "POST", Status: "2xx", Direction: recording.In, Slower: 10 * time.Millisecond, Path: "api"},
	} {
		list(name, f, index.Sort{}, 1)
		list(name+", by path", f, index.Sort{By: index.ByPath, Descending: true}, 1)
	}
	list("10 pages", index.Filter{Method: "GET"}, index.Sort{By: index.ByDuration}, 10)
	sum := func(name string, ask func(ctx context.Context, x *index.Index) (int, error)) {
		all = append(all, question{name, func(ctx context.Context, x *index.Index) (int64, error) {
			n, err := ask(ctx, x)
			return int64(n), err
		}})
	}
	for name, f := range map[string]index.Filter{"": {}, " of a word": {Text: "mozilla"}} {
		sum("calls"+name, func(ctx context.Context, x *index.Index) (int, error) {
			all, err := x.Calls(ctx, f)
			return len(all), err
		})
		sum("endpoints"+name, func(ctx context.Context, x *index.Index) (int, error) {
			all, err := x.Endpoints(ctx, f)
			return len(all), err
		})
		sum("facets"+name, func(ctx context.Context, x *index.Index) (int, error) {
			all, err := x.Facets(ctx, f)
			return len(all.Workloads), err
		})
	}
	sum("a trace", func(ctx context.Context, x *index.Index) (int, error) {
		all, err := x.Trace(ctx, 1000)
		return len(all), err
	})
	sum("a UUID", func(ctx context.Context, x *index.Index) (int, error) {
		r, err := x.Row(ctx, 1000)
		if err == nil {
			r, err = x.Find(ctx, r.UUID)
		}
		return int(r.ID), err
	})
	for name, down := range map[string]bool{"the first exchange": false, "the last exchange": true} {
		sum(name, func(ctx context.Context, x *index.Index) (int, error) {
			p, err := x.List(ctx, index.Filter{}, index.Sort{Descending: down}, "", 1)
			if err == nil {
				_, err = x.Exchange(ctx, p.Rows[0].ID)
			}
			return 1, err
		})
	}
	return all
}

// size returns the number of bytes of the files below a directory.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// processor returns the processor time of the process.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak returns the largest amount of memory that the process has had.
func peak() string {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kb)[0])
			return fmt.Sprintf("%d MB", n>>10)
		}
	}
	return "unknown"
}
