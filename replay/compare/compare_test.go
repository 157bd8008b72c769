package compare

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
)

// answer returns an exchange with a JSON answer.
func answer(status int, body string, headers ...string) *recording.Exchange {
	e := &recording.Exchange{TS: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), HTTP: &recording.HTTP{
		Req: recording.HTTPRequest{Method: "GET", URL: "/a", URI: "/a", Host: "shop", Version: "1.1"},
		Res: recording.HTTPResponse{StatusCode: status, Body: []byte(body), Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}}},
	}}
	for i := 0; i < len(headers); i += 2 {
		e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: headers[i], Value: headers[i+1]})
	}
	return e
}

func comparer(t *testing.T, o Options) *Comparer {
	t.Helper()
	var err error
	if o.Matcher, err = match.New(match.Options{}); err != nil {
		t.Fatal(err)
	}
	return New(o)
}

func carried(recorded, live string) *Carried {
	c := new(Carried)
	c.Add(recorded, live)
	return c
}

// found lists groups as `judgement kind place ×count`.
func found(r *Result) string {
	var all []string
	for _, g := range r.Groups {
		all = append(all, fmt.Sprintf("%s %s %s ×%d", g.Judgement, g.Kind, g.Pattern, g.Count))
	}
	return strings.Join(all, "; ")
}

func TestDifferencesAreGrouped(t *testing.T) {
	c := comparer(t, Options{})
	for step := range 10 {
		step = 9 - step // answers arrive in any order
		a := Answers{Step: step, Recorded: answer(200, `{"items":[{"price":1},{"price":1}]}`), Live: answer(200, `{"items":[{"price":2},{"price":3}]}`)}
		if step == 7 {
			a.Live = answer(500, `{}`)
		}
		c.Compare(a)
	}
	c.Equal(0)
	r := c.Finish()
	if got, want := found(r), "new field_removed body:$.items ×1; new value_changed body:$.items[*].price ×9; new value_changed status ×1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.Compared != 11 || r.Equal != 1 || r.Matched != 1 || r.ByEndpoint[0] != (Counts{11, 10}) {
		t.Errorf("%+v", r)
	}
	if g := r.Groups[1]; g.Step != 0 || g.Example.Place != "body:$.items[0].price" || g.Example.Live != "2" {
		t.Errorf("the example is %+v", g)
	}
}

