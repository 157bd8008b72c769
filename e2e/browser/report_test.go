package browser

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// browser starts Chromium, which ends with the test.
func browser(t *testing.T, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium here; Debian's package is named chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox), options...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// watched records what a page did.
type watched struct {
	mu       sync.Mutex
	requests []string // requests of the browser
	served   []string // requests that reached the server
	said     []string // messages on the console and in the log, and exceptions
}

func (w *watched) add(to *[]string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*to = append(*to, text)
}

// open opens a page from a separate server, and watches it.
func open(t *testing.T, ctx context.Context, page []byte) *watched {
	t.Helper()
	w := new(watched)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.add(&w.served, r.URL.Path)
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.Write(page)
	}))
	t.Cleanup(server.Close)
	watch(t, ctx, w)
	must(t, chromedp.Do(ctx, chromedp.Navigate(server.URL)))
	return w
}

// watch makes w record what the page of a tab does from now on.
func watch(t *testing.T, ctx context.Context, w *watched) {
	t.Helper()
	must(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "data:") { // not a request, such as the page's empty icon
				w.add(&w.requests, e.Request.URL)
			}
		case *runtime.EventConsoleAPICalled:
			w.add(&w.said, fmt.Sprint(e.Type, " ", e.Args))
		case *runtime.EventExceptionThrown:
			w.add(&w.said, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			w.add(&w.said, e.Entry.Text)
		}
	}))
	call(t, ctx, network.Enable, network.EnableParams{})
	call(t, ctx, log.Enable, cdp.Empty{})
	call(t, ctx, runtime.Enable, cdp.Empty{})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call calls a command of the browser.
func call[P, R any](t *testing.T, ctx context.Context, command cdp.Command[P, R], params P) {
	t.Helper()
	_, err := chromedp.Call(ctx, command, params)
	must(t, err)
}

// eval evaluates an expression in the page. The page's policy does not apply to a debugger.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	must(t, err)
	return v
}

// html writes a report as a page.
func html(t *testing.T, write func(report.Form, *bytes.Buffer) error) []byte {
	t.Helper()
	form, err := report.FormNamed("html")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := write(form, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostile are texts that would have an effect in a page that does not escape them.
var hostile = []string{
	"<script>document.title='script ran'</script>", `"><img src=/img onerror="document.title='handler ran'">`, "<style>*{display:none}</style>",
	"</style><link rel=stylesheet href=/css>", "<iframe src=/frame></iframe>", "<svg onload=alert(1)>", "javascript:alert(1)", "\u202Eesrever", strings.Repeat("long", 200),
}

// run returns a report with every part that contains those texts.
func run(requests int) *report.Report {
	rng := rand.New(rand.NewPCG(1, 2))
	run := stats.NewRun()
	local := run.Local()
	for i := range requests {
		due := time.Minute * time.Duration(i) / time.Duration(requests)
		s := stats.Sample{Due: due, Sent: due, Done: due + time.Duration(rng.ExpFloat64()*float64(20*time.Millisecond)), Status: 200, Succeeded: true, Matched: stats.Match}
		if i%40 == 0 {
			s.Status, s.Succeeded, s.Failure = 0, false, hostile[rng.IntN(len(hostile))]
		}
		s.Endpoint = run.Endpoint([]string{"GET /users/{id}", "POST /users", hostile[0]}[rng.IntN(3)])
		local.Add(s)
	}
	r := &report.Report{
		Version: "v1", Source: report.Source{Place: hostile[0], Steps: int64(requests)}, Target: "http://127.0.0.1:8080/" + hostile[1],
		Load:    report.Load{Shape: "recorded times", Loop: report.Open},
		Started: time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC), Ended: time.Date(2026, 11, 29, 8, 31, 0, 0, time.UTC), Results: run.Result(),
	}
	for _, h := range hostile {
		r.Differences = append(r.Differences, report.Difference{Endpoint: h, Place: "body:$." + h, Kind: match.ValueChanged, State: report.New, Count: 1,
			Example: report.Example{Difference: match.Difference{Place: h, Kind: match.ValueChanged, Recorded: h, Live: h}}})
		r.Edges = append(r.Edges, report.Edge{From: report.Site{Endpoint: h, Place: h}, To: report.Site{Endpoint: h, Place: h}, Fired: 1, Reason: h})
		r.Problems = append(r.Problems, report.Exit{Code: report.CouldNotRun, Reason: h})
	}
	r.Judge(nil)
	return r
}

// TestReportPage opens the pages of a report and of a comparison: narrow and wide, light
// and dark.
func TestReportPage(t *testing.T) {
	ctx := browser(t)
	for name, page := range map[string][]byte{
		"report": html(t, func(f report.Form, b *bytes.Buffer) error { return f.Write(b, run(3000)) }),
		"one":    html(t, func(f report.Form, b *bytes.Buffer) error { return f.Write(b, run(1)) }),
		"empty":  html(t, func(f report.Form, b *bytes.Buffer) error { return f.Write(b, run(0)) }),
		"comparison": html(t, func(f report.Form, b *bytes.Buffer) error {
			return f.WriteComparison(b, report.Compare(hostile[0], run(100), hostile[1], run(300)))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			tab, cancel := chromedp.NewContext(ctx)
			defer cancel()
			w := open(t, tab, page)
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{400, 1600} {
					look(t, tab, scheme, width)
				}
			}
			elements := eval[[]string](t, tab, `[...document.querySelectorAll("script, img, iframe, object, embed, form, a, video, audio, link:not([rel=icon]), body style")].map(e => e.outerHTML)`)
			if len(elements) > 0 {
				t.Errorf("the page has %q", elements)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.requests) != 1 || len(w.served) != 1 {
				t.Errorf("the page asked for %q, of which %q came", w.requests, w.served)
			}
			if len(w.said) > 0 {
				t.Errorf("the browser said %q", w.said)
			}
		})
	}
}

