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
		t.Error("there is a request behind the last pass")
	}
	r.Passes = 0
	if got, ok := r.Due(3_000_000); !ok || got != 2_000_000*time.Second {
		t.Errorf("a million passes on: %s, %v", got, ok)
	}
}

// Request n is due once n requests were due before, however the rate changed.
func TestDueTimesFollowTheRate(t *testing.T) {
	for _, c := range []struct {
		name   string
		stages []Stage
	}{
		{"fixed", []Stage{{Target: 50, For: 10 * time.Second}}},
		{"a ramp from nothing", []Stage{{Target: 100, For: 10 * time.Second, Ramp: 10 * time.Second}}},
		{"up, stay and down", []Stage{{Target: 100, For: 10 * time.Second, Ramp: 3 * time.Second}, {Target: 20, For: 7 * time.Second, Ramp: 2 * time.Second}, {Target: 0, For: 5 * time.Second, Ramp: 5 * time.Second}}},
		{"a pause", []Stage{{Target: 10, For: time.Second}, {Target: 0, For: 10 * time.Second}, {Target: 10, For: time.Second}}},
		{"a jump", []Stage{{Target: 1, For: 10 * time.Second}, {Target: 1000, For: time.Second}}},
	} {
		s := Stages(c.stages)
		var before float64 // the integral of the rate
		next := int64(0)
		const tick = 100 * time.Microsecond
		last := time.Duration(-1)
		for now := time.Duration(0); now < s.Length(); now += tick {
			before += s.At(now) * tick.Seconds()
			for float64(next) < before-0.2 {
				due, ok := s.Due(next)
				if !ok || due < last || (due-now).Abs() > time.Second/4 && math.Abs(s.At(due)-s.At(now)) < 1 && s.At(now) > 10 {
					t.Fatalf("%s: request %d is due at %s, %v; by the rate, at %s", c.name, next, due, ok, now)
				}
				last = due
				next++
			}
		}
		if due, ok := s.Due(int64(math.Ceil(before)) + 1); ok {
			t.Errorf("%s: of %.1f requests, one more is due at %s", c.name, before, due)
		}
	}
}

func TestRateWithoutEnd(t *testing.T) {
	if due, ok := Rate(2000, 0).Due(7_200_000); !ok || due != time.Hour {
		t.Errorf("%s, %v", due, ok)
	}
}

func TestParseStage(t *testing.T) {
	unit, s, err := ParseStage("vus=10,for=30s, ramp=5s")
	if err != nil || unit != "vus" || s != (Stage{10, 30 * time.Second, 5 * time.Second}) {
		t.Errorf("%s %v %v", unit, s, err)
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
