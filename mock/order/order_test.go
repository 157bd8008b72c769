package order

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

var start = time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)

// tape is a recording whose requests differ only in their endpoint.
type tape struct {
	recorded []Recorded
	answers  []string
	by       map[string][]uint32
}

// add records an answer. conn is the connection; headers are name, value, …
func (t *tape) add(endpoint, answer, conn string, headers ...string) {
	if t.by == nil {
		t.by = map[string][]uint32{}
	}
	n := len(t.recorded)
	at := start.Add(time.Duration(n) * time.Millisecond)
	t.recorded = append(t.recorded, Recorded{Identify(fields(headers...), connected(conn)), 0, at, at.Add(time.Microsecond)})
	t.answers = append(t.answers, answer)
	t.by[endpoint] = append(t.by[endpoint], uint32(n))
}

func connected(name string) uint64 {
	if name == "" {
		return 0
	}
	return Hash(name)
}

func fields(headers ...string) (h recording.Headers) {
	for i := 0; i+1 < len(headers); i += 2 {
		h = append(h, recording.Header{Name: headers[i], Value: headers[i+1]})
	}
	return h
}

// mock answers from a tape.
type mock struct {
	*Chooser
	*tape
}

func (t *tape) mock(p Policy) mock {
	Share(len(t.recorded), func(i int) *Identity { return &t.recorded[i].Identity }, func(i int, s Shared) { t.recorded[i].Shared = s })
	return mock{New(p, len(t.recorded), func(e uint32) Recorded { return t.recorded[e] }), t}
}

func (m mock) ask(endpoint, conn string, headers ...string) string {
	entries := m.by[endpoint]
	e, ok := Choose(m.Chooser, Hash(endpoint), entries, Identify(fields(headers...), connected(conn)))
	if !ok {
		return "miss"
	}
	return m.answers[e]
}

func (m mock) askTimes(n int, endpoint string) (got []string) {
	for range n {
		got = append(got, m.ask(endpoint, ""))
	}
	return got
}

func TestRepeatedRequestsAreAnsweredInOrderThenByPolicy(t *testing.T) {
	var rec tape
	for i := range 3 {
		rec.add("/counter", fmt.Sprint(i), "")
	}
	rec.add("/once", "x", "")
	for policy, want := range map[Policy][]string{
		Last:  {"0", "1", "2", "2", "2", "2", "2"},
		Cycle: {"0", "1", "2", "0", "1", "2", "0"},
		Miss:  {"0", "1", "2", "miss", "miss", "miss", "miss"},
	} {
		m := rec.mock(policy)
		if got := m.askTimes(7, "/counter"); !slices.Equal(got, want) {
			t.Errorf("%s: %v", policy, got)
		}
		again := "x"
		if policy == Miss {
			again = "miss"
		}
		if got := m.askTimes(2, "/once"); !slices.Equal(got, []string{"x", again}) {
			t.Errorf("%s: %v", policy, got)
		}
	}
	if _, err := ParsePolicy("first"); err == nil {
		t.Error("first is a policy")
	}
}

