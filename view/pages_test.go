package view_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view"
	"github.com/tapedeck/tapedeck/view/index"
	"github.com/tapedeck/tapedeck/view/viewtest"
)

// fetch gets a page, like a browser that doesn't follow redirects.
func fetch(t *testing.T, address, path string) (*http.Response, string) {
	t.Helper()
	return ask(t, address, "GET "+path+" HTTP/1.1", "Host: "+address)
}

// recorded is the item of a recording with these exchanges.
func recorded(t *testing.T, name string, exchanges []*recording.Exchange) view.Item {
	t.Helper()
	return recordedAt(t, filepath.Join(t.TempDir(), "recording.jsonl"), name, exchanges)
}

// recordedAt is recorded with the file's name.
func recordedAt(t *testing.T, file, name string, exchanges []*recording.Exchange) view.Item {
	t.Helper()
	cache := t.TempDir()
	if err := os.WriteFile(file, viewtest.Lines(exchanges), 0o600); err != nil {
		t.Fatal(err)
	}
	return view.Item{Name: name, Open: func(ctx context.Context, progress func(index.Progress)) (view.Index, error) {
		s, err := read.Path(file)
		if err != nil {
			return nil, err
		}
		return index.Open(ctx, index.Options{Dir: cache, Progress: progress}, read.Query{}, index.Source{Name: name, Store: s})
	}}
}

// If a file is deleted while it is viewed, the table still works, and its rows lead to a page that says
// so.
func TestADeletedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recording.jsonl")
	address := serve(t, recordedAt(t, file, "a", visits(1)))
	page(t, address, "/1/") // it is ready
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	page(t, address, "/1/")
	for _, path := range []string{"/1/exchanges/1", "/1/exchanges/1/json", "/1/exchanges/1/body/response"} {
		res, body := fetch(t, address, path)
		if res.StatusCode != http.StatusGone || !strings.Contains(body, "no longer in the recording") {
			t.Errorf("%s: %s\n%s", path, res.Status, body)
		}
	}
}

// ready waits until an item was read.
func ready(t *testing.T, address, path string) {
	t.Helper()
	for range 1000 {
		if res, _ := fetch(t, address, path); res.Header.Get("Refresh") == "" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s is not ready", path)
}

// document is a parsed page.
type document struct{ *html.Node }

// open gets a page that must exist.
func open(t *testing.T, address, path string) document {
	t.Helper()
	res, body := fetch(t, address, path)
	if res.StatusCode != 200 {
		t.Fatalf("%s: found status %d: %.1000s", path, res.StatusCode, body)
	}
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return document{root}
}

// all returns the elements for which is returns true.
func (d document) all(is func(*html.Node) bool) (all []*html.Node) {
	for n := range d.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			all = append(all, n)
		}
	}
	return all
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasClass(name string) func(*html.Node) bool {
	return func(n *html.Node) bool { return slices.Contains(strings.Fields(attribute(n, "class")), name) }
}

// words returns the text of an element, with single blanks.
func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// texts returns the texts of all elements of a class.
func (d document) texts(class string) (all []string) {
	for _, n := range d.all(hasClass(class)) {
		all = append(all, words(n))
	}
	return all
}

// link returns the URL of the first link with the attribute, or "" if there is none.
func (d document) link(name, value string) string {
	for _, n := range d.all(func(n *html.Node) bool { return n.Data == "a" && attribute(n, name) == value }) {
		return attribute(n, "href")
	}
	return ""
}

// status returns the page's text about what was found.
func (d document) status() string {
	for _, n := range d.all(func(n *html.Node) bool { return attribute(n, "role") == "status" }) {
		return words(n)
	}
	return ""
}

// shop serves a shop's traffic.
func shop(t *testing.T, visits int) (address string) {
	t.Helper()
	address = serve(t, recorded(t, "shop", viewtest.Shop(visits)))
	ready(t, address, "/1/")
	return address
}

