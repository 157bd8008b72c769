package schedule

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestRecordedTimes(t *testing.T) {
	at := []time.Duration{0, time.Second, 3 * time.Second}
	r := Recorded{At: func(n int) time.Duration { return at[n] }, Steps: 3, Length: 4 * time.Second, Speed: 2, Passes: 2}
	for n, want := range []time.Duration{0, 500, 1500, 2000, 2500, 3500} {
		if got, ok := r.Due(int64(n)); !ok || got != want*time.Millisecond {
			t.Errorf("request %d is due at %s, %v; want %s", n, got, ok, want*time.Millisecond)
		}
	}
	if _, ok := r.Due(6); ok {
		t.Error("there is a request after the last pass")
	}
	r.Passes = 0
	if got, ok := r.Due(3_000_000); !ok || got != 2_000_000*time.Second {
		t.Errorf("a million passes on: %s, %v", got, ok)
	}
	if got, ok := r.Due(18_000_000_000); ok {
		t.Errorf("a request is due after %s, and in truth after 380 years, which overflow a duration", got)
	}
}

// Each row has rates at times since the start, and how many requests are due before them.
func TestRates(t *testing.T) {
	type at struct {
		t        time.Duration
		rate     float64
		requests float64
	}
	for _, c := range []struct {
		name   string
		stages []Stage
		want   []at
	}{
		{"nothing", nil, []at{{0, 0, 0}, {time.Second, 0, 0}}},
		{"fixed", []Stage{{50, 10 * time.Second, 0}}, []at{{0, 50, 0}, {3 * time.Second, 50, 150}, {10 * time.Second, 0, 500}, {time.Hour, 0, 500}}},
		{"a ramp from nothing", []Stage{{100, 10 * time.Second, 10 * time.Second}}, []at{{0, 0, 0}, {5 * time.Second, 50, 125}, {10 * time.Second, 0, 500}}},
		{"up, stay and down", []Stage{{100, 10 * time.Second, 4 * time.Second}, {20, 10 * time.Second, 2 * time.Second}, {0, 5 * time.Second, 5 * time.Second}}, []at{
			{2 * time.Second, 50, 50}, {4 * time.Second, 100, 200}, {10 * time.Second, 100, 800}, {11 * time.Second, 60, 880},
			{12 * time.Second, 20, 920}, {20 * time.Second, 20, 1080}, {22500 * time.Millisecond, 10, 1117.5}, {25 * time.Second, 0, 1130}}},
		{"a ramp to the same rate", []Stage{{10, 10 * time.Second, 0}, {10, 10 * time.Second, 5 * time.Second}}, []at{{12 * time.Second, 10, 120}, {18 * time.Second, 10, 180}}},
		{"a jump", []Stage{{1, 10 * time.Second, 0}, {1000, time.Second, 0}}, []at{{10*time.Second - 1, 1, 10 - 1e-9}, {10 * time.Second, 1000, 10}}},
	} {
		s := Stages(c.stages)
		for _, want := range c.want {
			if rate := s.At(want.t); !near(rate, want.rate, 1e-6) {
				t.Errorf("%s: the rate at %s is %v, want %v", c.name, want.t, rate, want.rate)
			}
			if requests := s.Requests(want.t); !near(requests, want.requests, 1e-6) {
				t.Errorf("%s: %v requests are due before %s, want %v", c.name, requests, want.t, want.requests)
			}
		}
	}
}