// Hoverfly #764, #679: a request of one endpoint must not advance another's sequence.
func TestSequencesDoNotMixAcrossEndpoints(t *testing.T) {
	var rec tape
	for i := range 3 {
		rec.add("/a", fmt.Sprint("a", i), "")
		rec.add("/b", fmt.Sprint("b", i), "")
	}
	m := rec.mock(Last)
	var got []string
	for _, endpoint := range []string{"/a", "/a", "/b", "/a", "/b", "/b", "/a", "/b"} {
		got = append(got, m.ask(endpoint, ""))
	}
	if want := []string{"a0", "a1", "b0", "a2", "b1", "b2", "a2", "b2"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// sessions lists the ways to recognise a session. With live, the identity differs from the recorded
// one, except for "the same cookie".
var sessions = map[string]func(i int, live bool) (conn string, headers []string){
	"cookie": func(i int, live bool) (string, []string) {
		return "c", []string{"Cookie", "lang=en; sessionid=" + name(i, live)}
	},
	"the same cookie": func(i int, live bool) (string, []string) {
		return "c", []string{"Cookie", "sessionid=" + name(i, false)}
	},
	"token": func(i int, live bool) (string, []string) {
		return "c", []string{"Authorization", "Bearer " + name(i, live)}
	},
	"key": func(i int, live bool) (string, []string) { return "c", []string{"X-Api-Key", name(i, live)} },
	"trace": func(i int, live bool) (string, []string) {
		return "c", []string{"Traceparent", "00-" + name(i, live) + "-b7ad6b7169203331-01"}
	},
	"b3": func(i int, live bool) (string, []string) {
		return "c", []string{"B3", "00000000000000" + name(i, live) + "-1-1"}
	},
	"request id": func(i int, live bool) (string, []string) { return "c", []string{"X-Request-Id", name(i, live)} },
	"connection": func(i int, live bool) (string, []string) { return name(i, live), nil },
	"cookie of all, trace": func(i int, live bool) (string, []string) {
		return "c", []string{"Authorization", "key", "X-Request-Id", name(i, live)}
	},
}

func name(i int, live bool) string {
	if live {
		return fmt.Sprint("live", (i*37)%100)
	}
	return fmt.Sprint("recorded", i)
}

// WireMock PR #3506, Keploy PR #4570: in 100 parallel sessions of create, read, update, read with
// equal requests, each session reads its own writes.
func TestEachSessionReadsItsOwnWrites(t *testing.T) {
	const n = 100
	steps := [][2]string{{"POST /item", "created"}, {"GET /item", "v1"}, {"PUT /item", "updated"}, {"GET /item", "v2"}}
	record := map[string]func(add func(session, step int)){
		"recorded one after the other": func(add func(session, step int)) {
			for i := range n {
				for j := range steps {
					add(i, j)
				}
			}
		},
		"recorded at the same time": func(add func(session, step int)) {
			for j := range steps {
				for i := range n {
					add((i*61+j*13)%n, j)
				}
			}
		},
	}
	for how, by := range sessions {
		for when, say := range record {
			t.Run(how+", "+when, func(t *testing.T) {
				var rec tape
				say(func(session, step int) {
					conn, headers := by(session, false)
					rec.add(steps[step][0], fmt.Sprintf("%s of %d", steps[step][1], session), conn, headers...)
				})
				if when != "recorded one after the other" { // requests were in flight together
					for i := range rec.recorded {
						rec.recorded[i].End = rec.recorded[i].Start.Add(time.Second)
					}
				}
				m := rec.mock(Last)
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						conn, headers := by(i, true)
						mine := ""
						for j, step := range steps {
							got := m.ask(step[0], conn, headers...)
							var what string
							var of int
							fmt.Sscanf(got, "%s of %d", &what, &of)
							if what != step[1] {
								t.Errorf("session %d, step %d: %s", i, j, got)
							}
							if j == 0 {
								mine = fmt.Sprint(of)
							} else if fmt.Sprint(of) != mine {
								t.Errorf("session %d stands for %s and is answered %s", i, mine, got)
							}
						}
					})
				}
				wg.Wait()
				if left := m.Unserved(); left != 0 {
					t.Errorf("%d answers were never given", left)
				}
			})
		}
	}
}

// The same requests in the same order get the same answers, even in sessions that were not
// recorded.
func TestAnswersDependOnRecordingAndRequestsAlone(t *testing.T) {
	var rec tape
	for i := range 50 {
		rec.add("/a", fmt.Sprint(i), fmt.Sprint(i%5), "Cookie", fmt.Sprint("sid=", i%7), "X-Request-Id", fmt.Sprint(i/3))
	}
	run := func(p Policy) (got []string) {
		m := rec.mock(p)
		for i := range 120 {
			got = append(got, m.ask("/a", fmt.Sprint("c", i%4), "Cookie", fmt.Sprint("sid=live", i%11), "X-Request-Id", fmt.Sprint("live", i/2)))
		}
		return got
	}
	for _, p := range Policies() {
		want := run(p)
		for range 5 {
			if got := run(p); !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, then %v", p, want, got)
			}
		}
	}
}

