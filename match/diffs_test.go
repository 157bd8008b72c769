package match_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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

// A long list differs only where an item was inserted or removed.
func TestLongListsAreAligned(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	for i := range 6000 {
		items = append(items, strconv.Itoa(i))
	}
	response := func(items []string) *recording.Exchange {
		e, _ := parseExchange(t, []byte("GET http://a.example/\n=> 200\nContent-Type: application/json\n\n["+strings.Join(items, ",")+"]"), captured)
		return e
	}
	for _, c := range []struct {
		name           string
		insert, remove int // index, or -1 for none
		want           string
	}{
		{"inserted at the front", 0, -1, "field_added body:$[0]"},
		{"inserted in the middle", 3000, -1, "field_added body:$[3000]"},
		{"appended", 6000, -1, "field_added body:$[6000]"},
		{"removed from the front", -1, 0, "field_removed body:$[0]"},
		{"removed from the middle", -1, 3000, "field_removed body:$[3000]"},
		{"removed from the end", -1, 5999, "field_removed body:$[5999]"},
		{"one inserted, one removed", 2990, 3000, "field_added body:$[2990] field_removed body:$[3000]"},
		{"one inserted, one removed, near the front", 5, 10, "field_added body:$[5] field_removed body:$[10]"},
		{"one inserted, one removed, near the end", 5985, 5990, "field_added body:$[5985] field_removed body:$[5990]"},
	} {
		live := slices.Clone(items)
		if c.remove >= 0 {
			live = slices.Delete(live, c.remove, c.remove+1)
		}
		if c.insert >= 0 {
			live = slices.Insert(live, c.insert, `"new"`)
		}
		var got []string
		d := m.Diff(response(items), response(live), false)
		for _, one := range d.List {
			got = append(got, string(one.Kind)+" "+one.Place)
		}
		if strings.Join(got, " ") != c.want || d.More > 0 {
			t.Errorf("%s: %v and %d more, want %s", c.name, got, d.More, c.want)
		}
	}
}

// A difference cuts a long value between runes, and shows a shorter one in full.
func TestLongValuesAreCut(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const max = match.MaxValue
	for value, want := range map[string]string{
		strings.Repeat("a", max):           strings.Repeat("a", max),
		strings.Repeat("a", max+1):         strings.Repeat("a", max-3) + "…",
		strings.Repeat("é", max):           strings.Repeat("é", (max-3)/2) + "…",
		"a" + strings.Repeat("é", max):     "a" + strings.Repeat("é", (max-4)/2) + "…",
		strings.Repeat("\x80", max+1):      "…", // not text
		strings.Repeat("a", max-4) + "日本語": strings.Repeat("a", max-4) + "…",
	} {
		recorded, _ := parseExchange(t, []byte("GET http://a.example/\nX-Value: \n=> 200\nX-Value: "+value), captured)
		live, _ := parseExchange(t, []byte("GET http://a.example/\n=> 200\nX-Value: other"), captured)
		if d := m.Diff(recorded, live, false); len(d.List) != 1 || d.List[0].Recorded != want {
			t.Errorf("%q: %q, want %q", value, d.List, want)
		}
	}
}

// A time in a response may be any time between the request and the end of the response.
func TestMomentsOfSlowResponses(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	response := func(start time.Time, took, at time.Duration) *recording.Exchange {
		e, _ := parseExchange(t, []byte("GET http://a.example/\n=> 200\nContent-Type: application/json\n\n{\"at\":\""+start.Add(at).Format(time.RFC3339)+"\"}"), start)
		e.Duration = took.Milliseconds()
		return e
	}
	const slow, quick = 10 * time.Second, 0
	for _, c := range []struct {
		name                    string
		took, at, tookNow, atIs time.Duration
		want                    int
	}{
		{"the recorded one was slow", slow, slow, quick, quick, 0},
		{"the live one was slow", quick, quick, slow, slow, 0},
		{"neither was slow", quick, slow, quick, quick, 1},
	} {
		if d := m.Diff(response(captured, c.took, c.at), response(replayed, c.tookNow, c.atIs), false); len(d.List) != c.want {
			t.Errorf("%s: %v, want %d differences", c.name, d.List, c.want)
		}
	}
}

