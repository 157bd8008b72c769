package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/viewtest"
)

// programs is the directory of the programs under test.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tapedeck-browser-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "browser:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs = dir
		return m.Run()
	}())
}

var tapedeck = sync.OnceValues(func() (string, error) {
	name := filepath.Join(programs, "tapedeck")
	text, err := exec.Command("go", "-C", "../..", "build", "-trimpath", "-o", name, "./cmd/tapedeck").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build tapedeck: %w: %s", err, text)
	}
	return name, err
})

// viewed runs `tapedeck view` until the test ends. An interrupt must then end it with success. It
// returns the URL once all the named files are read.
func viewed(t *testing.T, names ...string) (url string) {
	t.Helper()
	program, err := tapedeck()
	must(t, err)
	cmd := exec.Command(program, append([]string{"view", "--listen", "localhost:0", "--forget"}, names...)...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	var notes bytes.Buffer
	cmd.Stderr = &notes
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGINT))
		if err := cmd.Wait(); err != nil {
			t.Errorf("tapedeck view: %v: %s", err, &notes)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	_, url, _ = strings.Cut(line, "look at ")
	url, _, _ = strings.Cut(url, ";")
	for i := range names {
		for {
			res, err := http.Get(fmt.Sprintf("%s%d/", url, i+1))
			must(t, err)
			res.Body.Close()
			if res.Header.Get("Refresh") == "" {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return url
}

// file writes a recording.
func file(t *testing.T, exchanges []*recording.Exchange) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "recording.jsonl")
	must(t, os.WriteFile(name, viewtest.Lines(exchanges), 0o600))
	return name
}

// tab opens a tab and watches it: requests to other servers and messages on its console are
// errors.
func tab(t *testing.T, ctx context.Context, url string) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(ctx)
	w := new(watched)
	must(t, chromedp.Do(tab, chromedp.Navigate("about:blank")))
	watch(t, tab, w)
	t.Cleanup(func() {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.requests {
			if !strings.HasPrefix(r, url) {
				t.Errorf("the page asked for %s", r)
			}
		}
		if len(w.said) > 0 {
			t.Errorf("the browser said %q", w.said)
		}
	})
	return tab
}

// until waits until an expression holds in the current page of a tab.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState == "complete" && Boolean(`+expression+`)`))
		if err == nil && ok {
			return
		}
		if ctx.Err() != nil {
			at, _ := chromedp.Run(context.WithoutCancel(ctx), chromedp.Evaluate[string](`location.href + " " + document.title + " focus: " + document.activeElement.outerHTML.slice(0, 200)`))
			t.Fatalf("it never held: %s; the page is %s", expression, at)
		}
	}
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	must(t, chromedp.Do(ctx, steps...))
}

// press types like a keyboard: a key that the page handles writes nothing.
func press(t *testing.T, ctx context.Context, keys string) {
	t.Helper()
	for _, r := range keys {
		events := kb.Encode(r)
		down, up := events[0], events[len(events)-1]
		for _, e := range events {
			if e.Type == kb.KeyChar {
				down.Text, down.UnmodifiedText = e.Text, e.UnmodifiedText
			}
		}
		call(t, ctx, input.DispatchKeyEvent, *down)
		call(t, ctx, input.DispatchKeyEvent, *up)
	}
}

const (
	status  = `document.querySelector("[role=status]").innerText`
	focused = `document.activeElement`
)

// TestViewByMouse filters, sorts, opens and copies.
func TestViewByMouse(t *testing.T) {
	ctx := browser(t)
	url := viewed(t, file(t, viewtest.Shop(60)))
	page := tab(t, ctx, url)
	do(t, page, chromedp.Navigate(url))
	until(t, page, status+`.startsWith("234 exchanges")`)

	do(t, page, chromedp.SendKeys("#f-q", "pi_3"+kb.Enter))
	until(t, page, status+`.startsWith("12 exchanges")`)
	if at := eval[string](t, page, "location.search"); at != "?q=pi_3" {
		t.Errorf("the form leads to %s", at)
	}
	do(t, page, chromedp.Click(".chip"))
	until(t, page, status+`.startsWith("234 exchanges")`)

	do(t, page, chromedp.Click("//th/a[starts-with(., 'Duration')]"))
	until(t, page, `document.querySelector("th[aria-sort]").ariaSort == "descending" && document.querySelector("tbody tr .path").innerText == "/chat"`)

	// A click anywhere in a row opens it.
	do(t, page, chromedp.Click("tbody tr:nth-child(2) .time"))
	until(t, page, `document.querySelector("h1").innerText.startsWith("GET /")`)
	first := eval[string](t, page, "location.pathname")
	do(t, page, chromedp.Click("a[rel=next]"))
	until(t, page, `location.pathname != `+fmt.Sprintf("%q", first))
	do(t, page, chromedp.Click("a[rel=prev]"))
	until(t, page, `location.pathname == `+fmt.Sprintf("%q", first))
	do(t, page, chromedp.Click("a[rel=up]"))
	until(t, page, `document.querySelector("th[aria-sort]").innerText.startsWith("Duration")`)
}

