package replay

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/schedule"
)

// A load that is too large is refused before anything is sent, however large its numbers are.
func TestBounds(t *testing.T) {
	p, _, _ := prepare(t, gets(10, 100*time.Millisecond))
	bounds := Bounds{PerSecond: 1000, Requests: 500, InFlight: 50}
	for _, c := range []struct {
		name string
		load Load
		flag string // of the bound that is exceeded
	}{
		{"once", Load{}, ""},
		{"the largest number of passes", Load{Passes: 50}, ""},
		{"one more", Load{Passes: 51}, "--max-requests"},
		{"more passes than a number of requests holds", Load{Passes: math.MaxInt}, "--max-requests"},
		{"as many copies", Load{Copies: math.MaxInt}, "--max-requests"},
		{"many copies that end early", Load{Copies: math.MaxInt, Requests: 5}, "--max-rate"},
		{"many passes that end early", Load{Passes: math.MaxInt, Requests: 5}, ""},
		{"a rate", Load{Rate: 1001}, "--max-rate"},
		{"a rate for years", Load{Rate: 1, For: math.MaxInt64}, "--max-requests"},
		{"a stage", Load{Stages: []schedule.Stage{{Target: 2000, For: time.Millisecond}}}, "--max-rate"},
		{"the busiest second at a high speed", Load{Speed: 1e6, Copies: 50}, ""},
		{"the same with more copies", Load{Speed: 1e6, Copies: 101, Requests: 1}, "--max-rate"},
		{"the lowest speed", Load{Speed: 1e-6, Requests: 1}, ""},
		{"users", Load{Users: 50}, ""},
		{"users who go through it twice", Load{Users: 26, Passes: 2}, "--max-requests"},
		{"more users than requests under way", Load{Users: 51, Requests: 1}, "--max-in-flight"},
		{"a stage of users", Load{Stages: []schedule.Stage{{Target: 51, For: time.Second}}, StagesAreUsers: true}, "--max-in-flight"},
		{"sessions", Load{Sessions: 51}, "--max-in-flight"},
	} {
		_, err := bounds.Check(c.load, p)
		if c.flag == "" && err != nil || c.flag != "" && (err == nil || !strings.Contains(err.Error(), c.flag+" allows")) {
			t.Errorf("%s: %v, want one about %q", c.name, err, c.flag)
		}
		if _, err := (Bounds{}).Check(c.load, p); err != nil {
			t.Errorf("%s: %v, but no bound is set", c.name, err)
		}
	}
}

// If the number of requests depends on answers, the bound ends the run.
func TestBoundsEndAClosedLoop(t *testing.T) {
	r := run(t, gets(10, time.Millisecond), http.HandlerFunc(answerOK), func(o *Options) {
		var err error
		if o.Load, err = (Bounds{Requests: 25}).Check(Load{Users: 2, For: time.Hour}, o.Plan); err != nil {
			t.Fatal(err)
		}
	})
	if sent := r.Results.Total().Sent; sent != 25 {
		t.Errorf("%d sent", sent)
	}
}

// A replay that sent nothing does not pass.
func TestNothingSent(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"a rate of 0":  func(o *Options) { o.Load.Stages = []schedule.Stage{{For: time.Second}} },
		"all left out": func(o *Options) { o.Skip = func(int) string { return "credentials are missing" } },
		"no user":      func(o *Options) { o.Load = Load{Stages: []schedule.Stage{{For: time.Second}}, StagesAreUsers: true} },
	} {
		r := run(t, gets(3, time.Millisecond), http.HandlerFunc(answerOK), change)
		if r.Judge(nil); r.ExitCode != report.CouldNotRun {
			t.Errorf("%s: exit code %d: %v", name, r.ExitCode, r.Exits)
		}
	}
}

// Pausing sessions do not delay the end.
func TestPausesEnd(t *testing.T) {
	var calls []call
	for _, at := range []time.Duration{0, time.Millisecond, time.Hour, 2 * time.Hour} {
		for _, caller := range []string{"sid=caller-1-Hq73", "sid=caller-2-Kd81"} {
			calls = append(calls, call{at: at, caller: caller, method: "GET", path: "/items", answer: `{}`})
		}
	}
	for name, load := range map[string]Load{
		"for a time":           {Sessions: 2, For: time.Second},
		"a number of requests": {Sessions: 2, Requests: 4},
		"one after another":    {Sessions: 1, For: time.Second},
	} {
		r := run(t, calls, http.HandlerFunc(answerOK), func(o *Options) { o.Load = load })
		if took, sent := r.Ended.Sub(r.Started), r.Results.Total().Sent; took > time.Second || sent != int64(2*load.Sessions) {
			t.Errorf("%s: %d sent in %s", name, sent, took)
		}
		if r.Partial != "" {
			t.Errorf("%s: partial: %s", name, r.Partial)
		}
	}
}
