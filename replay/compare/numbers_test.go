package compare

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// load returns the n-th value of a number that goes up and down between 10 and 20.
func load(n int) int { return 10 + (n*7)%11 }

// replayed compares a replay whose answers have one value each. It returns the result, and what a
// later replay learns from it.
func replayed(t *testing.T, earlier *Observed, recorded, live func(step int) string) (*Result, *Observed) {
	t.Helper()
	c := comparer(t, Options{})
	c.Baseline(earlier)
	for step := range 20 {
		c.Compare(Answers{Step: step, Recorded: answer(200, recorded(step)), Live: answer(200, live(step))})
	}
	r := c.Finish()
	text, err := r.Observed.Encode([]string{"GET /a"})
	if err != nil {
		t.Fatal(err)
	}
	observed, err := DecodeObserved(text, []string{"GET /a"})
	if err != nil {
		t.Fatal(err)
	}
	return r, observed
}

// A number that varied within a range in an earlier replay may be within that range, or at most the
// width of the range away from it. A value without a range may be anything.
func TestAnEarlierReplayTeachesATolerance(t *testing.T) {
	number := func(n int) string { return fmt.Sprintf(`{"load":%d}`, load(n)) }
	text := func(n int) string { return fmt.Sprintf(`{"load":"%d"}`, load(n)) }
	const noise = "noise value_changed body:$.load ×20"
	const far = "new out_of_range body:$.load ×1; noise value_changed body:$.load ×19"
	for _, c := range []struct {
		name     string
		recorded func(n int) string
		one      string // of the answers of the later replay
		want     string
	}{
		{"within the range", number, `{"load":13}`, noise},
		{"near it", number, `{"load":29.5}`, noise},
		{"above", number, `{"load":31}`, far},
		{"below", number, `{"load":-1}`, far},
		{"numbers in strings", text, `{"load":"31"}`, far},
		{"no number any more", text, `{"load":"none"}`, far},
		{"not only numbers", func(n int) string { return fmt.Sprintf(`{"load":%q}`, []string{"1", "2", "none"}[n%3]) }, `{"load":"31"}`, noise},
		{"a counter", func(n int) string { return fmt.Sprintf(`{"load":%d}`, 100+n) }, `{"load":100000}`, noise},
		{"codes", func(n int) string { return fmt.Sprintf(`{"load":"00%d"}`, load(n)) }, `{"load":"0031"}`, noise},
	} {
		_, first := replayed(t, nil, c.recorded, func(step int) string { return c.recorded(step + 1) })
		r, _ := replayed(t, first, c.recorded, func(step int) string {
			if step == 7 {
				return c.one
			}
			return c.recorded(step + 2)
		})
		if got := found(r); got != c.want || r.Groups[0].Why == "" {
			t.Errorf("%s:\ngot  %s (%s)\nwant %s", c.name, got, r.Groups[0].Why, c.want)
		}
	}
}

// A number that was seen too seldom has no range. A range includes the recorded number, and a
// replay with other numbers widens it.
func TestLimitsOfATolerance(t *testing.T) {
	few := func(n int) func(step int) string {
		return func(step int) string { return fmt.Sprintf(`{"load":%d}`, 10+btoi(step < 2)*(step+n)) }
	}
	_, first := replayed(t, nil, few(0), few(1))
	r, _ := replayed(t, first, few(0), few(500))
	if got, want := found(r), "noise value_changed body:$.load ×2"; got != want {
		t.Errorf("seen twice: got %s, want %s", got, want)
	}
	around := func(n int) func(step int) string {
		return func(step int) string { return fmt.Sprintf(`{"load":%d}`, load(step+n)+btoi(step == 7)*500) }
	}
	_, first = replayed(t, nil, around(0), func(step int) string { return fmt.Sprintf(`{"load":%d}`, load(step+1)) })
	r, _ = replayed(t, first, around(0), around(2))
	if got, want := found(r), "noise value_changed body:$.load ×20"; got != want {
		t.Errorf("the recorded number is far away: got %s, want %s", got, want)
	}
	level := func(n, factor int) func(step int) string {
		return func(step int) string { return fmt.Sprintf(`{"load":%d}`, factor*load(step+n)) }
	}
	_, first = replayed(t, nil, level(0, 1), level(1, 1))
	r, second := replayed(t, first, level(0, 1), level(2, 20))
	if got, want := found(r), "new out_of_range body:$.load ×20"; got != want {
		t.Errorf("other numbers: got %s, want %s", got, want)
	}
	r, _ = replayed(t, second, level(0, 1), level(3, 20))
	if got, want := found(r), "noise value_changed body:$.load ×20"; got != want {
		t.Errorf("others again: got %s, want %s", got, want)
	}
}

