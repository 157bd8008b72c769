package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

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

// admin is the admin server of a responder that missed something before the first reset.
type admin struct {
	mu     sync.Mutex
	resets int64
	missed int64
	asked  []string
}

func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	switch r.URL.Path {
	case "/healthz":
	case "/receipt", "/reset":
		fmt.Fprintf(w, `{"served":5,"missed":%d,"resets":%d,"recording":{"place":"shop","sha256":"%064d"}}`, a.missed, a.resets, 7)
		if r.Method == http.MethodPost {
			a.resets++
			a.missed = 0
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
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

// The report counts the misses of the target's start. It does not count those from before a
// later reset.
func TestTheReceiptOfTheResponder(t *testing.T) {
	t.Parallel()
	file, requests := visits(t, 3)
	out := &recording.Exchange{
		MsgType: recording.MsgType, TS: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC), Duration: 1, Direction: recording.Out, L7Protocol: recording.HTTP1, UUID: recording.UUID{1},
		Cluster: "c1", Namespace: "shop", Service: "cart", Command: "GET", Location: "/rates", NetworkAddress: "bank.test:80",
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "GET", URL: "/rates", URI: "/rates", Host: "bank.test", Version: "1.1", Headers: recording.Headers{{Name: "Host", Value: "bank.test"}}},
			Res: recording.HTTPResponse{StatusCode: 200, Body: []byte("1"), Headers: recording.Headers{{Name: "Content-Length", Value: "1"}}},
		},
	}
	answers := filepath.Join(t.TempDir(), "answers.jsonl")
	if err := os.WriteFile(answers, append(out.AppendJSON(nil), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	cmd := newMockCommand()
	cmd.SetArgs([]string{answers, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"})
	said, says := io.Pipe()
	cmd.SetErr(says)
	ended := make(chan error)
	go func() {
		err := cmd.ExecuteContext(ctx)
		says.Close()
		ended <- err
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	lines := bufio.NewReader(said)
	announced, err := lines.ReadString('\n')
	addresses := regexp.MustCompile(`proxy http://(\S+) .*metrics http://(\S+)/metrics`).FindStringSubmatch(announced)
	if addresses == nil {
		t.Fatalf("the mock says %q, %v", announced, err)
	}
	go io.Copy(io.Discard, lines)
	admin := &url.URL{Scheme: "http", Host: addresses[2]}
	if err := (&responder{url: admin, client: directClient(), patience: maxPatience}).await(t.Context()); err != nil {
		t.Fatal(err)
	}
	through := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addresses[1]})}}
	call := func(at string) {
		resp, err := through.Get(at)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}
	call("http://bank.test/unknown/17") // as the target starts
	c := &cart{valid: map[string]bool{}}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call("http://bank.test/rates")
		c.ServeHTTP(w, r)
	}))
	defer target.Close()
	place := t.TempDir()
	for run, want := range []report.Mock{{Served: int64(requests), Missed: 1}, {Served: int64(requests)}} {
		codes, _, stderr := shards(1, file, "--meet", place, "--run", fmt.Sprintf("job/%d", run), "--target", target.URL, "--responder", admin.String(), "--output", "none")
		text, err := os.ReadFile(filepath.Join(place, "runs", "job", fmt.Sprint(run), "report.json"))
		if err != nil {
			t.Fatalf("%v: exit code %d, %s", err, codes[0], stderr)
		}
		r, err := report.Parse(text)
		if err != nil || r.Mock == nil || r.Mock.Served != want.Served || r.Mock.Missed != want.Missed || (codes[0] == report.MockMisses) != (want.Missed > 0) || want.Missed > 0 && (len(r.Mock.Misses) != 1 || r.Mock.Misses[0].Count != want.Missed) {
			t.Errorf("run %d: %v, exit code %d, %+v", run, err, codes[0], r.Mock)
		}
	}
}