// A caller with a pool of several connections gets answers in recorded order, whichever connection
// it uses.
func TestPoolOfOneCallerKeepsRecordedOrder(t *testing.T) {
	var rec tape
	for i, conn := range []string{"a", "b", "a", "b", "b", "a"} {
		rec.add("/counter", fmt.Sprint(i), conn)
	}
	m := rec.mock(Last)
	var got []string
	for _, conn := range []string{"x", "x", "x", "y", "x", "y"} {
		got = append(got, m.ask("/counter", conn))
	}
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// A session that asks more often than it did in the recording gets its own last answer, not one of
// another session.
func TestSessionIsNotAnsweredByOthers(t *testing.T) {
	var rec tape
	for i := range 3 {
		rec.add("/me", fmt.Sprint("recorded ", i), "", "Cookie", fmt.Sprint("sid=", i))
	}
	m := rec.mock(Last)
	for range 3 {
		if got := m.ask("/me", "", "Cookie", "sid=live"); got != "recorded 0" {
			t.Errorf("got %s", got)
		}
	}
	if got := m.ask("/me", "", "Cookie", "sid=other"); got != "recorded 1" {
		t.Errorf("got %s", got)
	}
}

// A load that runs twice gets the same answers twice if the policy is to cycle.
func TestCycleServesNewSessionsAgain(t *testing.T) {
	var rec tape
	for i := range 4 {
		rec.add("/me", fmt.Sprint(i, " first"), "", "Cookie", fmt.Sprint("sid=", i))
		rec.add("/me", fmt.Sprint(i, " second"), "", "Cookie", fmt.Sprint("sid=", i))
	}
	m := rec.mock(Cycle)
	var runs [3][]string
	for run := range runs {
		for i := range 4 {
			for range 2 {
				runs[run] = append(runs[run], m.ask("/me", "", "Cookie", fmt.Sprint("sid=live", run, i)))
			}
		}
	}
	if !slices.Equal(runs[0], runs[1]) || !slices.Equal(runs[1], runs[2]) {
		t.Errorf("got %v, then %v, then %v", runs[0], runs[1], runs[2])
	}
}

func TestReturnedAnswersAreGivenAgain(t *testing.T) {
	var rec tape
	for i := range 3 {
		rec.add("/a", fmt.Sprint(i), "", "Cookie", "sid=1")
	}
	m := rec.mock(Miss)
	for i, want := range []string{"0", "1", "1", "2", "miss"} {
		if got := m.ask("/a", "", "Cookie", "sid=live"); got != want {
			t.Errorf("answer %d: %s, want %s", i, got, want)
		}
		if i == 1 {
			m.Return(Hash("/a"), 1)
		}
	}
}

func TestIdentities(t *testing.T) {
	same := func(a, b []string) bool { return Identify(fields(a...), 0) == Identify(fields(b...), 0) }
	for _, c := range []struct {
		a, b []string
		want bool
	}{
		{[]string{"Cookie", "sid=1; theme=dark"}, []string{"Cookie", "sid=1; theme=light"}, true},
		{[]string{"Cookie", "sid=1"}, []string{"Cookie", "sid=2"}, false},
		{[]string{"Cookie", "sid=1; csrftoken=a"}, []string{"Cookie", "sid=1; csrftoken=b"}, true},
		{[]string{"Cookie", "a=1"}, []string{"Cookie", "a=2"}, false},
		{[]string{"Traceparent", "00-t-s1-01"}, []string{"Traceparent", "00-t-s2-01"}, true},
		{[]string{"Traceparent", "00-t-s1-01", "X-Request-Id", "1"}, []string{"X-Request-Id", "2", "Traceparent", "00-t-s2-01"}, true},
		{[]string{"Traceparent", "nonsense", "X-Request-Id", "1"}, []string{"X-Request-Id", "1"}, true},
		{[]string{"Authorization", "Bearer a", "X-Api-Key", "1"}, []string{"X-Api-Key", "2", "Authorization", "Bearer a"}, true},
		{[]string{"X-Api-Key", "a"}, []string{"X-User-Id", "a"}, false},
		{[]string{"Accept", "a"}, nil, true},
		{[]string{"Authorization", ""}, nil, true},
	} {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %t", c.a, c.b, got)
		}
	}
}

// The time of a choice does not grow with the number of answers.
func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var rec tape
			for i := range n {
				rec.add("/a", "", "c", "Cookie", fmt.Sprint("sid=", i/10), "X-Request-Id", fmt.Sprint(i))
			}
			m := rec.mock(Cycle)
			ids := make([]Identity, n)
			for i := range ids {
				ids[i] = Identify(fields("Cookie", fmt.Sprint("sid=live", i/10), "X-Request-Id", fmt.Sprint("live", i)), 1)
			}
			Choose(m.Chooser, 1, m.by["/a"], ids[0])
			for i := 0; b.Loop(); i++ {
				Choose(m.Chooser, 1, m.by["/a"], ids[i%n])
			}
		})
	}
}