func TestTableShowsWhatAFilterSelects(t *testing.T) {
	address := shop(t, 50)
	for name, c := range map[string]struct {
		query, total string
		chips        []string
		first        string // path of the first row
	}{
		"all":             {"", "196 exchanges", nil, "/carts/100?currency=EUR"},
		"status":          {"?status=5xx", "2 exchanges", []string{"Remove the filter Status: 5xx ×", "Clear all"}, "/carts/107?currency=EUR"},
		"no answer":       {"?status=none&workload=frontend", "3 exchanges", []string{"Remove the filter Status: none ×", "Remove the filter Workload: frontend ×", "Clear all"}, "/stock/A-1"},
		"text":            {"?q=pi_3", "10 exchanges", []string{"Remove the filter Search: pi_3 ×", "Clear all"}, "/v1/payment_intents"},
		"slower":          {"?slower=1s&direction=in", "3 exchanges", []string{"Remove the filter Direction: IN ×", "Remove the filter Took at least: 1s ×", "Clear all"}, "/carts/107?currency=EUR"},
		"problems":        {"?problems=1&direction=out", "3 exchanges", []string{"Remove the filter Direction: OUT ×", "Remove the filter Only problems ×", "Clear all"}, "/stock/A-1"},
		"sorted":          {"?sort=duration&desc=1", "196 exchanges", nil, "/chat"},
		"from and to":     {"?from=2026-11-22T20:15:01&to=2026-11-22T20:15:01.1", "4 exchanges", []string{"Remove the filter From: 2026-11-22T20:15:01Z ×", "Remove the filter To: 2026-11-22T20:15:01.1Z ×", "Clear all"}, "/chat"},
		"unknown is left": {"?nothing=1", "196 exchanges", nil, "/carts/100?currency=EUR"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, address, "/1/"+c.query)
			if total, _, _ := strings.Cut(d.status(), " of"); total != c.total {
				t.Errorf("found %q, want %q", d.status(), c.total)
			}
			if chips := d.texts("chip"); !slices.Equal(chips, c.chips) {
				t.Errorf("found chips %q, want %q", chips, c.chips)
			}
			if rows := d.texts("row"); len(rows) == 0 || rows[0] != c.first {
				t.Errorf("found rows %.200q, want %q first", rows, c.first)
			}
		})
	}
}

func TestWrongFilterIsNamedAtItsField(t *testing.T) {
	address := shop(t, 1)
	for query, want := range map[string]string{
		"direction=up":                    "want IN, OUT",
		"status=600x":                     "want a code such as 404, a class such as 5xx, or none for no answer",
		"status=99":                       "want a code such as 404",
		"from=yesterday":                  `time "yesterday": want one such as`,
		"slower=fast":                     "want a duration such as 250ms",
		"slower=-1s":                      "want a duration such as 250ms",
		"problems=2":                      "want 1, or nothing",
		"from=2027&to=2026-01-01":         `time "2027"`,
		"from=2026-02-01&to=2026-01-01":   "want a time after From",
		"q=" + strings.Repeat("x", 10000): "longer than 9 KiB",
	} {
		res, body := fetch(t, address, "/1/?"+query)
		root, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if why := (document{root}).texts("why"); res.StatusCode != 400 || len(why) != 1 || !strings.HasPrefix(why[0], want) {
			t.Errorf("%.60s: found status %d, %q, want 400, %q", query, res.StatusCode, why, want)
		}
	}
	for query, want := range map[string]string{"sort=color": "sort: found &#34;color&#34;", "cursor=%00%ff": "the link belongs to another table", "cursor=AAAA": "the link belongs to another table"} {
		if res, body := fetch(t, address, "/1/?"+query); res.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: found status %d: %.1000s", query, res.StatusCode, body)
		}
	}
}

