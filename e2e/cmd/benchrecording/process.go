package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// run runs one task in a separate process.
func (b *bencher) run(ctx context.Context, work, dir string, n int) (taken, error) {
	cmd := exec.CommandContext(ctx, b.self, "-work", work, dir, strconv.Itoa(n), b.tapedeck)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "TMPDIR="+b.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return taken{}, fmt.Errorf("run %s: %w", work, err)
	}
	var t taken
	return t, json.Unmarshal(out, &t)
}

// work is a task that is measured in a separate process. It returns how many exchanges it
// found.
type work func(ctx context.Context, w *watch, in input) (int, error)

// input is the input of a task.
type input struct {
	dir      string // of the recording, or to write into
	n        int    // exchanges to write
	tapedeck string
}

var works = map[string]work{
	"write-zstd": writeZstd, "write": writeEncoded, "write-redacted": writeRedacted,
	"scan-lines": scanLines, "scan-text": scanText, "list": list, "filter": filter, "whole": whole, "sorted": sorted,
	"inspect": inspectAll, "inspect-some": inspectSome, "grep": grep,
	"record": func(ctx context.Context, w *watch, in input) (int, error) {
		w.begin()
		return in.n, record(ctx, in.dir, in.n, terminal(os.Stderr))
	},
	"capture-headers": capture(clean, redactedHeaders), "capture-clean": capture(clean, redacted), "capture-secret": capture(secret, redacted),
}

// taken is what a task took.
type taken struct {
	Count     int
	Bytes     int64 // of JSON, if the task knows them
	CPU, Wall time.Duration
	Peak      int64 // largest resident memory
}

// watch measures a task from the end of its preparation.
type watch struct {
	bytes int64
	cpu   time.Duration
	start time.Time
}

func (w *watch) begin() {
	runtime.GC()
	w.cpu, _ = used()
	w.start = time.Now()
}

// used returns the processor time of the process and of those that it waited for, and the
// largest resident size of the latter.
func used() (cpu time.Duration, peak int64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			cpu += time.Duration(u.Utime.Nano() + u.Stime.Nano())
			peak = u.Maxrss << 10
		}
	}
	return cpu, peak
}

// resident returns the process's largest resident size. That of getrusage includes the process
// that started it.
func resident() (peak int64) {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fmt.Sscanf(rest, "%d kB", &peak)
	return peak << 10
}

// be runs one task, and prints what it took.
func be(ctx context.Context, name string, args []string) error {
	do := works[name]
	if do == nil || len(args) != 3 {
		return errors.New("usage: benchrecording -work NAME DIRECTORY EXCHANGES TAPEDECK")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var w watch
	count, err := do(ctx, &w, input{args[0], n, args[2]})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	cpu, peak := used()
	return json.NewEncoder(os.Stdout).Encode(taken{count, w.bytes, cpu - w.cpu, time.Since(w.start), max(peak, resident())})
}
