package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// replayed is the content of a report.
type replayed struct {
	ExitCode    int
	Differences []struct {
		Endpoint, Place, Kind, State, Reason string
		Example                              struct{ Recorded, Live string }
	}
	Results struct {
		Endpoints []struct {
			Name                  string
			Sent, Failed, Matched int64
		}
	}
	Mock *struct{ Served, Missed, NeverUsed int64 }
}

// found lists the new groups of differences.
func (r *replayed) found() string {
	var all []string
	for _, d := range r.Differences {
		if d.State == "new" {
			all = append(all, d.Endpoint+" "+d.Place+" "+d.Kind)
		}
	}
	return strings.Join(all, ", ")
}

// replay runs `tapedeck replay` and returns its report. The machine may be busy, so the tests judge
// only the answers, and not their times.
func replay(t *testing.T, env []string, args ...string) (r replayed, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	out, said, err := deck(t, env, append([]string{"replay", "--report", file, "--output", "none", "--max-lag", "10s"}, args...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatalf("exit code %d: %v\n%s%s", code, err, out, said)
	}
	if r.ExitCode != code {
		t.Errorf("the exit code is %d, and the report says %d", code, r.ExitCode)
	}
	return r, code
}

// A shop with logins, created ids and a dependency is recorded, and replayed with the
// dependency mocked: ten times to the same build, and to builds with one change each.
func TestReplayFindsWhatChanged(t *testing.T) {
	python := program(t, "python3", "python3-requests")
	shop, _ := filepath.Abs("testdata/replay/shop.py")
	customers, _ := filepath.Abs("testdata/replay/customers.py")
	prices := depend(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"item":%q,"cents":%d}`, filepath.Base(r.URL.Path), 100*len(filepath.Base(r.URL.Path)))
	}), nil)
	dir, port, in := t.TempDir(), freePort(t), freePort(t)
	env := []string{"PRICES=http://" + prices.address, "TAPEDECK_ADMIN_PORT=0"}
	run := fmt.Sprintf(`%[1]s %[2]s %[4]s & shop=$!
until (exec 3<>/dev/tcp/127.0.0.1/%[4]s) 2>/dev/null; do sleep 0.05; done
NO_PROXY='*' %[1]s %[3]s http://127.0.0.1:%[5]s; code=$?; kill $shop; exit $code`, python, shop, customers, port, in)
	if out, said, err := deck(t, env, "record", dir, "--port", port, "--in-port", in, "--", "bash", "-c", run); err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	prices.close()
	against := func(change string, flags ...string) (replayed, int) {
		args := append([]string{dir, "--mock", "--speed", "5", "--target", "http://127.0.0.1:" + port}, flags...)
		return replay(t, append(env, "CHANGE="+change), append(args, "--", python, shop, port)...)
	}
	for range 10 {
		r, code := against("")
		if code != 0 || len(r.Differences) > 0 || r.Mock.Missed > 0 || r.Mock.Served != 15 || r.Mock.NeverUsed > 0 {
			t.Fatalf("the same build: exit code %d, %+v", code, r)
		}
	}
	for _, c := range []struct {
		change, found string
		code          int
		flags         []string
	}{
		{change: "status", found: "POST /orders status value_changed", code: 3},
		{change: "field", found: "POST /orders body:$.currency field_removed", code: 3},
		{change: "number", found: "POST /orders body:$.cents value_changed", code: 3},
		{change: "header", found: "GET /orders/{id} header:x-shop value_changed, POST /login header:x-shop value_changed, POST /orders header:x-shop value_changed", code: 3},
		{change: "call", code: 4},
		{change: "slow", code: 1, flags: []string{"--fail-if", "GET /orders/{id}: latency.min > 30"}},
		{change: "", flags: []string{"--fail-if", "GET /orders/{id}: latency.min > 30"}},
	} {
		r, code := against(c.change, c.flags...)
		found := r.found()
		if c.change == "header" { // in the order of the endpoints' first requests
			found = sorted(found)
		}
		if found != c.found || code != c.code {
			t.Errorf("a change of %q: exit code %d, want %d\nfound %s\nwant  %s", c.change, code, c.code, found, c.found)
		}
	}
}

func sorted(list string) string {
	all := strings.Split(list, ", ")
	for i := range all {
		for j := range i {
			if all[i] < all[j] {
				all[i], all[j] = all[j], all[i]
			}
		}
	}
	return strings.Join(all, ", ")
}

// go-httpbin answers with uuids, times, cookies, streams and parts of the request. Once a replay
// has shown what varies, and what it answers differently, nothing is new.
func TestReplayOfHTTPBin(t *testing.T) {
	program(t, "curl", "curl")
	dir, port, in := t.TempDir(), freePort(t), freePort(t)
	bin := filepath.Join(os.Getenv(envPrograms), "go-httpbin")
	var calls strings.Builder
	for range 2 {
		for _, call := range []string{
			"get?a=1", "uuid", "-b k=v cookies", "cookies/set?flavor=oat", "redirect/2", "-u user:pass basic-auth/user/pass", "stream/3",
			"-H Accept-Encoding:gzip gzip", "-H Accept-Encoding:deflate deflate", "-H Range:bytes=0-99 range/1000", "bytes/100", "-d x=1 post", "status/404",
			"json", "xml", "html", "headers", "ip", "etag/abc", "-H If-None-Match:abc etag/abc", "drip?duration=0.2&numbytes=5", "sse?count=3&duration=200ms",
			"-X PUT -d a=b put", "response-headers?X-A=b", "cache", "stream-bytes/500?seed=3", "image/png", "-F f=@/etc/hostname post",
		} {
			i := strings.LastIndexByte(call, ' ')
			fmt.Fprintf(&calls, "curl -sS --noproxy '*' -o /dev/null %s 'http://127.0.0.1:%s/%s' || exit 9\n", call[:i+1], in, call[i+1:])
		}
	}
	run := fmt.Sprintf(`%[1]s -host 127.0.0.1 -port %[2]s >/dev/null 2>&1 & bin=$!
until (exec 3<>/dev/tcp/127.0.0.1/%[2]s) 2>/dev/null; do sleep 0.05; done
%[3]s
kill $bin; wait $bin; exit 0`, bin, port, calls.String())
	if out, said, err := deck(t, []string{"TAPEDECK_ADMIN_PORT=0"}, "record", dir, "--port", port, "--in-port", in, "--", "bash", "-c", run); err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	serveProgram(t, nil, "go-httpbin", "-host", "127.0.0.1", "-port", port)
	learned := filepath.Join(t.TempDir(), "learned.json")
	args := []string{dir, "--target", "http://127.0.0.1:" + port, "--set", "header.Authorization=user:pass", "--set", "cookie.k=v"}
	if _, said, err := deck(t, nil, append([]string{"replay", "--report", learned, "-o", "none"}, args...)...); said != "" {
		t.Fatalf("the first replay: %v: %s", err, said)
	}
	for range 3 {
		if r, code := replay(t, nil, append(args, "--baseline", learned)...); code != 0 {
			t.Fatalf("exit code %d: new are %s", code, r.found())
		}
	}
}
