package filter

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// request returns an inbound request of a probe, modified by change.
func request(change func(*Exchange)) *Exchange {
	x := &Exchange{In: true, Host: "Cart.Shop.internal:8080", Path: "/healthz", Method: "GET", Header: headers("User-Agent", "kube-probe/1.33", "X-Env", "a", "X-Env", "b c")}
	if change != nil {
		change(x)
	}
	return x
}

func headers(pairs ...string) func(string) iter.Seq[string] {
	return func(name string) iter.Seq[string] {
		return func(yield func(string) bool) {
			for i := 0; i < len(pairs); i += 2 {
				if strings.EqualFold(pairs[i], name) && !yield(pairs[i+1]) {
					return
				}
			}
		}
	}
}

func TestARuleMatchesWhereAllOfItsTermsDo(t *testing.T) {
	for _, c := range []struct {
		rules string
		want  bool
	}{
		{"in", true},
		{"out", false},
		{"path=/healthz", true},
		{"path=/health", false},
		{"path=/health*", true},
		{"path=*z", true},
		{"path=/h*t*z", true},
		{"path=/h*t*zz", false},
		{"path=*", true},
		{"path=/readyz,/healthz", true},
		{"path!=/readyz,/healthz", false},
		{"path!=/readyz", true},
		{"path=/HEALTHZ", false},
		{"path~health", true},
		{"path~^/(ready|health)z$", true},
		{"path!~^/v[0-9]+/", true},
		{`path~"^/(a b|healthz)$"`, true},
		{"host=cart.shop.internal", true},
		{"host=CART.*", true},
		{"host=*.internal", true},
		{"host=internal", false},
		{"host~SHOP", true},
		{"method=get,POST", true},
		{"method!=GET", false},
		{"header.user-agent=kube-probe/*", true},
		{"header.User-Agent=curl/*", false},
		{"header.x-env=b*", true},
		{`header.x-env="b c"`, true},
		{`header.x-env='b c',d`, true},
		{"header.x-env!=b*", false},
		{"header.x-none=*", false},
		{"header.x-none!=*", true},
		{"header.x-none!~.", true},
		{"in path=/healthz method=GET", true},
		{"in path=/healthz method=POST", false},
		{"out; path=/healthz", true},
		{"out\n# a comment; in\n\n  path=/healthz\r\n", true},
		{"out;;", false},
		{" ; ", false},
	} {
		rules, err := parseRules(c.rules)
		if err != nil {
			t.Errorf("%q: %v", c.rules, err)
			continue
		}
		if got := slices.ContainsFunc(rules, func(r rule) bool { return r.matches(request(nil)) }); got != c.want {
			t.Errorf("%q matches: %v", c.rules, got)
		}
	}
}

// A stream of an unknown protocol has a direction and a host, and nothing else.
func TestWhatHasNoPathMatchesNoPath(t *testing.T) {
	stream := &Exchange{Host: "db.internal"}
	for rules, want := range map[string]bool{
		"out host=db.*": true, "path=/healthz": false, "path=*": true, "path=/*": false, "method!=GET": true,
		"header.x=*": false, "header.x!=*": true, "host=[::1]": false,
	} {
		f, err := Parse(map[string]string{"include": rules})
		if err != nil {
			t.Errorf("%q: %v", rules, err)
		} else if f.Keeps(stream) != want {
			t.Errorf("%q keeps a stream: %v", rules, !want)
		}
	}
}

func TestHostsAreComparedWithoutPortsAndCase(t *testing.T) {
	for sent, pattern := range map[string]string{
		"A.example:443": "a.example", "a.example.": "A.EXAMPLE", "[fd00::1]:80": "fd00::1", "fd00::1": "[FD00::1]", "localhost": "localhost",
	} {
		f, err := Parse(map[string]string{"exclude": "host=" + pattern})
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
		} else if f.Keeps(&Exchange{Host: sent}) {
			t.Errorf("host=%s doesn't match %s", pattern, sent)
		}
	}
}