func TestEvidence(t *testing.T) {
	recorded, live := answer(200, `{"id":1,"hits":1,"price":5}`), answer(200, `{"id":1,"hits":9,"price":5}`)
	cheaper := answer(200, `{"id":1,"hits":9,"price":4}`)
	untyped := answer(200, `{"id":1,"hits":"9","price":5}`)
	for _, c := range []struct {
		name     string
		evidence func(*Comparer)
		answers  []Answers
		want     string
	}{
		{"without any, a difference is new", nil, []Answers{{Recorded: recorded, Live: live}}, "new value_changed body:$.hits ×1"},
		{"repeats of a request in the recording", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), true)
		}, []Answers{{Recorded: recorded, Live: live}, {Recorded: recorded, Live: cheaper}}, "new value_changed body:$.price ×1; noise value_changed body:$.hits ×2"},
		{"repeats with a write in between prove nothing", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), false)
		}, []Answers{{Recorded: recorded, Live: live}}, "new value_changed body:$.hits ×1"},
		{"but for values that are made anew each time", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"at":"2026-03-01T12:00:00Z"}`), answer(200, `{"at":"2026-03-01T12:00:04Z"}`), false)
		}, []Answers{{Recorded: answer(200, `{"at":"2026-03-01T12:00:00Z"}`), Live: answer(200, `{"at":"2026-03-01T12:00:09Z"}`)}}, "noise value_changed body:$.at ×1"},
		{"another order of the same items", nil, []Answers{{Recorded: answer(200, `{"a":[1,2,{"b":3}]}`), Live: answer(200, `{"a":[{"b":3},1,2]}`)}}, "new order_changed body:$.a ×1"},
		{"the order is noise if repeats have another one, and an item more is none", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"a":[1,2]}`), answer(200, `{"a":[2,1]}`), true)
		}, []Answers{{Recorded: answer(200, `{"a":[1,2,3]}`), Live: answer(200, `{"a":[3,1,2]}`)}, {Recorded: answer(200, `{"a":[1,2]}`), Live: answer(200, `{"a":[1,2,9]}`)}},
			"new field_added body:$.a[*] ×1; noise order_changed body:$.a ×1"},
		{"a status is never noise", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{}`), answer(503, `{}`), true)
		}, []Answers{{Recorded: answer(200, `{}`), Live: answer(503, `{}`)}}, "new value_changed status ×1"},
		{"noise hides values, not types", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), true)
		}, []Answers{{Recorded: recorded, Live: untyped}}, "new type_changed body:$.hits ×1"},
		{"noise does not hide that a place is gone", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), true)
		}, []Answers{{Recorded: recorded, Live: answer(200, `{"id":1,"price":5}`)}}, "new field_removed body:$.hits ×1"},
		{"noise does not hide a carried value", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), true)
		}, []Answers{{Recorded: recorded, Live: live, Carried: carried("1", "2")}}, "new carried_changed body:$.hits ×1"},
		{"a carried value is not a difference, wherever it is", nil, []Answers{{
			Recorded: answer(201, `{"id":"order-7f3a","self":"/orders/order-7f3a"}`, "Location", "/orders/order-7f3a"),
			Live:     answer(201, `{"id":"order-91bc","self":"/orders/order-91bc"}`, "Location", "/orders/order-91bc"),
			Carried:  carried("order-7f3a", "order-91bc"),
		}}, ""},
		{"noise of another endpoint is none here", func(c *Comparer) {
			c.Repeats(1, [2]int{0, 1}, answer(200, `{"id":1,"hits":1}`), answer(200, `{"id":1,"hits":2}`), true)
		}, []Answers{{Recorded: recorded, Live: live}}, "new value_changed body:$.hits ×1"},
		{"headers", func(c *Comparer) {
			c.Repeats(0, [2]int{0, 1}, answer(200, ``, "X-Took", "1"), answer(200, ``, "X-Took", "2"), true)
		}, []Answers{{Recorded: answer(200, ``, "X-Took", "1"), Live: answer(200, ``, "X-Took", "3", "X-New", "1")}}, "new field_added header:x-new ×1; noise value_changed header:x-took ×1"},
		{"an answer that repeats the header of a replay", nil, []Answers{
			{Recorded: answer(200, `{"headers":{"Accept":["*/*"]}}`), Live: answer(200, `{"headers":{"Accept":["*/*"],"Tapedeck-Replay":["run-1"]}}`)},
			{Recorded: answer(200, `{"HTTP_ACCEPT":"*/*"}`), Live: answer(200, `{"HTTP_ACCEPT":"*/*","HTTP_TAPEDECK_REPLAY":"run-1","HTTP_NEW":"1"}`)},
			{Recorded: answer(200, "Accept: */*\nHost: shop\n", "Content-Type", "text/plain"), Live: answer(200, "Accept: */*\nTapedeck-Replay: run-1\nHost: shop\n", "Content-Type", "text/plain")},
		}, "new field_added body:$.HTTP_NEW ×1"},
		{"no answer", nil, []Answers{{Recorded: recorded, Failure: "timeout"}}, "new no_answer answer ×1"},
	} {
		cmp := comparer(t, Options{})
		if c.evidence != nil {
			c.evidence(cmp)
		}
		for _, a := range c.answers {
			copied := *a.Recorded
			a.Recorded = &copied
			cmp.Compare(a)
		}
		if got := found(cmp.Finish()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// A difference that the baseline also has is noise, unless the target has it significantly more
// often.
func TestBaseline(t *testing.T) {
	body := func(hits int) *recording.Exchange { return answer(200, fmt.Sprintf(`{"hits":%d}`, hits)) }
	for _, c := range []struct {
		name           string
		live, baseline func(step int) int
		want           string
	}{
		{"both vary", func(n int) int { return n + 1 }, func(n int) int { return n + 2 }, "noise value_changed body:$.hits ×200"},
		{"only the target", func(n int) int { return 1 }, func(int) int { return 0 }, "new value_changed body:$.hits ×200"},
		{"both in the same way", func(int) int { return 1 }, func(int) int { return 1 }, "noise value_changed body:$.hits ×200"},
		{"the baseline now and then, the target always", func(int) int { return 1 }, func(n int) int { return btoi(n%20 == 0) * 2 }, "new value_changed body:$.hits ×200"},
	} {
		cmp := comparer(t, Options{})
		for step := range 200 {
			cmp.Compare(Answers{Step: step, Recorded: body(0), Live: body(c.live(step)), Baseline: body(c.baseline(step))})
		}
		if got := found(cmp.Finish()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A second replay knows what the first one observed.
func TestEarlierReplay(t *testing.T) {
	replay := func(earlier *Observed, live func(step int) string) *Result {
		c := comparer(t, Options{})
		c.Baseline(earlier)
		for step := range 5 {
			c.Compare(Answers{Step: step, Recorded: answer(200, `{"id":"a","n":0,"fixed":1}`), Live: answer(200, live(step))})
		}
		return c.Finish()
	}
	first := replay(nil, func(step int) string { return fmt.Sprintf(`{"id":"x%d","n":0,"fixed":2}`, step) })
	text, err := first.Observed.Encode([]string{"GET /a"})
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := DecodeObserved(text, []string{"GET /b", "GET /a"})
	if err != nil || len(earlier.groups) != 2 {
		t.Fatal(err, earlier)
	}
	if earlier, err = DecodeObserved(text, []string{"GET /a"}); err != nil {
		t.Fatal(err)
	}
	second := replay(earlier, func(step int) string { return fmt.Sprintf(`{"id":"y%d","n":%d,"fixed":2}`, step, btoi(step == 3)) })
	if got, want := found(second), "new value_changed body:$.n ×1; known value_changed body:$.fixed ×5; noise value_changed body:$.id ×5"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if second.Matched != 4 {
		t.Errorf("%d match", second.Matched)
	}
	for _, bad := range []string{`{`, `[{"endpoint":"GET /a","values":"!"}]`, `[{"endpoint":"GET /a","values":"AAA="}]`} {
		if _, err := DecodeObserved(json.RawMessage(bad), []string{"GET /a"}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestHasher(t *testing.T) {
	h := NewHasher()
	base := answer(200, `{}`, "X-A", "1", "X-B", "2", "Date", "today")
	for name, c := range map[string]struct {
		e    *recording.Exchange
		same bool
	}{
		"what is not compared":      {answer(200, `{}`, "X-A", "1", "X-B", "2", "date", "tomorrow", "Content-Length", "2"), true},
		"the order of headers":      {answer(200, `{}`, "X-B", "2", "X-A", "1"), true},
		"names in another case":     {answer(200, `{}`, "x-b", "2", "x-a", "1"), true},
		"another status":            {answer(201, `{}`, "X-A", "1", "X-B", "2"), false},
		"another body":              {answer(200, `{ }`, "X-A", "1", "X-B", "2"), false},
		"another value":             {answer(200, `{}`, "X-A", "2", "X-B", "2"), false},
		"values of different names": {answer(200, `{}`, "X-A", "2", "X-B", "1"), false},
		"a header less":             {answer(200, `{}`, "X-A", "1"), false},
		"a header twice":            {answer(200, `{}`, "X-A", "1", "X-B", "2", "X-B", "2"), false},
	} {
		if got := h.Answer(c.e) == h.Answer(base); got != c.same {
			t.Errorf("%s: equal is %v", name, got)
		}
	}
	for _, tag := range []string{recording.TagIncomplete, recording.TagTruncated} {
		e := answer(200, `{}`)
		e.Tags.Set(tag, "cut")
		if h.Answer(e) != 0 {
			t.Errorf("an answer with the tag %s has a number", tag)
		}
	}
}

// Fisher's exact test agrees with the sum over all tables of small numbers.
func TestFisher(t *testing.T) {
	// R: fisher.test(matrix(c(8,2,1,5),2), alternative="greater")$p.value
	if got := fisher(8, 2, 1, 5); math.Abs(got-0.024475524) > 1e-6 {
		t.Errorf("%v", got)
	}
	if got := fisher(3, 1, 1, 3); math.Abs(got-0.242857142) > 1e-6 { // the lady tasting tea
		t.Errorf("%v", got)
	}
	if exceeds(5, 5, 100) || !exceeds(90, 5, 100) || !exceeds(1, 0, 100) || exceeds(6, 5, 100) {
		t.Error("wrong decisions")
	}
}

func FuzzDecodeObserved(f *testing.F) {
	f.Add(`[{"endpoint":"a","place":"b","kind":"value_changed","values":"AQAAAAAAAAAA"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := DecodeObserved(json.RawMessage(text), []string{"a"})
		if err != nil || len(text) == 0 {
			return
		}
		out, err := o.Encode([]string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeObserved(out, []string{"a"}); err != nil || len(again.groups) != len(o.groups) {
			t.Fatalf("%v: %s", err, out)
		}
	})
}

// With the rules that Accept writes, the next comparison finds no differences.
func TestAccept(t *testing.T) {
	groups := []Answers{
		{Recorded: answer(200, `{"a":1,"b":{"c":[{"d":1}]},"e":1}`), Live: answer(201, `{"a":2,"b":{"c":[{"d":2}]},"new":1}`, "X-New", "1")},
		{Endpoint: 1, Recorded: answer(200, `text`, "Content-Type", "text/plain"), Live: answer(200, `other`, "Content-Type", "text/plain")},
		{Endpoint: 1, Recorded: answer(200, `text`), Failure: "reset"},
	}
	run := func(set *rules.Set) *Result {
		m, err := match.New(match.Options{Rules: set})
		if err != nil {
			t.Fatal(err)
		}
		c := New(Options{Matcher: m})
		for _, a := range groups {
			recorded := *a.Recorded
			a.Recorded = &recorded
			c.Compare(a)
		}
		return c.Finish()
	}
	first := run(nil)
	file, left, err := first.Accept([]string{"GET /a", "GET /{id}"})
	if err != nil || len(left) != 1 || left[0].Kind != NoAnswer {
		t.Fatalf("%v, left %v\n%s", err, left, file)
	}
	set, err := rules.Parse("rules.yaml", file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := found(run(set)), "new no_answer answer ×1"; got != want {
		t.Errorf("with\n%s\ngot  %s\nwant %s", file, got, want)
	}
}