// Diff compares a truncated message up to where it was cut, and a whole one to its end.
func TestDiffsOfMessagesThatWereCut(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stream := func(text string, size int64) *recording.Exchange {
		one := server([]byte(text))
		one.Size = size
		return &recording.Exchange{TS: captured, L7Protocol: recording.TCP, NetworkAddress: "a:1", TCP: &recording.Conversation{Part: 1, Messages: []recording.Message{one}}}
	}
	for _, c := range []struct {
		text string
		size int64
		want int
	}{{"abc", 6, 0}, {"abd", 6, 1}, {"abc", 3, 1}, {"abc", 0, 1}} {
		if d := m.Diff(stream(c.text, c.size), stream("abcdef", 6), false); len(d.List) != c.want {
			t.Errorf("%q of %d bytes: %v, want %d differences", c.text, c.size, d.List, c.want)
		}
	}
}

// A protobuf timestamp is compared like a time in JSON.
func TestDiffsOfTimestamps(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(at, stamp time.Time) *recording.Exchange {
		return call("/s/M", at, client(nil), server(fields(1, "a", 2, fields(1, int(stamp.Unix()), 2, 5000))))
	}
	recorded := answer(captured, captured)
	if d := m.Diff(recorded, answer(replayed, replayed), false); len(d.List) > 0 {
		t.Errorf("the same moment: %v", d.List)
	}
	d := m.Diff(recorded, answer(replayed, replayed.Add(time.Minute)), false)
	if len(d.List) != 1 || d.List[0].Class != "datetime" {
		t.Errorf("a minute later: %+v", d.List)
	}
}

// A long list hides neither other differences nor the fact that there are more.
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

// A token that was made with another key matches any value, even within a longer text.
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

// Rules can't name lines and messages.
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
		"/zero/0": "/zero/*", "/nine/9": "/nine/*", "/hex/a000f001": "/hex/*", "/hex/A000F001": "/hex/*", "/hex/a000g001": "/hex/a000g001", "/hex/feedbeef": "/hex/feedbeef", "/hex/a000f00": "/hex/a000f00",
		"/mail/@b": "/mail/@b", "/docs/GettingStartedWithOperators": "/docs/GettingStartedWithOperators",
		"/2026-06-12/report": "/*/report", "/urn:uuid:6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e": "/*", "/oauth2/token": "/oauth2/token", "/sha256": "/sha256",
	} {
		if got := m.Request(get(path+"?x=1", captured, "")).Endpoint(); got != "GET a.example"+want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestHostPortAndPathOfARequest(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, address, uri string
		want               string // host, port and path, separated by spaces
	}{
		{"API.example.", "", "/", "api.example 80 /"},
		{"api.example:8080", "", "/a/b?x=1", "api.example 8080 /a/b"},
		{"", "10.0.0.1:80", "/", "10.0.0.1 80 /"},
		{"[::1]:8080", "", "/", "::1 8080 /"},
		{"[::1]", "", "/", "::1 80 /"},
		{"::1", "", "/", "::1 80 /"},
		{":8080", "", "/", " 8080 /"},
		{"", "", "http://api.example:81/a?x=1", "api.example 81 /a"},
		{"", "", "http://api.example?x=1", "api.example 80 /"},
		{"", "", "https://api.example#a", "api.example 443 /"},
		{"", "", "http://api.example", "api.example 80 /"},
		{"host.example", "", "http://uri.example/a", "host.example 80 /a"},
		{"a", "", "/%41b/c%2Fd/%zz", "a 80 /Ab/c%2Fd/%25zz"},
	} {
		e := &recording.Exchange{TS: captured, NetworkAddress: c.address, HTTP: &recording.HTTP{}}
		e.HTTP.Req.Method, e.HTTP.Req.Host, e.HTTP.Req.URI = "GET", c.host, c.uri
		e.HTTP.Req.URL, _, _ = strings.Cut(c.uri, "?")
		r := m.Request(e)
		path := ""
		for _, s := range r.Path {
			path += "/" + url.PathEscape(s)
		}
		if got := r.Host + " " + r.Port + " " + path; got != c.want {
			t.Errorf("%q %q %q: %q, want %q", c.host, c.address, c.uri, got, c.want)
		}
	}
}
