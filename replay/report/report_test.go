package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

var update = flag.Bool("update", false, "rewrite the wanted output in testdata")

// written returns a report in a form.
func written(t *testing.T, r *report.Report, form string) string {
	t.Helper()
	f, err := report.FormNamed(form)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares with a file in testdata, which has a part for each form.
func golden(t *testing.T, name string, got map[string]string) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		a := &txtar.Archive{}
		for _, f := range report.Forms() {
			if text, ok := got[f.Name]; ok {
				a.Files = append(a.Files, txtar.File{Name: f.Name, Data: []byte(text)})
			}
		}
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) != len(got) {
		t.Errorf("%s has %d parts, want %d", name, len(a.Files), len(got))
	}
	for _, f := range a.Files {
		if diff := cmp.Diff(string(f.Data), got[f.Name]); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", name, f.Name, diff)
		}
	}
}

// TestForms writes one report in every form except HTML, which has separate tests.
func TestForms(t *testing.T) {
	r := shop(60, 30*time.Second)
	r.Judge(goals("latency.p95 > 100", "GET /products: latency.p50 > 1", "latency.p99 > 1000", "requests.failed-pct > 50"))
	got := map[string]string{}
	for _, f := range report.Forms() {
		if f.Name != "html" {
			got[f.Name] = written(t, r, f.Name)
		}
	}
	golden(t, "shop.txtar", got)
}

func TestJSONReadsBack(t *testing.T) {
	r := shop(2000, 30*time.Second)
	r.Judge(goals("latency.p95 > 100"))
	text := written(t, r, "json")
	again, err := report.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, written(t, again, "json")); diff != "" {
		t.Errorf("(-written +read back):\n%s", diff)
	}
	for _, f := range report.Forms() {
		if diff := cmp.Diff(written(t, r, f.Name), written(t, again, f.Name)); diff != "" {
			t.Errorf("%s (-first +read back):\n%s", f.Name, diff)
		}
	}
}

// TestTheFirstExitCodeWins checks the precedence: 6, 2, 5, 4, 3, 1.
func TestTheFirstExitCodeWins(t *testing.T) {
	fresh := func(r *report.Report) {
		r.Differences = append(r.Differences, report.Difference{State: report.New})
	}
	missed := func(r *report.Report) { r.Mock = &report.Mock{Missed: 2} }
	bound := func(r *report.Report) { r.Generator.Bound = "send lag p99 is 80 ms" }
	could := func(r *report.Report) { r.Problems = []report.Exit{{Code: report.CouldNotRun, Reason: "refused"}} }
	gap := func(r *report.Report) { r.Source.Findings = []string{"segment 3 is damaged"} }
	need := func(r *report.Report) {
		r.Needs = []report.Need{{Site: report.Site{Endpoint: "POST /login", Place: "body:$.password"}}}
	}
	for _, c := range []struct {
		name  string
		goal  string
		with  []func(*report.Report)
		codes []int
	}{
		{"nothing", "", nil, nil},
		{"a known difference and noise", "", []func(*report.Report){func(r *report.Report) {
			r.Differences = []report.Difference{{State: report.Known}, {State: report.Noise}}
		}}, nil},
		{"a supplied credential", "", []func(*report.Report){func(r *report.Report) { r.Needs = []report.Need{{Supplied: "env:TOKEN"}} }}, nil},
		{"goal passed", "requests.total < 1", nil, nil},
		{"goal missed", "requests.total > 1", nil, []int{1}},
		{"goal on a value that is not available", "latency.p99 > 1", nil, []int{2}},
		{"goal on an unknown endpoint", "GET /nowhere: latency.p50 > 1", nil, []int{2}},
		{"differences and a goal", "requests.total > 1", []func(*report.Report){fresh}, []int{3, 1}},
		{"a miss beside them", "requests.total > 1", []func(*report.Report){fresh, missed}, []int{4, 3, 1}},
		{"generator-bound, too", "requests.total > 1", []func(*report.Report){fresh, missed, bound}, []int{5, 4, 3, 1}},
		{"could not run", "requests.total > 1", []func(*report.Report){fresh, missed, bound, could}, []int{2, 5, 4, 3, 1}},
		{"incomplete", "requests.total > 1", []func(*report.Report){fresh, missed, bound, could, gap}, []int{6, 2, 5, 4, 3, 1}},
		{"a credential is missing", "", []func(*report.Report){need}, []int{6}},
		{"partial", "", []func(*report.Report){func(r *report.Report) { r.Partial = "interrupted" }}, []int{6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &report.Report{Started: started, Ended: started.Add(10 * time.Second), Results: shopRun(50, 10*time.Second, 1)}
			for _, f := range c.with {
				f(r)
			}
			var g []goal.Goal
			if c.goal != "" {
				g = goals(c.goal)
			}
			r.Judge(g)
			var codes []int
			for _, x := range r.Exits {
				codes = append(codes, x.Code)
			}
			want := 0
			if len(c.codes) > 0 {
				want = c.codes[0]
			}
			if !slices.Equal(codes, c.codes) || r.ExitCode != want {
				t.Errorf("exit codes %v, of which %d wins; want %v", codes, r.ExitCode, c.codes)
			}
			if before := r.Exits; true {
				r.Judge(g)
				if !slices.Equal(before, r.Exits) {
					t.Errorf("judged twice, it has %v, and then %v", before, r.Exits)
				}
			}
		})
	}
}

