package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

const target = "POST https://api.example.com/v1/charges"

func newSet(t *testing.T, seed uint64, rules ...string) *Set {
	t.Helper()
	s, err := New(seed, rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEachFault(t *testing.T) {
	for rule, check := range map[string]func(e Effect) bool{
		"/v1:delay=200ms":             func(e Effect) bool { return e.Delay == 200*time.Millisecond },
		"/v1:latency=200ms":           func(e Effect) bool { return e.Delay == 200*time.Millisecond },
		"/v1:delay=1s,jitter=1s":      func(e Effect) bool { return e.Delay > time.Second && e.Delay <= 2*time.Second },
		"/v1:status=503":              func(e Effect) bool { return e.Status == 503 },
		"/v1:status=unavailable":      func(e Effect) bool { return e.GRPC == "14" },
		"/v1:header=Retry-After: 1":   func(e Effect) bool { return slices.Equal(e.Header, [][2]string{{"Retry-After", "1"}}) },
		"/v1:connection=refuse":       func(e Effect) bool { return e.End == Refuse },
		"/v1:connection=reset":        func(e Effect) bool { return e.End == Reset },
		"/v1:connection=stall":        func(e Effect) bool { return e.End == Stall },
		"/v1:connection=drop":         func(e Effect) bool { return e.End == Drop },
		"/v1:body=truncate":           func(e Effect) bool { return e.Truncate.Of(10) == 5 },
		"/v1:body=truncate:3":         func(e Effect) bool { return e.Truncate.Of(10) == 3 && e.Truncate.Of(2) == 2 },
		"/v1:body=corrupt":            func(e Effect) bool { return e.Corrupt != 0 },
		"/v1:throttle=2Ki":            func(e Effect) bool { return e.Throttle == 2048 },
		"^POST https://api:delay=1s":  func(e Effect) bool { return e.Delay == time.Second }, // a whole URL, and colons
		"api.example.com/v1:delay=1s": func(e Effect) bool { return e.Delay == time.Second },
		":delay=1s":                   func(e Effect) bool { return e.Delay == time.Second }, // everything
	} {
		e := newSet(t, 1, rule).Next(target, "")
		if !check(e) || !slices.Equal(e.Rules, []string{rule}) {
			t.Errorf("%s: %+v", rule, e)
		}
	}
	for _, d := range contract.FaultDocs() {
		if d.Doc == "" || d.Value == "" {
			t.Errorf("%s is not described", d.Name)
		}
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	for _, rule := range []string{"", "/v1", "/v1:", "/v1:rate=1/2", "(:delay=1s", "/v1:delay=0s", "/v1:delay=-1s", "/v1:status=99", "/v1:status=700", "/v1:status=nonsense",
		"/v1:header=x", "/v1:header=a b:c", "/v1:header=content-length:1", "/v1:header=Transfer-Encoding:chunked", "/v1:header=A:b\r\nC: d", "/v1:connection=no", "/v1:body=truncate:-1", "/v1:body=corrupt:1", "/v1:throttle=0",
		"/v1:delay=1s,rate=0/1", "/v1:delay=1s,rate=2/1", "/v1:delay=1s,rate=1/10001", "/v1:delay=1s,rate=1", "/v1:delay=1s,what=1", "/v1:delay=1s,"} {
		if _, err := New(1, []string{rule}); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v", rule, err)
		}
	}
}

// The rate is exact: in each block of N answers, F fail. Which ones depends only on the seed.
func TestRateIsExactAndSeeded(t *testing.T) {
	draw := func(seed uint64, f, n int) (fired []int) {
		s := newSet(t, seed, fmt.Sprintf("/v1:rate=%d/%d,status=503", f, n))
		for i := range 10 * n {
			if e := s.Next(target, ""); e.Injects() {
				fired = append(fired, i)
			}
			if s.Next("GET http://other/", "").Injects() {
				t.Fatal("an answer failed that no rule matches")
			}
		}
		return fired
	}
	for _, rate := range [][2]int{{1, 1}, {1, 2}, {1, 10}, {3, 10}, {9, 10}, {10, 10}, {7, 1000}} {
		f, n := rate[0], rate[1]
		fired := draw(7, f, n)
		perBlock := map[int]int{}
		for _, i := range fired {
			perBlock[i/n]++
		}
		for block := range 10 {
			if perBlock[block] != f {
				t.Errorf("rate %d/%d: %d of block %d failed", f, n, perBlock[block], block)
			}
		}
		if !slices.Equal(fired, draw(7, f, n)) {
			t.Errorf("rate %d/%d: another draw with the same seed", f, n)
		}
		if f < n && slices.Equal(fired, draw(8, f, n)) {
			t.Errorf("rate %d/%d: the same draw with another seed", f, n)
		}
	}
}

func TestJitterIsSeeded(t *testing.T) {
	draw := func(seed uint64) (all []time.Duration) {
		s := newSet(t, seed, ":jitter=1s")
		for range 20 {
			all = append(all, s.Next(target, "").Delay)
		}
		return all
	}
	if !slices.Equal(draw(1), draw(1)) || slices.Equal(draw(1), draw(2)) {
		t.Error("the delays do not follow from the seed")
	}
}

func TestConnectionsAreRefusedOnce(t *testing.T) {
	const tunnel = "CONNECT api.example.com:443"
	s := newSet(t, 1, "api.example.com:rate=1/2,connection=refuse")
	refused := 0
	for range 10 {
		if s.Refuses(tunnel).End == Refuse {
			refused++
			continue
		}
		for range 3 { // requests on a connection that was not refused
			if s.Next(target, tunnel).Injects() {
				t.Error("a request was refused on a connection that was not")
			}
		}
	}
	if refused != 5 {
		t.Errorf("%d of 10 connections were refused", refused)
	}
	// A rule about a path can't be decided before the path is known.
	s = newSet(t, 1, "/v1/charges:connection=refuse")
	if s.Refuses(tunnel).Injects() || s.Next(target, tunnel).End != Refuse {
		t.Error("the request is not refused")
	}
}

func TestCounts(t *testing.T) {
	s := newSet(t, 1, "/v1:rate=1/2,status=503", "/v2:status=503")
	for range 4 {
		s.Next(target, "")
	}
	if got := s.Counts(); !slices.Equal(got, []Count{{"/v1:rate=1/2,status=503", 4, 2}, {"/v2:status=503", 0, 0}}) {
		t.Errorf("got %+v", got)
	}
	var none *Set
	if none.Next(target, "").Injects() || none.Refuses("x").Injects() || none.Counts() != nil {
		t.Error("no rules do something")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/v1:rate=1/10,delay=200ms,header=A:b")
	f.Add("https://x/y:status=503")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := contract.ParseFault(text)
		if err != nil {
			return
		}
		e := Effect{}
		for _, f := range r.Faults {
			apply(f, &e, rand.New(rand.NewPCG(1, 2)))
		}
		if e.Delay < 0 || e.Throttle < 0 || e.Status != 0 && (e.Status < 200 || e.Status > 599) {
			t.Errorf("%q: %+v", text, e)
		}
	})
}
