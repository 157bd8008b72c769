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

	"github.com/tapedeck/tapedeck/contract"
)

// serveEcho is the process of a server that repeats each byte. It says its
// port, and ends with its standard input.
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

// descriptors raises the limit on open files for this process and those that
// it starts, to n if it may, and returns what it is.
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

// Ten thousand connections that are idle stay open, each at a small price, and
// leave nothing behind.
func TestIdleConnections(t *testing.T) {
	n := 10_000
	if limit := descriptors(t, 1<<16); uint64(n) > limit/2-100 {
		n = int(limit/2 - 100)
		t.Logf("only %d files may be open in a process: %d connections, which take the sidecar two each", limit, n)
	}
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
	defer server.Wait()
	defer life.Close()
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "", contract.EnvReverseProxyPort+"="+strings.TrimSpace(port)) // without tees, which would take the most

	conns := make([]net.Conn, n)
	say := func(what byte) {
		t.Helper()
		var wg sync.WaitGroup
		for first := range 8 {
			wg.Go(func() {
				for i := first; i < n; i += 8 {
					if conns[i] == nil {
						c, err := net.Dial("tcp", inPort)
						if err != nil {
							t.Errorf("connection %d: %v", i, err)
							return
						}
						conns[i] = c
					}
					_ = conns[i].SetDeadline(time.Now().Add(20 * time.Second))
					conns[i].Write([]byte{what})
					heard := make([]byte, 1)
					if _, err := io.ReadFull(conns[i], heard); err != nil || heard[0] != what {
						t.Errorf("connection %d: %q, %v", i, heard, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	const memory, files, goroutines = "process_resident_memory_bytes", "process_open_fds", "go_goroutines"
	before := s.metrics()
	say(1)
	if open := s.metric(`tapedeck_connections_open{direction="IN"}`); open != float64(n) {
		t.Errorf("%v connections are open, want %d", open, n)
	}
	during := s.metrics()
	each := (during[memory] - before[memory]) / float64(n) / 1024
	t.Logf("%d connections: %.1f KiB resident for each, %.1f goroutines", n, each, (during[goroutines]-before[goroutines])/float64(n))
	const most = 16 // KiB
	if each > most && !raceEnabled {
		t.Errorf("a connection costs %.1f KiB, want at most %d", each, most)
	}
	say(2)
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "what the connections took is given back", func() bool {
		now := s.metrics()
		// The recording has begun meanwhile, with a file and who writes it.
		return now[files] <= before[files]+2 && now[goroutines] <= before[goroutines]+5
	})
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
