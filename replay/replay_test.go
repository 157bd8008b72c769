package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/wire"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// call is a recorded request with its answer. Each caller has its own cookie.
type call struct {
	at             time.Duration
	took           time.Duration
	caller         string
	method, path   string
	authorization  string
	body           string
	status         int
	answer         string
	issuedCookie   string
	answeredHeader [2]string
}

func (c call) exchange(n int) *recording.Exchange {
	e := &recording.Exchange{
		MsgType: recording.MsgType, TS: began.Add(c.at), Duration: max(c.took, 5*time.Millisecond).Milliseconds(), Direction: recording.In, L7Protocol: recording.HTTP1,
		UUID: recording.UUID{15: byte(n), 14: byte(n >> 8)}, Command: c.method, Location: c.path,
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: c.method, URL: c.path, URI: c.path, Host: "shop", Version: "1.1", Body: []byte(c.body)},
			Res: recording.HTTPResponse{StatusCode: c.status, StatusMessage: http.StatusText(c.status), ContentType: "application/json", Body: []byte(c.answer)},
		},
	}
	if e.HTTP.Res.StatusCode == 0 {
		e.HTTP.Res.StatusCode = 200
	}
	header := func(h *recording.Headers, name, value string) {
		if value != "" {
			*h = append(*h, recording.Header{Name: name, Value: value})
		}
	}
	header(&e.HTTP.Req.Headers, "Host", "shop")
	header(&e.HTTP.Req.Headers, "Cookie", c.caller)
	header(&e.HTTP.Req.Headers, "Authorization", c.authorization)
	if c.body != "" {
		header(&e.HTTP.Req.Headers, "Content-Type", "application/json")
		header(&e.HTTP.Req.Headers, "Content-Length", fmt.Sprint(len(c.body)))
	}
	header(&e.HTTP.Res.Headers, "Content-Type", "application/json")
	header(&e.HTTP.Res.Headers, "Set-Cookie", c.issuedCookie)
	header(&e.HTTP.Res.Headers, c.answeredHeader[0], c.answeredHeader[1])
	return e
}