// Request n is due when n others were due before, however the rate changes. Each row has the total
// number of requests.
func TestDueTimesFollowTheRate(t *testing.T) {
	for _, c := range []struct {
		name   string
		all    int64
		stages []Stage
	}{
		{"nothing", 0, nil},
		{"no rate", 0, []Stage{{0, 10 * time.Second, 0}}},
		{"fixed", 500, []Stage{{50, 10 * time.Second, 0}}},
		{"a ramp from nothing", 500, []Stage{{100, 10 * time.Second, 10 * time.Second}}},
		{"up, stay and down", 1130, []Stage{{100, 10 * time.Second, 4 * time.Second}, {20, 10 * time.Second, 2 * time.Second}, {0, 5 * time.Second, 5 * time.Second}}},
		{"down, then nothing", 200, []Stage{{30, 5 * time.Second, 0}, {0, 10 * time.Second, 3333333333}}},
		{"a ramp to the same rate", 200, []Stage{{10, 10 * time.Second, 0}, {10, 10 * time.Second, 5 * time.Second}}},
		{"a pause", 20, []Stage{{10, time.Second, 0}, {0, 10 * time.Second, 0}, {10, time.Second, 0}}},
		{"a jump", 1010, []Stage{{1, 10 * time.Second, 0}, {1000, time.Second, 0}}},
		{"a length that floats round", 1001, []Stage{{1000, 1001 * time.Millisecond, 0}}},
		// 0.68 × 75 is more than 51 in floats, and 51 / 0.68 is 75.
		{"requests that floats round", 51, []Stage{{0.68, 75 * time.Second, 0}}},
		{"requests that floats round, then more", 61, []Stage{{0.68, 75 * time.Second, 0}, {1, 10 * time.Second, 0}}},
	} {
		s := Stages(c.stages)
		last := time.Duration(-1)
		for n := range c.all {
			due, ok := s.Due(n)
			if before := s.Requests(due); !ok || due < last || !near(before, float64(n), 1e-4) {
				t.Fatalf("%s: request %d is due at %s, %v, behind %v others and %s", c.name, n, due, ok, before, last)
			}
			last = due
		}
		for _, n := range []int64{c.all, c.all + 1, 1e15} {
			if due, ok := s.Due(n); ok {
				t.Errorf("%s: request %d of %d is due at %s", c.name, n, c.all, due)
			}
		}
	}
}

// near reports whether two numbers differ by at most by. NaN is not near any number.
func near(a, b, by float64) bool { return math.Abs(a-b) <= by }

func TestRateWithoutEnd(t *testing.T) {
	if due, ok := Rate(2000, 0).Due(7_200_000); !ok || due != time.Hour {
		t.Errorf("%s, %v", due, ok)
	}
	if rate := Rate(2000, 0).At(10_000 * time.Hour); rate != 2000 {
		t.Errorf("%v after a year", rate)
	}
	if s := Rate(2000, time.Second); s.Length() != time.Second {
		t.Errorf("%s", s.Length())
	}
}

func TestParseStage(t *testing.T) {
	unit, s, err := ParseStage("vus=10,for=30s, ramp=5s")
	if err != nil || unit != "vus" || s != (Stage{10, 30 * time.Second, 5 * time.Second}) {
		t.Errorf("%s %v %v", unit, s, err)
	}
	for text, want := range map[string]Stage{
		"rate=0,for=5s":          {0, 5 * time.Second, 0}, // a pause
		"rate=1000000,for=1s":    {1e6, time.Second, 0},
		"for=5s,ramp=0s,rate=1":  {1, 5 * time.Second, 0},
		"rate=.5,for=5s,ramp=5s": {.5, 5 * time.Second, 5 * time.Second},
	} {
		if unit, s, err := ParseStage(text); err != nil || unit != "rate" || s != want {
			t.Errorf("%q: %s %v %v, want %v", text, unit, s, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                          "want rate=N or vus=N",
		"rate=5":                    "no length",
		"for=5s":                    "no target",
		"rate=x,for=5s":             "want a number",
		"rate=-1,for=5s":            "want a number",
		"rate=NaN,for=5s":           "want a number",
		"vus=1.5,for=5s":            "want a whole number",
		"rate=5,vus=5,for=5s":       "two targets",
		"rate=5,for=5":              "want a duration",
		"rate=5,for=5s,ramp=6s":     "can't be longer",
		"rate=5,for=5s,speed=2":     "want rate=N or vus=N, for=DURATION",
		"rate=5,for=5s,ramp=-1s":    "want a duration",
		"rate=1e9,for=5s,ramp=1s":   "want a number from 0 to 1000000",
		"rate=5,for=0s":             "want a duration",
		"rate=5,for=1s,for=2s":      "has for twice",
		"rate=5, for=5s, ramp=half": "want a duration",
	} {
		if _, _, err := ParseStage(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