// contrasts finds texts whose contrast with their background is below 4.5, the minimum of WCAG,
// and parts that reach beyond the page.
const contrasts = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m };
  const light = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b) };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c } return [255, 255, 255, 1] };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const text = [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
    if (!text || e.tagName == "title") continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const a = light(parse(svg ? style.fill : style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + e.outerHTML.slice(0, 120));
  }
  if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is " + document.documentElement.scrollWidth + " wide, and the window " + innerWidth);
  return [...new Set(bad)];
})()`

// look checks the page in a window of that width.
func look(t *testing.T, ctx context.Context, scheme string, width int64) {
	t.Helper()
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)))
	bad := eval[[]string](t, ctx, contrasts)
	background := eval[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
	for _, b := range bad {
		t.Errorf("%s, %d pixels: %s", scheme, width, b)
	}
	want := map[string]string{"light": "rgb(246, 247, 249)", "dark": "rgb(16, 19, 25)"}[scheme]
	if background != want {
		t.Errorf("%s: the page is on %s, want %s: is its style in use?", scheme, background, want)
	}
}

// TestPolicyHolds puts code into the page that would run if an escape were missing. The page's own
// policy keeps all of it from running.
func TestPolicyHolds(t *testing.T) {
	page := html(t, func(f report.Form, b *bytes.Buffer) error { return f.Write(b, run(10)) })
	attack := `<script>document.title = "script ran"</script><script src="/script.js"></script><img src="/img" onerror="document.title = 'handler ran'">
<style>body { display: none }</style><link rel="stylesheet" href="/css"><iframe src="/frame"></iframe><p style="position: fixed" id="inline">x</p><base href="/elsewhere/">`
	page = bytes.Replace(page, []byte("<main"), []byte(attack+"<main"), 1)
	ctx := browser(t)
	w := open(t, ctx, page)
	title := eval[string](t, ctx, "document.title")
	display := eval[string](t, ctx, "getComputedStyle(document.body).display")
	position := eval[string](t, ctx, `getComputedStyle(document.querySelector("#inline")).position`)
	if !strings.Contains(title, "Replay against") || display != "block" || position != "static" {
		t.Errorf("title %q, display %s, position %s", title, display, position)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.served) != 1 {
		t.Errorf("%q came to the server", w.served)
	}
	if len(w.said) == 0 {
		t.Error("the browser did not report what it kept from acting")
	}
}
