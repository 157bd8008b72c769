package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// row has the figures of one contender. The table determines which fields are set.
type row struct {
	name     string
	perCPU   float64 // requests, or MiB, per second of processor time
	median   time.Duration
	p99      time.Duration
	cpu      float64 // cores, at the fixed rate
	busy     int64   // resident bytes
	peak     int64
	idle     int64
	recorded float64 // share of the requests that the recording has; -1: no recording
}

// results are rows by table.
type results map[string][]row

// table is one measurement.
type table struct {
	name  string
	among func(contender) bool
	once  bool // one turn is enough
	turn  func(context.Context, *lineup, contender) (row, error)
	print func([]row)
}

const (
	requestsTable = "requests"
	latencyTable  = "latency"
	bulkTable     = "bulk"
	memoryTable   = "memory"
)

var tables = []table{
	{requestsTable, func(c contender) bool { return c.start != nil }, false, requests, printRequests},
	{latencyTable, func(c contender) bool { return !c.forward }, false, latency, printLatency},
	{bulkTable, func(c contender) bool { return c.start != nil && !c.forward }, false, bulk, printBulk},
	{memoryTable, func(c contender) bool { return c.start != nil && !c.forward }, true, memory, printMemory},
}

func tableNames() (names []string) {
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

// measure runs the turns of the contenders, and returns the median of each.
func (t *table) measure(ctx context.Context, f *lineup, turns int) ([]row, error) {
	if t.once {
		turns = 1
	}
	all := map[string][]row{}
	for range turns {
		for _, c := range f.contenders {
			if !t.among(c) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r, err := t.turn(ctx, f, c)
			if ctx.Err() != nil {
				return nil, ctx.Err() // the end of ctx ended the proxy, which is not the proxy's fault
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], r)
		}
	}
	var rows []row
	for _, c := range f.contenders {
		if rs := all[c.name]; rs != nil {
			rows = append(rows, medianRow(c.name, rs))
		}
	}
	return rows, nil
}

func medianRow(name string, rs []row) row {
	return row{
		name:   name,
		perCPU: median(rs, func(r row) float64 { return r.perCPU }),
		median: median(rs, func(r row) time.Duration { return r.median }),
		p99:    median(rs, func(r row) time.Duration { return r.p99 }),
		cpu:    median(rs, func(r row) float64 { return r.cpu }),
		busy:   median(rs, func(r row) int64 { return r.busy }),
		peak:   median(rs, func(r row) int64 { return r.peak }),
		idle:   median(rs, func(r row) int64 { return r.idle }),
		// The worst of the turns, so that no loss is hidden.
		recorded: slices.MinFunc(rs, func(a, b row) int { return int(1e6 * (a.recorded - b.recorded)) }).recorded,
	}
}

