package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/figures"
)

type bencher struct {
	options
	dir string
}

func (b *bencher) recording(n int) string { return filepath.Join(b.dir, strconv.Itoa(n)) }

// contender is a server to measure.
type contender struct {
	name      string
	exchanges int // of its recording
	requests  int
	args      func(port string) []string
	right     func(i int) string // the expected body of an answer
}

func (b *bencher) mock(n int) func(port string) []string {
	return func(port string) []string {
		return []string{b.tapedeck, "mock", b.recording(n), "--listen", "127.0.0.1:" + port, "--admin", "127.0.0.1:0", "--temp-dir", b.dir}
	}
}

func (b *bencher) serving(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all := []contender{
		{"net/http, one answer", b.few, requests, func(port string) []string { return []string{self, "-constant", "127.0.0.1:" + port} }, func(int) string { return body(0) }},
		{fmt.Sprintf("tapedeck mock, %s", figures.Thousands(b.few)), b.few, requests, b.mock(b.few), body},
		{fmt.Sprintf("tapedeck mock, %s", figures.Thousands(b.many)), b.many, requests, b.mock(b.many), body},
	}
	if _, err := exec.LookPath("mitmdump"); err != nil {
		fmt.Print("mitmproxy is left out: there is no mitmdump (Debian: apt-get install mitmproxy)\n\n")
	} else {
		file := filepath.Join(b.dir, "flows")
		if err := recordFlows(ctx, file, b.few); err != nil {
			return fmt.Errorf("write flows for mitmproxy: %w", err)
		}
		all = append(all, contender{fmt.Sprintf("mitmproxy, %s", figures.Thousands(b.few)), b.few, requests / 10, func(port string) []string {
			return []string{"mitmdump", "--quiet", "--listen-host", "127.0.0.1", "--listen-port", port, "--mode", "reverse:http://" + host, "--set", "confdir=" + b.dir,
				"--set", "connection_strategy=lazy", "--server-replay", file, "--set", "server_replay_nopop=true", "--set", "server_replay_kill_extra=true"}
		}, body})
	}
	rows := make([][2][]time.Duration, len(all)) // times of a request: for first requests, and for repeated ones
	for range b.turns {
		for i, c := range all {
			p, err := start(ctx, c.args)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			for again := range 2 {
				before, times := p.used(), 1+again*(repeats-1)
				for n := 0; n < times && err == nil; n++ {
					err = ask(ctx, p.address, c.requests, c.exchanges, c.right)
				}
				rows[i][again] = append(rows[i][again], (p.used()-before)/time.Duration(times*c.requests))
			}
			p.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Printf("Requests per second of processor time; %s, for an exchange each, and the same again %d times\n\n", figures.Thousands(requests), repeats)
	fmt.Printf("  %-32s %10s %8s %10s %8s\n", "", "first", "ratio", "again", "ratio")
	for i, c := range all {
		fmt.Printf("  %-32s", c.name)
		for again := range 2 {
			fmt.Printf(" %10s %7.2fx", figures.Thousands(int(1/figures.Median(rows[i][again]).Seconds())), float64(figures.Median(rows[0][again]))/float64(figures.Median(rows[i][again])))
		}
		fmt.Println()
	}
	fmt.Println()
	return nil
}

func (b *bencher) loading(ctx context.Context) error {
	scan := exec.CommandContext(ctx, "sh", "-c", `find "$1" -name '*.zst' -print0 | xargs -0 zstd -dcq | wc -l`, "sh", b.recording(b.many))
	if out, err := scan.Output(); err != nil {
		return fmt.Errorf("zstd -dc (Debian: apt-get install zstd): %w", err)
	} else if n, err := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || n < b.many {
		return fmt.Errorf("zstd -dc: %q lines, want %d", out, b.many)
	}
	u, ok := scan.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return fmt.Errorf("no resource usage on this system")
	}
	base := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	var loads []time.Duration
	var held []int64
	for range b.turns {
		empty, _, err := b.load(ctx, 1)
		if err != nil {
			return err
		}
		full, cpu, err := b.load(ctx, b.many)
		if err != nil {
			return err
		}
		loads, held = append(loads, cpu), append(held, (full-empty)/int64(b.many))
	}
	fmt.Printf("Loading %s exchanges\n\n", figures.Thousands(b.many))
	fmt.Printf("  %-32s %8.2fs of processor time\n", "zstd -dc | wc -l", base.Seconds())
	fmt.Printf("  %-32s %8.2fs %6.2fx\n", "tapedeck mock, until it listens", figures.Median(loads).Seconds(), float64(figures.Median(loads))/float64(base))
	fmt.Printf("  %-32s %8d bytes of resident memory for each exchange\n\n", "", figures.Median(held))
	return nil
}

// load returns the memory of a mock that has just begun to listen, and its processor time.
func (b *bencher) load(ctx context.Context, n int) (held int64, cpu time.Duration, err error) {
	p, err := start(ctx, b.mock(n))
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	return p.resident(), p.used(), nil
}

// process is a running server.
type process struct {
	cmd     *exec.Cmd
	address string
	ended   chan struct{}
}

// start runs a server on a free port, and waits until it accepts connections.
func start(ctx context.Context, args func(port string) []string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	line := args(port)
	var errors strings.Builder
	p := &process{exec.CommandContext(ctx, line[0], line[1:]...), address, make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.cmd.Stderr = &errors
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // a signal ends it
		close(p.ended)
	}()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			return p, c.Close()
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %s", filepath.Base(line[0]), errors.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// used returns the processor time of the process until now, in the kernel's ticks of 10 ms.
func (p *process) used() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	if len(fields) < 13 {
		return 0 // it has ended
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident returns the resident memory of the process.
func (p *process) resident() (bytes int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscanf(rest, "%d kB", &bytes)
	return bytes << 10
}
