// Command benchreplay compares `tapedeck replay`, which compares each answer, with generators
// that a user would compare it with, on one target in one run, over loopback:
//
//	requests   requests per second of the generator's processor time, over HTTP/1.1 and h2c, at
//	           one rate: vegeta, and GoReplay, which has no h2c; and wrk and h2load, closed loops
//	           that check nothing, as the limit. The figure includes loading the recording.
//	schedule   how much later than due requests are sent, at 2,000 a second
//	memory     how much memory a replay of a recording takes, and of one ten times as large
//
// Each turn is a separate process with one processor (GOMAXPROCS=1). Generators take
// turns, and each figure is the median of its turns: of the processor time, user and system,
// so that other work of the machine hardly counts.
//
//	usage: benchreplay [-turns n] [-exchanges n] [-only memory] TAPEDECK
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/figures"
	"github.com/tapedeck/tapedeck/e2e/internal/machine"
	"github.com/tapedeck/tapedeck/e2e/internal/tools"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

const (
	// exchanges are recorded, and passes made over them.
	exchanges = 10_000
	passes    = 5
	requests  = exchanges * passes
	// rate is the rate of the table of requests, and slow that of the schedule.
	rate, slow = 5000, 2000
	answer     = `{"id":17,"name":"a thing of some length","tags":["one","two","three"],"price":{"units":19,"nanos":990000000},"stock":42}`
)

func main() {
	turns := flag.Int("turns", 3, "turns of each generator")
	many := flag.Int("exchanges", 1_000_000, "exchanges in the larger of the recordings whose memory is compared")
	only := flag.String("only", "", "`memory`: run only that table")
	serve := flag.String("serve", "", "be the target, on this `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = target(ctx, *serve)
	case flag.NArg() != 1 || *turns < 1 || *many < exchanges:
		err = errors.New("usage: benchreplay [-turns n] [-exchanges n] [-only memory] TAPEDECK; at least 1 turn and 10,000 exchanges")
	default:
		err = bench(ctx, *turns, *many, *only, flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchreplay:", err)
		os.Exit(1)
	}
}

// counted is the path at which the target returns how many other requests it has answered.
const counted = "/counted"

// target gives every request the same answer, over HTTP/1.1 and h2c.
func target(ctx context.Context, address string) error {
	var answered atomic.Int64
	srv := &http.Server{Addr: address, Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == counted {
			fmt.Fprint(w, answered.Load())
			return
		}
		answered.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer) // the client is gone
	})}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// record writes a recording of n requests, which the target answers as recorded.
func record(dir, version string, n int) error {
	segments, err := spool.NewSegments(spool.Dir(dir), spool.SegmentOptions{Cluster: "prod", Namespace: "shop", Workload: "items", Pod: "items-7d4b9-x2x"})
	if err != nil {
		return err
	}
	start := time.Now().Add(-time.Hour)
	var lines []byte
	for i := range n {
		path := "/api/v1/items/" + strconv.Itoa(i)
		e := recording.Exchange{
			MsgType: recording.MsgType, TS: start.Add(time.Duration(i) * time.Millisecond), Duration: 1, Direction: recording.In, L7Protocol: recording.HTTP1,
			Cluster: "prod", Namespace: "shop", Service: "items", Command: "GET", Location: path, Status: "200",
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "GET", URL: path, URI: path, Version: version, Host: "items.shop",
					Headers: recording.Headers{{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "cart/1.0"}}},
				Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", ContentType: "application/json", Body: []byte(answer),
					Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Length", Value: strconv.Itoa(len(answer))}}},
			},
		}
		e.UUID[0], e.UUID[1], e.UUID[2], e.UUID[15] = byte(i), byte(i>>8), byte(i>>16), 1
		lines = append(e.AppendJSON(lines), '\n')
		if count := i%exchanges + 1; count == exchanges || i == n-1 {
			if _, err := segments.WriteLines(lines, count); err != nil {
				return err
			}
			lines = lines[:0]
		}
	}
	_, err = segments.Close()
	return err
}

// generator is a program to measure.
type generator struct {
	name     string
	args     []string
	requests int                  // 0: count knows
	count    func(out string) int // returns how many requests it has made since the last call, from its output or from the target
	needs    string               // the Debian package that has it, or what is needed to build it
}