// A reset from outside makes the responder forget its misses, so the run does not pass.
func TestSomebodyElseResetsTheResponder(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 3)
	for _, flags := range [][]string{nil, {"--meet", t.TempDir(), "--run", "job/" + uid}} {
		for _, anew := range []bool{false, true} {
			a, once := &admin{resets: 3}, sync.Once{}
			responder := httptest.NewServer(a)
			c := &cart{valid: map[string]bool{}}
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				once.Do(func() {
					if anew {
						a.mu.Lock()
						a.resets = 0
						a.mu.Unlock()
					} else if resp, err := http.Post(responder.URL+"/reset", "", nil); err != nil {
						t.Error(err)
					} else {
						resp.Body.Close()
					}
				})
				c.ServeHTTP(w, r)
			}))
			if len(flags) > 0 {
				flags[3] += "x"
			}
			args := append([]string{file, "--target", target.URL, "--responder", responder.URL, "--no-compare", "--output", "none", "--termination-log", filepath.Join(t.TempDir(), "log")}, flags...)
			codes, _, stderr := shards(1, args...)
			last, err := os.ReadFile(args[9])
			if want := map[bool]string{false: "somebody else reset the responder during the run, so its earlier misses are not known: its receipt says resets: 5, want 4", true: "the responder restarted during the run"}[anew]; err != nil || codes[0] != report.Incomplete || !strings.Contains(string(last), want) {
				t.Errorf("%q, anew: %v: exit code %d, %v, %s, %s", flags, anew, codes[0], err, last, stderr)
			}
			if codes, _, _ := shards(1, args...); (len(flags) > 0) != (codes[0] == report.Incomplete) { // a later pod finds the verdict, a later run begins anew
				t.Errorf("%q, anew: %v: a later process: exit code %d", flags, anew, codes[0])
			}
			target.Close()
			responder.Close()
		}
	}
}

// A process that replaces the one that reset the responder knows the number of resets.
func TestTheResetOfAnotherProcessCounts(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 3)
	a := &admin{}
	responder := httptest.NewServer(a)
	defer responder.Close()
	place := t.TempDir()
	target := httptest.NewServer(&cart{valid: map[string]bool{}})
	defer target.Close()
	args := []string{file, "--target", target.URL, "--responder", responder.URL, "--no-compare", "--output", "none", "--meet", place, "--run", "job/" + uid}
	if codes, _, stderr := shards(1, args...); codes[0] != 0 {
		t.Fatalf("exit code %d, %s", codes[0], stderr)
	}
	report1 := filepath.Join(place, "runs", "job", uid, "report.json")
	for resets, want := range map[int64]int{1: 0, 2: report.Incomplete} {
		if err := os.Remove(report1); err != nil { // as if it had died before
			t.Fatal(err)
		}
		a.resets = resets
		if codes, _, stderr := shards(1, args...); codes[0] != want {
			t.Errorf("%d resets: exit code %d, want %d: %s", resets, codes[0], want, stderr)
		}
	}
}

