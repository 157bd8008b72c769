package view_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/view"
	"github.com/tapedeck/tapedeck/view/viewtest"
)

// elements are the only elements of pages, except for those of the report, which has its own test.
var elements = strings.Fields(`html head meta title link script body a header div span nav ul ol li main footer h1 h2 h3 p img
	form label input select option button details summary dl dt dd table caption thead tbody tr th td time b kbd code pre
	section article figure figcaption svg g rect line text path textarea progress`)

// attributes are the only attributes of elements. A value of a recording may be in some of them.
var attributes = strings.Fields(`lang charset name content rel href type src defer class id tabindex title alt width height method action role
	for value placeholder maxlength autocomplete autocapitalize spellcheck checked selected open scope aria-label aria-current aria-sort aria-hidden
	aria-labelledby aria-describedby aria-invalid aria-live datetime data-rows data-copies download readonly rows wrap hidden start max
	viewbox preserveaspectratio x y x1 x2 y1 y2 d transform text-anchor colspan rowspan focusable`)

// TestHostileRecordingStaysText follows every link from the first page, over a recording, a
// report and a receipt in which every text is an attack. No text may become an element, an
// attribute, or a URL that leads elsewhere.
func TestHostileRecordingStaysText(t *testing.T) {
	receipt, run := hostileReceipt(), hostileReport()
	address := serve(t, recorded(t, viewtest.Attacks()[0], viewtest.Hostile()), recorded(t, viewtest.Attacks()[1], viewtest.Hostile()),
		view.Item{Name: viewtest.Attacks()[3], Receipt: receipt}, view.Item{Name: viewtest.Attacks()[12], Report: run})
	ready(t, address, "/1/")
	ready(t, address, "/2/")
	const most = 600
	queue, seen := []string{"/"}, map[string]bool{"/": true}
	for n := 0; n < len(queue) && n < most; n++ {
		path := queue[n]
		res, body := fetch(t, address, path)
		if res.Header.Get("Content-Type") == "application/octet-stream" {
			if !strings.HasPrefix(res.Header.Get("Content-Disposition"), `attachment; filename="exchange-`) {
				t.Errorf("%s: found Content-Disposition %q", path, res.Header.Get("Content-Disposition"))
			}
			continue
		}
		if res.StatusCode >= 500 || res.StatusCode == 400 {
			t.Errorf("%s: found status %d: %.500s", path, res.StatusCode, body)
		}
		if path == "/4/" {
			checkReport(t, res, body)
			continue
		}
		checkHeaders(t, res)
		for _, link := range checkPage(t, path, body) {
			if link, _, _ = strings.Cut(link, "#"); link != "" && !seen[link] && !strings.HasPrefix(link, "/static/") {
				seen[link] = true
				queue = append(queue, link)
			}
		}
	}
	if len(queue) < 100 {
		t.Errorf("only %d pages are linked: %q", len(queue), queue)
	}
}

// checkPage checks the elements and attributes of a page, and returns its links.
func checkPage(t *testing.T, path, body string) (links []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	scripts := 0
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			t.Errorf("%s: the page has the comment %q", path, n.Data)
		}
		if n.Type != html.ElementNode {
			if n.Type == html.TextNode && strings.ContainsFunc(n.Data, func(r rune) bool {
				return r < ' ' && r != '\n' && r != '\t' || r == '\u202e' || r == '\u2066' || r == '\u200b'
			}) {
				t.Errorf("%s: the text %.200q has characters that don't show", path, n.Data)
			}
			continue
		}
		if !slices.Contains(elements, n.Data) {
			t.Errorf("%s: the page has <%s>", path, n.Data)
		}
		for _, a := range n.Attr {
			if !slices.Contains(attributes, strings.ToLower(a.Key)) {
				t.Errorf("%s: <%s> has %s=%.100q", path, n.Data, a.Key, a.Val)
			}
			switch a.Key {
			case "href", "src", "action":
				u, err := url.Parse(a.Val)
				if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") || strings.HasPrefix(a.Val, "//") {
					t.Errorf("%s: <%s> leads to %.200q", path, n.Data, a.Val)
				}
				if a.Key == "href" {
					links = append(links, a.Val)
				}
			case "id", "for", "class", "data-copies", "aria-labelledby", "aria-describedby":
				if strings.ContainsAny(a.Val, `<>"'`) {
					t.Errorf("%s: <%s> has %s=%.100q", path, n.Data, a.Key, a.Val)
				}
			case "content":
				if strings.Contains(a.Val, "evil") {
					t.Errorf("%s: <%s> has %s=%.100q", path, n.Data, a.Key, a.Val)
				}
			}
		}
		if n.Data == "script" {
			scripts++
			if n.FirstChild != nil || len(n.Attr) != 2 || n.Attr[0].Val != "/static/app.js" {
				t.Errorf("%s: the page has another script: %v", path, n.Attr)
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%s: the page has %d scripts, want 1", path, scripts)
	}
	return links
}

// checkReport checks what holds for the page of a report alone.
func checkReport(t *testing.T, res *http.Response, body string) {
	t.Helper()
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") || !strings.HasSuffix(policy, "; frame-ancestors 'none'") {
		t.Errorf("the report has the policy %q", policy)
	}
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if n.Data == "script" || a.Key == "style" || strings.HasPrefix(a.Key, "on") || a.Key == "href" && a.Val != "/" && a.Val != "data:," {
				t.Errorf("the report has <%s %s=%.100q>", n.Data, a.Key, a.Val)
			}
		}
	}
}

func hostileReceipt() *mock.Receipt {
	r := &mock.Receipt{Started: viewtest.Began, Ended: viewtest.Began.Add(time.Minute), Missed: 3, Escaped: 1, ExitCode: 4}
	for _, a := range viewtest.Attacks() {
		r.Version, r.Recording.Place, r.Recording.SHA256 = a, a, a
		r.Recording.Findings = append(r.Recording.Findings, a)
		r.Endpoints = append(r.Endpoints, mock.Count{Host: a, Path: a, Missed: 1})
		r.Misses = append(r.Misses, mock.Miss{Verdict: mock.Verdict(a), Method: a, Host: a, Path: a, Code: a, Reason: a, Hint: a, Explanation: &match.Explanation{
			Request: a, How: a, Hints: []string{a}, Known: &match.Known{Names: []string{a}},
			Nearest: &match.Nearest{UUID: a, Request: a, Differences: match.Differences{List: []match.Difference{{Place: a, Kind: match.ValueChanged, Recorded: a, Live: a}}}},
		}})
		r.Faults = append(r.Faults, fault.Count{Rule: a})
		r.Injected = append(r.Injected, mock.Injection{Rules: []string{a}, Request: a, RefUUID: a})
		r.UnusedRules = append(r.UnusedRules, a)
		r.Command = &mock.Command{Args: []string{a}, Signal: a}
	}
	return r
}

func hostileReport() *report.Report {
	a := viewtest.Attacks()[3]
	r := &report.Report{SchemaVersion: report.SchemaVersion, Version: a, Target: a, Source: report.Source{Place: a}, Started: viewtest.Began, Ended: viewtest.Began.Add(time.Minute), UnfiredRules: viewtest.Attacks()}
	r.Judge(nil)
	return r
}