// TestFormLeadsToShortURL sends the form as a browser does: with all of its fields.
func TestFormLeadsToShortURL(t *testing.T) {
	address := shop(t, 1)
	res, _ := fetch(t, address, "/1/?q=&direction=&method=GET&status=&workload=&host=a&cursor=")
	if at := res.Header.Get("Location"); res.StatusCode != 303 || at != "/1/?host=a&method=GET" {
		t.Errorf("found %d to %q", res.StatusCode, at)
	}
	checkHeaders(t, res)
}

// TestHeadingsSort follows the links in the heads of the columns.
func TestHeadingsSort(t *testing.T) {
	address := shop(t, 20)
	heading := func(d document, name string) *html.Node {
		for _, n := range d.all(func(n *html.Node) bool { return n.Data == "th" && strings.HasPrefix(words(n), name) }) {
			return n
		}
		t.Fatalf("no column %s", name)
		return nil
	}
	follow := func(d document, name string) document {
		for n := range heading(d, name).Descendants() {
			if n.Data == "a" {
				return open(t, address, attribute(n, "href"))
			}
		}
		t.Fatalf("column %s has no link", name)
		return d
	}
	d := open(t, address, "/1/?direction=out")
	if got := attribute(heading(d, "Time"), "aria-sort"); got != "ascending" {
		t.Errorf("time: found aria-sort %q, want ascending", got)
	}
	for _, c := range []struct{ column, want, first string }{
		{"Duration", "descending", "/stock/A-1"}, {"Duration", "ascending", "/shop.Prices/Quote"}, {"Host", "ascending", "/v1/payment_intents"}, {"Time", "ascending", "/v1/carts/100"}, {"Time", "descending", "(no path)"},
	} {
		d = follow(d, c.column)
		if got := attribute(heading(d, c.column), "aria-sort"); got != c.want {
			t.Errorf("%s: found aria-sort %q, want %q", c.column, got, c.want)
		}
		if rows := d.texts("row"); rows[0] != c.first {
			t.Errorf("%s %s: found %q first, want %q", c.column, c.want, rows[0], c.first)
		}
		if chips := d.texts("chip"); len(chips) != 2 {
			t.Errorf("%s: the filter is lost: %q", c.column, chips)
		}
	}
}

// TestNextWalksTheTable goes through all exchanges that a filter selects, page by page, and
// one by one from the first to the last and back: both ways are the same.
func TestNextWalksTheTable(t *testing.T) {
	address := shop(t, 90)
	for name, query := range map[string]string{"all": "", "filtered and sorted": "?direction=out&sort=duration&desc=1"} {
		t.Run(name, func(t *testing.T) {
			var rows []string
			first := ""
			for at := "/1/" + query; at != ""; {
				d := open(t, address, at)
				for _, n := range d.all(hasClass("row")) {
					link, _, _ := strings.Cut(attribute(n, "href"), "?")
					rows = append(rows, link)
					if first == "" {
						first = attribute(n, "href")
					}
				}
				at = d.link("rel", "next")
			}
			if len(rows) < 150 {
				t.Fatalf("only %d rows", len(rows))
			}
			var walked []string
			last := ""
			for at := first; at != ""; {
				last = at
				link, _, _ := strings.Cut(at, "?")
				walked = append(walked, link)
				at = open(t, address, at).link("rel", "next")
			}
			if !slices.Equal(walked, rows) {
				t.Errorf("one by one there are %d, page by page %d", len(walked), len(rows))
			}
			var back []string
			for at := last; at != ""; {
				link, _, _ := strings.Cut(at, "?")
				back = append(back, link)
				at = open(t, address, at).link("rel", "prev")
			}
			slices.Reverse(back)
			if !slices.Equal(back, rows) {
				t.Errorf("backwards there are %d, want %d", len(back), len(rows))
			}
		})
	}
}

