package sidecar

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// killDir, when set, makes the test binary the sidecar that will be killed.
const killDir = "TAPEDECK_TEST_KILL_DIR"

// A sidecar is killed under load by a signal that it can't catch. All flushed exchanges are found.
// Only the tail of the open segment is lost.
func TestAKilledSidecarLosesTheTailAlone(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		serveForEver(t, dir)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	addr := lines.Text()

	tr := &http.Transport{MaxIdleConnsPerHost: 4}
	defer tr.CloseIdleConnections()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				resp, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("http://%s/%d", addr, i))
				if err != nil {
					return // it is dead
				}
				resp.Body.Close()
			}
		})
	}
	flushed := 0
	for flushed < 500 && lines.Scan() {
		fmt.Sscan(lines.Text(), &flushed)
	}
	cmd.Process.Kill()
	cmd.Wait()
	load.Wait()

	found := 0
	for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		switch {
		case err == nil && e.Status == "200":
			found++
		default:
			t.Errorf("%+v, %v", e, err)
		}
	}
	if found < flushed || flushed < 500 {
		t.Errorf("%d are found, %d had been flushed", found, flushed)
	}
}

// serveForEver runs a sidecar. It prints its address, and then how many exchanges it has flushed.
func serveForEver(t *testing.T, dir string) {
	cfg := config(t)
	c, err := open(cfg, "test", slog.New(slog.DiscardHandler), func(spool.Options) (*spool.Recorder, error) {
		return spool.Open(dir, spool.Options{SegmentOptions: spool.SegmentOptions{MaxBytes: 64 << 10}})
	})
	if err != nil {
		t.Fatal(err)
	}
	r := c.recorder
	p, err := proxy.Listen(t.Context(), c.forwarding(cfg, "test"), slog.New(slog.DiscardHandler), c.Open, nil)
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(context.Background())
	fmt.Println(p.InAddr().(*net.TCPAddr))
	for {
		before := r.Stats().Accepted
		if r.Flush(context.Background()) == nil && before > 0 {
			fmt.Println(before)
		}
		time.Sleep(time.Millisecond) // leave the processor to the load, too
	}
}