// Nothing is sent unless the responder is one, and answers from the snapshot of the replay.
func TestWhatIsNoResponder(t *testing.T) {
	t.Parallel()
	place := t.TempDir()
	file, _ := visits(t, 3)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Dir(place).Put(t.Context(), "visits.jsonl", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"snapshot", "create", "--from", place}, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("exit code %d, %s", code, &errs)
	}
	snapshot := strings.TrimSpace(out.String())
	_, digest, _ := strings.Cut(snapshot, "@sha256:")
	receipt := func(sha string) string { return `{"recording":{"place":"shop","sha256":"` + sha + `"}}` }
	other := strings.Repeat("0a", 32)
	for _, c := range []struct{ name, answer, want string }{
		{"the snapshot", receipt(digest), ""},
		{"another one", receipt(other), `it answers from another recording than the snapshot that is replayed: "shop" (sha256:` + other + `), want ` + snapshot},
		{"an empty object", "{}", "is not a responder: its receipt names no recording with a SHA-256"},
		{"another hash", receipt(digest[1:]), "is not a responder"},
		{"no object", "ok", "invalid character"},
		{"nothing", "", "unexpected end of JSON"},
		{"too much", strings.Repeat(" ", maxReceipt-1) + "{}", "the answer has more than 1048576 bytes"},
	} {
		var resets atomic.Int64
		c1 := &cart{valid: map[string]bool{}}
		target := httptest.NewServer(c1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := c.answer
			switch r.Method + " " + r.URL.Path {
			case "POST /reset":
				resets.Add(1)
			case "GET /receipt":
				answer = strings.Replace(answer, "{", fmt.Sprintf(`{"resets":%d,`, resets.Load()), 1)
				answer = strings.Replace(answer, ",}", "}", 1)
			}
			io.WriteString(w, answer)
		}))
		codes, _, stderr := shards(1, snapshot, "--target", target.URL, "--responder", s.URL, "--no-compare", "--output", "none", "--progress-timeout", "2s")
		if want := map[bool]int{true: 0, false: codeCannotRun}[c.want == ""]; codes[0] != want || !strings.Contains(stderr[0], c.want) || c.want != "" && (resets.Load() > 0 || len(c1.got) > 0) {
			t.Errorf("%s: exit code %d, reset %d times, %d requests sent, %s", c.name, codes[0], resets.Load(), len(c1.got), stderr[0])
		}
		target.Close()
		s.Close()
	}
}

// A redirect of a responder or of Envoy to another host is not followed.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		at, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		r := &responder{url: at, client: directClient(), patience: time.Second}
		e := &envoy{ready: at.Host, quit: at.Host, client: directClient(), seen: true}
		for what, ask := range map[string]func(context.Context) error{
			"healthz": r.await,
			"reset":   func(ctx context.Context) error { _, err := r.reset(ctx); return err },
			"receipt": func(ctx context.Context) error { _, err := r.receipt(ctx); return err },
			"Envoy":   func(ctx context.Context) error { return e.await(ctx, envoyWait, func(string, ...any) {}) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := ask(ctx); err == nil || !strings.Contains(err.Error(), http.StatusText(status)) || reached.Load() > 0 {
				t.Errorf("%s, %d: %v; the other host got %d requests", what, status, err, reached.Load())
			}
			cancel()
		}
		s.Close()
	}
}

// The run waits for a responder's answer no longer than it may be without progress.
func TestAResponderThatHangs(t *testing.T) {
	t.Parallel()
	file, _ := visits(t, 1)
	a, end := &admin{}, make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			a.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusOK)
		for {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-end:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	defer s.Close()
	defer close(end)
	began := time.Now()
	codes, _, stderr := shards(1, file, "--target", "http://127.0.0.1:1", "--responder", s.URL, "--progress-timeout", "1s")
	if took := time.Since(began); codes[0] != codeCannotRun || !strings.Contains(stderr[0], "--responder: ") || took > maxPatience/2 {
		t.Errorf("exit code %d after %s, %s", codes[0], took, stderr)
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
		"job/2": {"result-0.json", `runs/job/2/result-0.json: it is not of this run: it is of the run "runs/job/1"`, report.Incomplete},
		"job/3": {"report.json", `runs/job/3/report.json: it is not of this run: it is of the run "runs/job/1"; another run uses this ID`, codeCannotRun},
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
			} else if codes != [2]int{codeCannotRun, codePartFailed} || got.count("/") > 0 || !strings.Contains(said[0], "part 1 is of another run than part 0") {
				t.Errorf("exit codes %d, %d requests: %s", codes, got.count("/"), said)
			}
		})
	}
}

// A process that finds its part done says so in its termination log.
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

// A run has an ID by which tapedeck report list finds it.
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