// TestExchangeInFull opens one of each kind.
func TestExchangeInFull(t *testing.T) {
	address := shop(t, 8)
	find := func(query string) string {
		for _, n := range open(t, address, "/1/?"+query).all(hasClass("row")) {
			return attribute(n, "href")
		}
		t.Fatalf("no row for %s", query)
		return ""
	}
	for name, c := range map[string]struct {
		query string
		want  []string
	}{
		"JSON":       {"path=/carts/100&direction=in&workload=frontend", []string{"GET /carts/100 200", `"total": 28.99`, "in to frontend", "spiffe://cluster.local/ns/istio-system/sa/ingress", "request sent 120 µs", "session=REDACTED"}},
		"a form":     {"host=stripe", []string{"amount", "2899", "Order #17 é", "caused by 7a000000-"}},
		"a coding":   {"host=search", []string{"decoded from gzip", `"name": "Cassette, 90 minutes"`}},
		"binary":     {"host=images", []string{"89 50 4e 47 0d 0a 1a 0a"}},
		"no answer":  {"status=none&host=stock", []string{"no answer: the connection ended without one", "The recording has none."}},
		"gRPC":       {"protocol=grpc", []string{"Conversation grpc, 2 messages", "→ client", "← server", "Grpc-Status trailer 0"}},
		"WebSocket":  {"protocol=websocket", []string{"Conversation websocket, 130", `"say": "message 0"`, "1 to 50 of 130"}},
		"events":     {"path=/events", []string{"price", "B-7"}},
		"a database": {"protocol=tcp", []string{"tcp postgres.shop.svc:5432", "00 00 00 08 04 d2 16 2f", "There is no command"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, address, find(c.query))
			text := words(d.Node)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page has no %q: %s", want, text)
				}
			}
		})
	}
}

func TestCopyAsCurl(t *testing.T) {
	address := shop(t, 2)
	d := open(t, address, "/1/exchanges/1")
	for _, n := range d.all(func(n *html.Node) bool { return n.Data == "textarea" }) {
		want := "curl --disable \\\n  --globoff \\\n  --path-as-is"
		if got := n.FirstChild.Data; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "--url 'http://shop.example/carts/100?currency=EUR'") {
			t.Errorf("found %q, want it to begin with %q", got, want)
		}
		return
	}
	t.Error("the page has no command")
}

