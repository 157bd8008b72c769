package pod_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/pod"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "rewrite the reports in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	sidecar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, `tapedeck_connections_total{direction="IN"} 3`)
		fmt.Fprintln(w, `tapedeck_sink_up 0`)
	}))
	defer sidecar.Close()
	at, err := url.Parse(sidecar.URL) // in practice http://localhost:4100, through kubectl port-forward
	if err != nil {
		panic(err)
	}
	report, err := pod.Check(context.Background(), at, pod.Options{})
	if err != nil {
		panic(err)
	}
	for _, f := range report.Findings {
		if f.Area == check.Sink {
			fmt.Printf("%s: %s\n", f.State, f.Found)
		}
	}
	// Output:
	// problem: the pod's directory can't be written, and what is captured is lost
}

// lines has metrics by their names with labels.
type lines map[string]string

var metricLine = regexp.MustCompile(`^([a-z_]+(?:\{[^}]*\})?) (\S+)$`)

// change adds samples, or replaces those that are there. A line that begins with - removes all
// samples of a metric.
func (l lines) change(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "-"); ok {
			for have := range l {
				if have == name || strings.HasPrefix(have, name+"{") {
					delete(l, have)
				}
			}
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := metricLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("no line of metrics: %q", line)
		}
		l[m[1]] = m[2]
	}
}

// sidecar answers with the recorded answers of a sidecar, except for the changes of a case.
type sidecar struct {
	metrics lines
	status  *status.Status // nil: it has none
	asked   atomic.Int32   // for metrics
}

func newSidecar(t *testing.T, kind string) *sidecar {
	t.Helper()
	s := &sidecar{metrics: lines{}}
	s.metrics.change(t, read(t, kind+".metrics"))
	if kind != "older" {
		s.change(t, read(t, kind+".json"))
	}
	return s
}

func (s *sidecar) change(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		return
	}
	if s.status == nil {
		s.status = new(status.Status)
	}
	if err := json.Unmarshal([]byte(text), s.status); err != nil {
		t.Fatal(err)
	}
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/metrics":
		s.asked.Add(1)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
		names := make([]string, 0, len(s.metrics))
		for name := range s.metrics {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintln(w, name, s.metrics[name])
		}
	case r.URL.Path == status.Path && s.status != nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.status)
	default:
		http.NotFound(w, r)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each case changes the answers of a recorded sidecar, and has the areas of the report that it is
