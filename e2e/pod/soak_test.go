package pod

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// soakRequests bounds TestSoak, to about two minutes on two cores;
// TAPEDECK_SOAK_REQUESTS makes it longer or shorter.
const soakRequests = 100_000

// TestSoak sends all kinds of traffic for long enough to show leaks: from the second quarter to
// the last, memory, goroutines and descriptors stay the same. No request fails, and the counters
// account for every one that is missing from the recording.
func TestSoak(t *testing.T) {
	total := soakRequests
	if n, err := strconv.Atoi(os.Getenv("TAPEDECK_SOAK_REQUESTS")); err == nil {
		total = n
	}
	w := newWorld(t, render(t, shop))
	p := w.startPod()
	c := w.newClient()
	body := bytes.Repeat([]byte("soak "), 4<<10)
	began := time.Now()
	l := startLoad(8, total, func(id int) request {
		mark := fmt.Sprintf("id=%d", id)
		switch id % 5 {
		case 0:
			return ask(c.http1, fetch("http://dependency:8081/hello?"+mark))
		case 1:
			return ask(c.http1, fetch("https://external.test/hello?"+mark))
		case 2:
			return ask(c.http2, "/hello?"+mark)
		case 3:
			return post(c.http1, "/echo?"+mark, body)
		default:
			return ask(c.http1, "/hello?"+mark)
		}
	})
	ended := make(chan []request)
	go func() { ended <- l.finish() }()
	var quarters [4]usage
	var all []request
	for all == nil {
		select {
		case all = <-ended:
		case <-time.After(200 * time.Millisecond):
			q := min(3, int(l.done.Load())*4/total)
			quarters[q] = quarters[q].and(p.usage())
		}
	}
	took := time.Since(began)
	for _, r := range all {
		if r.err != nil {
			t.Errorf("%s: %v", r.path, r.err)
		}
	}
	t.Logf("%d requests in %v", len(all), took.Round(time.Second))
	for i, q := range quarters {
		t.Logf("quarter %d: %v", i+1, q)
	}
	early, late := quarters[1], quarters[3]
	if early.samples == 0 || late.samples == 0 {
		t.Fatal("the load was too short to sample")
	}
	for _, m := range []struct {
		name              string
		early, late, more int
	}{
		// The limits allow for what comes and goes with connections and the garbage collector's
		// cycles. A leak in each request would be thousands of times as large.
		{"live heap", early.heap, late.heap, early.heap/4 + 4<<20},
		{"resident memory", early.resident, late.resident, early.resident/4 + 8<<20},
		{"goroutines", early.goroutines, late.goroutines, 64},
		{"descriptors", early.files, late.files, 64},
	} {
		if m.late > m.early+m.more {
			t.Errorf("%s grew from %d to %d", m.name, m.early, m.late)
		}
	}

	counted := p.settled()
	p.stop()
	got := map[string]int{}
	for e := range p.exchanges() {
		if e.Direction == recording.In {
			got[uri(e)]++
		}
	}
	lost := 0
	for _, r := range all {
		switch got[r.path] {
		case 1:
		case 0:
			lost++
		default:
			t.Errorf("%s is recorded %d times", r.path, got[r.path])
		}
	}
	t.Logf("recorded %d, not recorded %d, drops counted %d", len(all)-lost, lost, counted)
	if lost > 0 && counted == 0 {
		t.Errorf("%d requests are missing from the recording, and no counter tells of them", lost)
	}
}

