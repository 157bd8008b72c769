package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

// visits writes a recording of sessions that carry a token, a few milliseconds apart. Every third
// session was captured at port 9090.
func visits(t *testing.T, sessions int) (file string, requests int) {
	t.Helper()
	var lines []byte
	began := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	add := func(at time.Duration, port, method, path, token, body, answer string) {
		e := &recording.Exchange{
			MsgType: recording.MsgType, TS: began.Add(at), Duration: 1, Direction: recording.In, L7Protocol: recording.HTTP1, UUID: recording.UUID{14: byte(requests >> 8), 15: byte(requests)},
			Cluster: "c1", Namespace: "shop", Service: "cart", Command: method, Location: path, NetworkAddress: ":" + port,
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: method, URL: path, URI: path, Host: "cart", Version: "1.1", Body: []byte(body), Headers: recording.Headers{{Name: "Host", Value: "cart"}}},
				Res: recording.HTTPResponse{StatusCode: 200, ContentType: "application/json", Body: []byte(answer), Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}}},
			},
		}
		e.Tags.Set(recording.TagReverseProxyPort, port)
		req := &e.HTTP.Req
		if token != "" {
			req.Headers = append(req.Headers, recording.Header{Name: "Authorization", Value: "Bearer " + token})
		}
		if body != "" {
			req.Headers = append(req.Headers, recording.Header{Name: "Content-Length", Value: fmt.Sprint(len(body))}, recording.Header{Name: "Content-Type", Value: "application/json"})
		}
		lines = append(e.AppendJSON(lines), '\n')
		requests++
	}
	for i := range sessions {
		port, token := "8080", fmt.Sprintf("tok-%04d-Qm48sb01PxWc", i)
		if i%3 == 2 {
			port = "9090"
		}
		at := time.Duration(i) * 2 * time.Millisecond
		add(at, port, "POST", "/login", "", fmt.Sprintf(`{"user":"u%d"}`, i), `{"token":"`+token+`"}`)
		for k := range 1 + i%4 {
			add(at+time.Duration(k+1)*5*time.Millisecond, port, "GET", "/cart", token, "", `{"n":1}`)
		}
	}
	file = filepath.Join(t.TempDir(), "visits.jsonl")
	if err := os.WriteFile(file, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, requests
}

// cart is the target. It accepts only its own tokens, and notes who asked for what.
type cart struct {
	mu    sync.Mutex
	n     int
	valid map[string]bool
	got   []string
}

func (c *cart) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, fmt.Sprintf("%s %s %s of %s", r.Proto, r.Method, r.RequestURI, r.Header.Get(contract.HeaderReplay)))
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path == "/login":
		c.n++
		token := fmt.Sprintf("tok-%04d-Zk93hf72KdLq", c.n)
		c.valid[token] = true
		fmt.Fprintf(w, `{"token":"%s"}`, token)
	case !c.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		io.WriteString(w, `{"n":2}`)
	}
}

func (c *cart) count(what string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, got := range c.got {
		if strings.Contains(got, what) {
			n++
		}
	}
	return n
}

// shards runs the command once for each shard, as the pods of a Job do, and returns their exit
// codes and output.
func shards(of int, args ...string) (codes []int, stdout, stderr []string) {
	codes, stdout, stderr = make([]int, of), make([]string, of), make([]string, of)
	var running sync.WaitGroup
	for i := range of {
		running.Go(func() {
			var out, errs bytes.Buffer
			// The machine may be busy with other tests.
			codes[i] = run(append([]string{"replay", "--max-lag", "1m", "--shard", fmt.Sprintf("%d/%d", i, of)}, args...), strings.NewReader(""), &out, &errs)
			stdout[i], stderr[i] = out.String(), errs.String()
		})
	}
	running.Wait()
	return codes, stdout, stderr
}

const uid = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