func TestBodiesAreDownloads(t *testing.T) {
	address := shop(t, 3)
	for path, want := range map[string]string{
		"/1/exchanges/1/body/response": `{"id":100,"items":`,
		"/1/exchanges/1/body/request":  "",
		"/1/exchanges/1/json":          `{"msgType":"rrpair"`,
		"/1/exchanges/4/messages/1":    "\x0a\x03A-1\x10\x02",
	} {
		res, body := fetch(t, address, path)
		if res.StatusCode != 200 || !strings.HasPrefix(body, want) || res.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment; ") {
			t.Errorf("%s: found %d, %v, %.100q", path, res.StatusCode, res.Header, body)
		}
		checkHeaders(t, res)
		link := []string{"GET " + path + " HTTP/1.1", "Host: " + address, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
		if res, _ := ask(t, address, link...); res.StatusCode != 403 {
			t.Errorf("%s: another site can have a browser download it: status %d", path, res.StatusCode)
		}
	}
	for _, path := range []string{
		"/1/exchanges/0", "/1/exchanges/999", "/1/exchanges/-1", "/1/exchanges/x", "/1/exchanges/99999999999999999999", "/1/exchanges/1/body/x", "/1/exchanges/1/body/",
		"/1/exchanges/1/messages/1", "/1/exchanges/4/messages/3", "/1/exchanges/4/messages/0", "/1/uuid/00000000-0000-0000-0000-000000000001", "/2/", "/1/x", "/1/exchanges/",
	} {
		res, _ := fetch(t, address, path)
		if res.StatusCode != 404 {
			t.Errorf("%s: found status %d, want 404", path, res.StatusCode)
		}
		checkHeaders(t, res)
	}
	if res, _ := fetch(t, address, "/1/uuid/x"); res.StatusCode != 400 {
		t.Errorf("no UUID: found status %d, want 400", res.StatusCode)
	}
	if res, _ := fetch(t, address, "/1/uuid/7a000000-0000-4000-0000-000000000001"); res.StatusCode != 303 || res.Header.Get("Location") != "/1/exchanges/1" {
		t.Errorf("UUID: found status %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
}

// TestProgressShowsUntilARecordingIsRead stops half-way through the recording.
func TestProgressShowsUntilARecordingIsRead(t *testing.T) {
	real := recorded(t, "shop", viewtest.Shop(3))
	reached, goOn := make(chan struct{}), make(chan struct{})
	address := serve(t, view.Item{Name: "shop", Open: func(ctx context.Context, progress func(index.Progress)) (view.Index, error) {
		progress(index.Progress{Phase: "reading", Done: 3, All: 12, Unit: "segments", Exchanges: 12345})
		close(reached)
		<-goOn
		return real.Open(ctx, progress)
	}}, view.Item{Name: "receipt", Receipt: &mock.Receipt{}})
	<-reached
	for _, path := range []string{"/1/", "/1/?status=5xx", "/1/exchanges/1"} {
		res, body := fetch(t, address, path)
		if res.StatusCode != 200 || res.Header.Get("Refresh") != "1" || !strings.Contains(body, `<progress id="progress" max="12" value="3">`) || !strings.Contains(body, "12,345 exchanges") {
			t.Errorf("%s: found %d, Refresh %q: %s", path, res.StatusCode, res.Header.Get("Refresh"), body)
		}
		checkHeaders(t, res)
	}
	if res, _ := fetch(t, address, "/2/"); res.StatusCode != 200 || res.Header.Get("Refresh") != "" {
		t.Error("the receipt waits for the recording")
	}
	if d := open(t, address, "/"); !strings.Contains(words(d.Node), "recording, which is being read") {
		t.Errorf("found %s", words(d.Node))
	}
	close(goOn)
	ready(t, address, "/1/")
	open(t, address, "/1/exchanges/1")
}

// TestFailureShowsAndEndsServe has a recording that can't be read.
func TestFailureShowsAndEndsServe(t *testing.T) {
	fail := make(chan struct{})
	s, err := view.New(view.Options{Items: []view.Item{{Name: "s3://bucket", Open: func(context.Context, func(index.Progress)) (view.Index, error) {
		<-fail
		return nil, errors.New("s3://bucket: access <denied>")
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), l) }()
	address := l.Addr().String()
	if res, _ := fetch(t, address, "/1/"); res.Header.Get("Refresh") == "" {
		t.Error("the page does not wait")
	}
	close(fail)
	for {
		res, body := fetch(t, address, "/1/")
		if res.Header.Get("Refresh") != "" {
			continue
		}
		if res.StatusCode != 500 || !strings.Contains(body, "s3://bucket: access &lt;denied&gt;") {
			t.Errorf("found status %d: %s", res.StatusCode, body)
		}
		break
	}
	if err := <-done; err == nil || err.Error() != "s3://bucket: access <denied>" {
		t.Errorf("found %v", err)
	}
}

// TestServeEndsWhileReading ends Serve as Ctrl-C does, which is not an error.
func TestServeEndsWhileReading(t *testing.T) {
	began := make(chan struct{})
	s, err := view.New(view.Options{Items: []view.Item{{Name: "x", Open: func(ctx context.Context, _ func(index.Progress)) (view.Index, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	<-began
	cancel()
	if err := <-done; err != nil {
		t.Errorf("found %v, want nil", err)
	}
}

func TestNewRefusesWhatItCannotShow(t *testing.T) {
	for want, items := range map[string][]view.Item{
		"nothing to show":                   nil,
		"item 1, a: found []":               {{Name: "a"}},
		"item 2, b: found [report receipt]": {{Name: "a", Receipt: &mock.Receipt{}}, {Name: "b", Report: hostileReport(), Receipt: &mock.Receipt{}}},
	} {
		if _, err := view.New(view.Options{Items: items}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("found %v, want %s", err, want)
		}
	}
}
