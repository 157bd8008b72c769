package traffic

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// A stream of 10 GiB passes completely, in either direction, and the sidecar's memory doesn't grow
// with it.
func TestTenGiB(t *testing.T) {
	const block, blocks = 1 << 20, 10 << 10
	const total = block * blocks
	content := bytes.Repeat([]byte("0123456789abcde\n"), block/16)
	check := func(r io.Reader) (n int64) {
		got := make([]byte, block)
		for {
			m, err := io.ReadFull(r, got)
			if !bytes.Equal(got[:m], content[:m]) {
				t.Errorf("after %d bytes they differ", n)
				return n
			}
			if n += int64(m); err != nil {
				return n
			}
		}
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			fmt.Fprint(w, check(r.Body))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(total))
		for range blocks {
			w.Write(content)
		}
	}))
	defer app.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(app.URL, "http://"), ":")
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			s := start(t, "", contract.EnvReverseProxyPort+"="+port) // without tees, which would keep it all
			s.lossy = true
			var body io.Reader
			if method == http.MethodPut {
				var all []io.Reader
				for range blocks {
					all = append(all, bytes.NewReader(content))
				}
				body = io.MultiReader(all...)
			}
			req, _ := http.NewRequestWithContext(t.Context(), method, "http://"+inPort+"/", body)
			if body != nil {
				req.ContentLength = total
			}
			tr := &http.Transport{WriteBufferSize: 1 << 20, ReadBufferSize: 1 << 20}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if method == http.MethodPut {
				if answer, err := io.ReadAll(resp.Body); string(answer) != strconv.Itoa(total) || err != nil {
					t.Errorf("the application got %s bytes, %v", answer, err)
				}
			} else if n := check(resp.Body); n != total {
				t.Errorf("%d bytes", n)
			}
			tr.CloseIdleConnections()
			peak := peakMemory(t, s.cmd.Process.Pid)
			t.Logf("resident memory was %d MiB at most", peak>>20)
			const most = 128 << 20 // 64Mi of TAPEDECK_MEMORY, plus the program
			if peak > most && !raceEnabled {
				t.Errorf("resident memory was %d MiB, want at most %d", peak>>20, most>>20)
			}
			recorded := s.stop()
			if len(recorded) != 1 {
				t.Fatalf("%d exchanges are recorded", len(recorded))
			}
			e, size := recorded[0], recording.TagResponseBodySize
			if method == http.MethodPut {
				size = recording.TagRequestBodySize
			}
			if e.Tags.Get(size) != strconv.Itoa(total) || e.Tags.Get(recording.TagTruncated) != "true" || e.Status != "200" {
				t.Errorf("status %s, tags %v", e.Status, e.Tags)
			}
		})
	}
}

// peakMemory returns the highest resident memory of a process.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	return procStatus(t, pid, "VmHWM:")
}

// procStatus returns a number of bytes from /proc/PID/status.
func procStatus(t *testing.T, pid int, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name)
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("%s %v", name, err)
	}
	return kib << 10
}
