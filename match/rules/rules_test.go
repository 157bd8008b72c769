package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/match/canon"
)

const head = "apiVersion: tapedeck.dev/v1alpha1\nkind: MatchRules\n"

// TestMalformedFiles checks that errors name the line, what was found and what is allowed.
func TestMalformedFiles(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "empty; want apiVersion"},
		{"no YAML", head + "rules: [", "did not find expected"},
		{"another kind", "apiVersion: tapedeck.dev/v1alpha1\nkind: Rules\nrules: []", `line 1: kind is "Rules", want MatchRules`},
		{"no rules", head, "want a list of rules under rules"},
		{"unknown key at the top", head + "rule: []", `line 3: unknown key "rule" in the file; allowed are apiVersion, kind, metadata, rules`},
		{"unknown key in a rule", head + "rules:\n- path: /a\n  masks: [query:ts]", `line 5: unknown key "masks" in a rule; allowed are name, method, host, path, ignore, mask, require`},
		{"a key twice", head + "rules:\n- mask: query:a\n  mask: query:b", "line 5"},
		{"a rule that does nothing", head + "rules:\n- path: /a", "line 4: rule 1 does nothing; want ignore, mask or require"},
		{"no text", head + "rules:\n- mask: {query: ts}", "line 4: mask: want a text or a list of texts"},
		{"an empty list", head + "rules:\n- mask: []", "line 4: mask: found an empty list"},
		{"an unknown place", head + "rules:\n- mask:\n  - query:a\n  - cookie:b", `line 6: mask: place "cookie:b": want one of host port path: query: header: form: body`},
		{"a query without name", head + "rules:\n- mask: 'query:'", "want the name of a field"},
		{"a JSON path", head + "rules:\n- mask: body:$payment", `place "body:$payment": want .name`},
		{"a JSON path with an open bracket", head + "rules:\n- mask: 'body:$[1'", "want .name"},
		{"an XML path", head + "rules:\n- mask: body:/a//", "want /name"},
		{"a path without a star", head + "rules:\n- mask: path:/a", "in which * stands for the segment"},
		{"a header that is masked", head + "rules:\n- mask: header:Date", "headers are compared only"},
		{"a status of a request", head + "rules:\n- ignore: status", "a request has no status"},
		{"a path of a response", head + "rules:\n- ignore: response:path:/*", "a response has no path"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			_, err := Parse("rules.yaml", []byte(c.file))
			if err == nil || !strings.HasPrefix(err.Error(), "rules.yaml: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %q", err, c.want)
			}
		})
	}
}