func TestADirectionMayBeLeftOutAsAWhole(t *testing.T) {
	for _, c := range []struct {
		settings map[string]string
		in, out  bool
	}{
		{nil, false, false},
		{map[string]string{"capture": "off"}, true, true},
		{map[string]string{"sample": "0"}, true, true},
		{map[string]string{"sample": "0.01"}, false, false},
		{map[string]string{"include": "in"}, false, true},
		{map[string]string{"include": "in path=/a; out method=GET"}, false, false},
		{map[string]string{"exclude": "in"}, true, false},
		{map[string]string{"exclude": "in path=/a; out path=/b,*"}, false, true},
		{map[string]string{"exclude": "host=** method=*"}, true, true},
		{map[string]string{"exclude": "host!=*"}, false, false},
		{map[string]string{"exclude": "header.a=*"}, false, false},
		{map[string]string{"exclude": "path~.*"}, false, false}, // regular expressions are not analysed
	} {
		f, err := Parse(c.settings)
		if err != nil {
			t.Fatal(err)
		}
		if in, out := f.KeepsNone(true), f.KeepsNone(false); in != c.in || out != c.out {
			t.Errorf("%v excludes everything: in %t, out %t, want %t and %t", c.settings, in, out, c.in, c.out)
		}
	}
}

func TestExcludeWinsOverInclude(t *testing.T) {
	for _, c := range []struct {
		include, exclude string
		path             string
		want             bool
	}{
		{"", "", "/a", true},
		{"path=/api/*", "", "/a", false},
		{"path=/api/*", "", "/api/a", true},
		{"", "path=/api/*", "/api/a", false},
		{"path=/api/*", "path=*/health", "/api/health", false},
		{"path=/api/*", "path=*/health", "/api/cart", true},
	} {
		f, err := Parse(map[string]string{"include": c.include, "exclude": c.exclude})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Keeps(request(func(x *Exchange) { x.Path = c.path })); got != c.want {
			t.Errorf("%+v: kept: %v", c, got)
		}
	}
}

func TestErrorsSayWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"capture", "maybe", `capture: found "maybe" (neither on nor off), allowed: on or off`},
		{"include", "pth=/a", `rule 1, "pth=/a": found "pth=/a", allowed: in, out, host=VALUE, path=VALUE, method=VALUE, header.NAME=VALUE`},
		{"exclude", "in; in path", `rule 2, "in path": found "path", allowed: path followed by =, !=, ~ or !~ and a value, without spaces`},
		{"exclude", "path = /a", `found "path", allowed: path followed by`},
		{"exclude", "path=", `path=: found no value`},
		{"exclude", "path=a", `path: found "a", allowed: a path that begins with / or *, without a query`},
		{"exclude", "path=/a?b=c", `without a query`},
		{"exclude", "path=/a,", `found an empty pattern`},
		{"exclude", "path=,/a", `found an empty pattern`},
		{"exclude", `path=""`, `found an empty pattern`},
		{"exclude", "host=http://a", `host: found "http://a", allowed: a host without scheme and port`},
		{"exclude", "host=a:80", `without scheme and port`},
		{"exclude", "method=GET/", `allowed: a method such as GET`},
		{"exclude", "in out", `found in and out, allowed: one of them, or neither for both`},
		{"exclude", "in=true", `found "in=true", allowed: in alone`},
		{"exclude", "header=a", `found "header=a", allowed:`},
		{"exclude", "header.=a", `found "header.=a", allowed:`},
		{"exclude", "path~(", "path: error parsing regexp: missing closing )"},
		{"exclude", `path="/a`, `a " is not closed`},
		{"exclude", strings.Repeat("path=/a;", 5000), "40000 bytes, which is more than 32768"},
		{"sample", "10", `sample: found "10" (more than all; a percentage ends in %), allowed: a rate from 0 to 1, such as 0.1, or 0% to 100%`},
		{"sample", "-0.1", "not a number"},
		{"sample", "NaN", "not a number"},
		{"sample", "1e-1", "not a number"},
		{"sample", "101%", "more than all"},
		{"excludes", "in", `found key "excludes", allowed: capture, include, exclude, sample`},
	} {
		_, err := Parse(map[string]string{c.key: c.value})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.60q: %v, want %s", c.key, c.value, err, c.want)
		}
		if err != nil && len(err.Error()) > 1500 {
			t.Errorf("%s: the error has %d bytes", c.key, len(err.Error()))
		}
	}
}