// agent answers as Istio's agent does. It is ready at the third question.
type agent struct{ ready, quits atomic.Int32 }

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /healthz/ready":
		if a.ready.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case "POST /quitquitquit":
		a.quits.Add(1)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestEnvoyIsAwaitedAndEnded(t *testing.T) {
	t.Parallel()
	nobody := reservedPort(t)
	say := func(string, ...any) {}
	for _, c := range []struct {
		mode  string
		there bool
		seen  bool
		err   string
	}{
		{envoyNone, true, false, ""},
		{envoyAuto, true, true, ""},
		{envoyAuto, false, false, ""},
		{envoyWait, true, true, ""},
		{envoyWait, false, true, "--envoy: Envoy is not ready"},
	} {
		a := &agent{}
		s := httptest.NewServer(a)
		e := &envoy{ready: s.Listener.Addr().String(), quit: s.Listener.Addr().String(), client: directClient()}
		if !c.there {
			e.ready = nobody
		}
		patience := time.Minute
		if c.err != "" {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := e.await(ctx, c.mode, say); err != nil && c.err == "" || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s, there: %v: %v", c.mode, c.there, err)
		}
		if c.seen && c.there && a.ready.Load() != 3 {
			t.Errorf("%s: it was asked %d times", c.mode, a.ready.Load())
		}
		cancel()
		if err := e.end(ctx, c.mode); err != nil || (a.quits.Load() > 0) != c.seen {
			t.Errorf("%s, there: %v: ended %d times, %v", c.mode, c.there, a.quits.Load(), err)
		}
		// A wrong flag fails before the command waits for Envoy, and the pod must end all the
		// same.
		hasty := &envoy{ready: e.ready, quit: e.quit, client: e.client}
		if err := hasty.end(ctx, c.mode); err != nil || a.quits.Load() != map[bool]int32{true: 1}[c.seen]+map[bool]int32{true: 1}[c.mode != envoyNone] {
			t.Errorf("%s: ended %d times, %v", c.mode, a.quits.Load(), err)
		}
		s.Close()
	}
}

// closingFirst closes the first connection, like the port of a target that is about to start.
type closingFirst struct {
	net.Listener
	closed bool
}

func (l *closingFirst) Accept() (net.Conn, error) {
	if !l.closed {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn.Close()
		l.closed = true
	}
	return l.Listener.Accept()
}

// The replay asks the target in the version of the first request, until it answers with any status
// that does not come from a gateway.
func TestTheTargetIsAwaited(t *testing.T) {
	t.Parallel()
	file, requests := visits(t, 1)
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := &cart{valid: map[string]bool{}}
		busy := atomic.Int32{}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := int(busy.Add(1)); n <= 3 { // as a gateway does for a workload that does not listen yet
				w.WriteHeader(501 + n)
				return
			}
			c.ServeHTTP(w, r)
		})
		s := httptest.NewUnstartedServer(h2c.NewHandler(handler, &http2.Server{}))
		s.Listener = &closingFirst{Listener: s.Listener}
		s.Start()
		scheme := map[string]string{"HTTP/1.1": "http://", "HTTP/2.0": "h2c://"}[version]
		codes, _, stderr := shards(1, file, "--target", scheme+s.Listener.Addr().String(), "--wait-for-target", "--progress-timeout", "1m", "--no-compare", "--output", "none")
		if codes[0] != 0 || c.count(version) != requests+1 || !strings.HasPrefix(c.got[0], version+" OPTIONS /") {
			t.Errorf("%s: exit code %d, %q, %s", version, codes[0], c.got, stderr)
		}
		s.Close()
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer gateway.Close()
	codes, _, stderr := shards(1, file, "--target", gateway.URL, "--wait-for-target", "--progress-timeout", "1500ms")
	if codes[0] != codeCannotRun || !strings.Contains(stderr[0], "it answers OPTIONS / with 502") {
		t.Errorf("a gateway: exit code %d, %s", codes[0], stderr)
	}
	codes, _, stderr = shards(1, file, "--target", "http://127.0.0.1:1", "--wait-for-target", "--progress-timeout", "1s")
	if codes[0] != codeCannotRun || !strings.Contains(stderr[0], "--wait-for-target: the target is not ready") {
		t.Errorf("nobody: exit code %d, %s", codes[0], stderr)
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