// TestViewCopiesCurl compares the clipboard with the command.
func TestViewCopiesCurl(t *testing.T) {
	ctx := browser(t)
	url := viewed(t, file(t, viewtest.Shop(2)))
	page := tab(t, ctx, url)
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(page, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{Permission: &cdpbrowser.PermissionDescriptor{Name: name}, Setting: cdpbrowser.PermissionSettingGranted, Origin: strings.TrimSuffix(url, "/")})
		must(t, err)
	}
	do(t, page, chromedp.Navigate(url+"1/exchanges/8"))
	until(t, page, `document.querySelector("[data-copies]").hidden == false`)
	do(t, page, chromedp.Click("[data-copies]"))
	until(t, page, `document.querySelector("#copied").innerText == "Copied."`)
	text, err := chromedp.Run(page, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
	must(t, err)
	shown := eval[string](t, page, `document.querySelector("#curl").value`)
	if text != shown || !strings.HasPrefix(text, "curl --disable \\\n") || !strings.HasSuffix(text, "--url 'https://api.stripe.com/v1/payment_intents'") {
		t.Errorf("the clipboard has %q, and the page shows %q", text, shown)
	}
}

// TestViewByKeyboard never touches the mouse.
func TestViewByKeyboard(t *testing.T) {
	ctx := browser(t)
	url := viewed(t, file(t, viewtest.Shop(60)))
	page := tab(t, ctx, url)
	do(t, page, chromedp.Navigate(url))
	until(t, page, status+`.startsWith("234 exchanges")`)
	press := func(keys string) { t.Helper(); press(t, page, keys) }

	press(kb.Tab)
	until(t, page, focused+`.innerText == "Skip to the content" && `+focused+`.getBoundingClientRect().top >= 0`)
	press(kb.Enter)
	until(t, page, `location.hash == "#main"`)
	press(kb.Tab)
	until(t, page, focused+`.id == "f-q"`)

	// Letters that a user types into a field are not commands.
	press("jk/u")
	until(t, page, focused+`.value == "jk/u" && location.search == ""`)
	do(t, page, chromedp.Evaluate[chromedp.Void](focused+`.value = ""; `+focused+`.blur()`))
	press("/")
	until(t, page, focused+`.id == "f-q" && `+focused+`.value == ""`)
	do(t, page, chromedp.Evaluate[chromedp.Void](focused+`.blur()`))

	press("j")
	press("j")
	press("j")
	press("k")
	until(t, page, focused+`.classList.contains("row") && `+focused+`.closest("tr").rowIndex == 2`)
	outline := eval[string](t, page, `getComputedStyle(`+focused+`).outlineStyle + " " + getComputedStyle(`+focused+`).outlineWidth`)
	if outline != "solid 2px" {
		t.Errorf("the focus shows as %s", outline)
	}
	press(kb.Enter)
	until(t, page, `location.pathname == "/1/exchanges/2"`)
	press("j")
	until(t, page, `location.pathname == "/1/exchanges/3"`)
	press("k")
	until(t, page, `location.pathname == "/1/exchanges/2"`)
	press("u")
	until(t, page, `location.pathname == "/1/"`)

	// The next page follows the last row, and every control can be reached by Tab.
	do(t, page, chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("a.row")].at(-1).focus()`))
	press("j")
	until(t, page, `location.search.includes("cursor=")`)
	do(t, page, chromedp.Navigate(url+"1/?status=5xx"))
	wants := eval[int](t, page, `[...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary, [tabindex='0']")].filter(e => e.checkVisibility()).length`)
	seen := map[string]bool{}
	do(t, page, chromedp.Evaluate[chromedp.Void](focused+`.blur()`))
	for range wants {
		press(kb.Tab)
		seen[eval[string](t, page, `(e => { if (!e.dataset.seen) e.dataset.seen = ++window.n || (window.n = 1); return e.tagName + e.dataset.seen })(`+focused+`)`)] = true
	}
	if len(seen) < wants {
		t.Errorf("Tab reaches %d of %d controls", len(seen), wants)
	}
}

// pagesOf returns pages of a shop, of every kind.
func pagesOf(t *testing.T) (url string, pages []string) {
	t.Helper()
	dir := t.TempDir()
	receipt := filepath.Join(dir, "receipt.json")
	must(t, os.WriteFile(receipt, []byte(`{"started":"2026-11-22T20:15:00Z","ended":"2026-11-22T20:16:00Z","recording":{"place":"recordings","sha256":"ab","findings":["1 torn segment"]},"loaded":20,"served":31,"masked":2,"missed":3,"passthrough":1,"escaped":1,"neverUsed":4,"exitCode":4,
		"endpoints":[{"host":"api.stripe.com","path":"/v1/*","hit":31,"missed":3}],"unusedRules":["ids, in line 3"],"faults":[{"rule":"api.stripe.com:rate=1/10,status=503","matched":31,"fired":0}],
		"misses":[{"verdict":"MISS","at":"2026-11-22T20:15:03Z","method":"POST","host":"api.stripe.com","path":"/v1/payment_intents","code":"no_match","reason":"no recorded request is like this","hint":"record it","count":3,
			"explanation":{"request":"POST /v1/payment_intents","how":"none","entries":0,"keys":[],"nearest":{"ref":0,"uuid":"x","request":"POST /v1/payment_intents","of":4,"considered":4,"differences":[{"place":"body:amount","kind":"value_changed","recorded":"2899","live":"2900"}]}}}]}`), 0o600))
	url = viewed(t, file(t, viewtest.Shop(60)), file(t, viewtest.Shop(40)), receipt)
	for _, p := range []string{"", "1/", "1/?status=5xx&workload=frontend&slower=1s", "1/?status=nothing", "1/?q=nothingislikethis", "1/exchanges/1", "1/exchanges/4", "1/exchanges/8", "1/exchanges/12", "1/exchanges/20",
		"1/trace/1", "1/calls", "1/endpoints", "compare/1/2", "3/", "nothing"} {
		pages = append(pages, url+p)
	}
	for _, q := range []string{"protocol=websocket", "protocol=tcp", "path=/events"} {
		res, err := http.Get(url + "1/?" + q)
		must(t, err)
		text := new(bytes.Buffer)
		_, err = text.ReadFrom(res.Body)
		must(t, errors.Join(err, res.Body.Close()))
		_, after, ok := strings.Cut(text.String(), `<a class="row" href="/`)
		if !ok {
			t.Fatalf("%s: no row", q)
		}
		at, _, _ := strings.Cut(after, `"`)
		pages = append(pages, url+strings.ReplaceAll(at, "&amp;", "&"))
	}
	return url, pages
}

// TestViewLooks opens all pages, narrow and wide, light and dark, with everything unfolded.
func TestViewLooks(t *testing.T) {
	ctx := browser(t)
	url, pages := pagesOf(t)
	page, cancel := chromedp.NewContext(ctx)
	defer cancel()
	for _, at := range pages {
		do(t, page, chromedp.Navigate(at), chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(e => e.open = true)`))
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{400, 1600} {
				t.Run(fmt.Sprintf("%s %s %d", strings.TrimPrefix(at, url), scheme, width), func(t *testing.T) { look(t, page, scheme, width) })
			}
		}
	}
}

// node is an element as a screen reader sees it.
type node struct{ role, name string }

// tree is the accessibility tree of a page.
func tree(t *testing.T, ctx context.Context) (all []node) {
	t.Helper()
	res, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	must(t, err)
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			_ = json.Unmarshal(v.Value, &s) // values that are not text give ""
		}
		return s
	}
	for _, n := range res.Nodes {
		if !n.Ignored {
			all = append(all, node{text(n.Role), text(n.Name)})
		}
	}
	return all
}

// TestViewSpeaks reads the accessibility trees of all pages: every control, table, region and
// landmark has a name, and there is one main heading.
func TestViewSpeaks(t *testing.T) {
	ctx := browser(t)
	url, pages := pagesOf(t)
	page := tab(t, ctx, url)
	call(t, page, accessibility.Enable, cdp.Empty{})
	named := []string{"link", "button", "textbox", "searchbox", "combobox", "checkbox", "table", "region", "navigation", "columnheader", "rowheader", "progressbar", "search", "image", "RootWebArea"}
	for _, at := range pages {
		if strings.HasSuffix(at, "nothing") { // the console says its status
			continue
		}
		do(t, page, chromedp.Navigate(at), chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(e => e.open = true)`))
		roles := map[string]int{}
		for _, n := range tree(t, page) {
			roles[n.role]++
			if slices.Contains(named, n.role) && strings.TrimSpace(n.name) == "" && n.role != "search" {
				t.Errorf("%s: %s has no name", at, n.role)
			}
		}
		if roles["main"] != 1 {
			t.Errorf("%s: it has %d main parts", at, roles["main"])
		}
		if n := eval[int](t, page, `document.querySelectorAll("h1").length`); n != 1 {
			t.Errorf("%s: it has %d main headings", at, n)
		}
		if n := eval[int](t, page, `document.querySelectorAll("table").length`); roles["table"] < n {
			t.Errorf("%s: of %d tables, %d are tables", at, n, roles["table"])
		}
		if twice := eval[[]string](t, page, `(ids => ids.filter((id, i) => ids.indexOf(id) != i))([...document.querySelectorAll("[id]")].map(e => e.id))`); len(twice) > 0 {
			t.Errorf("%s: it has IDs twice: %q", at, twice)
		}
	}

	do(t, page, chromedp.Navigate(url+"1/?status=5xx"))
	all := tree(t, page)
	for _, want := range []node{
		{"table", "Exchanges that the filter selects; the path leads to the exchange in full"}, {"searchbox", "Search"}, {"combobox", "Status"}, {"combobox", "Workload"}, {"checkbox", "Only problems"}, {"button", "Filter"},
		{"columnheader", "Duration"}, {"link", "Duration"}, {"cell", "503"}, {"link", "/carts/107?currency=EUR"}, {"link", "Remove the filter Status: 5xx"}, {"link", "Skip to the content"}, {"navigation", "Views of the recording"},
	} {
		if !slices.ContainsFunc(all, func(n node) bool { return n.role == want.role && strings.TrimSpace(n.name) == want.name }) {
			t.Errorf("there is no %s %q among %v", want.role, want.name, all)
		}
	}
}