// prepare loads calls.
func prepare(t *testing.T, calls []call) (*plan.Plan, *carry.Graph, *Comparison) {
	t.Helper()
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &Comparison{Hasher: compare.NewHasher(), Comparer: compare.New(compare.Options{Matcher: m})}
	p, g, err := Prepare(t.Context(), func(yield func(*recording.Exchange, error) bool) {
		for i, one := range calls {
			if !yield(one.exchange(i), nil) {
				return
			}
		}
	}, PrepareOptions{Compare: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, g, c
}

// pipes is a network within the process, so that time can be virtual.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	end   chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), end: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.end) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.end:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve serves a handler on pipes, and returns a client for it. stop ends both.
func serve(t *testing.T, h http.Handler) (c *wire.Client, stop func()) {
	t.Helper()
	l := newPipes()
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	c, err := wire.New(wire.Options{Target: &url.URL{Scheme: "http", Host: "shop.test"}, Dial: l.dial, Run: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		c.Close()
		s.Close()
		<-done
	}
}

func answerOK(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{}`)
}

// run replays calls against a handler on a virtual clock.
func run(t *testing.T, calls []call, h http.Handler, change func(*Options)) (r *report.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, g, c := prepare(t, calls)
		client, stop := serve(t, h)
		defer stop()
		o := Options{Plan: p, Graph: g, Target: client, Compare: c}
		if change != nil {
			change(&o)
		}
		var err error
		if r, err = Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// gets returns n recorded requests, one every pause.
func gets(n int, pause time.Duration) (all []call) {
	for i := range n {
		all = append(all, call{at: time.Duration(i) * pause, method: "GET", path: fmt.Sprintf("/items/%d", i%7), answer: `{}`})
	}
	return all
}

// An hour's recording at twice the speed takes half an hour, however long the answers take.
func TestAnHourAtTwiceTheSpeed(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(70 * time.Millisecond)
		answerOK(w, r)
	})
	r := run(t, gets(36_001, 100*time.Millisecond), h, func(o *Options) { o.Load.Speed = 2 })
	if took := r.Ended.Sub(r.Started); (took - 30*time.Minute - 70*time.Millisecond).Abs() > 50*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	total := r.Results.Total()
	if lag, _ := total.Lag.Percentile(0.99); total.Sent != 36_001 || total.Failed > 0 || lag > 2*time.Millisecond || len(r.Differences) > 0 {
		t.Errorf("%d sent, %d failed, lag %s, %+v", total.Sent, total.Failed, lag, r.Differences)
	}
}

// The response time shows a stall of the target, because it counts from when a request was due.
// Virtual users hide a stall, because they send nothing meanwhile.
func TestAStallShows(t *testing.T) {
	stalling := func() http.Handler {
		var once sync.Once
		var free chan struct{} // allows one request at a time; made in the bubble, where time is virtual
		n := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			once.Do(func() { free = make(chan struct{}, 1) })
			free <- struct{}{}
			defer func() { <-free }()
			if n++; n == 500 {
				time.Sleep(time.Second)
			}
			answerOK(w, r)
		})
	}
	calls := gets(2000, 5*time.Millisecond)
	open := run(t, calls, stalling(), nil).Results.Total()
	closed := run(t, calls, stalling(), func(o *Options) { o.Load.Users = 1 }).Results.Total()
	p, _ := open.Response.Percentile(0.99)
	q, _ := closed.Response.Percentile(0.99)
	if p < 800*time.Millisecond || q > 10*time.Millisecond {
		t.Errorf("p99 is %s in the open loop and %s in the closed one", p, q)
	}
}

// A build with one endpoint that got 30 ms slower misses a goal that is relative to the recording.
// A build that is as fast as the recorded one reaches it.
func TestAnEndpointGotSlower(t *testing.T) {
	calls := gets(60, 20*time.Millisecond)
	for i := range 20 {
		calls = append(calls, call{at: 2*time.Second + time.Duration(i)*100*time.Millisecond, took: 40 * time.Millisecond, method: "GET", path: "/cart", answer: `{}`})
	}
	build := func(cart time.Duration) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/cart" {
				time.Sleep(cart)
			}
			answerOK(w, r)
		})
	}
	for slower, want := range map[time.Duration]string{
		0:                     "",
		30 * time.Millisecond: "exit code 1: *: latency.p50 > recorded + 20ms: GET /cart: latency.p50 is 70 ms, recorded 40 ms",
	} {
		var goals []goal.Goal
		for _, text := range []string{"*: latency.p50 > recorded + 20ms", "latency.p50 > recorded + 20ms"} {
			g, err := goal.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			goals = append(goals, g)
		}
		r := run(t, calls, build(40*time.Millisecond+slower), nil)
		r.Judge(goals)
		got := ""
		for _, x := range r.Exits {
			got += x.String()
		}
		if got != want {
			t.Errorf("%s slower: %q, want %q", slower, got, want)
		}
	}
}

// shopServer requires the token that it issued.
type shopServer struct {
	login time.Duration
	mu    sync.Mutex
	n     int
	valid map[string]bool
	got   []string
}

func (s *shopServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/login" {
		s.n++
		token := fmt.Sprintf("tok-%04d-Zk93hf72KdLq", s.n)
		s.valid[token] = true
		s.mu.Unlock()
		time.Sleep(s.login)
		s.mu.Lock()
		json.NewEncoder(w).Encode(map[string]string{"token": token})
		return
	}
	if r.URL.Path != "/open" && !s.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.WriteHeader(401)
	}
	io.WriteString(w, `{}`)
}

// A slow login delays only the requests that depend on it.
func TestASlowLoginDelaysItsSessionAlone(t *testing.T) {
	const token = "tok-9999-Qm48sb01PxWc"
	calls := []call{
		{at: 0, method: "POST", path: "/login", body: `{"user":"joe"}`, took: 20 * time.Millisecond, answer: `{"token":"` + token + `"}` + "\n"},
		{at: 50 * time.Millisecond, method: "GET", path: "/open", answer: `{}`},
		{at: 100 * time.Millisecond, method: "GET", path: "/orders", authorization: "Bearer " + token, answer: `{}`},
		{at: 150 * time.Millisecond, method: "GET", path: "/open", answer: `{}`},
		{at: 200 * time.Millisecond, method: "GET", path: "/orders", authorization: "Bearer " + token, answer: `{}`},
		{at: 900 * time.Millisecond, method: "GET", path: "/orders", authorization: "Bearer " + token, answer: `{}`},
	}
	s := &shopServer{login: 520 * time.Millisecond, valid: map[string]bool{}}
	r := run(t, calls, s, nil)
	for _, e := range r.Results.Endpoints {
		if e.Statuses["401"] > 0 || e.Failed > 0 {
			t.Errorf("%s: %+v", e.Name, e.Counts)
		}
		held, _ := e.Held.Max()
		if want := e.Name == "GET /orders"; held > 0 != want {
			t.Errorf("%s was held up for %s", e.Name, held)
		}
		if lag, _ := e.Lag.Max(); lag > time.Millisecond {
			t.Errorf("%s was sent %s late", e.Name, lag)
		}
	}
	if want := []string{"POST /login", "GET /open", "GET /open", "GET /orders", "GET /orders", "GET /orders"}; !slices.Equal(s.got, want) {
		t.Errorf("sent %q", s.got)
	}
	if len(r.Differences) > 0 {
		t.Errorf("%+v", r.Differences)
	}
	if len(r.Edges) != 1 || r.Edges[0].Fired != 3 || r.Edges[0].Unfired != 0 {
		t.Errorf("%+v", r.Edges)
	}
}

// Each copy has its own values.
func TestCopies(t *testing.T) {
	const token = "tok-9999-Qm48sb01PxWc"
	calls := []call{
		{at: 0, method: "POST", path: "/login", body: `{"user":"joe"}`, answer: `{"token":"` + token + `"}` + "\n"},
		{at: 100 * time.Millisecond, method: "GET", path: "/orders", authorization: "Bearer " + token, answer: `{}`},
	}
	s := &shopServer{valid: map[string]bool{}}
	r := run(t, calls, s, func(o *Options) { o.Load.Copies, o.Load.Passes = 5, 3 })
	if total := r.Results.Total(); total.Sent != 30 || total.Failed > 0 || s.n != 15 || r.Edges[0].Fired != 15 || len(r.Differences) > 0 {
		t.Errorf("%+v, %d logins, %+v, %+v", total.Counts, s.n, r.Edges, r.Differences)
	}
}

// Requests beyond MaxInFlight are sent late, and counted.
func TestTheBoundIsCounted(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		answerOK(w, r)
	})
	r := run(t, gets(100, 10*time.Millisecond), h, func(o *Options) { o.MaxInFlight = 10 })
	if total := r.Results.Total(); total.Sent != 100 || r.Generator.BoundHits == 0 || r.Generator.Bound == "" {
		t.Errorf("%d sent, %+v", total.Sent, r.Generator)
	}
	r.Judge(nil)
	if r.ExitCode != report.GeneratorBound {
		t.Errorf("exit code %d: %v", r.ExitCode, r.Exits)
	}
}

func TestAnInterruptedRunIsPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, g, c := prepare(t, gets(1000, 100*time.Millisecond))
		client, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
			}
		}))
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := Run(ctx, Options{Plan: p, Graph: g, Target: client, Compare: c})
		if err != nil {
			t.Fatal(err)
		}
		if took := r.Ended.Sub(r.Started); took > 6*time.Second || r.Partial == "" {
			t.Errorf("it ended after %s, partial: %q", took, r.Partial)
		}
		if total := r.Results.Total(); total.Sent > 0 || total.Unsent["interrupted"] == 0 {
			t.Errorf("%+v", total.Counts)
		}
	})
}

// A target whose answers never end does not hold a timed run beyond its grace period. An answer
// that took as long in the recording does not count as a failure.
func TestAnswersThatNeverEndDoNotHoldTheRun(t *testing.T) {
	drips := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	})
	for name, c := range map[string]struct {
		load          Load
		tooLong, over int64
	}{
		"recorded times": {Load{For: 10 * time.Second}, 4, 1},
		"users":          {Load{For: 10 * time.Second, Users: 2, Passes: 3}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			calls := gets(5, time.Second)
			calls[1].took = time.Hour
			r := run(t, calls, drips, func(o *Options) { o.Load, o.Grace = c.load, 20*time.Second })
			if took := r.Ended.Sub(r.Started); took != 30*time.Second || r.Partial != "" {
				t.Errorf("it took %s, partial: %q", took, r.Partial)
			}
			if total := r.Results.Total(); total.Sent != c.tooLong || total.Failures["too_long"] != c.tooLong || total.Unsent["the time was over"] != c.over {
				t.Errorf("%+v", total.Counts)
			}
		})
	}
}

func TestShapes(t *testing.T) {
	calls := gets(50, 100*time.Millisecond)
	for i := range calls {
		calls[i].caller = fmt.Sprintf("sid=caller-%d-Hq73", i%5)
	}
	for _, c := range []struct {
		name  string
		load  Load
		sent  int64
		takes time.Duration
		loop  report.Loop
	}{
		{"recorded times", Load{}, 50, 4900 * time.Millisecond, report.Open},
		{"three passes", Load{Passes: 3, Speed: 10}, 150, 1490 * time.Millisecond, report.Open},
		{"for a time", Load{For: 2 * time.Second}, 20, 1900 * time.Millisecond, report.Open},
		{"a number", Load{Requests: 7, Rate: 10}, 7, 600 * time.Millisecond, report.Open},
		{"a rate", Load{Rate: 100}, 50, 490 * time.Millisecond, report.Open},
		{"a rate for a time", Load{Rate: 100, For: 3 * time.Second}, 300, 2990 * time.Millisecond, report.Open},
		{"users", Load{Users: 3, Passes: 2}, 300, 0, report.Closed},
		{"sessions", Load{Sessions: 2}, 50, 3 * (9*500*time.Millisecond - 9*5*time.Millisecond), report.Closed},
		{"sessions at ten times the speed", Load{Sessions: 5, Speed: 10}, 50, (9*500*time.Millisecond - 9*5*time.Millisecond) / 10, report.Closed},
	} {
		r := run(t, calls, http.HandlerFunc(answerOK), func(o *Options) { o.Load = c.load })
		total := r.Results.Total()
		if took := r.Ended.Sub(r.Started); total.Sent != c.sent || (took-c.takes).Abs() > 20*time.Millisecond || r.Load.Loop != c.loop {
			t.Errorf("%s: %d sent in %s, %s loop; want %d in %s", c.name, total.Sent, took, r.Load.Loop, c.sent, c.takes)
		}
		if total.Failed > 0 || len(r.Differences) > 0 {
			t.Errorf("%s: %+v %+v", c.name, total.Counts, r.Differences)
		}
	}
}

// A replay that can't reach the target or the baseline ends with the exit code for "could not run".
func TestNobodyAnswers(t *testing.T) {
	away := func(why error) *wire.Client {
		c, err := wire.New(wire.Options{Target: &url.URL{Scheme: "http", Host: "away.test"}, Run: "test", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, why }})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"a target that refuses", func(o *Options) { o.Target = away(syscall.ECONNREFUSED) }},
		{"a target without a name", func(o *Options) { o.Target = away(&net.DNSError{IsNotFound: true}) }},
		{"an unreachable target", func(o *Options) { o.Target = away(syscall.EHOSTUNREACH) }},
		{"a baseline that refuses", func(o *Options) { o.Baseline = away(syscall.ECONNREFUSED) }},
	} {
		r := run(t, gets(3, time.Second), http.HandlerFunc(answerOK), c.change)
		r.Judge(nil)
		if r.ExitCode != report.CouldNotRun {
			t.Errorf("%s: exit code %d: %v", c.name, r.ExitCode, r.Exits)
		}
	}
	r := run(t, gets(3, time.Second), http.HandlerFunc(answerOK), func(o *Options) { o.Baseline = o.Target })
	if r.Judge(nil); r.ExitCode != 0 {
		t.Errorf("a baseline that answers: exit code %d: %v", r.ExitCode, r.Exits)
	}
}
