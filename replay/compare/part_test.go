package compare

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// The merged numbers of several shards equal those of a single run.
func TestNumbersJoin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		slope, noise := rng.Float64()*4-2, rng.Float64()*1000
		parts := make([]numbers, 1+rng.IntN(5))
		var whole numbers
		for x := range rng.IntN(60) {
			text := fmt.Sprintf("%.3f", 5000+slope*float64(x)+noise*rng.Float64())
			if rng.IntN(200) == 0 {
				text = "none"
			}
			whole.add(float64(x), text)
			parts[rng.IntN(len(parts))].add(float64(x), text)
		}
		var joined numbers
		for i := range parts {
			text, err := json.Marshal(parts[i].json())
			if err != nil {
				t.Fatal(err)
			}
			var j numbersJSON
			if err := json.Unmarshal(text, &j); err != nil {
				t.Fatal(err)
			}
			joined.join(j.numbers())
		}
		from, to, ok := whole.tolerance(replayWidths)
		f, g, k := joined.tolerance(replayWidths)
		if joined.n != whole.n || joined.other != whole.other || math.Abs(f-from)+math.Abs(g-to) > 1e-6 || k != ok {
			t.Fatalf("round %d: from %v to %v, %v; want from %v to %v, %v", round, f, g, k, from, to, ok)
		}
	}
}

// Sums of large numbers are infinite, which JSON can't express.
func TestLargeNumbersAreKept(t *testing.T) {
	var v numbers
	for x := range 20 {
		v.add(float64(x), fmt.Sprintf("%de300", x+1))
	}
	text, err := json.Marshal(v.json())
	if err != nil {
		t.Fatal(err)
	}
	var j numbersJSON
	if err := json.Unmarshal(text, &j); err != nil || j.numbers().max != v.max || !math.IsInf(j.numbers().syy, 1) {
		t.Errorf("%v, %+v", err, j.numbers())
	}
}

// Parts are untrusted, because others may write to the place that they come from.
func TestDamagedParts(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "comparison of part 1 of 1: json:",
		`{"groups":[{"endpoint":"a"}],"sets":[{"groups":[1],"count":1}]}`:                               "an answer is in group 1 of 1",
		`{"sets":[{"groups":[-1],"count":1}]}`:                                                          "an answer is in group -1 of 0",
		`{"observed":[{"endpoint":"a","place":"body","values":"%"}]}`:                                   "what was observed at body of a: illegal base64",
		`{"observed":[{"endpoint":"a","place":"body","values":"AQI="}]}`:                                "its values are damaged",
		`{"equal":-5,"compared":{"a":-7},"groups":[{"endpoint":"a","count":-1,"step":-3}]}`:             "",
		`{"groups":[{"endpoint":"a","count":3,"baseline":9,"apart":-4,"live":{"n":-4}}]}`:               "",
		`{"groups":[{"endpoint":"a","count":3,"live":{"n":9,"bits":[9221120237041090561]}}]}`:           "",
		`{"groups":[{"endpoint":"a","kind":"out_of_range","count":3,"spread":[-9223372036854775808]}]}`: "",
	} {
		_, err := Join([]json.RawMessage{json.RawMessage(text)})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
