package match_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "write what the cases are to find")

// TestCases runs testdata/cases. Each case has a recording, live requests, and what is found for
// each of them:
//
//	-- rules.yaml --                a file of rules, if there are any
//	-- recorded NAME --             an exchange, in recorded order
//	GET http://a.example/x?ts=1     method and URL; after @ the time, if it matters
//	Content-Type: application/json  headers, an empty line and the body
//
//	{}
//	=> 200                          the status, headers and body of the response
//	-- live NAME --                 a request; a line `bind LIVE = RECORDED` binds values
//	-- want NAME --                 how and what was found, and what was masked
//	-- explain NAME --              the explanation, if the case has it
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runCase(t, a)
			if *update && !t.Failed() {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// captured and replayed are when the recorded and the live exchanges of a case take place, unless it
// says otherwise.
var (
	captured = time.Date(2026, 6, 12, 15, 4, 5, 0, time.UTC)
	replayed = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
)

func runCase(t *testing.T, a *txtar.Archive) {
	var o match.Options
	var recorded []*recording.Exchange
	var names []string
	foreign := bytes.Contains(a.Comment, []byte("\nforeign key\n"))
	for i := range a.Files {
		f := &a.Files[i]
		kind, name, _ := strings.Cut(f.Name, " ")
		switch kind {
		case "rules.yaml":
			set, err := rules.Parse(f.Name, f.Data)
			if err != nil {
				t.Fatal(err)
			}
			o.Rules = set
		case "recorded":
			e, _ := parseExchange(t, f.Data, captured.Add(time.Duration(i)*time.Second))
			recorded = append(recorded, e)
			names = append(names, name)
		}
	}
	m, err := match.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := m.NewBuilder()
	for i := range recorded {
		b.Add(match.Recorded{Exchange: recorded[i], Ref: match.Ref(i), ForeignTokens: foreign})
	}
	x, err := b.Build(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	results, explained := map[string]string{}, map[string]string{}
	for _, f := range a.Files {
		kind, name, _ := strings.Cut(f.Name, " ")
		if kind == "live" {
			e, bound := parseExchange(t, f.Data, replayed)
			live := m.Request(e)
			res := x.Lookup(live, bound)
			results[name] = describe(x, res, names)
			var b strings.Builder
			ex := x.Explain(live, res, func(r match.Ref) (*recording.Exchange, error) { return recorded[r], nil })
			if err := ex.Text(&b); err != nil {
				t.Fatal(err)
			}
			explained[name] = b.String()
		}
	}
	for i := range a.Files {
		f := &a.Files[i]
		kind, name, _ := strings.Cut(f.Name, " ")
		if kind == "explain" {
			if *update {
				f.Data = []byte(explained[name])
			}
			if diff := cmp.Diff(string(f.Data), explained[name]); diff != "" {
				t.Errorf("explanation of %s (-want +got):\n%s", name, diff)
			}
			continue
		}
		if kind != "want" {
			continue
		}
		if *update {
			f.Data = []byte(results[name])
		}
		if diff := cmp.Diff(string(f.Data), results[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		delete(results, name)
	}
	for name := range results {
		t.Errorf("%s has no file -- want --", name)
	}
	if o.Rules != nil {
		for _, r := range o.Rules.Unfired() {
			if !strings.Contains(string(a.Comment), "never fires: "+r.Name) {
				t.Errorf("the rule %q never fired", r.Name)
			}
		}
	}
}

// describe writes a result in one line, and the masks in a line each.
func describe(x *match.Index, r match.Result, names []string) string {
	var b strings.Builder
	b.WriteString(r.How.String())
	for i, g := range x.Groups(r) {
		if i > 0 {
			b.WriteString(" |")
		}
		for _, e := range g.Entries {
			b.WriteString(" " + names[x.Ref(e)])
		}
	}
	b.WriteString("\n")
	for _, m := range r.Masks {
		b.WriteString(strings.TrimSpace(fmt.Sprintf("%s by %s %s", m.Place, m.Why, m.Class+m.Rule)) + "\n")
	}
	return b.String()
}

type bindings map[string]string

func (b bindings) Recorded(live string) (string, bool) { v, ok := b[live]; return v, ok }

// parseExchange reads the notation of the cases.
func parseExchange(t *testing.T, text []byte, at time.Time) (*recording.Exchange, match.Bindings) {
	t.Helper()
	request, response, answered := strings.Cut(string(text), "\n=> ")
	first, rest, _ := strings.Cut(request, "\n")
	var bound bindings
	for strings.HasPrefix(rest, "bind ") {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		live, recorded, ok := strings.Cut(strings.TrimPrefix(line, "bind "), " = ")
		if !ok {
			t.Fatalf("%q: want bind LIVE = RECORDED", line)
		}
		if bound == nil {
			bound = bindings{}
		}
		bound[live] = recorded
	}
	first, when, _ := strings.Cut(first, " @")
	if when != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, when); err != nil {
			t.Fatal(err)
		}
	}
	method, url, _ := strings.Cut(first, " ")
	scheme, target, ok := strings.Cut(url, "://")
	if !ok || scheme != "http" && scheme != "https" {
		t.Fatalf("%q: want a method and a URL with http:// or https://", first)
	}
	host, path, _ := strings.Cut(target, "/")
	e := &recording.Exchange{TS: at, L7Protocol: recording.HTTP1, IsTLS: scheme == "https", HTTP: new(recording.HTTP)}
	req := &e.HTTP.Req
	req.Method, req.Host, req.URI = method, host, "/"+path
	req.URL, _, _ = strings.Cut(req.URI, "?")
	req.Headers, req.Body = parseMessage(rest)
	if answered {
		first, rest, _ := strings.Cut(response, "\n")
		status, err := strconv.Atoi(first)
		if err != nil {
			t.Fatalf("=> %q: want a status", first)
		}
		e.HTTP.Res.StatusCode = status
		e.HTTP.Res.Headers, e.HTTP.Res.Body = parseMessage(rest)
	}
	if bound == nil {
		return e, nil
	}
	return e, bound
}

func parseMessage(text string) (h recording.Headers, body []byte) {
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			break
		}
		h = append(h, recording.Header{Name: http.CanonicalHeaderKey(name), Value: value})
		text = rest
	}
	return h, []byte(strings.Trim(text, "\n"))
}
