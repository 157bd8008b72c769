//go:build unix

package sidecar

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/recording/spool"
)

// fewFiles, when set, makes the test binary a sidecar that may open few files, for the application
// at that port; fewDir is where it records.
const (
	fewFiles = "TAPEDECK_TEST_FEW_FILES"
	fewDir   = "TAPEDECK_TEST_FEW_DIR"
)

// serveWithFewFiles prints its addresses, and serves until its input ends.
func serveWithFewFiles(t *testing.T) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: 256}); err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	fmt.Sscan(os.Getenv(fewFiles), &cfg.In[0].App.Port)
	s := run(t, cfg, spool.Dir(os.Getenv(fewDir)))
	fmt.Println(s.InAddr())
	fmt.Println(s.AdminAddr())
	io.Copy(io.Discard, os.Stdin)
	s.stop()
	if err := s.capture.Close(context.Background()); err != nil {
		t.Error(err)
	}
	fmt.Println(s.logs.String())
}

// Far more connections come than the sidecar may open files. They wait, none
// fails, and the sidecar still answers probes and records.
func TestNearTheLimitOfOpenFiles(t *testing.T) {
	if os.Getenv(fewFiles) != "" {
		serveWithFewFiles(t)
		return
	}
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-released
		}
		io.WriteString(w, "answer")
	}))
	defer app.Close()
	defer release()
	var port int
	fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &port)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fmt.Sprint(fewFiles, "=", port), fewDir+"="+dir)
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
	said := bufio.NewScanner(out)
	line := func() string { said.Scan(); return said.Text() }
	reverse, admin := line(), line()

	get := func(path string) (string, error) {
		resp, err := (&http.Client{Timeout: 3 * time.Second}).Get("http://" + admin + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(body)), err
	}
	const held, calm = 300, 300
	var wg sync.WaitGroup
	ask := func(path string) {
		wg.Go(func() {
			c, err := net.Dial("tcp", reverse)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(60 * time.Second))
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: shop\r\n\r\n", path) // and keeps the connection
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			if body, err := io.ReadAll(resp.Body); string(body) != "answer" || err != nil {
				t.Errorf("%s: %q, %v", path, body, err)
			}
			<-released
		})
	}
	for range held {
		ask("/held")
	}
	const starved = `tapedeck_accepts_held_total{direction="IN",reason="descriptors"}`
	eventually(t, "connections wait", func() bool {
		metrics, err := get("/metrics")
		return err == nil && strings.Contains(metrics, starved) && !strings.Contains(metrics, starved+" 0")
	})
	// While all who wait are there.
	for range 50 {
		if got, err := get("/healthz"); got != "200 ok\n" {
			t.Fatalf("/healthz: %q, %v", got, err)
		}
	}
	release()
	for range calm {
		ask("/calm")
	}
	wg.Wait()
	metrics, _ := get("/metrics")
	for _, want := range []string{`tapedeck_connections_failed_total{direction="IN"} 0`, "tapedeck_sink_up 1"} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	in.Close()
	var log strings.Builder
	for said.Scan() {
		log.WriteString(said.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, log.String())
	}
	if n := strings.Count(log.String(), "connections wait until others end"); n != 1 || strings.Contains(log.String(), "too many open files") {
		t.Errorf("the log says %d times that connections wait: %s", n, log.String())
	}
	if n := recorded(t, dir); n != held+calm {
		t.Errorf("%d exchanges are recorded, want %d", n, held+calm)
	}
}