func median[T int64 | float64 | time.Duration](rs []row, of func(row) T) T {
	values := make([]T, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// turn is one turn of a contender.
type turn struct {
	contender
	process   *process // nil: no proxy
	address   string
	forwardTo string
	dir       string
	recording string
	asked     int64 // requests that were answered
}

func (f *lineup) begin(ctx context.Context, c contender) (t *turn, err error) {
	t = &turn{contender: c, address: f.server}
	if c.start == nil {
		return t, nil
	}
	if t.dir, err = os.MkdirTemp(f.dir, "turn-"); err != nil {
		return nil, err
	}
	if t.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if c.forward {
		t.forwardTo = f.server
	}
	t.process, t.recording, err = c.start(ctx, t.address, t.dir)
	return t, err
}

// end stops the proxy, checks its recording and removes it. It returns
// the total processor time of the proxy.
func (t *turn) end() (cpu time.Duration, recorded float64, err error) {
	if t.process == nil {
		return 0, -1, nil
	}
	defer os.RemoveAll(t.dir)
	if cpu, err = t.process.stop(); err != nil {
		return 0, 0, err
	}
	if !t.lines {
		return cpu, -1, nil
	}
	n, err := countLines(t.recording)
	return cpu, float64(n) / float64(max(1, t.asked)), err
}

// dial connects n clients, each of which sends one request.
func (t *turn) dial(ctx context.Context, n int, path string) (load, error) {
	l, err := dialAll(ctx, n, t.address, t.forwardTo, path)
	if err != nil {
		return nil, err
	}
	if path == bulkPath {
		return l, nil
	}
	err = l.each(func(c *client) error { _, err := c.do(); return err })
	t.asked += int64(n)
	return l, err
}

func (t *turn) closedLoop(l load, d time.Duration) (n, bodies int64, err error) {
	n, bodies, err = l.closedLoop(d)
	t.asked += n
	return n, bodies, err
}

// used returns the processor time of the proxy until now.
func (t *turn) used() time.Duration {
	if t.process == nil {
		return 0
	}
	return t.process.cpu()
}

// requests counts short requests by the processor time that they took.
func requests(ctx context.Context, f *lineup, c contender) (row, error) {
	t, err := f.begin(ctx, c)
	if err != nil {
		return row{}, err
	}
	l, err := t.dial(ctx, connections, "/")
	if err != nil {
		return row{}, errors.Join(err, t.abort())
	}
	_, _, warmErr := t.closedLoop(l, warmTime)
	before := t.used()
	n, _, err := t.closedLoop(l, requestTime)
	l.close()
	cpu, recorded, endErr := t.end()
	return row{perCPU: float64(n) / (cpu - before).Seconds(), recorded: recorded}, errors.Join(warmErr, err, endErr)
}

// latency sends requests at a fixed rate.
func latency(ctx context.Context, f *lineup, c contender) (row, error) {
	t, err := f.begin(ctx, c)
	if err != nil {
		return row{}, err
	}
	l, err := t.dial(ctx, connections, "/")
	if err != nil {
		return row{}, errors.Join(err, t.abort())
	}
	before := t.used()
	took, err := l.openLoop(rateTime)
	t.asked += int64(len(took))
	l.close()
	cpu, recorded, endErr := t.end()
	if err = errors.Join(err, endErr); err != nil {
		return row{}, err
	}
	slices.Sort(took)
	return row{
		median: took[len(took)/2], p99: took[len(took)*99/100],
		cpu: (cpu - before).Seconds() / rateTime.Seconds(), recorded: recorded,
	}, nil
}

// bulk moves large bodies.
func bulk(ctx context.Context, f *lineup, c contender) (row, error) {
	t, err := f.begin(ctx, c)
	if err != nil {
		return row{}, err
	}
	l, err := t.dial(ctx, bulkConns, bulkPath)
	if err != nil {
		return row{}, errors.Join(err, t.abort())
	}
	before := t.used()
	_, bodies, err := t.closedLoop(l, bulkTime)
	l.close()
	cpu, recorded, endErr := t.end()
	return row{perCPU: float64(bodies) / (1 << 20) / (cpu - before).Seconds(), recorded: recorded}, errors.Join(err, endErr)
}

// memory measures the resident memory with many busy connections and, in a separate
// process, with very many idle connections that have sent one request.
func memory(ctx context.Context, f *lineup, c contender) (row, error) {
	var r row
	for _, m := range []struct {
		conns int
		busy  time.Duration
	}{{busyConns, busyTime}, {idleCount(), 0}} {
		t, err := f.begin(ctx, c)
		if err != nil {
			return row{}, err
		}
		l, err := t.dial(ctx, m.conns, "/")
		if err != nil {
			return row{}, errors.Join(err, t.abort())
		}
		if m.busy > 0 {
			// Measure during the load, after three quarters of it.
			sampled := time.AfterFunc(m.busy*3/4, func() { r.busy, _ = t.process.resident() })
			_, _, err = t.closedLoop(l, m.busy)
			sampled.Stop()
			_, r.peak = t.process.resident()
		} else {
			select {
			case <-time.After(2 * time.Second): // for deferred work
			case <-ctx.Done():
			}
			r.idle, _ = t.process.resident()
		}
		l.close()
		_, recorded, endErr := t.end()
		if err = errors.Join(err, endErr); err != nil {
			return row{}, err
		}
		if m.busy > 0 {
			r.recorded = recorded
		}
	}
	return r, nil
}

func (t *turn) abort() error {
	_, _, err := t.end()
	return err
}

// countLines counts the lines of a recording: a file, or a directory of
// compressed segments.
func countLines(place string) (lines int, err error) {
	err = filepath.WalkDir(place, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || file != place && filepath.Ext(file) != ".zst" {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		var r io.Reader = bufio.NewReader(f)
		if filepath.Ext(file) == ".zst" {
			z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
			if err != nil {
				return err
			}
			defer z.Close()
			r = z
		}
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			lines += bytes.Count(buf[:n], []byte{'\n'})
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read recording %s: %w", file, err)
			}
		}
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // nothing was recorded
	}
	return lines, err
}
