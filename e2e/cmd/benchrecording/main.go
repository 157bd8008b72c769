// Command benchrecording measures how recordings are written and read, and compares that with
// what compression alone takes for the same bytes, in one run:
//
//	writing    zstd of the same lines at the same level, window and batches, and
//	           encoding the exchanges and writing them through the recorder's queue
//	reading    zstd and one scan of the output, for line breaks or for a text, and
//	           listing and filtering the exchanges
//	memory     listing a tenth of the recording, and all of it
//	count      instructions for each exchange, from the bytes of a connection to the
//	           disk, as QEMU counts them: the same in each run, however busy the machine is
//
// Each turn is a separate process with one processor (GOMAXPROCS=1). The contenders of
// a table take turns, and each figure is the median of its turns: of the processor time,
// user and system, so that other work of the machine hardly counts.
//
// The recording is written once, by the recorder, into the system's temporary directory,
// and removed at the end.
//
// Every fifth exchange has a JSON body of 1 KiB in its request, all have one in the answer,
// and every tenth has a secret in each body.
//
//	usage: benchrecording [-turns n] [-exchanges n] [-only table] [-recordings directory] TAPEDECK
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tapedeck/tapedeck/e2e/internal/machine"
)

func main() {
	var o options
	flag.IntVar(&o.turns, "turns", 3, "turns of each contender")
	flag.IntVar(&o.exchanges, "exchanges", 1_000_000, "exchanges in the recording that is read")
	flag.StringVar(&o.only, "only", "", "run only this table: "+strings.Join(tableNames(), ", "))
	flag.StringVar(&o.recordings, "recordings", "", "a directory to leave the recordings in, and to find them again")
	work := flag.String("work", "", "do this work on the directory, and print what it took")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: benchrecording [-turns n] [-exchanges n] [-only table] [-recordings directory] TAPEDECK")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *work != "":
		err = be(ctx, *work, flag.Args())
	case flag.NArg() != 1 || o.turns < 1 || o.exchanges < 10*distinct:
		err = fmt.Errorf("usage: benchrecording [-turns n] [-exchanges n] [-only table] [-recordings directory] TAPEDECK; at least 1 turn and %d exchanges", 10*distinct)
	case o.only != "" && !slices.Contains(tableNames(), o.only):
		err = fmt.Errorf("-only %q: want %s", o.only, strings.Join(tableNames(), ", "))
	default:
		if o.tapedeck, err = filepath.Abs(flag.Arg(0)); err == nil {
			err = bench(ctx, o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchrecording:", err)
		os.Exit(1)
	}
}

type options struct {
	turns, exchanges           int
	only, recordings, tapedeck string
}

// table is a set of measurements that run together.
type table struct {
	name string
	run  func(*bencher, context.Context) error
}

var tables = []table{
	{"writing", (*bencher).writing},
	{"reading", (*bencher).reading},
	{"memory", (*bencher).memory},
	{"count", (*bencher).count},
}

func tableNames() (names []string) {
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

// bencher runs tasks.
type bencher struct {
	options
	self, dir string
}

func bench(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchrecording-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b := &bencher{o, self, dir}
	fmt.Printf("%s\n\n", machine.Describe())
	for _, t := range tables {
		if o.only == "" || o.only == t.name {
			if err := t.run(b, ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// terminal returns the file if it is a terminal. Otherwise progress is discarded.
func terminal(f *os.File) io.Writer {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return f
	}
	return io.Discard
}