func TestWithoutSettingsAllIsKept(t *testing.T) {
	for name, values := range map[string]map[string]string{
		"none": nil, "empty": {"capture": "", "include": " ", "exclude": "\n", "sample": ""}, "said": {"capture": "on", "sample": "100%"},
	} {
		f, err := Parse(values)
		if err != nil || !f.On() || !f.All() || f.Sampling() || !f.Keeps(request(nil)) || !f.Samples(math.MaxUint64) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	var none *Filter
	if !none.On() || !none.All() || none.Sampling() || !none.Keeps(request(nil)) || !none.Samples(0) {
		t.Error("a nil filter excludes something")
	}
}

// A higher rate keeps every trace that a lower one keeps.
func TestRates(t *testing.T) {
	const traces = 100_000
	r := rand.New(rand.NewPCG(1, 2))
	points := make([]uint64, traces)
	for i := range points {
		points[i] = Point(fmt.Sprintf("%016x", r.Uint64()))
	}
	sequential := make([]uint64, traces) // IDs that are nearly the same
	for i := range sequential {
		sequential[i] = Point(fmt.Sprintf("%016x", i))
	}
	for _, c := range []struct {
		sample string
		rate   float64
	}{{"0", 0}, {"0%", 0}, {"0.001", 0.001}, {"1%", 0.01}, {"0.1", 0.1}, {".5", 0.5}, {"99.9%", 0.999}, {"1", 1}, {"1.0", 1}} {
		f, err := Parse(map[string]string{"sample": c.sample})
		if err != nil {
			t.Fatal(err)
		}
		for name, points := range map[string][]uint64{"random": points, "sequential": sequential} {
			kept := 0
			for _, p := range points {
				if f.Samples(p) {
					kept++
				}
			}
			// Five standard deviations of a binomial distribution.
			if off := math.Abs(float64(kept) - c.rate*traces); off > 5*math.Sqrt(traces*c.rate*(1-c.rate)) {
				t.Errorf("%s of %s IDs: %d of %d are kept", c.sample, name, kept, traces)
			}
		}
	}
	low, _ := Parse(map[string]string{"sample": "0.1"})
	high, _ := Parse(map[string]string{"sample": "0.2"})
	for _, p := range points {
		if low.Samples(p) && !high.Samples(p) {
			t.Fatalf("%x is kept at 0.1, but not at 0.2", p)
		}
	}
}

// The points are part of the format: sidecars of two versions must agree.
func TestPointsStayWhatTheyAre(t *testing.T) {
	for id, want := range map[string]uint64{"": 0xefd01f60ba992926, "a3ce929d0e0e4736": 0x2d09876f62466a95, "A3CE929D0E0E4736": 0x2d09876f62466a95} {
		if got := Point(id); got != want {
			t.Errorf("%q: %#x, want %#x", id, got, want)
		}
	}
}

func TestCheckIsAboutOneValue(t *testing.T) {
	if err := KeyOf("sample").Check("0.1"); err != nil {
		t.Error(err)
	}
	if err := KeyOf("sample").Check("2"); err == nil || err.Error() != "more than all; a percentage ends in %" {
		t.Error(err)
	}
}

func ExampleParse() {
	f, err := Parse(map[string]string{"exclude": "in path=/healthz; host=*.internal method=GET", "sample": "10%"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Keeps(&Exchange{In: true, Path: "/healthz"}), f.Keeps(&Exchange{In: true, Path: "/cart"}))
	// Output: false true
}

func FuzzParse(f *testing.F) {
	f.Add("in path=/a;out host~'x y'\n# c\n", "/a", "kube")
	f.Add("header.x!=*,\"a,b\" method=GET", "", "")
	f.Add("path=*a*a*a*b", strings.Repeat("a", 1000), "")
	f.Fuzz(func(t *testing.T, rules, path, value string) {
		filter, err := Parse(map[string]string{"include": rules})
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Key != "include" {
				t.Errorf("%v", err)
			}
			return
		}
		filter.Keeps(&Exchange{Path: path, Host: value, Header: headers("x", value)})
	})
}

// Some editors begin files with a byte order mark, and a ConfigMap made from such a file keeps it.
func TestAByteOrderMarkIsIgnored(t *testing.T) {
	for key, value := range map[string]string{"include": "host=a", "exclude": "path=/healthz", "sample": "10%", "capture": "off"} {
		plain, err := Parse(map[string]string{key: value})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		marked, err := Parse(map[string]string{key: "\ufeff" + value + "\r\n"})
		if err != nil || !reflect.DeepEqual(plain, marked) {
			t.Errorf("%s: %+v, %v, want %+v", key, marked, err, plain)
		}
		if _, err := Parse(map[string]string{key: "\ufeff"}); err != nil {
			t.Errorf("%s with only the mark: %v", key, err)
		}
	}
	if _, err := Parse(map[string]string{"sample": "1\ufeff0%"}); err == nil {
		t.Error("a mark within a value is accepted")
	}
}
