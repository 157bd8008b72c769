// Command benchmock compares `tapedeck mock` with servers that a user would compare it with,
// in one run, over loopback:
//
//	serving    a server of net/http that gives each request the same answer, which is the
//	           limit; the mock with few exchanges and with many; and mitmproxy, which replays
//	           the few. At first, each request is for a different exchange; then all are
//	           repeated. Figures are requests per second of the server's processor time.
//	loading    zstd and one scan of the recording, and the mock until it listens; and how much
//	           memory the mock then has for each exchange, while the answers are on disk
//
// Each turn is a separate process with one processor (GOMAXPROCS=1). The servers take turns,
// and each figure is the median of its turns: of the processor time, user and system, so that
// other work of the machine hardly counts. An answer that isn't the recorded one ends the
// run.
//
//	usage: benchmock [-turns n] [-exchanges n] [-many n] [-only table] TAPEDECK
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/tapedeck/tapedeck/e2e/internal/machine"
)

const (
	// requests is how many requests are sent, each for a different exchange. mitmproxy gets only
	// a tenth of them, because it is slow.
	requests = 10_000
	// repeats is how often they are repeated.
	repeats = 3
)

type options struct {
	turns, few, many int
	only, tapedeck   string
}

func main() {
	var o options
	flag.IntVar(&o.turns, "turns", 3, "turns of each server")
	flag.IntVar(&o.few, "exchanges", 10_000, "exchanges in the small recording")
	flag.IntVar(&o.many, "many", 1_000_000, "exchanges in the large one")
	flag.StringVar(&o.only, "only", "", "run only this table: serving, loading")
	constant := flag.String("constant", "", "be the server with one answer, on this `address`")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *constant != "":
		err = serveConstant(ctx, *constant)
	case flag.NArg() != 1 || o.turns < 1 || o.few < requests || o.many < o.few:
		err = fmt.Errorf("%s; at least 1 turn and %d exchanges", usage, requests)
	case o.only != "" && o.only != "serving" && o.only != "loading":
		err = fmt.Errorf("-only %q: want serving or loading", o.only)
	default:
		if o.tapedeck, err = filepath.Abs(flag.Arg(0)); err == nil {
			err = bench(ctx, o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmock:", err)
		os.Exit(1)
	}
}

const usage = "usage: benchmock [-turns n] [-exchanges n] [-many n] [-only table] TAPEDECK"

func bench(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchmock-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s\n\n", machine.Describe())
	b := &bencher{o, dir}
	for _, n := range []int{1, o.few, o.many} {
		if err := record(b.recording(n), n); err != nil {
			return fmt.Errorf("write a recording of %d exchanges: %w", n, err)
		}
	}
	for _, t := range []struct {
		name string
		run  func(context.Context) error
	}{{"serving", b.serving}, {"loading", b.loading}} {
		if o.only == "" || o.only == t.name {
			if err := t.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

// serveConstant is the least that a server of net/http does for an answer.
func serveConstant(ctx context.Context, address string) error {
	text := []byte(body(0))
	srv := &http.Server{Addr: address, BaseContext: func(net.Listener) context.Context { return ctx }, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // the client is gone
	})}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