func bench(ctx context.Context, turns, many int, only, tapedeck string) error {
	dir, err := os.MkdirTemp("", "tapedeck-benchreplay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	vegeta, err := tools.Find(ctx, "vegeta")
	if err != nil {
		return err
	}
	for _, version := range []string{"1.1", "2.0"} {
		if err := record(filepath.Join(dir, version), version, exchanges); err != nil {
			return fmt.Errorf("write a recording: %w", err)
		}
	}
	address, end, err := startTarget(ctx)
	if err != nil {
		return err
	}
	defer end()
	targets := filepath.Join(dir, "targets")
	var list strings.Builder
	for i := range exchanges {
		fmt.Fprintf(&list, "GET http://%s/api/v1/items/%d\nHost: items.shop\nAccept: application/json\nUser-Agent: cart/1.0\n\n", address, i)
	}
	if err := os.WriteFile(targets, []byte(list.String()), 0o600); err != nil {
		return err
	}
	goreplay, err := tools.Find(ctx, "goreplay")
	if err != nil {
		goreplay = "goreplay" // the table says what is missing
	}
	fmt.Printf("%s\n\n", machine.Describe())
	if only == "memory" {
		return memory(ctx, dir, tapedeck, address, many)
	}
	gor := filepath.Join(dir, "requests.gor")
	if err := writeForGoReplay(gor); err != nil {
		return err
	}
	// The speed is a percentage of the recorded one. GoReplay doesn't end by itself.
	repeat := []string{goreplay, "--input-file", fmt.Sprintf("%s|%d%%", gor, rate/10), "--output-http", "http://" + address, "--exit-after", strconv.Itoa(requests/rate+3) + "s"}
	replay := func(version, scheme string, flags ...string) []string {
		return append([]string{tapedeck, "replay", filepath.Join(dir, version), "--target", scheme + "://" + address, "--output", "none", "--times", strconv.Itoa(passes), "--max-lag", "1h"}, flags...)
	}
	attack := func(perSecond int, flags ...string) []string {
		return append([]string{vegeta, "attack", "-targets", targets, "-rate", strconv.Itoa(perSecond), "-duration", strconv.Itoa(requests/perSecond) + "s", "-output", filepath.Join(dir, "vegeta")}, flags...)
	}
	for _, t := range []struct {
		title string
		all   []generator
	}{
		{"HTTP/1.1", []generator{
			{name: "vegeta", args: attack(rate), requests: requests},
			{name: "tapedeck replay", args: replay("1.1", "http", "--rate", strconv.Itoa(rate)), requests: requests},
			{name: "GoReplay", args: repeat, count: countAtTarget(address), needs: "libpcap-dev and a C compiler, to build it"},
			{name: "wrk, a closed loop", needs: "wrk", args: []string{"wrk", "-t1", "-c16", "-d5s", "http://" + address + "/api/v1/items/1"}, count: countOfWrk},
		}},
		{"h2c", []generator{
			{name: "vegeta", args: attack(rate, "-h2c"), requests: requests},
			{name: "tapedeck replay", args: replay("2.0", "h2c", "--rate", strconv.Itoa(rate)), requests: requests},
			{name: "h2load, a closed loop", needs: "nghttp2-client", args: []string{"h2load", "-t1", "-c1", "-m16", "-n" + strconv.Itoa(requests), "http://" + address + "/api/v1/items/1"}, requests: requests},
		}},
	} {
		if err := requestsTable(ctx, t.title, t.all, turns); err != nil {
			return err
		}
	}
	if err := schedule(ctx, dir, vegeta, attack(slow), replay("1.1", "http", "--rate", strconv.Itoa(slow), "--report", filepath.Join(dir, "report.json"))); err != nil {
		return err
	}
	return memory(ctx, dir, tapedeck, address, many)
}

// countOfWrk reads how many requests wrk says it made.
func countOfWrk(out string) int {
	for line := range strings.Lines(out) {
		if before, _, ok := strings.Cut(line, " requests in "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(before))
			return n
		}
	}
	return 0
}

// countAtTarget counts the requests that the target has answered since the last call, including those of other senders.
func countAtTarget(address string) func(string) int {
	before := 0
	return func(string) int {
		resp, err := http.Get("http://" + address + counted)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		now, _ := strconv.Atoi(string(text))
		n := now - before
		before = now
		return n
	}
}

