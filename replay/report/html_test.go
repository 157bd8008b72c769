package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// elements are all that a page may consist of. None loads anything but link, which is the
// empty icon, and none runs anything.
var elements = strings.Fields(`html head meta link title style body header main footer section article details summary figure figcaption div p h1 h2 h3 ul li
	dl dt dd span small code pre table thead tbody tr th td svg path rect line text`)

// A report from another writer may have requests but no series. Its charts have no width.
func TestPageWithoutASeries(t *testing.T) {
	r := shop(500, time.Minute)
	r.Results.Series = stats.Series{}
	r.Judge(nil)
	read, err := report.Parse([]byte(written(t, r, "json")))
	if err != nil {
		t.Fatal(err)
	}
	page := written(t, read, "html")
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if !strings.Contains(page, "<svg") {
		t.Error("the page has no chart")
	}
}

// TestPageIsSelfContained checks the page of a hostile report, and the pages of large, small and
// empty runs. The module e2e/browser opens such pages in a real browser.
func TestPageIsSelfContained(t *testing.T) {
	empty := &report.Report{Problems: []report.Exit{{Code: report.CouldNotRun, Reason: "connection refused"}}}
	var comparison bytes.Buffer
	form, _ := report.FormNamed("html")
	if err := form.WriteComparison(&comparison, report.Compare(hostile[0], hostileReport(), hostile[1], shop(500, time.Minute))); err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{"comparison": comparison.String()}
	for name, r := range map[string]*report.Report{"hostile": hostileReport(), "shop": shop(5000, time.Hour), "one": shop(1, time.Second), "empty": empty} {
		r.Judge(nil)
		pages[name] = written(t, r, "html")
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			root, err := html.Parse(strings.NewReader(page))
			if err != nil {
				t.Fatal(err)
			}
			for n := range root.Descendants() {
				if n.Type != html.ElementNode {
					continue
				}
				if !slices.Contains(elements, n.Data) {
					t.Errorf("the page has <%s>", n.Data)
				}
				for _, a := range n.Attr {
					if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "href" && a.Val != "data:," {
						t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
					}
				}
			}
			style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
			sum := sha256.Sum256([]byte(style[1]))
			want := "default-src &#39;none&#39;; style-src &#39;sha256-" + strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "+", "&#43;") + "&#39;; img-src data:; base-uri &#39;none&#39;; form-action &#39;none&#39;"
			if !strings.Contains(page, want) {
				t.Errorf("the policy is not %s", want)
			}
			for _, number := range []string{"NaN", "Inf", "%!"} {
				if strings.Contains(page[strings.Index(page, "<body>"):], number) {
					t.Errorf("the page has %s", number)
				}
			}
		})
	}
}

// TestPageIsBounded writes more than a browser wants to show.
func TestPageIsBounded(t *testing.T) {
	r := shop(10, time.Second)
	for range 20_000 {
		r.Differences = append(r.Differences, report.Difference{Endpoint: "GET /", Place: strings.Repeat("x", 100), Kind: match.ValueChanged, State: report.New,
			Example: report.Example{Difference: match.Difference{Recorded: strings.Repeat("a", match.MaxValue), Live: strings.Repeat("b", match.MaxValue)}}})
		r.UnfiredRules = append(r.UnfiredRules, strings.Repeat("r", 100))
	}
	r.Judge(nil)
	page := written(t, r, "html")
	if len(page) > 3<<20 || !strings.Contains(page, "of which these are the first 1,000") || !strings.Contains(page, "and 19001 more") {
		t.Errorf("%d bytes", len(page))
	}
}
