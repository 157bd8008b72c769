package traffic

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// podinfo, which calls another podinfo, is recorded under load. Then the other one is stopped. In
// ten replays to the same build with the dependency mocked, the mock has every answer, and nothing
// is new. With another message, exactly that is new.
func TestReplayOfPodinfoUnderLoad(t *testing.T) {
	backend := freeAddresses(t, outside, 1)[0]
	_, backendPort, _ := net.SplitHostPort(backend)
	stopBackend := serveProgram(t, nil, "podinfo", "--level=fatal", "--host="+outside, "--port="+backendPort)
	listens(t, "the backend", backend)
	dir, port, in := t.TempDir(), freePort(t), freePort(t)
	env := []string{"TAPEDECK_ADMIN_PORT=0"}
	podinfo := []string{"--", filepath.Join(os.Getenv(envPrograms), "podinfo"), "--level=fatal", "--host=127.0.0.1", "--port=" + port,
		"--backend-url=http://" + backend + "/api/echo", "--data-path=" + t.TempDir()}

	record := exec.Command(filepath.Join(os.Getenv(envPrograms), "tapedeck"), append([]string{"record", dir, "--port", port, "--in-port", in}, podinfo...)...)
	record.Env = append(append(os.Environ(), "HTTPS_PROXY="), env...)
	log := background(t, "tapedeck record", record)
	listens(t, "podinfo", "127.0.0.1:"+port)
	const callers, rounds = 16, 10
	loadPodinfo(t, "http://127.0.0.1:"+in, callers, rounds)
	if err := record.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := record.Wait(); err != nil {
		t.Fatalf("tapedeck record: %v\n%s", err, log)
	}
	stopBackend()
	calls := trap(t, backend)

	var first []string
	for n := range 10 {
		began := time.Now()
		r, code := replay(t, env, append([]string{dir, "--mock", "--target", "http://127.0.0.1:" + port}, podinfo...)...)
		verdict := []string{fmt.Sprintf("exit code %d, %+v", code, *r.Mock)}
		for _, d := range r.Differences {
			// How far the number of goroutines is outside the recorded range depends on the load.
			if one := strings.Join([]string{d.Endpoint, d.Place, d.State}, " "); !slices.Contains(verdict, one) {
				verdict = append(verdict, one)
			}
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("replay %d took %s", n, took)
		}
		if code != 0 || r.Mock.Missed > 0 || r.Mock.NeverUsed > 0 || r.Mock.Served != callers*rounds || r.found() != "" {
			t.Errorf("replay %d: exit code %d, %+v\nnew: %s\n%+v", n, code, r.Mock, r.found(), r.Differences)
		}
		for _, d := range r.Differences { // podinfo answers with its current number of goroutines
			if d.Place != "body:$.num_goroutine" {
				t.Errorf("replay %d: %+v", n, d)
			}
		}
		if first == nil {
			first = verdict
		}
		if !slices.Equal(first, verdict) {
			t.Errorf("replay %d:\ngot  %v\nthe first had %v", n, verdict, first)
		}
	}
	r, code := replay(t, env, append(append([]string{dir, "--mock", "--target", "http://127.0.0.1:" + port}, podinfo...), "--ui-message=changed")...)
	if found := sorted(r.found()); code != 3 || found != "GET / body:$.message value_changed, GET /api/info body:$.message value_changed" {
		t.Errorf("another message: exit code %d, new: %s", code, found)
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("%d calls reached the place of the backend", n)
	}
}

// loadPodinfo has callers send requests to podinfo at the same time, each over separate
// connections.
func loadPodinfo(t *testing.T, target string, callers, rounds int) {
	t.Helper()
	var working sync.WaitGroup
	for caller := range callers {
		working.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: time.Minute}
			for round := range rounds {
				for _, call := range []struct{ method, path, body string }{
					{"GET", "/", ""},
					{"GET", "/version", ""},
					{"GET", "/headers", ""},
					{"GET", "/status/404", ""},
					{"GET", "/healthz", ""},
					{"GET", "/api/info", ""},
					{"POST", "/api/echo", fmt.Sprintf(`{"caller":"number %d","round":%d}`, caller, round)},
					{"POST", "/store", fmt.Sprintf("what number %d stores", caller)},
					{"POST", "/token", fmt.Sprintf("user-%d", caller)},
				} {
					answer := fetchText(client, call.method, target+call.path, call.body)
					if !strings.HasPrefix(answer, "20") && call.path != "/status/404" || strings.Contains(answer, "backend ") {
						t.Errorf("%s %s got %s", call.method, call.path, answer)
					}
				}
			}
		})
	}
	working.Wait()
}
