package sidecar

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/recording/spool"
)

// droppedLines returns the number of dropped lines in the metrics.
func droppedLines(t testing.TB, q *logQueue) int {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(q)
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "tapedeck_log_lines_dropped_total" {
		t.Fatalf("%v, %v", families, err)
	}
	return int(families[0].GetMetric()[0].GetCounter().GetValue())
}

// If nobody reads the log, requests are answered, connections end, the sidecar stops, and the lost
// lines are counted. Once somebody reads again, the log says how many lines were lost.
func TestAStalledReaderOfTheLog(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	q := newLogQueue(write)
	cfg := config(t)
	dir := spool.Dir(t.TempDir())
	logs := &logs{to: q}
	s := serve(t, cfg, into(t, dir, cfg, logs), logs)
	const requests = 6000 // a line each, as nothing is kept alive: more than the pipe and the queue hold
	s.send(t, requests, 10, false)
	eventually(t, "lines are dropped", func() bool { return droppedLines(t, q) > 0 })
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
	late, cancel := context.WithTimeout(t.Context(), logTime)
	defer cancel()
	q.close(late)
	if late.Err() == nil {
		t.Error("the log came to an end although nobody read it")
	}
	dropped := droppedLines(t, q)

	lines, told := 0, 0
	done := make(chan error, 1)
	go func() {
		said := bufio.NewScanner(read)
		for said.Scan() {
			var line struct {
				Msg   string
				Lines int
			}
			if err := json.Unmarshal(said.Bytes(), &line); err != nil {
				done <- fmt.Errorf("%w: %s", err, said.Text())
				return
			}
			if strings.HasPrefix(line.Msg, "log lines were dropped") {
				told += line.Lines
			} else if line.Msg == "connection" {
				lines++
			}
		}
		done <- said.Err()
	}()
	<-q.ended
	write.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if told != dropped || lines+dropped < requests || lines == 0 {
		t.Errorf("%d lines came, %d were dropped, the log tells of %d; %d requests", lines, dropped, told, requests)
	}
}

// blocked is a writer that waits until it is released.
type blocked struct {
	free    chan struct{}
	entered atomic.Int32
	out     logs
}

func (b *blocked) Write(p []byte) (int, error) {
	b.entered.Add(1)
	<-b.free
	return b.out.Write(p)
}

func TestTheLogIsBounded(t *testing.T) {
	w := &blocked{free: make(chan struct{})}
	q := newLogQueue(w)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	const lines = 3000
	for range lines {
		if n, err := q.Write(line); n != len(line) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if want := lines - logBytes/1024; droppedLines(t, q) != want {
		t.Errorf("%d are dropped, want %d", droppedLines(t, q), want)
	}
	close(w.free)
	q.close(t.Context())
	if got := strings.Count(w.out.String(), string(line)); got != logBytes/1024 {
		t.Errorf("%d lines came", got)
	}
	if want := fmt.Sprintf(`"lines":%d`, lines-logBytes/1024); strings.Count(w.out.String(), want) != 1 {
		t.Errorf("the log does not have %s once", want)
	}
}

// The last lines are written before the process ends.
func TestTheEndOfTheLogIsWritten(t *testing.T) {
	out := &logs{}
	q := newLogQueue(out)
	for i := range 100 {
		fmt.Fprintln(q, i)
	}
	q.close(t.Context())
	if !strings.HasSuffix(out.String(), "\n98\n99\n") || droppedLines(t, q) != 0 {
		t.Errorf("%q", out.String())
	}
	if n, err := q.Write([]byte("late\n")); n != 5 || err != nil || droppedLines(t, q) != 1 {
		t.Errorf("%d, %v, %d dropped", n, err, droppedLines(t, q))
	}
}

// fails is a writer that fails until it is repaired.
type fails struct {
	logs
	mended atomic.Bool
	calls  atomic.Int32
}

func (f *fails) Write(p []byte) (int, error) {
	f.calls.Add(1)
	if !f.mended.Load() {
		return 0, errors.New("no space left on device")
	}
	return f.logs.Write(p)
}

func TestALogThatCannotBeWritten(t *testing.T) {
	f := &fails{}
	q := newLogQueue(f)
	for i := range 10 {
		fmt.Fprintln(q, "lost")
		eventually(t, "it is tried", func() bool { return droppedLines(t, q) == i+1 })
	}
	if calls := f.calls.Load(); calls > 20 {
		t.Errorf("%d attempts to write 10 lines", calls)
	}
	f.mended.Store(true)
	fmt.Fprintln(q, "kept")
	q.close(t.Context())
	if got := f.String(); !strings.HasPrefix(got, "kept\n{") || !strings.Contains(got, `"lines":10`) {
		t.Errorf("%q", got)
	}
}

// brokenLog, when set, makes the test binary a sidecar whose log nobody reads.
const brokenLog = "TAPEDECK_TEST_BROKEN_LOG"

// A reader of the log that goes away does not end the sidecar, although SIGPIPE would do so by
// default.
func TestAReaderOfTheLogThatGoesAway(t *testing.T) {
	if os.Getenv(brokenLog) != "" {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close() // otherwise the garbage collector may close it, and the sidecar would serve
		_, port, _ := net.SplitHostPort(taken.Addr().String())
		err = Main(t.Context(), func(name string) string {
			return map[string]string{"PROXY_TYPE": "forward", "PROXY_OUT_PORT": port, "TAPEDECK_SINK": t.TempDir()}[name]
		}, "test", os.Stderr)
		fmt.Println("ended with", err)
		for range 3 {
			fmt.Fprintln(os.Stderr, "a write to the broken log")
		}
		fmt.Println("alive")
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), brokenLog+"=1")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	cmd.Stderr = write
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(said), "alive") {
		t.Errorf("%v: %s", err, said)
	}
}
