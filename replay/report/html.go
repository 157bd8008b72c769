package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"visible": visible,
	"tone":    func(text string) string { return tones[text] },
	"isText":  func(s section, column int) bool { return column < s.Text },
}).Parse(pageText))

// tones maps words that stand out to their CSS classes: the verdicts, and the row of all endpoints.
var tones = map[string]string{
	string(goal.Passed): "good", string(goal.Missed): "bad", string(goal.Unknown): "bad", named(""): "all",
}

// page is the input of the HTML template.
type page struct {
	document
	Policy string // Content-Security-Policy
	Home   string // URL of the page's only link, or ""
	Style  template.CSS
	Tiles  []tile
	Charts []chart
	// Series lists the numbers of the charts, for readers who can't see the charts.
	Series section
	// Cards are the new differences, side by side. New is their number.
	Cards   []card
	New     string
	Version string // empty if unknown
}

// card is a difference with its two sides.
type card struct{ Endpoint, Place, What, Recorded, Live string }

// tile is a number at the top of the page.
type tile struct{ Name, Value, Unit, Class string }

// maxPageRows bounds a section of the page, and its differences.
const maxPageRows = 1000

// page returns the report with its charts.
func (r *Report) page() page {
	p := page{document: r.document(), Charts: r.charts(), Series: r.seriesSection(), Tiles: r.tiles(), Version: r.Version}
	// New differences are shown as cards instead.
	p.Sections = slices.DeleteFunc(p.Sections, func(s section) bool { return s.Title == newDifferences })
	fresh := r.with(New)
	p.New = grouped(int64(len(fresh)))
	if len(fresh) > maxPageRows {
		fresh = fresh[:maxPageRows]
		p.New = fmt.Sprintf("%s, of which these are the first %s", p.New, grouped(maxPageRows))
	}
	for _, d := range fresh {
		what := kinds[d.Kind] + " in " + plural(int(d.Count), "answer")
		p.Cards = append(p.Cards, card{d.Endpoint, d.Place, joined(", as of ", what, d.Example.Request), d.Example.recorded(), d.Example.live()})
	}
	return p
}

// PagePolicy returns the Content-Security-Policy of the HTML form: its pages load nothing, run
// nothing and have only their own style.
func PagePolicy() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'"
}

// WritePage writes the HTML form for a server that also has other pages. The page links to the URL
// home, unless that is "".
func (r *Report) WritePage(w io.Writer, home string) error {
	p := r.page()
	p.Home = home
	return p.write(w)
}

func (p page) write(w io.Writer) error {
	p.Policy = PagePolicy()
	p.Style = template.CSS(pageStyle)
	for i, s := range p.Sections {
		p.Sections[i] = s.first(maxPageRows)
	}
	return pageTemplate.Execute(w, p)
}

func (r *Report) tiles() []tile {
	total := r.Results.Total()
	if total.Sent == 0 {
		return nil
	}
	tiles := []tile{{Name: "Requests", Value: grouped(total.Sent)}, {Name: "Failed", Value: grouped(total.Failed), Class: badIf(total.Failed > 0)}}
	if n := total.Compared(); n > 0 {
		tiles = append(tiles, tile{"Match", percent(total.Matched, n), "%", badIf(total.New > 0)})
	}
	for _, p := range shownOverTime {
		if t, ok := total.Response.Percentile(p.quantile); ok {
			one := tile{Name: p.name, Value: millis(t, true), Unit: "ms"}
			if t >= 10*time.Second {
				one.Value, one.Unit = significant(t.Seconds()), "s"
			}
			tiles = append(tiles, one)
		}
	}
	if seconds := r.Elapsed().Seconds(); seconds > 0 {
		tiles = append(tiles, tile{Name: "Throughput", Value: significant(float64(total.Sent) / seconds), Unit: "/s"})
	}
	return append(tiles, tile{Name: "Took", Value: clock(r.Elapsed().Round(time.Second))})
}

func badIf(bad bool) string {
	if bad {
		return "bad"
	}
	return ""
}