// hostile lists strings that would have an effect if they were not escaped.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1",
	"a | b | c", "`code` **bold** [link](http://evil.example) <b>x</b>", "https://evil.example/x www.evil.example @someone #1", "line\nbreak\r\n## Heading\n- item",
	"\x1b[31mred\x1b]0;title\a", "\u202Egnp.exe\u202C", "\u2066isolated\u2069", "nul\x00 del\x7f c1\u009b31m", "bad \xff\xfe utf-8", "]]><x/>", "{{.}}", "javascript:alert(1)",
	"&lt;b&gt;", "\\|", "$1$2", "~~gone~~", "::error::x", "\uFFFE\uFFFF",
}

// hostileReport has them in every string that a recording or an answer can influence.
func hostileReport() *report.Report {
	r := &report.Report{Started: started, Ended: started.Add(time.Minute)}
	run := stats.NewRun()
	local := run.Local()
	for _, h := range hostile {
		local.Add(stats.Sample{Endpoint: run.Endpoint(h), Done: time.Millisecond, Failure: h})
		local.Unsent(run.Endpoint(h), h)
		r.Differences = append(r.Differences, report.Difference{Endpoint: h, Place: h, Kind: match.ValueChanged, State: report.New, Count: 1, Reason: h,
			Example: report.Example{Exchange: h, Request: h, Difference: match.Difference{Place: h, Kind: match.ValueChanged, Recorded: h, Live: h, RecordedType: h, LiveType: h, Class: h}}})
		r.Edges = append(r.Edges, report.Edge{From: report.Site{Endpoint: h, Place: h}, To: report.Site{Endpoint: h, Place: h}, Encoding: h, Reason: h})
		r.Ambiguous = append(r.Ambiguous, report.Ambiguous{To: report.Site{Endpoint: h, Place: h}, From: []report.Site{{Endpoint: h, Place: h}}, Reason: h})
		r.Needs = append(r.Needs, report.Need{Site: report.Site{Endpoint: h, Place: h}, Reason: h, Supplied: h})
		r.UnfiredRules = append(r.UnfiredRules, h)
		r.Problems = append(r.Problems, report.Exit{Code: report.CouldNotRun, Reason: h})
		r.Mock = &report.Mock{Misses: []report.Miss{{Endpoint: h, Reason: h}}}
		r.Source.Findings = append(r.Source.Findings, h)
	}
	all := strings.Join(hostile, " ")
	r.Results = run.Result()
	r.Source.Place, r.Source.SHA256, r.Target, r.Baseline, r.Version, r.Partial = all, all, all, all, all, all
	r.Load.Shape, r.Generator.Bound = all, all
	r.Source.LeftOut = map[string]int64{all: 1}
	r.Judge(goals(hostile[0] + ": latency.p50 > 100"))
	return r
}

// TestHostileTexts shows how each golden form escapes hostile texts.
func TestHostileTexts(t *testing.T) {
	r := hostileReport()
	got := map[string]string{}
	for _, form := range []string{"pretty", "csv", "junit", "markdown"} {
		got[form] = written(t, r, form)
		for _, c := range got[form] {
			if c < ' ' && c != '\n' || c == 0x7f || 0x80 <= c && c < 0xa0 || 0x202a <= c && c <= 0x202e || 0x2066 <= c && c <= 0x2069 || c == '\uFFFD' {
				t.Fatalf("%s has a character %U", form, c)
			}
		}
	}
	for _, line := range strings.Split(got["csv"], "\n") {
		if line = strings.TrimPrefix(line, `"`); line != "" && strings.ContainsRune("=+-@\t\r", rune(line[0])) {
			t.Errorf("CSV has a formula: %s", line)
		}
	}
	for _, raw := range []string{"<script", "<img", "<b>", "](", "**bold", "://evil", "www.evil", "@someone", "\n## Heading", "\n- item", "`code`"} {
		if strings.Contains(got["markdown"], raw) {
			t.Errorf("Markdown has %q", raw)
		}
	}
	golden(t, "hostile.txtar", got)
}

