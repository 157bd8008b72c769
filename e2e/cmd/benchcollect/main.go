// Command benchcollect compares `tapedeck collect` with a server that only copies what it
// gets to the same store, in one run, over loopback:
//
//	1,000 pods ──PUT──▶ server, a separate process ──▶ a directory, synced
//	            half of them HTTP/1.1, half h2c, one connection each
//
// Each pod sends ten segments, one after the other, each as soon as the one before is
// stored. That is far more than the usual one in five minutes. If the server says that it
// is busy, a pod tries again, with the pauses of a sidecar.
//
// The figures are those of the server's process: its processor time, user and system, for
// each megabyte of segments, and its peak resident memory after a tenth of the segments and
// after all. An answer other than "stored" and "busy" ends the run, and so does a store
// that lacks a segment.
//
//	usage: benchcollect [-pods n] [-segments n] [-exchanges n] [-protocol p] TAPEDECK
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/figures"
	"github.com/tapedeck/tapedeck/e2e/internal/machine"
)

// procs is how many processors a server has.
const procs = 2

func main() {
	var o options
	flag.IntVar(&o.pods, "pods", 1000, "pods that send at once")
	flag.IntVar(&o.segments, "segments", 10_000, "segments that they send, all together")
	flag.IntVar(&o.exchanges, "exchanges", 300, "exchanges in each")
	flag.StringVar(&o.protocol, "protocol", "", "have all pods speak this `protocol`, HTTP/1.1 or h2c")
	copies := flag.String("copy", "", "be the server that copies into this `directory`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *copies != "":
		err = serveCopy(ctx, *copies)
	case flag.NArg() != 1 || o.pods < 1 || o.segments < 10*o.pods || o.segments%o.pods != 0 || o.exchanges < 1:
		err = errors.New("usage: benchcollect [-pods n] [-segments n] [-exchanges n] [-protocol p] TAPEDECK; at least 10 segments of each pod, and of each as many")
	case o.protocol != "" && o.protocol != http1 && o.protocol != h2c:
		err = fmt.Errorf("-protocol %q: want %s or %s", o.protocol, http1, h2c)
	default:
		if o.tapedeck, err = filepath.Abs(flag.Arg(0)); err == nil {
			err = bench(ctx, o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchcollect:", err)
		os.Exit(1)
	}
}

type options struct {
	pods, segments, exchanges int
	protocol, tapedeck        string
}

// row has the measurements of one server.
type row struct {
	name        string
	cpu, took   time.Duration
	early, late int64 // peaks of resident memory
	busy, bytes int64
}

func bench(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchcollect-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	seg, err := newSegment(o.exchanges)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n", machine.Describe())
	var rows []row
	for _, s := range []server{plainCopy, collect} {
		r, err := measure(ctx, o, s, dir, &seg)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, r)
	}
	first := rows[0]
	fmt.Printf("%s segments of %s pods: each has %d exchanges, %s bytes, and %s when decompressed; %d bytes for each exchange, and %d\n\n",
		figures.Thousands(o.segments), figures.Thousands(o.pods), o.exchanges, figures.Thousands(len(seg.bytes)), figures.Thousands(seg.raw), len(seg.bytes)/o.exchanges, seg.raw/o.exchanges)
	fmt.Printf("  %-18s %12s %8s %16s %10s %8s %9s\n", "", "CPU per MB", "ratio", "peak after 1/10", "after all", "busy", "time")
	perMB := func(r row) float64 { return float64(r.cpu.Microseconds()) / 1e3 / (float64(r.bytes) / 1e6) }
	for _, r := range rows {
		fmt.Printf("  %-18s %9.2f ms %7.2fx %12d MiB %6d MiB %8s %7.1f s\n", r.name, perMB(r), perMB(r)/perMB(first), r.early>>20, r.late>>20, figures.Thousands(int(r.busy)), r.took.Seconds())
	}
	fmt.Println()
	return nil
}
