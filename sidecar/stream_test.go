package sidecar

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// streamMiB is how long the streams are, 256 MiB unless the variable says so:
// TAPEDECK_TEST_STREAM_MIB=10240 for 10 GiB.
func streamMiB(t *testing.T) int64 {
	v := os.Getenv("TAPEDECK_TEST_STREAM_MIB")
	if v == "" {
		return 256
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		t.Fatalf("TAPEDECK_TEST_STREAM_MIB=%q: %v", v, err)
	}
	return n
}

// A stream of any length passes completely. The whole process, including capture, takes no more
// memory for it than its one limit.
func TestAStreamInConstantMemory(t *testing.T) {
	mib := streamMiB(t)
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{7}).Read(block)
	feed := func(w io.Writer) uint32 {
		sum := crc32.NewIEEE()
		for i := range mib {
			block := block[:1<<20-i%977] // so that blocks don't keep step with buffers
			sum.Write(block)
			if _, err := w.Write(block); err != nil {
				t.Errorf("after %d MiB: %v", i, err)
				break
			}
		}
		return sum.Sum32()
	}
	var length int64
	for i := range mib {
		length += 1<<20 - i%977
	}
	for name, head := range map[string]string{
		"HTTP":                fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n", length),
		"HTTP to the end":     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
		"an unknown protocol": "",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var sent uint32
			var app sync.WaitGroup
			app.Go(func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				bufio.NewReader(c).ReadString('\n')
				io.WriteString(c, head)
				sent = feed(c)
			})
			defer app.Wait()
			defer ln.Close()

			cfg := config(t)
			cfg.In = []proxy.Inbound{{App: proxy.App{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port}}}
			s := run(t, cfg, spool.Dir(t.TempDir()))
			c, err := net.Dial("tcp", s.InAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Duration(mib) * time.Second))
			ask := "begin\n"
			if head != "" {
				ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
			}
			before := heap()
			io.WriteString(c, ask)
			r := bufio.NewReaderSize(c, 64<<10)
			if head != "" {
				if _, err := http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			received, peak, total := crc32.NewIEEE(), int64(0), int64(0)
			for {
				n, err := io.CopyN(received, r, 4<<20)
				total += n
				peak = max(peak, heap()-before)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("after %d bytes: %v", total, err)
				}
			}
			app.Wait()
			if total != length || received.Sum32() != sent {
				t.Errorf("%d bytes of %d, equal: %v", total, length, received.Sum32() == sent)
			}
			t.Logf("%d MiB: the heap grew by %d KiB at most", mib, peak>>10)
			if peak > cfg.Memory {
				t.Errorf("the heap grew by %d bytes, TAPEDECK_MEMORY is %d", peak, cfg.Memory)
			}
			c.Close()
			s.stop()
			if err := s.capture.Close(t.Context()); err != nil {
				t.Error(err)
			}
			tapped := s.Tap()
			if l := s.ledger(t); l.handed == 0 || l.sum() != l.handed || tapped.Delivered+tapped.Dropped["tap_full"].Bytes != tapped.Written {
				t.Errorf("%+v, %+v", l, tapped)
			}
		})
	}
}

// heap returns the memory of the Go heap, including garbage.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