// TestHostileTextsAreData checks the forms that programs read.
func TestHostileTextsAreData(t *testing.T) {
	r := hostileReport()
	asJSON := written(t, r, "json")
	for _, c := range asJSON {
		if c != '\n' && !strconv.IsPrint(c) {
			t.Fatalf("JSON has a character %U", c)
		}
	}
	read, err := report.Read(strings.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	if got := read.Differences[len(hostile)/2].Place; got != r.Differences[len(hostile)/2].Place {
		t.Errorf("it was read as %q", got)
	}
	same, err := yaml.YAMLToJSON([]byte(written(t, r, "yaml")))
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML, fromJSON any
	if err := errors.Join(json.Unmarshal(same, &fromYAML), json.Unmarshal([]byte(asJSON), &fromJSON)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromYAML, fromJSON) {
		t.Error("YAML says something else")
	}
}

// TestMarkdownFitsAStepSummary writes far more than GitHub accepts.
func TestMarkdownFitsAStepSummary(t *testing.T) {
	r := &report.Report{Started: started, Ended: started}
	for i := range 5000 {
		r.Differences = append(r.Differences, report.Difference{
			Endpoint: fmt.Sprintf("GET /%d/%s", i, strings.Repeat("<", 300)), Place: strings.Repeat("|", 300), Kind: match.ValueChanged, State: report.New, Count: 1,
			Example: report.Example{Difference: match.Difference{Recorded: strings.Repeat("`", match.MaxValue), Live: strings.Repeat("&", match.MaxValue)}},
		})
		r.Source.Findings = append(r.Source.Findings, strings.Repeat("*", 1000))
	}
	r.Target = strings.Repeat("#", 1<<20)
	r.Judge(nil)
	text := written(t, r, "markdown")
	if len(text) > 1<<20 || !strings.Contains(text, "❌ **Failed: incomplete**") || !strings.Contains(text, "more rows") {
		t.Errorf("%d bytes, which start with %.300s", len(text), text)
	}
}

// TestJUnit reads what GitLab and Jenkins read: cases with unique names, and at most as
// many as are worth showing.
func TestJUnit(t *testing.T) {
	r := hostileReport()
	for i := range 3000 {
		r.Differences = append(r.Differences, report.Difference{Endpoint: "GET /" + strings.Repeat("x", 400), Place: fmt.Sprint("body:$.", i), Kind: match.FieldAdded, State: report.New, Count: 2})
	}
	r.Judge(goals("latency.p95 > 1", "latency.p95 > 2", hostile[0]+": latency.p50 > 0", "latency.p99 > 3"))
	text := written(t, r, "junit")
	var read struct {
		Suite struct {
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Errors   int    `xml:"errors,attr"`
			Time     string `xml:"time,attr"`
			Cases    []struct {
				Class   string    `xml:"classname,attr"`
				Name    string    `xml:"name,attr"`
				Time    float64   `xml:"time,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	s := read.Suite
	names := map[string]bool{}
	failures, errors := 0, 0
	for _, c := range s.Cases {
		if names[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		names[c.Name] = true
		if c.Failure != nil {
			failures++
		}
		if c.Error != nil {
			errors++
		}
	}
	if s.Tests != len(s.Cases) || s.Failures != failures || s.Errors != errors || s.Time != "60" {
		t.Errorf("says %d tests, %d failures, %d errors, %s s; has %d, %d, %d", s.Tests, s.Failures, s.Errors, s.Time, len(s.Cases), failures, errors)
	}
	if failures < 1000 || failures > 1010 || len(s.Cases) > 1100 {
		t.Errorf("%d failures in %d cases, want about a thousand", failures, len(s.Cases))
	}
}

// TestForeignReportsAreRefused reads what no replay writes.
func TestForeignReportsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                    "parse report",
		`[]`:                  "parse report",
		`{}`:                  "schema version 0; this version of tapedeck reads 1",
		`{"schemaVersion":2}`: "schema version 2",
		`{"schemaVersion":1,"started":"2026-11-29T08:00:00Z","ended":"2026-11-28T08:00:00Z"}`:                            "ended 24h0m0s before it started",
		`{"schemaVersion":1,"shard":{"index":3,"of":3}}`:                                                                 "shard 3 of 3",
		`{"schemaVersion":1,"shard":{"index":0,"of":2000000000}}`:                                                        "at most 10000",
		`{"schemaVersion":1,"results":{"endpoints":[null]}}`:                                                             "null",
		`{"schemaVersion":1,"results":{"endpoints":[{"name":"a"}]}}`:                                                     `endpoint "a": distribution response is missing`,
		`{"schemaVersion":1,"results":{"series":{"stepSeconds":3,"points":[{}]}}}`:                                       "power of two",
		`{"schemaVersion":1,"exits":[{"code":77}]}`:                                                                      "exit code 77",
		`{"schemaVersion":1,"goals":[{"goal":"x"}]}`:                                                                     `goal "x"`,
		`{"schemaVersion":1,"results":{"endpoints":[{"name":"a","response":{"count":1,"samplesMicros":[4294967296]}}]}}`: "parse report",
	} {
		if _, err := report.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error with %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range []*report.Report{shop(30, time.Second), hostileReport(), {}} {
		r.Judge(nil)
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := report.Parse(b)
		if err != nil {
			return
		}
		goals, err := r.GoalsJudged()
		if err != nil {
			t.Fatal(err)
		}
		r.Judge(goals)
		for _, form := range report.Forms() {
			if form.Name == "html" || form.Name == "yaml" {
				continue // as JSON and pretty, but slow
			}
			var b bytes.Buffer
			if err := form.Write(&b, r); err != nil {
				t.Errorf("%s: %v", form.Name, err)
			}
			if form.Name == "json" {
				if _, err := report.Parse(b.Bytes()); err != nil {
					t.Errorf("does not read back: %v", err)
				}
			}
		}
	})
}