// Three pods together report the same as one, and the report and its forms are in the place.
func TestPodsOfAJobReplay(t *testing.T) {
	t.Parallel()
	file, requests := visits(t, 20)
	var reports []string
	for _, of := range []int{1, 3} {
		c, rest, a := &cart{valid: map[string]bool{}}, &cart{valid: map[string]bool{}}, &admin{missed: 2}
		target, other, responder := httptest.NewServer(c), httptest.NewServer(rest), httptest.NewServer(a)
		place, log := t.TempDir(), filepath.Join(t.TempDir(), "termination")
		args := []string{file, "--meet", place, "--run", "cart-replay-0a1b2c3d/" + uid, "--target", target.URL, "--target", "9090=" + other.URL, "--wait-for-target",
			"--responder", responder.URL, "--build-tag", "v2", "--envoy", "none", "--fail-if", "requests.failed > 0", "--termination-log", log, "--slice", "cart:8080", "--slice", "cart:cart:9090"}
		codes, stdout, stderr := shards(of, args...)
		if want := append([]int{report.MockMisses}, make([]int, of-1)...); !slices.Equal(codes, want) {
			t.Fatalf("exit codes %d, want %d: %s", codes, want, stderr)
		}
		run := filepath.Join(place, "runs", "cart-replay-0a1b2c3d", uid)
		text, err := os.ReadFile(filepath.Join(run, "report.json"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		total := r.Results.Total()
		if total.Sent != int64(requests) || total.Failed > 0 || r.BuildTag != "v2" || r.Mock == nil || r.Mock.Missed != 2 || r.Mock.Served != 10 || len(r.Edges) == 0 || r.Partial != "" {
			t.Errorf("%+v, mock %+v, %+v", total.Counts, r.Mock, r)
		}
		if len(r.Exits) != 2 || r.Exits[1].Code != report.NewDifferences {
			t.Errorf("exits %v", r.Exits)
		}
		if n := c.count("HTTP/1.1 OPTIONS / of " + uid); n != of || rest.count("OPTIONS") != of || c.count("GET /cart of "+uid) == 0 || rest.count("POST /login of "+uid) != 6 {
			t.Errorf("the targets got %q and %q", c.got, rest.got)
		}
		if want := []string{"POST /reset", "GET /receipt"}; !slices.Equal(a.asked[len(a.asked)-2:], want) || a.resets != 1 {
			t.Errorf("the responder got %q", a.asked)
		}
		for _, name := range []string{"report.html", "junit.xml", "summary.md"} {
			if body, err := os.ReadFile(filepath.Join(run, name)); err != nil || len(body) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		for i := range of {
			if hasReport := strings.Contains(stdout[i], "Replay against"); hasReport != (i == 0) {
				t.Errorf("shard %d printed %s", i, stdout[i])
			}
			if !strings.Contains(stderr[i], "waiting for the target") || !strings.Contains(stderr[i], "ready to send part") || !strings.Contains(stderr[i], fmt.Sprintf("part %d of %d: sent ", i, of)) {
				t.Errorf("shard %d said %s", i, stderr[i])
			}
		}
		last, err := os.ReadFile(log)
		if err != nil || of == 1 && !strings.HasPrefix(string(last), "exit code 4: 2 requests to dependencies not in the recording\n") {
			t.Errorf("termination log: %v, %s", err, last)
		}
		// A pod that comes later finds the verdict.
		sent := len(c.got)
		if again, _, stderr := shards(1, append([]string{"--shard", fmt.Sprintf("0/%d", of)}, args...)...); again[0] != report.MockMisses || len(c.got) != sent {
			t.Errorf("a later pod: exit code %d, %s", again[0], stderr)
		}
		r.Merged, r.Generator, r.Started, r.Ended, r.Metrics, r.Target, r.Goals, r.Settings = nil, report.Generator{}, time.Time{}, time.Time{}, nil, "", nil, ""
		r.Results.Series.Points = nil
		for _, e := range r.Results.Endpoints {
			e.Response, e.Service, e.Lag, e.Held = nil, nil, nil, nil
		}
		text, _ = json.MarshalIndent(r, "", " ")
		reports = append(reports, string(text))
		target.Close()
		other.Close()
		responder.Close()
	}
	if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
		t.Errorf("one pod, and three: %s", diff)
	}
}

// A pod that is evicted stores what it has, and the next one continues from there.
func TestAPodThatIsEvicted(t *testing.T) {
	t.Parallel()
	file, requests := visits(t, 150)
	c := &cart{valid: map[string]bool{}}
	target := httptest.NewServer(c)
	defer target.Close()
	place := t.TempDir()
	args := []string{file, "--meet", place, "--run", "job/" + uid, "--target", target.URL, "--rate", "200", "--max-lag", "1m", "--output", "none"}
	codes := make([]int, 2)
	var running sync.WaitGroup
	running.Go(func() {
		cmd := newReplayCommand()
		cmd.SetArgs(append(args, "--shard", "0/2"))
		cmd.SetErr(io.Discard)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for c.count("GET") < 20 {
				time.Sleep(5 * time.Millisecond)
			}
			cancel()
		}()
		var coded *codedError
		if err := cmd.ExecuteContext(ctx); err == nil || errors.As(err, &coded) && coded.code == 0 {
			t.Errorf("the one that was told to end: %v", err)
		}
		again, _, stderr := shards(1, append(slices.Clone(args), "--shard", "0/2")...)
		if codes[0] = again[0]; codes[0] != report.Incomplete {
			t.Errorf("the one that took its place: exit code %d, %s", codes[0], stderr)
		}
	})
	running.Go(func() {
		var out, errs bytes.Buffer
		codes[1] = run(append([]string{"replay", "--shard", "1/2"}, args...), strings.NewReader(""), &out, &errs)
	})
	running.Wait()
	text, err := os.ReadFile(filepath.Join(place, "runs", "job", uid, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Parse(text)
	if err != nil || codes[1] != 0 {
		t.Fatalf("%v, exit codes %d", err, codes)
	}
	sent := r.Results.Total().Sent
	if r.Partial != "shard 0: it was interrupted" || sent < int64(requests)/2 || sent >= int64(requests) || c.count("/")-int(sent) > 20 || // under way when it was told to end
		int(sent) > c.count("/") || r.Source.Steps != int64(requests) {
		t.Errorf("partial: %q, %d of %d sent, the target got %d", r.Partial, sent, r.Source.Steps, c.count("/"))
	}
}

// A shard that fails ends with a code that lets the others continue, and shard 0 reports it.
func TestAPodThatFails(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 20)
	c := &cart{valid: map[string]bool{}}
	target := httptest.NewServer(c)
	defer target.Close()
	place, log := t.TempDir(), filepath.Join(t.TempDir(), "termination")
	common := []string{"--meet", place, "--run", "job/" + uid, "--target", target.URL, "--max-lag", "1m", "--output", "none"}
	one := func(file string, args ...string) (code int, stderr string) {
		var out, errs bytes.Buffer
		return run(append(append([]string{"replay", file}, common...), args...), strings.NewReader(""), &out, &errs), errs.String()
	}
	if code, stderr := one(filepath.Join(t.TempDir(), "nowhere.jsonl"), "--shard", "1/2", "--termination-log", log); code != codePartFailed || !strings.Contains(stderr, "nowhere.jsonl") {
		t.Errorf("shard 1: exit code %d, %s", code, stderr)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "nowhere.jsonl") {
		t.Errorf("termination log of shard 1: %v, %s", err, text)
	}
	code, stderr := one(file, "--shard", "0/2")
	text, err := os.ReadFile(filepath.Join(place, "runs", "job", uid, "report.json"))
	if err != nil {
		t.Fatalf("%v: exit code %d, %s", err, code, stderr)
	}
	r, err := report.Parse(text)
	if err != nil || code != report.Incomplete || !slices.Equal(r.Merged.Lost, []int{1}) || len(r.Merged.Notes) != 1 || !strings.Contains(r.Merged.Notes[0], "nowhere.jsonl") {
		t.Errorf("shard 0: exit code %d, %v, %+v", code, err, r.Merged)
	}
	if code, stderr := one(file, "--shard", "1/2"); code != 0 { // the run is over
		t.Errorf("shard 1, again: exit code %d, %s", code, stderr)
	}
	if code, stderr := one(file, "--shard", "2/2"); code != codeCannotRun || !strings.Contains(stderr, "--shard") { // as of all shards
		t.Errorf("wrong flags: exit code %d, %s", code, stderr)
	}
	if code, stderr := one(file, "--shard", "1/2", "--meet", filepath.Join(file, "no directory"), "--progress-timeout", "1s"); code != codePartFailed {
		t.Errorf("a place that fails: exit code %d, %s", code, stderr)
	}
}

// A run does not use the result or the report of another run.
func TestObjectsOfAnotherRun(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 5)
	c := &cart{valid: map[string]bool{}}
	target := httptest.NewServer(c)
	defer target.Close()
	place := t.TempDir()
	replay := func(run string) (code int, stderr string) {
		codes, _, said := shards(1, file, "--meet", place, "--run", run, "--target", target.URL, "--output", "none")
		return codes[0], said[0]
	}
	if code, stderr := replay("job/1"); code != report.NewDifferences {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	sent := c.count("/")
	for run, one := range map[string]struct {
		object, want string
		code         int
	}{
		"job/2": {"result-0.json", `runs/job/2/result-0.json: it does not belong to this run: it belongs to run "runs/job/1"`, report.Incomplete},
		"job/3": {"report.json", `runs/job/3/report.json: it does not belong to this run: it belongs to run "runs/job/1"; another run uses this ID`, codeCannotRun},
	} {
		text, err := os.ReadFile(filepath.Join(place, "runs", "job", "1", one.object))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Dir(place).Put(t.Context(), "runs/"+run+"/"+one.object, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if code, stderr := replay(run); code != one.code || !strings.Contains(stderr, one.want) || c.count("/") != sent {
			t.Errorf("%s of another run: exit code %d, %d requests, %s", one.object, code, c.count("/")-sent, stderr)
		}
	}
}

// Shards of a run have the same settings, except for those that belong to one process.
func TestShardsWithDifferentSettings(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 5)
	for _, c := range []struct {
		name  string
		args  []string // of shard 1 only
		alike bool
	}{
		{"its own", []string{"--progress-timeout", "30s", "--output", "json", "--temp-dir", t.TempDir()}, true},
		{"speed", []string{"--speed", "2"}, false},
		{"only", []string{"--only", "safe"}, false},
		{"no comparison", []string{"--no-compare"}, false},
		{"goals", []string{"--fail-if", "latency.p95 > 100"}, false},
		{"what is selected", []string{"--workload", "cart"}, false},
		{"what is supplied", []string{"--set", "header.X=1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := &cart{valid: map[string]bool{}}
			target := httptest.NewServer(got)
			defer target.Close()
			args := []string{"replay", file, "--meet", t.TempDir(), "--run", "job/1", "--target", target.URL, "--max-lag", "1m", "--progress-timeout", "20s"}
			var codes [2]int
			var said [2]string
			var running sync.WaitGroup
			for i, more := range [][]string{nil, c.args} {
				running.Go(func() {
					_, said[i], codes[i] = program(slices.Concat(args, []string{"--shard", fmt.Sprintf("%d/2", i)}, more)...)
				})
			}
			running.Wait()
			if c.alike {
				if codes != [2]int{report.NewDifferences, 0} {
					t.Errorf("exit codes %d: %s", codes, said)
				}
			} else if codes != [2]int{codeCannotRun, codePartFailed} || got.count("/") > 0 || !strings.Contains(said[0], "part 1 is from another run than part 0") {
				t.Errorf("exit codes %d, %d requests: %s", codes, got.count("/"), said)
			}
		})
	}
}

// A process whose part is done already says so in its termination log.
func TestTheTerminationLogOfAProcessThatSendsNothing(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 5)
	c := &cart{valid: map[string]bool{}}
	target := httptest.NewServer(c)
	defer target.Close()
	place, log := t.TempDir(), filepath.Join(t.TempDir(), "termination")
	args := []string{file, "--meet", place, "--run", "job/1", "--target", target.URL, "--progress-timeout", "1s", "--output", "none"}
	if codes, _, stderr := shards(2, args...); !slices.Equal(codes, []int{report.NewDifferences, 0}) {
		t.Fatalf("exit codes %d: %s", codes, stderr)
	}
	sent := c.count("/")
	for _, step := range []struct{ remove, want string }{
		{"", "the run has a report; this process sent nothing\n"},
		{"report.json", "part 1 of the run has a result; this process sent nothing\n"},
		{"result-1.json", "another process began part 1 of the run; this one sent nothing\n"},
	} {
		if step.remove != "" {
			if err := os.Remove(filepath.Join(place, "runs", "job", "1", step.remove)); err != nil {
				t.Fatal(err)
			}
		}
		codes, _, stderr := shards(1, append([]string{"--shard", "1/2", "--termination-log", log}, args...)...)
		if text, err := os.ReadFile(log); err != nil || string(text) != step.want || codes[0] != 0 || c.count("/") != sent {
			t.Errorf("without %q: exit code %d, %v, %q: %s", step.remove, codes[0], err, text, stderr)
		}
	}
}

// The ID of a run has a form that tapedeck report list finds.
func TestTheIDOfARun(t *testing.T) {
	long := strings.Repeat("a", 2000)
	for id, allowed := range map[string]bool{
		"nightly/2026-11-29": true, "cart-replay-0a1b2c3d/" + uid: true, "A_1/b.c": true,
		"one": false, "a/b/c/d": false, "a/": false, "/a": false, "a//b": false, "a/..": false, "./a": false, "a/.b": false, "a/b c": false, "a/b\n": false, "a/é": false, "a/b\\c": false, "a/$(UID)": false, "a/" + long: false,
	} {
		f := clusterFlags{meet: "/place", id: id, envoy: envoyNone}
		if _, err := f.parse(); (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "--run") {
			t.Errorf("--run %q: %v", id, err)
		}
	}
}

// The termination log has any error that ended the command.
func TestTheTerminationLogOfAnError(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	codes, _, _ := shards(1, filepath.Join(t.TempDir(), "nowhere"), "--target", "http://127.0.0.1:1", "--termination-log", log)
	text, err := os.ReadFile(log)
	if err != nil || codes[0] != codeCannotRun || !strings.HasPrefix(string(text), "tapedeck: ") || !strings.Contains(string(text), "nowhere") {
		t.Errorf("exit code %d, %v: %s", codes[0], err, text)
	}
	for _, c := range []struct{ text, want string }{{"a\nb\n", "a\nb\n"}, {"abc\ndef\nghi\n", "abc\ndef\n"}, {"abcdefghijkl", "abcdefghij"}, {"abcdefghié", "abcdefghi"}} {
		if got := wholeLines(c.text, 10); got != c.want {
			t.Errorf("%q is cut to %q", c.text, got)
		}
	}
}

// Runs are stored in a place, and do not belong to the recording there.
func TestRunsAreNoRecording(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 2)
	target := httptest.NewServer(&cart{valid: map[string]bool{}})
	defer target.Close()
	place := t.TempDir()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Dir(place).Put(t.Context(), "visits.jsonl", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	args := []string{place, "--meet", place, "--run", "job/" + uid, "--target", target.URL, "--no-compare", "--output", "none"}
	if codes, _, stderr := shards(2, args...); codes[0] != 0 || codes[1] != 0 {
		t.Fatalf("exit codes %d: %s", codes, stderr)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"inspect", place, "--output", "json"}, strings.NewReader(""), &out, &errs); code != 0 || strings.Count(out.String(), "\n") != 5 || errs.Len() > 0 {
		t.Errorf("exit code %d: %s %s", code, &out, &errs)
	}
}