// TestViewOfHostileRecording opens every page of a recording in which every text is an attack.
func TestViewOfHostileRecording(t *testing.T) {
	ctx := browser(t)
	url := viewed(t, file(t, viewtest.Hostile()))
	page := tab(t, ctx, url)
	pages := []string{url + "1/", url + "1/calls", url + "1/endpoints", url + "1/?q=%3Cscript%3Ewindow.pwned=1%3C/script%3E&sort=host"}
	for i := range viewtest.Hostile() {
		pages = append(pages, fmt.Sprintf("%s1/exchanges/%d", url, i+1), fmt.Sprintf("%s1/trace/%d", url, i+1))
	}
	for _, at := range pages {
		do(t, page, chromedp.Navigate(at), chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(e => e.open = true); document.querySelectorAll("a, button, input, [tabindex]").forEach(e => e.focus())`))
		found := eval[string](t, page, `[String(window.pwned), location.href, getComputedStyle(document.body).display, [...document.querySelectorAll("script, iframe, object, embed, base, style, [style], main img, form:not(.filter), video, audio")].map(e => e.outerHTML).join()].join("\n")`)
		if want := "undefined\n" + at + "\nblock\n" + `<script src="/static/app.js" defer=""></script>`; found != want {
			t.Errorf("%s: found %s, want %s", at, found, want)
		}
	}
}

// TestViewKeepsOtherSitesOut visits the server by a name of another site that leads to loopback,
// and sends requests to it from a page of another origin.
func TestViewKeepsOtherSitesOut(t *testing.T) {
	ctx := browser(t, chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"))
	url := viewed(t, file(t, viewtest.Shop(5)))
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"))
	must(t, err)
	page, cancel := chromedp.NewContext(ctx)
	defer cancel()
	for _, name := range []string{"rebound.example", "localhost.example", "127.0.0.1.example"} {
		do(t, page, chromedp.Navigate("http://"+name+":"+port+"/1/"))
		if text := eval[string](t, page, `document.body.innerText`); !strings.Contains(text, "Misdirected Request 421") || strings.Contains(text, "carts") {
			t.Errorf("%s gets %s", name, text)
		}
	}

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }))
	defer other.Close()
	for _, from := range []string{other.URL, strings.Replace(other.URL, "127.0.0.1", "other.example", 1), strings.Replace(other.URL, "127.0.0.1", "localhost", 1)} {
		do(t, page, chromedp.Navigate(from))
		got, err := chromedp.Run(page, chromedp.Evaluate[string](fmt.Sprintf(`(async () => {
			const at = %q;
			const read = await fetch(at).then(r => r.text(), e => "refused");
			const blind = await fetch(at, { mode: "no-cors" }).then(r => r.type, e => "refused");
			const frame = await new Promise(done => { const f = document.createElement("iframe"); f.src = at; f.onload = () => { try { done(f.contentDocument ? "shown" : "closed") } catch { done("closed") } }; document.body.append(f) });
			const script = await new Promise(done => { const s = document.createElement("script"); s.src = at + "../static/app.js"; s.onload = () => done("ran"); s.onerror = () => done("refused"); document.body.append(s) });
			return [read, blind, frame, script].join();
		})()`, url+"1/"), chromedp.EvalAwaitPromise))
		must(t, err)
		if got != "refused,refused,closed,refused" {
			t.Errorf("from %s: found %s", from, got)
		}
	}

	// A link from another site opens, in a separate window.
	do(t, page, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(a => { a.href = %q; document.body.append(a); a.click() })(document.createElement("a"))`, url+"1/")))
	until(t, page, `document.title.startsWith("Exchanges")`)
}