// TestPlaces shows which values of a body each place covers.
func TestPlaces(t *testing.T) {
	const body = `{"a":{"id":1,"b.c":2},"items":[{"id":3},{"id":4,"x":{"id":5}}]}`
	const doc = `<e:Envelope xmlns:e="urn:e"><Body id="1"><Item>2</Item><Item id="3">4</Item></Body></e:Envelope>`
	for _, c := range []struct{ place, body, want string }{
		{"body", body, "1 2 3 4 5"},
		{"body:$", body, "1 2 3 4 5"},
		{"body:$.a", body, "1 2"},
		{"body:$.a.id", body, "1"},
		{`body:$.a["b.c"]`, body, "2"},
		{"body:$.*.id", body, "1"},
		{"body:$.i*[*].id", body, "3 4"},
		{"body:$.items[1]", body, "4 5"},
		{"body:$..id", body, "1 3 4 5"},
		{"body:$.items..id", body, "3 4 5"},
		{`body:$["a*"]`, body, ""},
		{"body:$.b", body, ""},
		{"body:/Envelope", doc, "1 2 3 4"},
		{"body:/Envelope/Body/Item", doc, "2 3 4"},
		{"body:/Envelope/Body/Item[2]", doc, "3 4"},
		{"body:/*/*/@id", doc, "1"},
		{"body://@id", doc, "1 3"},
		{"body://Item", doc, "2 3 4"},
	} {
		set, err := Parse("f", []byte(head+"rules:\n- mask: '"+c.place+"'\n"))
		if err != nil {
			t.Errorf("%s: %v", c.place, err)
			continue
		}
		var scope Scope
		scope.Reset(set, "GET", "h", "/", false)
		var v decided
		v.Reset(&scope, Body)
		format := canon.JSON
		if c.body == doc {
			format = canon.XML
		}
		if err := format.Walk([]byte(c.body), canon.Params{}, &v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(v.values, " "); got != c.want {
			t.Errorf("%s decides of %s, want %s", c.place, got, c.want)
		}
	}
}

type decided struct {
	Tracker
	values []string
}

func (d *decided) Leaf(k canon.Kind, value []byte) {
	if d.Decides() != nil {
		d.values = append(d.values, string(value))
	}
}

func TestScopes(t *testing.T) {
	set, err := Parse("f", []byte(head+`rules:
- {name: all, mask: query:a}
- {name: method, method: [PUT, POST], mask: query:a}
- {name: host, host: "*.Example.com", mask: query:a}
- {name: path, path: /v1/*, mask: query:a}
- {name: both, host: api.example.com, path: /v1/*/x, mask: query:a}
`))
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET api.example.com /":          "all host",
		"POST other /v1/a":               "all method path",
		"GET api.example.com /v1/a/b/x":  "all host path both",
		"GET example.com /v2":            "all",
		"PUT example.com.evil.org /v1":   "all method",
		"GET www.api.example.com /v1/a/": "all host path",
	} {
		f := strings.Fields(request)
		var scope Scope
		scope.Reset(set, f[0], f[1], f[2], false)
		var got []string
		for _, p := range scope.Of(Query) {
			got = append(got, p.Rule.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}

func TestSegments(t *testing.T) {
	for _, c := range []struct{ place, path, want string }{
		{"path:/v1/track/*", "/v1/track/x", "001"},
		{"path:/v1/track/*", "/v1/track/x/y", "0000"},
		{"path:/v1/*/*", "/v1/a/b", "011"},
		{"path:/v1/t*/b", "/v1/tx/b", "010"},
		{"path:/files/**", "/files/a/b/c", "0111"},
		{"path:/files/**", "/files", "0"},
	} {
		set, err := Parse("f", []byte(head+"rules:\n- mask: "+c.place+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		var scope Scope
		scope.Reset(set, "", "", c.path, false)
		segments := strings.Split(c.path, "/")[1:]
		dst := make([]*Place, len(segments))
		scope.Segments(segments, dst)
		got := ""
		for _, p := range dst {
			if p != nil {
				got += "1"
			} else {
				got += "0"
			}
		}
		if got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.place, c.path, got, c.want)
		}
	}
}

// TestTables checks that every example in the tables is parsed as its row says.
func TestTables(t *testing.T) {
	for _, d := range Places() {
		if p, err := ParsePlace(d.Example); err != nil || p.Kind != d.Kind {
			t.Errorf("%s: %v, %v", d.Example, p.Kind, err)
		}
	}
	for _, k := range Keys() {
		file := head + "rules:\n- " + k.Name + ": " + k.Example + "\n"
		if !k.Places {
			file += "  mask: query:a\n"
		}
		if _, err := Parse("f", []byte(file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "rules:\n- {path: '/a*', mask: ['body:$.a..b[*][\"c\"]', 'body://a/@b[1]', 'path:/a/*/**', 'response:status']}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		set, err := Parse("f", file)
		if err != nil {
			return
		}
		for _, r := range set.Rules() {
			for _, p := range r.Places {
				if q, err := ParsePlace(p.Text); err != nil || q.Kind != p.Kind {
					t.Errorf("%q: %v", p.Text, err)
				}
			}
		}
		for _, response := range []bool{false, true} {
			var scope Scope
			scope.Reset(set, "GET", "h", "/a/b", response)
			scope.Segments([]string{"a", "b"}, make([]*Place, 2))
			var v decided
			v.Reset(&scope, Body)
			canon.JSON.Walk([]byte(`{"a":{"b":[1,{"c":2}]}}`), canon.Params{}, &v)
		}
	})
}

func ExampleParse() {
	_, err := Parse("rules.yaml", []byte("apiVersion: tapedeck.dev/v1alpha1\nkind: MatchRules\nrules:\n- mask: query:ts\n  hosts: a\n"))
	fmt.Println(err)
	// Output: rules.yaml: line 5: unknown key "hosts" in a rule; allowed are name, method, host, path, ignore, mask, require
}