// A baseline that runs beside the target also provides a tolerance.
func TestABaselineTeachesATolerance(t *testing.T) {
	for name, c := range map[string]struct {
		live int
		want string
	}{
		"in the range": {15, "noise value_changed body:$.load ×40"},
		"far away":     {400, "new value_changed body:$.load ×40"},
	} {
		cmp := comparer(t, Options{})
		body := func(n int) *recording.Exchange { return answer(200, fmt.Sprintf(`{"load":%d}`, n)) }
		for step := range 40 {
			live := load(step + 5)
			if step == 30 {
				live = c.live
			}
			cmp.Compare(Answers{Step: step, Recorded: body(load(step)), Live: body(live), Baseline: body(load(step + 3))})
		}
		if got := found(cmp.Finish()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// Numbers may be up to ten widths away from the range of repeats in the recording, because the
// recording was made elsewhere. An earlier replay with other numbers widens the range.
func TestRepeatsTeachATolerance(t *testing.T) {
	const noise = "noise value_changed body:$.load ×1"
	const far = "new out_of_range body:$.load ×1"
	body := func(load any) *recording.Exchange { return answer(200, fmt.Sprintf(`{"load":%v}`, load)) }
	number := func(n int) any { return load(n) }
	for name, c := range map[string]struct {
		repeats        int
		repeat         func(n int) any
		recorded, live any
		want           string
	}{
		"within the range":             {12, number, 12, 17, noise},
		"ten widths above":             {12, number, 12, 120, noise},
		"further above":                {12, number, 12, 121, far},
		"ten widths below":             {12, number, 12, -90, noise},
		"further below":                {12, number, 12, -91, far},
		"no number any more":           {12, number, `"12"`, `"none"`, far},
		"few repeats":                  {7, number, 12, 5000, noise},
		"a counter":                    {12, func(n int) any { return 100 + n }, 105, 1e6, noise},
		"not only numbers":             {12, func(n int) any { return fmt.Sprintf("%q", []string{"1", "2", "none"}[n%3]) }, `"1"`, `"500"`, noise},
		"another request's number":     {12, number, 7000, 7003, noise},
		"the same number was recorded": {12, number, 5000, 5000, ""},
	} {
		cmp := comparer(t, Options{})
		for n := range c.repeats - 1 {
			cmp.Repeats(0, [2]int{n, n + 1}, body(c.repeat(n)), body(c.repeat(n+1)), true)
		}
		cmp.Compare(Answers{Step: 50, Recorded: body(c.recorded), Live: body(c.live)})
		r := cmp.Finish()
		if got := found(r); got != c.want || c.want != "" && r.Groups[0].Why == "" {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// If repeats have no range, or a range that says nothing about a request, an earlier replay decides.
func TestRepeatsWithoutARangeKeepAnEarlierTolerance(t *testing.T) {
	body := func(load int) *recording.Exchange { return answer(200, fmt.Sprintf(`{"load":%d}`, load)) }
	at := func(n, more int) func(step int) string {
		return func(step int) string { return fmt.Sprintf(`{"load":%d}`, more+load(step+n)) }
	}
	_, first := replayed(t, nil, at(0, 0), at(1, 0))
	_, high := replayed(t, nil, at(0, 7000), at(1, 7000))
	for name, c := range map[string]struct {
		earlier        *Observed
		repeats        int
		recorded, live int
		want           string
	}{
		"few repeats":                {first, 2, 12, 5000, "new out_of_range body:$.load ×1"},
		"few repeats, near":          {first, 2, 12, 13, "noise value_changed body:$.load ×1"},
		"another request's repeats":  {high, 12, 7005, 90000, "new out_of_range body:$.load ×1"},
		"another request's, near it": {high, 12, 7005, 7006, "noise value_changed body:$.load ×1"},
	} {
		cmp := comparer(t, Options{})
		cmp.Baseline(c.earlier)
		for n := range c.repeats - 1 {
			cmp.Repeats(0, [2]int{n, n + 1}, body(load(n)), body(load(n+1)), true)
		}
		cmp.Compare(Answers{Step: 50, Recorded: body(c.recorded), Live: body(c.live)})
		if got := found(cmp.Finish()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// A number that follows the load may be far out of the range if the replay also has numbers in
// between, whatever the order of the answers and of the shards that got them.
func TestARangeThatTheReplayExtends(t *testing.T) {
	body := func(load any) *recording.Exchange { return answer(200, fmt.Sprintf(`{"load":%v}`, load)) }
	// Repeats vary from 10 to 20, so that numbers from -90 to 120 are in range.
	for name, c := range map[string]struct {
		live []any
		want string
	}{
		"without a gap":         {[]any{25, 110, 290, 1100, 5000}, "noise out_of_range body:$.load ×3; noise value_changed body:$.load ×2"},
		"downwards":             {[]any{-80, -170, -900}, "noise out_of_range body:$.load ×2; noise value_changed body:$.load ×1"},
		"both ways":             {[]any{110, -900, 5000}, "noise out_of_range body:$.load ×2; noise value_changed body:$.load ×1"},
		"a gap at the range":    {[]any{15, 150, 240}, "new out_of_range body:$.load ×2; noise value_changed body:$.load ×1"},
		"a gap further up":      {[]any{25, 110, 200, 2500}, "new out_of_range body:$.load ×2; noise value_changed body:$.load ×2"},
		"a gap downwards":       {[]any{25, 110, 200, -2500}, "new out_of_range body:$.load ×2; noise value_changed body:$.load ×2"},
		"all of them elsewhere": {[]any{1000, 1010, 1020}, "new out_of_range body:$.load ×3"},
		"no number":             {[]any{25, 110, 200, `"none"`}, "new out_of_range body:$.load ×2; noise value_changed body:$.load ×2"},
	} {
		for _, shards := range []int{1, 2} {
			for turn := range c.live {
				var parts []json.RawMessage
				for shard := range shards {
					cmp := comparer(t, Options{})
					for n := range 12 {
						cmp.Repeats(0, [2]int{n, n + 1}, body(fmt.Sprintf("%q", fmt.Sprint(load(n)))), body(fmt.Sprintf("%q", fmt.Sprint(load(n+1)))), true)
					}
					for i := range c.live {
						n := (i + turn) % len(c.live)
						if i%shards != shard {
							continue
						}
						live := c.live[n]
						if number, ok := live.(int); ok {
							live = fmt.Sprintf("%q", fmt.Sprint(number))
						}
						cmp.Compare(Answers{Step: 50 + n, Recorded: body(`"12"`), Live: body(live)})
					}
					part, err := cmp.Part([]string{"GET /a"}, func(int) Origin { return Origin{} })
					if err != nil {
						t.Fatal(err)
					}
					parts = append(parts, part)
					if shards == 1 {
						if got := found(cmp.Finish()); got != c.want {
							t.Errorf("%s, turned by %d:\ngot  %s\nwant %s", name, turn, got, c.want)
						}
					}
				}
				joined, err := Join(parts)
				if err != nil {
					t.Fatal(err)
				}
				if got := found(joined.Result); got != c.want {
					t.Errorf("%s, turned by %d, of %d shards:\ngot  %s\nwant %s", name, turn, shards, got, c.want)
				}
			}
		}
	}
}

// A carried value must be the live one even where repeats have other numbers. What an earlier
// replay or the baseline had there is also noise.
func TestWhatOverridesATolerance(t *testing.T) {
	body := func(load int) *recording.Exchange { return answer(200, fmt.Sprintf(`{"load":%d}`, load)) }
	level := func(n, factor int) func(step int) string {
		return func(step int) string { return fmt.Sprintf(`{"load":%d}`, factor*load(step+n)) }
	}
	repeats := func(c *Comparer) {
		for n := range 12 {
			c.Repeats(0, [2]int{n, n + 1}, body(load(n)), body(load(n+1)), true)
		}
	}
	_, first := replayed(t, nil, level(0, 1), level(1, 40))
	for name, c := range map[string]struct {
		earlier *Observed
		answers Answers
		want    string
	}{
		"a carried value":     {nil, Answers{Recorded: body(12), Live: body(13), Carried: carried("12", "14")}, "new carried_changed body:$.load ×1"},
		"nothing":             {nil, Answers{Recorded: body(12), Live: body(600)}, "new out_of_range body:$.load ×1"},
		"an earlier replay":   {first, Answers{Recorded: body(12), Live: body(600)}, "noise value_changed body:$.load ×1"},
		"far away from both":  {first, Answers{Recorded: body(12), Live: body(6000)}, "new out_of_range body:$.load ×1"},
		"near to the repeats": {first, Answers{Recorded: body(12), Live: body(-80)}, "noise value_changed body:$.load ×1"},
		"the baseline":        {nil, Answers{Recorded: body(12), Live: body(600), Baseline: body(600)}, "noise out_of_range body:$.load ×1"},
	} {
		cmp := comparer(t, Options{})
		cmp.Baseline(c.earlier)
		repeats(cmp)
		c.answers.Step = 50
		cmp.Compare(c.answers)
		if got := found(cmp.Finish()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-1": true, "12.50": true, "0.5": true, "1e3": true, "007": false, "": false, "-": false, "1.2.3": false,
		"0x1": false, "NaN": false, "Inf": false, "1_000": false, " 1": false, "1e999": false, "123456789012345678901234567890123": false,
	} {
		if _, ok := number(text); ok != want {
			t.Errorf("%q: %v", text, ok)
		}
	}
}