// TestDrops gives the sidecar less memory than the traffic needs. No request waits or fails
// because of it, and exchanges that are not recorded completely are counted.
func TestDrops(t *testing.T) {
	w := newWorld(t, render(t, shop))
	p := w.newPod()
	s := p.sidecarSpec()
	s.Env = append(s.Env, contract.EnvMemory+"=1Mi")
	p.sidecar = w.network.pod.start(t, contract.Container, s)
	p.started(s)
	p.startApp()
	c := w.newClient()
	body := bytes.Repeat([]byte("drop "), 400<<10)
	all := startLoad(8, 64, func(id int) request { return post(c.http1, fmt.Sprintf("/echo?id=%d", id), body) }).finish()
	for _, r := range all {
		if r.err != nil {
			t.Errorf("%s: %v", r.path, r.err)
		}
	}
	counted := p.settled()
	p.stop()
	whole := 0
	for _, e := range p.recorded() {
		if e.HTTP != nil && len(e.HTTP.Req.Body) == len(body) && len(e.HTTP.Res.Body) == len(body) {
			whole++
		}
	}
	t.Logf("%d requests of %d bytes, %d recorded whole, drops counted %d", len(all), 2*len(body), whole, counted)
	if whole < len(all) && counted == 0 {
		t.Error("requests are not recorded whole, and no counter tells of them")
	}
	if whole == len(all) {
		t.Error("1 MiB was enough: the test shows nothing")
	}
}

// post sends a body to be echoed; any other answer is an error.
func post(c *http.Client, path string, body []byte) request {
	r := request{path: path, start: time.Now()}
	r.err = func() error {
		res, err := c.Post("http://app:8080"+path, "text/plain", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			return fmt.Errorf("after %d bytes of %s: %w", len(got), res.Status, err)
		}
		if res.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
			return fmt.Errorf("%s, %d bytes", res.Status, len(got))
		}
		return nil
	}()
	r.end = time.Now()
	return r
}

// usage is the resource usage of a process: the highest values seen, and the lowest size of the heap,
// which is the live heap.
type usage struct{ samples, heap, resident, goroutines, files int }

func (u usage) and(v usage) usage {
	if u.samples == 0 {
		return v
	}
	return usage{u.samples + v.samples, min(u.heap, v.heap), max(u.resident, v.resident), max(u.goroutines, v.goroutines), max(u.files, v.files)}
}

func (u usage) String() string {
	return fmt.Sprintf("live heap %.1f MiB, resident %.1f MiB, %d goroutines, %d descriptors (%d samples)",
		float64(u.heap)/(1<<20), float64(u.resident)/(1<<20), u.goroutines, u.files, u.samples)
}

// usage asks the sidecar's metrics and the kernel.
func (p *pod) usage() usage {
	p.t.Helper()
	m := p.metrics()
	dir := fmt.Sprintf("/proc/%d", p.sidecar.Process.Pid)
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		p.t.Fatal(err)
	}
	var resident int
	for _, line := range lines(readFile(p.t, dir+"/status"), "VmRSS:") {
		if resident, err = strconv.Atoi(strings.Fields(line)[1]); err != nil {
			p.t.Fatal(err)
		}
	}
	return usage{1, int(m["go_memstats_heap_alloc_bytes"]), resident << 10, int(m["go_goroutines"]), len(files)}
}

// metrics returns the metrics of the sidecar's admin port, with labels and summed over them.
func (p *pod) metrics() map[string]float64 {
	p.t.Helper()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.network.pod.dial(ctx, address)
		},
	}}
	res, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", contract.AdminPort))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	out := map[string]float64{}
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if strings.HasPrefix(name, "#") || !ok {
			continue
		}
		labelled := ""
		if at := strings.LastIndex(s.Text(), "} "); at >= 0 {
			name, labelled, value = s.Text()[:strings.Index(s.Text(), "{")], s.Text()[:at+1], s.Text()[at+2:]
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.t.Fatalf("metric %s: %v", s.Text(), err)
		}
		out[name] += n
		if labelled != "" {
			out[labelled] = n
		}
	}
	return out
}

// settled waits until nothing waits to be recorded, and returns how many exchanges the sidecar
// counted as not recorded, or not completely.
func (p *pod) settled() (counted int) {
	p.t.Helper()
	eventually(p.t, "the recording to catch up", func() bool {
		m := p.metrics()
		counted = 0
		for _, name := range []string{"tap_dropped_chunks_total", "exchanges_dropped_total", "exchanges_truncated_total", "exchanges_incomplete_total"} {
			counted += int(m["tapedeck_"+name])
		}
		return m["tapedeck_tap_used_bytes"] == 0 && m["tapedeck_queue_used_bytes"] == 0
	})
	return counted
}
