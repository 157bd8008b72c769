package replay

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/report"
)

// A difference between two answers to the same request is noise if nothing was written between
// them. It is also noise if both were in progress at the same time, because then their order
// explains nothing.
func TestRepeatsShowWhatVaries(t *testing.T) {
	const ms = time.Millisecond
	read := func(at, took time.Duration, load int) call {
		return call{at: at, took: took, method: "GET", path: "/load", answer: fmt.Sprintf(`{"load":%d}`, load)}
	}
	write := call{at: 150 * ms, took: 10 * ms, method: "POST", path: "/work", body: `{}`, answer: `{}`}
	for name, c := range map[string]struct {
		calls []call
		want  compare.Judgement
	}{
		"nothing was written":                      {[]call{read(100*ms, 10*ms, 3), read(200*ms, 10*ms, 4)}, compare.IsNoise},
		"something was written":                    {[]call{read(100*ms, 10*ms, 3), write, read(200*ms, 10*ms, 4)}, compare.IsNew},
		"it was written while both were under way": {[]call{read(100*ms, 100*ms, 3), read(110*ms, 100*ms, 4), write}, compare.IsNoise},
		"many pairs with writes, and one without":  {append(disturbed(read, 100), read(3000*ms, 100*ms, 3), read(3010*ms, 100*ms, 4)), compare.IsNoise},
		"many pairs, all of them with writes":      {disturbed(read, 100), compare.IsNew},
	} {
		t.Run(name, func(t *testing.T) {
			p, g, cmp := prepare(t, c.calls)
			n := 100
			client, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if strings.HasPrefix(r.URL.Path, "/work") {
					fmt.Fprint(w, `{}`)
					return
				}
				n++
				fmt.Fprintf(w, `{"load":%d}`, n)
			}))
			defer stop()
			r, err := Run(t.Context(), Options{Plan: p, Graph: g, Target: client, Compare: cmp, Load: Load{Users: 1, Passes: 1}})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Differences) != 1 || r.Differences[0].Place != "body:$.load" || compare.Judgement(r.Differences[0].State) != c.want {
				t.Errorf("%+v, want %s", r.Differences, c.want)
			}
		})
	}
}

// Repeats in the recording show how far numbers may vary, without an earlier replay.
func TestRepeatsTeachHowFarNumbersVary(t *testing.T) {
	var calls []call
	for i := range 12 {
		calls = append(calls, call{at: time.Duration(i) * 10 * time.Millisecond, took: time.Millisecond, method: "GET", path: "/load", answer: fmt.Sprintf(`{"load":%d}`, 10+i*7%11)})
	}
	for live, want := range map[string]report.Difference{
		"17":   {Kind: match.ValueChanged, State: report.Noise, Count: 11}, // one recorded answer has it
		"1700": {Kind: compare.OutOfRange, State: report.New, Count: 12},
	} {
		r := run(t, calls, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"load":%s}`, live)
		}), nil)
		if len(r.Differences) != 1 || r.Differences[0].Kind != want.Kind || r.Differences[0].State != want.State || r.Differences[0].Count != want.Count {
			t.Errorf("%s: %+v, want %+v", live, r.Differences, want)
		}
	}
}

// disturbed returns reads with a write between any two of them.
func disturbed(read func(at, took time.Duration, load int) call, n int) (all []call) {
	for i := range n {
		at := time.Duration(20*i) * time.Millisecond
		all = append(all, read(at, time.Millisecond, i), call{at: at + 10*time.Millisecond, took: time.Millisecond, method: "POST", path: "/work", body: `{}`, answer: `{}`})
	}
	return all
}
