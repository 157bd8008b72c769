package pod

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// TestOrder starts the pod as the kubelet does. The startup probe succeeds only when the ports are
// open and the trust files written, so that the application finds both.
func TestOrder(t *testing.T) {
	w := newWorld(t, render(t, shop))
	p := w.newPod()
	c := p.rendered.pod.Spec.InitContainers[0]
	if c.Name != contract.Container || c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Fatalf("the first init container is %s, want the sidecar, as a native one", c.Name)
	}
	s := p.sidecarSpec()
	if p.probe(s, c.StartupProbe) == nil {
		t.Error("the startup probe says yes where nothing runs")
	}
	p.sidecar = w.network.pod.start(t, contract.Container, s)
	p.started(s)
	for _, name := range []string{contract.CABundle, contract.CACert, contract.TrustStore} {
		if _, err := os.Stat(filepath.Join(p.volumes[contract.TrustVolume], filepath.Base(name))); err != nil {
			t.Errorf("the sidecar has started without the trust files: %v", err)
		}
	}
	for _, port := range []int{contract.InPort, contract.OutPort} {
		c, err := w.network.pod.dial(t.Context(), fmt.Sprintf("127.0.0.1:%d", port))
		switch {
		case errors.Is(err, syscall.ECONNRESET): // open, but without a server yet
		case err != nil:
			t.Fatalf("the sidecar has started without port %d: %v", port, err)
		default:
			c.Close()
		}
	}
	if err := p.probe(s, c.LivenessProbe); err != nil {
		t.Errorf("the liveness probe: %v", err)
	}
	p.startApp()
	mustGet(t, w.newClient().http1, fetch("https://external.test/hello"))
	p.stop()
}

// TestJob ends a Job's application. The kubelet then ends the native sidecar, which exits at once
// and keeps all that it recorded.
func TestJob(t *testing.T) {
	w := newWorld(t, render(t, shop, "kind: Deployment", "kind: Job", "apiVersion: apps/v1", "apiVersion: batch/v1"))
	p := w.startPod()
	c := w.newClient()
	mustGet(t, c.http1, fetch("http://dependency:8081/hello"))
	mustGet(t, c.http1, "/quit")
	eventually(t, "the application to end", p.app.ended)
	p.stop()
	got := p.recorded()
	for target, direction := range map[string]string{fetch("http://dependency:8081/hello"): recording.In, "/hello": recording.Out, "/quit": recording.In} {
		once(t, got, direction, target)
	}
}

// request is one request of a load, with its start, its end and its result.
type request struct {
	path       string
	start, end time.Time
	err        error
}

// load sends requests until stop is called.
type load struct {
	wg   sync.WaitGroup
	done atomic.Int64 // requests that ended

	mu      sync.Mutex
	max     int // requests, whatever goes wrong
	begun   int
	stopped bool
	all     []request
}

// startLoad starts callers that make requests, each request with a different number.
func startLoad(callers, limit int, do func(id int) request) *load {
	l := &load{max: limit}
	for range callers {
		l.wg.Go(func() {
			for id := l.begin(); id > 0; id = l.begin() {
				r := do(id)
				l.mu.Lock()
				l.all = append(l.all, r)
				l.mu.Unlock()
				l.done.Add(1)
			}
		})
	}
	return l
}

// asking returns a function that requests a path, to which each request adds its number.
func asking(c *http.Client, path string) func(id int) request {
	return func(id int) request { return ask(c, fmt.Sprintf("%s%d", path, id)) }
}

// begin returns the number of the next request, or 0 if there is none.
func (l *load) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || l.begun == l.max {
		return 0
	}
	l.begun++
	return l.begun
}

// stop starts no more requests, and returns how many were started.
func (l *load) stop() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	return l.begun
}

// ask makes one request; an answer other than 200 is an error.
func ask(c *http.Client, path string) request {
	r := request{path: path, start: time.Now()}
	status, body, err := get(context.Background(), c, path)
	if r.end, r.err = time.Now(), err; err == nil && status != http.StatusOK {
		r.err = fmt.Errorf("%d: %s", status, strings.TrimSpace(body))
	}
	return r
}

// reach waits until n requests have ended.
func (l *load) reach(t *testing.T, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests", n), func() bool { return l.done.Load() >= n })
}

