package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// plugin is the source of a QEMU plugin that counts instructions.
//
//go:embed qemu/count.c
var plugin []byte

// The figure for an exchange comes from the difference of two runs, so that start-up cancels out.
const (
	countedFew  = 2_000
	countedMany = 12_000
)

// capture returns a task that captures exchanges with JSON bodies in both directions, from the
// bytes of their connections to the disk.
func capture(m mix, front func(recording.Sink) recording.Sink) work {
	return func(ctx context.Context, _ *watch, in input) (int, error) { return in.n, captureAll(ctx, in, m, front) }
}

// redacted adds the redaction that the recorder has before its queue. redactedHeaders leaves
// bodies unchanged.
func redacted(s recording.Sink) recording.Sink { return redact.New(s, redact.Options{}) }

func redactedHeaders(s recording.Sink) recording.Sink {
	hidden := new(bodies)
	return &hide{redacted(&show{s, hidden}), hidden}
}

func captureAll(ctx context.Context, in input, m mix, front func(recording.Sink) recording.Sink) error {
	r, err := newRecorder(in.dir, "orders", "orders-7d4b9-x2x", front)
	if err != nil {
		return err
	}
	all, start := talks(m), time.Now()
	p := newPod("orders", "orders-7d4b9-x2x", start, r)
	for i := range in.n {
		r.one()
		p.play(i, &all[i%len(all)], start.Add(time.Duration(i)*time.Millisecond))
	}
	return r.Close(ctx)
}

// hide hides bodies from the next sink, and show restores them for the one after it.
type hide struct {
	recording.Sink
	*bodies
}

type show struct {
	recording.Sink
	*bodies
}

type bodies struct{ request, answer []byte }

func (s *hide) Write(e *recording.Exchange) error {
	req, res := &e.HTTP.Req, &e.HTTP.Res
	s.request, s.answer, req.Body, res.Body = req.Body, res.Body, nil, nil
	return s.Sink.Write(e)
}

func (s *show) Write(e *recording.Exchange) error {
	e.HTTP.Req.Body, e.HTTP.Res.Body = s.request, s.answer
	return s.Sink.Write(e)
}

// counter counts the instructions of a process.
type counter struct {
	b                 *bencher
	qemu, plugin, log string
}

// newCounter returns nil, and prints the reason, if instructions can't be counted.
func newCounter(ctx context.Context, b *bencher) (*counter, error) {
	c := &counter{b: b, plugin: filepath.Join(b.dir, "count.so"), log: filepath.Join(b.dir, "count.log")}
	without := func(why string) (*counter, error) {
		fmt.Printf("Instructions are not counted: %s\n\n", why)
		return nil, nil
	}
	name := map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[runtime.GOARCH]
	var err error
	if c.qemu, err = exec.LookPath(name); err != nil {
		return without("there is no " + cmp.Or(name, "QEMU for this processor") + " (Debian: apt-get install qemu-user)")
	}
	compiler, err := exec.LookPath(cmp.Or(os.Getenv("CC"), "cc"))
	if err != nil {
		return without("there is no C compiler for QEMU's plugin (Debian: apt-get install gcc)")
	}
	cmd := exec.CommandContext(ctx, compiler, "-shared", "-fPIC", "-O2", "-o", c.plugin, "-x", "c", "-")
	cmd.Stdin = bytes.NewReader(plugin)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile QEMU's plugin: %w: %s", err, text)
	}
	if text, err := c.command(ctx, "-h").CombinedOutput(); strings.Contains(string(text), c.plugin) {
		return without(strings.TrimSpace(string(text)))
	} else if err != nil {
		return nil, fmt.Errorf("run under QEMU: %w: %s", err, text)
	}
	return c, nil
}

// command returns this program in QEMU, with one thread that nothing interrupts.
func (c *counter) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.qemu, append([]string{"-cpu", "max", "-plugin", c.plugin, "-d", "plugin", "-D", c.log, c.b.self}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	return cmd
}

// count returns how many instructions a task takes.
func (c *counter) count(ctx context.Context, work, dir string, n int) (int64, error) {
	if text, err := c.command(ctx, "-work", work, dir, strconv.Itoa(n), c.b.tapedeck).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("count the instructions of %s: %w: %s", work, err, text)
	}
	text, err := os.ReadFile(c.log)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// each returns how many instructions one more exchange takes.
func (c *counter) each(ctx context.Context, work string, place func(n int) (string, error)) (float64, error) {
	var counts [2]int64
	for i, n := range []int{countedFew, countedMany} {
		dir, err := place(n)
		if err == nil {
			counts[i], err = c.count(ctx, work, dir, n)
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(counts[1]-counts[0]) / (countedMany - countedFew), nil
}
