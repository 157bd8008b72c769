package fieldpath

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Path{
		"req":                       {{Name: "req"}},
		"req.header.Authorization":  Of("req", "header", "Authorization"),
		"res.body.items[].card":     {{Name: "res"}, {Name: "body"}, {Name: "items"}, {Kind: Element}, {Name: "card"}},
		"res.body[][]":              {{Name: "res"}, {Name: "body"}, {Kind: Element}, {Kind: Element}},
		`req.body."user[password]"`: Of("req", "body", "user[password]"),
		`req.body."a,\"b\\.\n"`:     Of("req", "body", "a,\"b\\.\n"),
		`req.body.""`:               Of("req", "body", ""),
		"req.body.пароль":           Of("req", "body", "пароль"),
		`req.body."*"`:              Of("req", "body", "*"),
		"req.body.*.token":          {{Name: "req"}, {Name: "body"}, {Kind: AnyMember}, {Name: "token"}},
		"req.body.a.**":             {{Name: "req"}, {Name: "body"}, {Name: "a"}, {Kind: Anything}},
		"**":                        {{Kind: Anything}},
	} {
		got, err := Parse(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%s: String gives %s", text, got)
		}
	}
}

func TestMalformedPaths(t *testing.T) {
	for text, want := range map[string]string{
		"":         "empty",
		".a":       "want a name",
		"a.":       "want a name",
		"a..b":     "want a name",
		"[]":       "want a name",
		"a[0]":     "want a dot",
		"a[":       "want a dot",
		"a]":       "want a name",
		"a b":      "double quotes",
		"a.***":    "want a name",
		"a.**.b":   "`**` must be the end of a path",
		"a.**[]":   "`**` must be the end of a path",
		`a."b`:     "isn't closed",
		`a."b\`:    "isn't closed",
		`a."\x"`:   "isn't a JSON string",
		`a."b"c`:   "want a dot",
		"a,b":      "after the path",
		"a\x00":    "want a name",
		"a.b\xff":  "want a name",
		`a."b"."c`: "isn't closed",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestParseList(t *testing.T) {
	const text = `req.header.Cookie,req.body."a,b",res.body[].c,**`
	all, err := ParseList(text)
	var parts []string
	for _, p := range all {
		parts = append(parts, p.String())
	}
	if got := strings.Join(parts, ","); err != nil || got != text || len(all) != 4 {
		t.Errorf("%s, %v", got, err)
	}
	if all, err := ParseList(""); len(all) > 0 || err != nil {
		t.Errorf("an empty list: %v, %v", all, err)
	}
	for _, bad := range []string{",", "a,", ",a", "a,,b", "a b"} {
		if all, err := ParseList(bad); err == nil {
			t.Errorf("%q: %v", bad, all)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		place, value string
		want         bool
	}{
		{"req.body.user", "req.body.user", true},
		{"req.body.user", "req.body.user.password", true},
		{"req.body.user.password", "req.body.user", false},
		{"req.body.user", "req.body.users", false},
		{"req.body.items[].card", "req.body.items[].card", true},
		{"req.body.items", "req.body.items[]", true},
		{"req.body[]", "req.body.a", false},
		{"req.body.*.token", "req.body.a.token", true},
		{"req.body.*.token", "req.body[].token", false},
		{"req.body.a.**", "req.body.a", true},
		{"req.body.a.**", "req.body.a[].b", true},
		{"**", "res.body", true},
	} {
		p, err := Parse(c.place)
		q, err2 := Parse(c.value)
		if got := p.Covers(q); got != c.want || err != nil || err2 != nil {
			t.Errorf("%s covers %s: %v (%v, %v)", c.place, c.value, got, err, err2)
		}
	}
}

func ExamplePath_Covers() {
	places, _ := ParseList("req.header.Cookie,res.body.items[].card")
	value, _ := Parse("res.body.items[].card.number")
	fmt.Println(places[0].Covers(value), places[1].Covers(value))
	// Output: false true
}

// A path can be parsed back, whatever names it has.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"req.body.a", `a."b.c"[]`, "a.**", `"\u0000"`, "a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := Parse(s); err == nil {
			if again, err := Parse(p.String()); err != nil || !slices.Equal(again, p) {
				t.Errorf("%q: %v, and written as %q: %v, %v", s, p, p.String(), again, err)
			}
		}
		name := Of("req", s, s)
		if again, err := Parse(name.String()); strings.ToValidUTF8(s, "") == s && (err != nil || !slices.Equal(again, name)) {
			t.Errorf("%q is written as %q, and read as %v, %v", s, name.String(), again, err)
		}
	})
}
