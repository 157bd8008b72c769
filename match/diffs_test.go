package match_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
)

// TestDiffs runs testdata/diffs: pairs of a recorded and a live exchange in the notation
// of the cases, and the differences of their responses.
//
//	-- recorded NAME --
//	-- live NAME --
//	-- want NAME --
func TestDiffs(t *testing.T) {
	files, err := filepath.Glob("testdata/diffs/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var o match.Options
			sides := map[string][]byte{}
			for _, f := range a.Files {
				sides[f.Name] = f.Data
			}
			if text, ok := sides["rules.yaml"]; ok {
				if o.Rules, err = rules.Parse("rules.yaml", text); err != nil {
					t.Fatal(err)
				}
			}
			m, err := match.New(o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range a.Files {
				f := &a.Files[i]
				name, ok := strings.CutPrefix(f.Name, "want ")
				if !ok {
					continue
				}
				recorded, _ := parseExchange(t, sides["recorded "+name], captured)
				live, _ := parseExchange(t, sides["live "+name], replayed)
				got := ""
				d := m.Diff(recorded, live, false)
				for _, one := range d.List {
					got += string(one.Kind) + " " + one.String() + "\n"
				}
				if *update {
					f.Data = []byte(got)
				}
				if diff := cmp.Diff(string(f.Data), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			for _, r := range o.Rules.Unfired() {
				t.Errorf("the rule %q never fired", r.Name)
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestDifferencesAreBounded compares responses that differ in a thousand places.
func TestDifferencesAreBounded(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	body := func(n string) string {
		return "GET http://a.example/\n=> 200\nContent-Type: application/json\n\n[" + strings.Repeat(n+",", 999) + n + "]"
	}
	recorded, _ := parseExchange(t, []byte(body("1")), captured)
	live, _ := parseExchange(t, []byte(body(`"`+strings.Repeat("x", 1000)+`"`)), replayed)
	d := m.Diff(recorded, live, false)
	if len(d.List) != match.MaxAlike || d.More != 1000-match.MaxAlike {
		t.Errorf("%d differences and %d more", len(d.List), d.More)
	}
	if n := len(d.List[0].Live); n > match.MaxValue {
		t.Errorf("a value of %d bytes", n)
	}
}

// A long list does not hide what else differs, and neither hides that there is more.
func TestDifferencesOfAllPatternsAreListed(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	body := func(n string, names int) string {
		text := "GET http://a.example/\n=> 200\nContent-Type: application/json\n\n{\"list\":[" + strings.Repeat(n+",", 99) + n + "]"
		for i := range names {
			text += fmt.Sprintf(",\"name%d\":%s", i, n)
		}
		return text + "}"
	}
	recorded, _ := parseExchange(t, []byte(body("1", 30)), captured)
	live, _ := parseExchange(t, []byte(body("2", 30)), replayed)
	d := m.Diff(recorded, live, false)
	if len(d.List) != match.MaxDifferences || d.List[match.MaxAlike].Place != "body:$.name0" || len(d.List)+d.More != 130 {
		t.Errorf("%d differences and %d more: %v", len(d.List), d.More, d.List)
	}
}

// A token that was made under another key stands for any value, also within a text.
func TestForeignTokensStandForAnyValue(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	response := func(token, user string) *recording.Exchange {
		e, _ := parseExchange(t, []byte("GET http://a.example/\n=> 200\nContent-Type: application/json\nSet-Cookie: sid="+token+"; Path=/\n\n{\"token\":\""+token+"\",\"user\":\""+user+"\"}"), captured)
		return e
	}
	const recorded, live = "REDACTED-0123456789abcdef", "REDACTED-fedcba9876543210"
	if d := m.Diff(response(recorded, "joe"), response(live, "ann"), true); len(d.List) != 1 || d.List[0].Place != "body:$.user" {
		t.Errorf("under another key: %v", d.List)
	}
	if d := m.Diff(response(recorded, "joe"), response(live, "joe"), false); len(d.List) != 2 {
		t.Errorf("under the same key: %v", d.List)
	}
}

// Lines and messages are no places of rules.
func TestPatternOfLinesAndMessages(t *testing.T) {
	for place, want := range map[string]string{
		"body:line 12":         "body:line *",
		"message[3]:line 1":    "message[*]:line *",
		"message[3]:$.a[2]":    "message[*]:$.a[*]",
		"message[3]":           "message[*]",
		"body:$[\"a:line 1\"]": "body:$[\"a:line 1\"]",
	} {
		if got := (match.Difference{Place: place}).Pattern(); got != want {
			t.Errorf("%s: %s, want %s", place, got, want)
		}
	}
}

func TestPattern(t *testing.T) {
	for place, want := range map[string]string{
		"body:$.items[3].id":     "body:$.items[*].id",
		"body:$[0][1]":           "body:$[*][*]",
		"body:$.a#1":             "body:$.a",
		`body:$["a[0]"].b[1]`:    `body:$["a[0]"].b[*]`,
		"body:/order/line[2]/@n": "body:/order/line/@n",
		"query:id#1":             "query:id",
		"query:id[1]":            "query:id[1]",
		"query:id[1]:$[2]":       "query:id[1]:$[*]",
		"query:filter:$.ids[0]":  "query:filter:$.ids[*]",
		"header:etag":            "header:etag",
		"status":                 "status",
		"body:$.a[":              "body:$.a[",
	} {
		if got := (match.Difference{Place: place}).Pattern(); got != want {
			t.Errorf("%s: %s, want %s", place, got, want)
		}
		if _, err := rules.ParsePlace(want); err != nil && !strings.HasSuffix(want, "[") && !strings.HasPrefix(want, "status") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestEndpoint(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "/", "/users": "/users", "/users/17": "/users/*", "/users/17/orders/6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e": "/users/*/orders/*",
		"/v2/items": "/v2/items", "/users/alice": "/users/alice", "/files/507f1f77bcf86cd799439011": "/files/*", "/mail/a@b.example": "/mail/*",
		"/2026-06-12/report": "/*/report", "/urn:uuid:6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e": "/*", "/oauth2/token": "/oauth2/token", "/sha256": "/sha256",
	} {
		if got := m.Request(get(path+"?x=1", captured, "")).Endpoint(); got != "GET a.example"+want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
