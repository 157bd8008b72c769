package traffic

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/contract"
)

// serveEcho runs a server that echoes each byte. It prints its port, and ends when its standard
// input ends.
func serveEcho() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			go func() {
				defer c.Close()
				for p := make([]byte, 1); ; { // io.Copy would take a pipe for each
					if _, err := c.Read(p); err != nil {
						return
					}
					c.Write(p)
				}
			}()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// descriptors raises the limit on open files for this process and its children, to n if that is
// allowed, and returns the limit.
func descriptors(t *testing.T, n uint64) uint64 {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < n {
		raised := syscall.Rlimit{Cur: n, Max: n}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			return n
		}
	}
	return limit.Max
}

// startEcho starts the server of serveEcho and returns its port.
func startEcho(t *testing.T) string {
	t.Helper()
	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), envEcho+"=1")
	server.Stderr = os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	life, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { life.Close(); _ = server.Wait() })
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(port)
}

// atOnce calls do for each index of conns, some at a time.
func atOnce(t *testing.T, conns []net.Conn, do func(i int) error) {
	t.Helper()
	const some = 8
	var wg sync.WaitGroup
	for first := range some {
		wg.Go(func() {
			for i := first; i < len(conns); i += some {
				if err := do(i); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// echo sends a byte on each connection and waits for it to come back.
func echo(t *testing.T, conns []net.Conn, what byte) {
	t.Helper()
	atOnce(t, conns, func(i int) error {
		_ = conns[i].SetDeadline(time.Now().Add(20 * time.Second))
		conns[i].Write([]byte{what})
		heard := make([]byte, 1)
		if _, err := io.ReadFull(conns[i], heard); err != nil || heard[0] != what {
			return fmt.Errorf("heard %q: %w", heard, err)
		}
		return nil
	})
}

// dialed is a dialer that returns an existing connection.
type dialed struct{ net.Conn }

func (d dialed) Dial(string, string) (net.Conn, error) { return d.Conn, nil }

// Ten thousand idle connections stay open, each at a small cost, and leave nothing behind. Most
// have sent bytes to the application. The sidecar has no second descriptor for some: these are of
// clients of the forward half that connect in advance.
func TestIdleConnections(t *testing.T) {
	const n, others = 10_000, 100 // others is the number of descriptors that are not connections
	limit := int(descriptors(t, 1<<16))
	ahead := max(others, 2*n+others-limit)
	if ahead > n {
		t.Skipf("%d files may be open in a process, too few for %d connections", limit, n)
	}
	port := startEcho(t)
	s := start(t, "", contract.EnvReverseProxyPort+"="+port, contract.EnvOpaqueBytes+"=true") // without tees, which would take most of the memory
	conns := make([]net.Conn, n)
	moved, waiting := conns[:n-ahead], conns[n-ahead:]

	const memory, files, goroutines = "process_resident_memory_bytes", "process_open_fds", "go_goroutines"
	before := s.metrics()
	for address, conns := range map[string][]net.Conn{inPort: moved, outPort: waiting} {
		atOnce(t, conns, func(i int) (err error) {
			conns[i], err = net.Dial("tcp", address)
			return err
		})
	}
	if t.Failed() {
		return
	}
	echo(t, moved, 1)
	eventually(t, "all are open", func() bool {
		now := s.metrics()
		return now[`tapedeck_connections_open{direction="IN"}`] == float64(len(moved)) && now[`tapedeck_connections_open{direction="OUT"}`] == float64(len(waiting))
	})
	during := s.metrics()
	each := (during[memory] - before[memory]) / n / 1024
	t.Logf("%d connections, %d of them ahead of need: %.1f KiB resident for each, %.1f goroutines", n, ahead, each, (during[goroutines]-before[goroutines])/n)
	const most = 16 // KiB
	if each > most && !raceEnabled {
		t.Errorf("a connection costs %.1f KiB, want at most %d", each, most)
	}
	echo(t, moved, 2)

	// settled waits until only a number of connections need resources. By then the recording
	// has begun, with a file and its writer.
	settled := func(open int) {
		t.Helper()
		eventually(t, "what the connections took is given back", func() bool {
			now := s.metrics()
			return now[files] <= before[files]+2+float64(open) && now[goroutines] <= before[goroutines]+5+float64(open)
		})
	}
	for _, c := range moved {
		c.Close()
	}
	settled(len(waiting))
	atOnce(t, waiting, func(i int) error {
		client, err := proxy.SOCKS5("tcp", outPort, nil, dialed{waiting[i]})
		if err == nil {
			waiting[i], err = client.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		}
		return err
	})
	echo(t, waiting, 1)
	echo(t, waiting, 2)
	for _, c := range waiting {
		c.Close()
	}
	settled(0)
	recorded := conversations(t, s.stop(), ofTCP)
	if len(recorded) != n {
		t.Errorf("%d connections are recorded", len(recorded))
	}
	for _, r := range recorded {
		if r.said("client") != "\x01\x02" || r.said("server") != "\x01\x02" {
			t.Fatalf("the client said %q, the server %q", r.said("client"), r.said("server"))
		}
	}
}
