// Command benchproxy compares the sidecar with the proxies that a user would
// compare it with, in one run, on the same work, over loopback:
//
//	reverse   nothing, nginx (HTTP) and HAProxy (TCP), which record nothing,
//	          and tapedeck with capture and without
//	forward   goproxy and mitmproxy, which record, and tapedeck
//
//	       ┌── this process, one core ──┐   ┌─ the other core ─┐
//	       │ client ────────────────────┼──▶│ one proxy        │
//	       │ server ◀───────────────────┼───│ one worker       │
//	       └────────────────────────────┘   └──────────────────┘
//
// The proxies take turns, each turn in a separate process, and each figure is the
// median of its turns. The work of a proxy is divided by its processor time, user
// and system, from the first request to its exit. So deferred work counts too, and
// other work of the machine does not. The share of requests that a recording has
// is found by counting its lines.
//
// It prints the goals next to the figures. These depend on the machine and the
// moment, so a miss is printed and is not an error.
//
//	usage: benchproxy [-turns n] [-only table] [-proxies regexp] TAPEDECK-PROXY
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The load of a turn.
const (
	connections = 64
	answerBytes = 200
	bulkBytes   = 64 << 20
	bulkConns   = 4
	busyConns   = 1000
	idleConns   = 10_000
	rate        = 1000 // requests per second

	warmTime    = 300 * time.Millisecond
	requestTime = 2 * time.Second
	rateTime    = 4 * time.Second
	bulkTime    = 2 * time.Second
	busyTime    = 5 * time.Second
)

func main() {
	turns := flag.Int("turns", 3, "turns of each proxy; memory takes one")
	only := flag.String("only", "", "run only this table: "+strings.Join(tableNames(), ", "))
	among := flag.String("proxies", "", "measure only the proxies whose names match this regular expression")
	goproxy := flag.String("goproxy", "", "be goproxy on this address, recording into the file that follows")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: benchproxy [-turns n] [-only table] [-proxies regexp] TAPEDECK-PROXY")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names, err := regexp.Compile(*among)
	switch {
	case err != nil:
		err = fmt.Errorf("-proxies: %w", err)
	case flag.NArg() != 1 || *turns < 1:
		err = errors.New("usage: benchproxy [-turns n] [-only table] [-proxies regexp] TAPEDECK-PROXY")
	case *goproxy != "":
		err = serveGoproxy(ctx, *goproxy, flag.Arg(0))
	case *only != "" && !slices.Contains(tableNames(), *only):
		err = fmt.Errorf("-only %q: want %s", *only, strings.Join(tableNames(), ", "))
	default:
		err = bench(ctx, flag.Arg(0), *only, names, *turns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchproxy:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, tapedeck, only string, names *regexp.Regexp, turns int) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchproxy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cpus, err := pin()
	if err != nil {
		return err
	}
	server, err := listen()
	if err != nil {
		return err
	}
	defer server.close()
	all, err := newLineup(ctx, dir, tapedeck, server.addr(), cpus.proxy)
	if err != nil {
		return err
	}
	all.contenders = slices.DeleteFunc(all.contenders, func(c contender) bool { return !names.MatchString(c.name) })
	all.describe(cpus)
	measured := results{}
	for _, t := range tables {
		if only != "" && only != t.name {
			continue
		}
		rows, err := t.measure(ctx, all, turns)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		measured[t.name] = rows
		t.print(rows)
	}
	printGoals(measured)
	return nil
}
