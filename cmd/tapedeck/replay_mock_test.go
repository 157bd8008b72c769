package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

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

// The replay does not follow redirects of a responder or of Envoy to another host.
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

// The run waits for a responder's answer no longer than --progress-timeout.
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