// about. testdata/sidecar.* is from a current sidecar, and testdata/older.metrics from one before
// /status.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range a.Files {
				part[f.Name] = string(f.Data)
			}
			setting := map[string]string{}
			for line := range strings.Lines(string(a.Comment)) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
					setting[name] = value
				}
			}
			s := newSidecar(t, cmp.Or(setting["sidecar"], "sidecar"))
			s.metrics.change(t, part["metrics"])
			s.change(t, part["status"])
			server := httptest.NewServer(s)
			defer server.Close()
			var o pod.Options
			if later, ok := part["metrics after"]; ok {
				o.For = time.Millisecond
				o.Watching = func() { s.metrics.change(t, later) }
			}
			got := report(t, server.URL, o, setting["areas"])
			if *update {
				a.Files[len(a.Files)-1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := gocmp.Diff(part["report"], got); diff != "" && !*update {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// report writes the findings of areas as a user sees them.
func report(t *testing.T, at string, o pod.Options, areas string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pod.Check(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	var some check.Report
	for _, f := range r.Findings {
		if f.State != check.OK && f.Fix == "" {
			t.Errorf("a finding without a fix: %+v", f)
		}
		if areas == "all" || slices.Contains(strings.Fields(areas), f.Area) {
			some.Add(f)
		}
	}
	form, err := check.FormNamed("text")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := form.Write(&b, some, check.Options{}); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), at, "http://localhost:4100")
}

// The page on checks shows what a check prints.
func TestDocs(t *testing.T) {
	_, example, _ := strings.Cut(read(t, "example.txtar"), "-- report --\n")
	example, _, _ = strings.Cut(example, "\n\n") // without the summary
	docpage.Tables(t, "../../docs/check.md", *update, map[string]string{"pod": "```\n" + example + "\n```\n"})
}

// A fix names only annotations, options and pages that exist.
func TestFixesNameWhatThereIs(t *testing.T) {
	there := map[string]bool{}
	for _, a := range transformer.Annotations() {
		there[a.Key()] = a.NoMeaning == ""
	}
	for _, o := range transformer.Options() {
		there["option "+o.Name] = true
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?:sidecar\.speedscale\.com|tapedeck\.dev)/[a-z-]+|option [a-zA-Z]+|docs/[a-z-]+\.md`)
	named := map[string]bool{}
	for _, file := range files {
		for _, name := range names.FindAllString(read(t, filepath.Base(file)), -1) {
			named[name] = true
			if page, ok := strings.CutPrefix(name, "docs/"); ok {
				_, err := os.Stat(filepath.Join("../../docs", page))
				there[name] = err == nil
			}
			if !there[name] {
				t.Errorf("%s names %s, which isn't there", filepath.Base(file), name)
			}
		}
	}
	if len(named) < 15 {
		t.Errorf("found %d names in all: the cases show too little", len(named))
	}
}

// Any server may answer at the URL. The error says what was found, and how to reach a sidecar.
func TestWhatIsNoSidecar(t *testing.T) {
	text := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, body)
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"an application", text("text/html; charset=utf-8", "<html>"), "it answers 200 with text/html, but a sidecar answers 200 with text/plain: is that its admin port?"},
		{"an application that has no metrics", http.NotFound, "it answers 404 with text/plain"},
		{"an application with metrics", text("text/plain", "http_requests_total 3\n"), "found the metrics of another program, not a sidecar's"},
		{"a collector", text("text/plain", "tapedeck_collector_bytes_total 3\n"), "found the metrics of a collector"},
		{"Envoy", text("text/plain", "envoy_server_live 1\n"), "found the metrics of Envoy"},
		{"text", text("text/plain", "hello, world\n\x1b[31m"), "found text that is not metrics"},
		{"nothing", text("text/plain", ""), "found no metrics"},
		{"JSON", text("application/json", "{}"), "with application/json"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://me:secret@elsewhere.example/login?token=secret#secret", http.StatusFound)
		}, "it answers 302 and redirects to https://elsewhere.example/login with"},
		{"a failing server", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "it answers 502"},
		{"a sidecar that is asked by another name", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "a sidecar answers only requests for localhost, 127.0.0.1 and [::1]"},
		{"one that hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer: EOF"},
		{"a body without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			for {
				if _, err := fmt.Fprintln(w, strings.Repeat("# a comment ", 1000)); err != nil {
					return
				}
			}
		}, "found an answer of more than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, err = pod.Check(t.Context(), at, pod.Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "kubectl port-forward") || strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "secret") {
				t.Errorf("found %v, want %q", err, test.want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(nil)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, err = pod.Check(t.Context(), at, pod.Options{})
	if err == nil || !strings.Contains(err.Error(), "connection refused; to check a pod, keep `kubectl port-forward -n NAMESPACE pod/POD 4100` running, and give http://localhost:4100") {
		t.Errorf("found %v", err)
	}
}

// The check continues if the metrics can be read and /status can't. It reports as unknown what
// depends on /status.
func TestAStatusThatCantBeRead(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"for_/status,_it_answers_500":                 func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"/status_is_not_the_JSON_of_a_sidecar":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"/status_is_not_the_JSON_of_a_sidecar:_it_d":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
		"/status_is_not_the_JSON_of_a_sidecar:_it_do": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"error": "no such page"}`) },
		"for_/status,_it_answers_302_and_redirec":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSidecar(t, "older")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == status.Path {
					answer(w, r)
					return
				}
				s.ServeHTTP(w, r)
			}))
			defer server.Close()
			got := report(t, server.URL, pod.Options{}, "capture")
			if want := strings.ReplaceAll(name, "_", " "); !strings.Contains(got, "? unknown   capture  the sidecar gives only counters: "+want) {
				t.Errorf("found %s", got)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for given, want := range map[string]string{
		"ftp://localhost:4100":         `found the scheme "ftp"`,
		"http://:4100":                 "found no host",
		"http://me:secret@localhost":   "found a user",
		"http://localhost:4100/status": "found more than a host and a port",
		"http://localhost:4100?a=b":    "found more than a host and a port",
	} {
		at, err := url.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pod.Check(t.Context(), at, pod.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "http://localhost:4100") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: found %v, want %s", given, err, want)
		}
	}
}

// A check reads the metrics once, or twice if it watches. It follows no redirects and sends no
// credentials.
func TestWhatIsAsked(t *testing.T) {
	s := newSidecar(t, "sidecar")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("asked %s with %v", r.Method, r.Header)
		}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	report(t, server.URL, pod.Options{}, "")
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	watched := false
	report(t, server.URL, pod.Options{For: time.Millisecond, Watching: func() { watched = s.asked.Load() == 2 }}, "")
	if n := s.asked.Load(); n != 3 || !watched {
		t.Errorf("asked %d times; watching began after the first time: %v", n, watched)
	}
}