// writeForGoReplay writes the requests of all passes like GoReplay's --output-file, a thousand a second.
func writeForGoReplay(file string) error {
	var b strings.Builder
	start := time.Now().Add(-time.Hour).UnixNano()
	for i := range requests {
		fmt.Fprintf(&b, "1 %024x %d 0\nGET /api/v1/items/%d HTTP/1.1\r\nHost: items.shop\r\nAccept: application/json\r\nUser-Agent: cart/1.0\r\n\r\n\n🐵🙈🙉\n",
			i, start+int64(i)*int64(time.Millisecond), i%exchanges)
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

func requestsTable(ctx context.Context, title string, all []generator, turns int) error {
	costs := make([][]float64, len(all)) // requests per second of processor time
	for range turns {
		for i, g := range all {
			if _, err := exec.LookPath(g.args[0]); err != nil {
				continue
			}
			if g.count != nil {
				g.count("")
			}
			out, used, err := run(ctx, g.args)
			if err != nil {
				return fmt.Errorf("%s over %s: %w", g.name, title, err)
			}
			n := g.requests
			if n == 0 {
				n = g.count(out)
			}
			costs[i] = append(costs[i], float64(n)/used.cpu.Seconds())
		}
	}
	fmt.Printf("%s: requests per second of processor time\n\n", title)
	for i, g := range all {
		if len(costs[i]) == 0 {
			fmt.Printf("  %-24s left out: %s is not here (Debian: %s)\n", g.name, g.args[0], g.needs)
			continue
		}
		fmt.Printf("  %-24s %10.0f %7.2fx\n", g.name, figures.Median(costs[i]), figures.Median(costs[i])/figures.Median(costs[0]))
	}
	fmt.Println()
	return nil
}

// used is what a program took.
type used struct {
	cpu  time.Duration
	peak int64 // of resident memory, in bytes
}

func run(ctx context.Context, args []string) (out string, u used, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", used{}, fmt.Errorf("%w: %.500s", err, text)
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss << 10
	}
	return string(text), u, nil
}

// schedule compares when requests were sent with when they were due.
func schedule(ctx context.Context, dir, vegeta string, attack, replay []string) error {
	if _, _, err := run(ctx, attack); err != nil {
		return fmt.Errorf("vegeta: %w", err)
	}
	late, err := latenessOfVegeta(ctx, vegeta, filepath.Join(dir, "vegeta"))
	if err != nil {
		return err
	}
	if _, _, err := run(ctx, replay); err != nil {
		return fmt.Errorf("tapedeck replay: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return err
	}
	var report struct {
		Results struct {
			Endpoints []struct {
				Lag struct {
					Percentiles map[string]float64 `json:"percentilesMicros"`
				} `json:"lag"`
			} `json:"endpoints"`
		} `json:"results"`
	}
	if err := json.Unmarshal(text, &report); err != nil || len(report.Results.Endpoints) == 0 {
		return fmt.Errorf("read the report: %w", err)
	}
	lag := report.Results.Endpoints[0].Lag.Percentiles
	fmt.Printf("At %d requests per second, sent later than due, in µs\n\n  %-24s %10s %10s\n", slow, "", "median", "p99")
	fmt.Printf("  %-24s %10.0f %10.0f\n  %-24s %10.0f %10.0f\n\n", "vegeta", late[len(late)/2], late[len(late)*99/100], "tapedeck replay", lag["p50"], lag["p99"])
	return nil
}

// latenessOfVegeta returns how much later than due each request was sent, in µs, in ascending
// order. Requests are due at equal intervals after the first one.
func latenessOfVegeta(ctx context.Context, vegeta, results string) ([]float64, error) {
	cmd := exec.CommandContext(ctx, vegeta, "encode", "--to", "json", results)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("vegeta encode: %w", err)
	}
	var late []float64
	var first time.Time
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var r struct {
			Seq       int       `json:"seq"`
			Timestamp time.Time `json:"timestamp"`
		}
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read vegeta's results: %w", err)
		}
		due := time.Duration(r.Seq) * time.Second / slow
		if at := r.Timestamp.Add(-due); first.IsZero() || at.Before(first) {
			first = at
		}
		late = append(late, float64(r.Timestamp.Add(-due).UnixNano())/1e3)
	}
	for i := range late {
		late[i] -= float64(first.UnixNano()) / 1e3
	}
	slices.Sort(late)
	return late, nil
}

// startTarget runs the target as a separate process.
func startTarget(ctx context.Context) (address string, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = l.Addr().String()
	_ = l.Close()
	cmd := exec.CommandContext(ctx, self, "-serve", address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for range 200 {
		if conn, err := net.Dial("tcp", address); err == nil {
			return address, end, conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	end()
	return "", nil, errors.New("the target does not listen")
}
