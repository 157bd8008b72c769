package collector_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// childEnv turns the test binary into a collector.
const childEnv = "COLLECTOR_CHILD"

// child is a collector whose store keeps nothing, so that all memory is the collector's.
func child() {
	c, err := collector.New(collector.Options{Store: &nowhere{}, Keys: func() [][]byte { return [][]byte{key} }, TempDir: os.Getenv(childEnv), Wait: time.Second})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		cancel()
	}()
	_ = c.Serve(ctx, collector.Ports{Write: l})
}

// nowhere is a store that reads bodies, and remembers keys.
type nowhere struct {
	store.Dir
	mu   sync.Mutex
	keys map[string]bool
}

func (n *nowhere) Put(_ context.Context, key string, body io.ReadSeeker) error {
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys[key] {
		return fs.ErrExist
	}
	if n.keys == nil {
		n.keys = map[string]bool{}
	}
	n.keys[key] = true
	return nil
}

// bulky returns a segment that hardly compresses.
func bulky(t *testing.T, bytes int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	var text []byte
	for n := range bytes / (16 << 10) {
		text = append(text, exchange(n, func(e *recording.Exchange) {
			e.HTTP.Res.Body = make([]byte, 16<<10)
			_, _ = random.Read(e.HTTP.Res.Body)
		})...)
	}
	return compress(t, text)
}

// startChild starts a collector in a separate process.
func startChild(t *testing.T) (address string, pid int) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to read the memory from")
	}
	program := os.Args[0]
	if raceEnabled { // the race detector takes several times the memory that it watches
		program = filepath.Join(t.TempDir(), "collector.test")
		build := exec.Command("go", "test", "-c", "-race=false", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build a collector without the race detector: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address), cmd.Process.Pid
}

// 1000 pods send at the same time. A hundred of them stall, and a hundred send large segments. The
// segments of all others are stored, and memory stays bounded.
func TestMemoryIsBounded(t *testing.T) {
	address, pid := startChild(t)
	const pods, slow, large = 1000, 100, 100
	small, big := bulky(t, 128<<10), bulky(t, 4<<20)
	idle := memory(t, pid)
	var taken, busy atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg, slowOnes sync.WaitGroup
	for n := range pods {
		k := shop()
		k.Pod = fmt.Sprintf("cart-%d", n)
		if n < slow {
			slowOnes.Go(func() { stall(ctx, address, of(k, big)) })
			continue
		}
		u := of(k, small)
		if n < slow+large {
			u = of(k, big)
		}
		wg.Go(func() {
			transport := &http.Transport{Protocols: new(http.Protocols)} // a separate connection
			transport.Protocols.SetHTTP1(n%2 == 0)
			transport.Protocols.SetUnencryptedHTTP2(n%2 == 1)
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for ctx.Err() == nil {
				resp, err := client.Do(u.request(ctx, "http://"+address))
				if err != nil {
					continue // as a sidecar does
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusCreated, http.StatusOK:
					taken.Add(1)
					return
				case http.StatusServiceUnavailable:
					busy.Add(1)
				default:
					t.Error(resp.Status)
					return
				}
			}
		})
	}
	wg.Wait()
	cancel()
	slowOnes.Wait()
	peak := memory(t, pid)
	t.Logf("idle %d MiB, at most %d MiB; %d segments were taken, %d attempts were told that it is busy", idle>>20, peak>>20, taken.Load(), busy.Load())
	if taken.Load() != pods-slow {
		t.Errorf("%d segments were taken of %d", taken.Load(), pods-slow)
	}
	if peak > 192<<20 {
		t.Errorf("it took %d MiB of memory", peak>>20)
	}
}

// Only one long line is in memory at a time, even if many clients send lines of 60 MiB, or records
// that cost as much to read as is allowed.
func TestLongLinesAreInMemoryOneAtATime(t *testing.T) {
	address, pid := startChild(t)
	long := compress(t, exchange(1, body(45<<20)))
	costly := bomb(t, []byte(`{"msgType":"rrpair","service":"cart","cluster":"c1","namespace":"shop","direction":"IN","location":"`+strings.Repeat("x", 15<<20)+`"}`+"\n"), 1)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for n := range 16 {
		k := shop()
		k.Pod = fmt.Sprintf("cart-%d", n)
		u := of(k, long)
		if n%2 == 0 {
			u = of(k, costly)
		}
		wg.Go(func() {
			for t.Context().Err() == nil {
				resp, err := client.Do(u.request(t.Context(), "http://"+address))
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusCreated {
					return
				}
				if resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s: %s", resp.Status, text)
					return
				}
			}
		})
	}
	wg.Wait()
	peak := memory(t, pid)
	t.Logf("at most %d MiB", peak>>20)
	if peak > 384<<20 {
		t.Errorf("it took %d MiB of memory", peak>>20)
	}
}

// stall sends a part of a segment and then nothing, repeatedly.
func stall(ctx context.Context, address string, u *upload) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		req := u.request(ctx, "http://x")
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", req.URL.Path, len(u.body))
		_ = req.Header.Write(conn)
		_, _ = io.Copy(conn, io.MultiReader(strings.NewReader("\r\n"), bytes.NewReader(u.body[:len(u.body)/2])))
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		_, _ = io.Copy(io.Discard, conn)
		stop()
		conn.Close()
	}
}

// memory returns the most that a process ever had resident, in bytes.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