// finish waits for requests in flight and returns all requests.
func (l *load) finish() []request {
	l.wg.Wait()
	return l.all
}

// TestSIGTERM ends the pod under load. The endpoint is removed, so no new requests come. Requests
// in flight are answered, and every one is in the recording.
func TestSIGTERM(t *testing.T) {
	for _, c := range []struct {
		name, sidecar string
		end           func(t *testing.T, p *pod)
	}{
		{"a native sidecar after the application", "native", func(t *testing.T, p *pod) { p.stop() }},
		{"a classic sidecar with the application", "classic", func(t *testing.T, p *pod) {
			var both sync.WaitGroup
			for _, c := range []*process{p.app, p.sidecar} {
				both.Go(func() {
					if err := c.stop(t); err != nil {
						t.Errorf("%s: %v", c.name, err)
					}
				})
			}
			both.Wait()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := renderText(t, readFile(t, "testdata/"+shop), "--config", "testdata/tapedeck.yaml", "--set", "sidecar="+c.sidecar)
			if native := r.container(t, contract.Container).RestartPolicy != nil; native != (c.sidecar == "native") {
				t.Fatalf("the sidecar is rendered to be native: %t", native)
			}
			w := newWorld(t, r)
			p := w.startPod()
			l := startLoad(16, 1000, asking(w.newClient().http1, "/slow?ms=300&id="))
			l.reach(t, 64)
			begun := l.stop()
			eventually(t, "the last request to reach the application", func() bool { return len(lines(p.app.out.String(), "/slow")) == begun })
			c.end(t, p)
			got := map[string]int{}
			for _, e := range p.recorded() {
				if e.Status != "200" {
					t.Errorf("%s is recorded with status %q, %v", uri(e), e.Status, e.Tags)
				}
				got[uri(e)]++
			}
			all := l.finish()
			for _, r := range all {
				if r.err != nil {
					t.Errorf("%s: %v", r.path, r.err)
				}
				if got[r.path] != 1 {
					t.Errorf("%s is recorded %d times, want once", r.path, got[r.path])
				}
			}
			if len(got) != len(all) {
				t.Errorf("%d requests are recorded, %d were made", len(got), len(all))
			}
			t.Logf("%d requests", len(all))
		})
	}
}

// TestKilled kills the sidecar under load, like an out-of-memory kill, and restarts it, like the
// kubelet. Only requests that were in flight fail, and those that arrived before the sidecar was
// back. Everything that was written by then is in the recording.
func TestKilled(t *testing.T) {
	w := newWorld(t, render(t, shop))
	p := w.startPod()
	l := startLoad(8, 100_000, asking(w.newClient().http1, "/hello?id="))
	l.reach(t, 300)
	var written []recording.Exchange
	eventually(t, "something to be written", func() bool { written = p.recorded(); return len(written) > 0 })
	killed := time.Now()
	p.sidecar.kill()
	p.startSidecar()
	ready := time.Now()
	l.reach(t, l.done.Load()+300)
	l.stop()
	all := l.finish()
	p.stop()

	got := map[string]int{}
	for _, e := range p.recorded() {
		if got[uri(e)]++; got[uri(e)] > 1 {
			t.Errorf("%s is recorded twice", uri(e))
		}
	}
	var before, failed, after int
	for _, r := range all {
		switch {
		case r.end.Before(killed) && r.err != nil:
			t.Errorf("%s failed before the kill: %v", r.path, r.err)
		case r.start.After(ready) && r.err != nil:
			t.Errorf("%s failed after the restart: %v", r.path, r.err)
		case r.start.After(ready) && got[r.path] != 1:
			t.Errorf("%s is not recorded", r.path)
		}
		switch {
		case r.err != nil:
			failed++
		case r.start.After(ready):
			after++
		case r.end.Before(killed) && got[r.path] == 1:
			before++
		}
	}
	for _, e := range written {
		if got[uri(e)] != 1 {
			t.Errorf("%s was written before the kill and is recorded %d times", uri(e), got[uri(e)])
		}
	}
	if failed == 0 {
		t.Error("nothing failed: the kill did not meet the load")
	}
	if after == 0 {
		t.Error("nothing came after the restart")
	}
	t.Logf("recorded before the kill: %d; failed while it was away for %v: %d; recorded after: %d", before, ready.Sub(killed).Round(time.Millisecond), failed, after)
}
