package view_test

import (
	"flag"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/viewtest"
)

var update = flag.Bool("update", false, "write what tests compare with")

// page returns a page, once it is ready.
func page(t *testing.T, address, path string) string {
	t.Helper()
	for {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), "<progress") {
			continue
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s\n%s", path, res.Status, body)
		}
		return string(body)
	}
}

// table returns the cells of the body of a page's table, one row on each line.
func table(t *testing.T, address, path string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page(t, address, path)))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for row := range root.Descendants() {
		if row.Type != html.ElementNode || row.Data != "tr" || row.Parent.Data != "tbody" {
			continue
		}
		var cells []string
		for cell := range row.ChildNodes() {
			if cell.Type == html.ElementNode {
				cells = append(cells, shown(cell))
			}
		}
		b.WriteString(strings.Join(cells, " | ") + "\n")
	}
	return b.String()
}

// shown returns the text of a cell as it is visible, without the part for screen readers.
func shown(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	for _, a := range n.Attr {
		if a.Key == "class" && a.Val == "hidden" {
			return ""
		}
	}
	var b strings.Builder
	for c := range n.ChildNodes() {
		b.WriteString(shown(c))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// visits returns a few visits of the shop, without its conversations.
func visits(n int) (all []*recording.Exchange) {
	for _, e := range viewtest.Shop(n) {
		if e.Service != "chat" && e.Service != "orders" && e.Location != "/events" {
			all = append(all, e)
		}
	}
	return all
}

// TestPagesThatSumUp compares the tables of pages with those in testdata/tables.txtar, which
// -update writes.
func TestPagesThatSumUp(t *testing.T) {
	slower := visits(2)
	for _, e := range slower {
		if e.Service == "cart" {
			e.Duration *= 2
		}
	}
	address := serve(t, recorded(t, "a", visits(3)), recorded(t, "b", slower))
	const file = "testdata/tables.txtar"
	want, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range want.Files { // a file's name is the page that it shows
		got := table(t, address, f.Name)
		if *update {
			want.Files[i].Data = []byte(got)
		} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestASumLeadsToItsExchanges follows the link of each row of a summary page.
func TestASumLeadsToItsExchanges(t *testing.T) {
	address := serve(t, recorded(t, "a", viewtest.Shop(30)), recorded(t, "b", visits(2)))
	link := regexp.MustCompile(`<a (?:class="row" )?href="(/[12]/\?[^"]*)">([0-9,]+)<span class="hidden"> exchanges`)
	total := regexp.MustCompile(`<b>([0-9,]+)</b> exchange`)
	for _, path := range []string{"/1/calls", "/1/calls?workload=frontend", "/1/calls?workload=cart", "/1/calls?direction=IN", "/1/endpoints", "/1/endpoints?direction=OUT&slower=10ms", "/compare/1/2"} {
		links := link.FindAllStringSubmatch(page(t, address, path), -1)
		if len(links) == 0 {
			t.Errorf("%s leads to no exchanges", path)
		}
		for _, l := range links {
			to := html.UnescapeString(l[1])
			if got := total.FindStringSubmatch(page(t, address, to)); got == nil || got[1] != l[2] {
				t.Errorf("%s: a sum of %s exchanges leads to %s, which has %v", path, l[2], to, got)
			}
		}
	}
}

func TestPagesThatSumUpRefuse(t *testing.T) {
	address := serve(t, recorded(t, "a", visits(1)))
	table(t, address, "/1/") // it is ready
	for path, want := range map[string]int{
		"/1/trace/99": http.StatusNotFound, "/1/trace/x": http.StatusNotFound, "/compare/1/2": http.StatusNotFound, "/compare/0/1": http.StatusNotFound,
		"/1/calls?sort=x": http.StatusBadRequest, "/1/endpoints?status=x": http.StatusBadRequest, "/compare/1/1?from=x": http.StatusBadRequest,
	} {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
}
