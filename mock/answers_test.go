package mock

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/recording"
)

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// RRPair files of other tools hold decoded bodies beside the headers of the encoded ones. The
// client gets a body that fits Content-Encoding and Content-Length.
func TestContentEncodingAndLengthAreNeverStale(t *testing.T) {
	const text = "hello, hello, hello, hello"
	coded := exchange(0, "GET", "http://dep.example/coded", "", 200, zipped(text), "Content-Encoding", "gzip", "Vary", "Accept-Encoding")
	coded.HTTP.Req.Headers = append(coded.HTTP.Req.Headers, recording.Header{Name: "Accept-Encoding", Value: "gzip"})
	unasked := exchange(1, "GET", "http://dep.example/unasked", "", 200, zipped(text), "Content-Encoding", "gzip")
	decoded := exchange(2, "GET", "http://dep.example/decoded", "", 200, text, "Content-Encoding", "gzip")
	decoded.HTTP.Res.Headers = append(decoded.HTTP.Res.Headers[:1], recording.Header{Name: "Content-Length", Value: "46"})
	m := start(t, []*recording.Exchange{coded, unasked, decoded})
	c := m.client()
	for _, test := range []struct {
		path, accept string
		coded        bool
	}{
		{"/coded", "gzip", true}, {"/coded", "br, GZIP;q=0.5", true}, {"/coded", "*", true}, {"/coded", "gzip;q=0", false}, {"/coded", "", false}, {"/coded", "identity", false},
		{"/unasked", "", true}, {"/unasked", "gzip", true},
		{"/decoded", "gzip", false}, {"/decoded", "", false},
	} {
		var headers []string
		if test.accept != "" {
			headers = []string{"Accept-Encoding", test.accept}
		}
		a := fetch(t, c, "GET", "http://dep.example"+test.path, "", headers...)
		if coded := a.header.Get("Content-Encoding") == "gzip"; coded != test.coded || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
			t.Errorf("%s for %q: %v, %d bytes", test.path, test.accept, a.header, len(a.body))
		}
		body := a.body
		if test.coded {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			plain, _ := io.ReadAll(z)
			body = string(plain)
		}
		if body != text {
			t.Errorf("%s for %q: %q", test.path, test.accept, body)
		}
	}
}

func TestFramingIsAsRecorded(t *testing.T) {
	m := start(t, []*recording.Exchange{
		exchange(0, "GET", "http://dep.example/length", "", 200, "body"),
		exchange(1, "GET", "http://dep.example/chunked", "", 200, "body", "Transfer-Encoding", "chunked"),
		closeDelimited(exchange(2, "GET", "http://dep.example/close", "", 200, "body")),
	})
	for path, want := range map[string]string{
		"/length":  "Content-Length: 4\r\n",
		"/chunked": "Transfer-Encoding: chunked\r\n",
		"/close":   "Connection: close\r\n",
	} {
		for _, version := range []string{"1.1", "1.0"} {
			conn := m.dial()
			fmt.Fprintf(conn, "GET http://dep.example%s HTTP/%s\r\nHost: dep.example\r\nConnection: close\r\n\r\n", path, version)
			p, err := io.ReadAll(conn)
			head, body, _ := strings.Cut(string(p), "\r\n\r\n")
			if err != nil || version == "1.1" && !strings.Contains(head+"\r\n", want) || version == "1.0" && strings.Contains(head, "chunked") {
				t.Errorf("%s in HTTP/%s: %q, %v", path, version, p, err)
			}
			if body != "body" && body != "4\r\nbody\r\n0\r\n\r\n" {
				t.Errorf("%s in HTTP/%s: body %q", path, version, body)
			}
			if path == "/close" && strings.Contains(head, "Content-Length") {
				t.Errorf("%s in HTTP/%s: %q", path, version, p)
			}
		}
	}
}

func closeDelimited(e *recording.Exchange) *recording.Exchange {
	e.HTTP.Res.Headers = slices.DeleteFunc(e.HTTP.Res.Headers, func(h recording.Header) bool { return h.Name == "Content-Length" })
	return e
}

func TestDatesMoveWithTheClockOnRequest(t *testing.T) {
	recorded := exchange(0, "GET", "http://dep.example/a", "", 200, "a",
		"Date", begun.Format(http.TimeFormat), "Expires", begun.Add(time.Hour).Format(http.TimeFormat), "Last-Modified", begun.Add(-time.Hour).Format(http.TimeFormat),
		"Set-Cookie", "sid=1; Path=/; Expires="+begun.Add(24*time.Hour).Format(http.TimeFormat)+"; HttpOnly", "Set-Cookie", "gone=; expires=Thu, 01 Jan 1970 00:00:00 GMT", "X-Date", begun.Format(http.TimeFormat))
	for _, refresh := range []bool{false, true} {
		m := start(t, []*recording.Exchange{recorded}, func(o *Options) { o.RefreshDates = refresh })
		before := time.Now().Add(-2 * time.Second)
		a := fetch(t, m.client(), "GET", "http://dep.example/a", "")
		date, err := http.ParseTime(a.header.Get("Date"))
		if err != nil || date.After(before) != refresh {
			t.Errorf("refresh %t: date %s", refresh, a.header.Get("Date"))
		}
		for name, want := range map[string]time.Duration{"Expires": time.Hour, "Last-Modified": -time.Hour} {
			at, err := http.ParseTime(a.header.Get(name))
			if err != nil || at.Sub(date) != want {
				t.Errorf("refresh %t: %s is %v after Date", refresh, name, at.Sub(date))
			}
		}
		res := http.Response{Header: a.header}
		cookies := res.Cookies()
		if got := cookies[0].Expires.Sub(date); got != 24*time.Hour || !cookies[0].HttpOnly || cookies[0].Path != "/" {
			t.Errorf("refresh %t: cookie %v, %v after Date", refresh, cookies[0], got)
		}
		if cookies[1].Expires.Year() != 1970 || a.header.Get("X-Date") != begun.Format(http.TimeFormat) {
			t.Errorf("refresh %t: %v", refresh, a.header)
		}
	}
}

// go-vcr #22, mitmproxy #8139: answers come in recorded order, then by policy.
func TestRepeatedRequestsAreAnsweredInOrder(t *testing.T) {
	var all []*recording.Exchange
	for i := range 3 {
		all = append(all, exchange(time.Duration(i)*time.Second, "GET", "http://dep.example/counter", "", 200, fmt.Sprint(i)))
	}
	for policy, want := range map[order.Policy]string{order.Last: "01222", order.Cycle: "01201", order.Miss: "012MM"} {
		m := start(t, all, func(o *Options) { o.Policy = policy })
		got := ""
		for range 5 {
			a := fetch(t, m.client(), "GET", "http://dep.example/counter", "")
			if a.status == http.StatusNotImplemented {
				a.body = "M"
			}
			got += a.body
		}
		if got != want {
			t.Errorf("%s: %s", policy, got)
		}
		if r := m.Receipt(); policy == order.Miss && (r.Missed != 2 || r.Misses[0].Code != "exhausted") {
			t.Errorf("receipt %s", &r)
		}
	}
}

// WireMock PR #3506, Keploy PR #4570: in 100 parallel sessions each reads its own writes,
// whether requests differ by the created id or by the session's cookie alone.
func TestParallelSessionsReadTheirOwnWrites(t *testing.T) {
	const n = 100
	var all []*recording.Exchange
	at := time.Duration(0)
	add := func(session int, method, path, body, answer string) {
		at += time.Millisecond
		e := exchange(at, method, "http://dep.example"+path, body, 200, answer)
		e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "Cookie", Value: fmt.Sprintf("sid=REDACTED-%016x", session)})
		all = append(all, e)
	}
	for i := range n {
		add(i, "POST", "/items", `{"name":"x"}`, fmt.Sprintf(`{"id":%d}`, 1000+i))
	}
	for i := range n {
		add(i, "GET", "/mine", "", fmt.Sprintf(`{"id":%d,"state":"created"}`, 1000+i))
	}
	for i := range n {
		add(i, "PUT", "/mine", `{"state":"updated"}`, fmt.Sprintf(`{"id":%d,"ok":true}`, 1000+i))
	}
	for _, i := range rand.Perm(n) {
		add(i, "GET", "/mine", "", fmt.Sprintf(`{"id":%d,"state":"updated"}`, 1000+i))
	}
	for i := range n {
		add(i, "GET", fmt.Sprintf("/items/%d", 1000+i), "", fmt.Sprintf(`{"id":%d}`, 1000+i))
	}
	m := start(t, all)
	var wg sync.WaitGroup
	seen := make(chan string, n)
	for i := range n {
		wg.Go(func() {
			c := m.client()
			cookie := []string{"Cookie", fmt.Sprintf("sid=live-%d", i), "Content-Type", "application/json"}
			created := fetch(t, c, "POST", "http://dep.example/items", `{"name":"x"}`, cookie...)
			id := strings.Trim(created.body, `{"id:}`)
			seen <- id
			for _, step := range [][4]string{
				{"GET", "/mine", "", `{"id":` + id + `,"state":"created"}`}, {"PUT", "/mine", `{"state":"updated"}`, `{"id":` + id + `,"ok":true}`},
				{"GET", "/mine", "", `{"id":` + id + `,"state":"updated"}`}, {"GET", "/items/" + id, "", `{"id":` + id + `}`},
			} {
				if got := fetch(t, c, step[0], "http://dep.example"+step[1], step[2], cookie...); got.body != step[3] {
					t.Errorf("session %d, %s %s: %s, want %s", i, step[0], step[1], got.body, step[3])
				}
			}
		})
	}
	wg.Wait()
	close(seen)
	ids := map[string]bool{}
	for id := range seen {
		ids[id] = true
	}
	if len(ids) != n {
		t.Errorf("%d sessions were given %d ids", n, len(ids))
	}
	if r := m.Receipt(); r.Missed != 0 || r.NeverUsed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

// The same requests in the same order get the same answers, ten times in a row. With 64
// concurrent clients, no request is missed.
func TestAnswersAreTheSameEveryTime(t *testing.T) {
	var all []*recording.Exchange
	for i := range 60 {
		all = append(all, exchange(time.Duration(i)*time.Millisecond, "GET", fmt.Sprintf("http://dep.example/%d", i%7), "", 200, fmt.Sprint(i)))
	}
	run := func() (got []string) {
		m := start(t, all, func(o *Options) { o.Policy = order.Cycle })
		defer m.stop()
		c := m.client()
		for i := range 90 {
			got = append(got, fetch(t, c, "GET", fmt.Sprintf("http://dep.example/%d", i*i%7), "").body)
		}
		return got
	}
	want := run()
	for range 9 {
		if got := run(); !slices.Equal(got, want) {
			t.Fatalf("got %v, then %v", want, got)
		}
	}
	m := start(t, all)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			c := m.client()
			for i := range 20 {
				if a := fetch(t, c, "GET", fmt.Sprintf("http://dep.example/%d", i%7), ""); a.status != 200 {
					t.Errorf("%d: %s", a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
	if r := m.Receipt(); r.Served != 64*20 || r.Missed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

// A response that repeats a value of the request contains the live value.
func TestEchoedValuesAreTheCallersOwn(t *testing.T) {
	const recorded, live = "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "0b1c2d3e-4f50-4617-8899-aabbccddeeff"
	e := exchange(0, "POST", "http://dep.example/charge", `{"amount":5}`, 200, `{"request":"`+recorded+`","note":"x`+recorded+`","amount":5}`, "X-Request-Id", recorded, "Content-Type", "application/json")
	e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "X-Request-Id", Value: recorded})
	m := start(t, []*recording.Exchange{e})
	a := fetch(t, m.client(), "POST", "http://dep.example/charge", `{"amount":5}`, "X-Request-Id", live, "Content-Type", "application/json")
	if want := `{"request":"` + live + `","note":"x` + recorded + `","amount":5}`; a.body != want || a.header.Get("X-Request-Id") != live || a.header.Get("Content-Length") != fmt.Sprint(len(want)) {
		t.Errorf("%s\n%v", a.body, a.header)
	}
}

// A redacted value is served as its token.
func TestRedactedValuesAreServedAsTokens(t *testing.T) {
	m := start(t, []*recording.Exchange{exchange(0, "POST", "http://dep.example/login", `{"user":"a"}`, 200, `{"token":"REDACTED-0123456789abcdef"}`, "Set-Cookie", "sid=REDACTED-fedcba9876543210; Path=/")})
	a := fetch(t, m.client(), "POST", "http://dep.example/login", `{"user":"a"}`, "Content-Type", "application/json")
	if a.body != `{"token":"REDACTED-0123456789abcdef"}` || a.header.Get("Set-Cookie") != "sid=REDACTED-fedcba9876543210; Path=/" {
		t.Errorf("%s %v", a.body, a.header)
	}
}

// A response whose body was cut is a miss, unless that is allowed.
func TestCutBodiesAreMisses(t *testing.T) {
	cut := exchange(0, "GET", "http://dep.example/a", "", 200, "abc")
	cut.Tags.Set(recording.TagResponseBodySize, "1000")
	cut.Tags.Set(recording.TagTruncated, "true")
	unanswered := exchange(1, "GET", "http://dep.example/b", "", 0, "")
	unanswered.Tags.Set(recording.TagIncomplete, recording.NoAnswer)
	all := []*recording.Exchange{cut, unanswered}
	m := start(t, all)
	for _, path := range []string{"/a", "/b"} {
		if a := fetch(t, m.client(), "GET", "http://dep.example"+path, ""); a.status != http.StatusNotImplemented {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if r := m.Receipt(); r.Misses[0].Code != "not_whole" || !strings.Contains(r.Misses[0].Reason, "3 of 1000 bytes") {
		t.Errorf("%+v", r.Misses)
	}
	m = start(t, all, func(o *Options) { o.AllowCut = true })
	if a := fetch(t, m.client(), "GET", "http://dep.example/a", ""); a.status != 200 || a.body != "abc" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := fetch(t, m.client(), "GET", "http://dep.example/b", ""); a.status != http.StatusNotImplemented {
		t.Errorf("%d %s", a.status, a.body)
	}
	// An exchange without an answer remains a miss: cut bodies are allowed, but there is no body.
	none := exchange(0, "GET", "http://dep.example/a", "", 0, "")
	m = start(t, []*recording.Exchange{none}, func(o *Options) { o.AllowCut = true })
	if a := fetch(t, m.client(), "GET", "http://dep.example/a", ""); a.status != http.StatusNotImplemented || !strings.Contains(a.body, "gave no answer") || strings.Contains(a.body, "--allow-cut") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A mapped port is one server, whatever name its clients know it by: most often localhost.
func TestMappedPortsStandForAServer(t *testing.T) {
	all := []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 301, "plain"), exchange(1, "GET", "https://dep.example/a", "", 200, "secure"), exchange(2, "GET", "http://dep.example:8080/a", "", 200, "other")}
	var maps []front.Map
	for _, text := range []string{"127.0.0.1:0=http://dep.example", "127.0.0.1:0=https://dep.example", "127.0.0.1:0=dep.example:8080"} {
		m, err := front.ParseMap(text)
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, m)
	}
	m := start(t, all, func(o *Options) { o.Maps = maps })
	direct := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i, want := range []string{"plain", "secure", "other"} {
		for range 2 { // repeating a request must not select another server's answer
			if a := fetch(t, direct, "GET", "http://"+m.MapAddr(i).String()+"/a", ""); a.body != want {
				t.Errorf("map %d: %d %q, want %q", i, a.status, a.body, want)
			}
		}
	}
}

// net/http would answer this request itself, with success.
func TestOptionsOfTheServer(t *testing.T) {
	const ask = "OPTIONS * HTTP/1.1\r\nHost: dep.example\r\nConnection: close\r\n\r\n"
	recorded := exchange(0, "OPTIONS", "http://dep.example/", "", 204, "", "Allow", "GET")
	recorded.HTTP.Req.URL, recorded.HTTP.Req.URI, recorded.Location = "*", "*", "*"
	for want, all := range map[string][]*recording.Exchange{
		"HTTP/1.1 204 ": {recorded},
		"HTTP/1.1 501 ": {exchange(0, "GET", "http://dep.example/", "", 200, "a")},
	} {
		c := start(t, all).dial()
		io.WriteString(c, ask)
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%q, %v, want %s", got, err, want)
		}
	}
}

// A recorded answer that HTTP does not allow is a 502, and does not crash the mock.
func TestOddRecordings(t *testing.T) {
	odd := exchange(0, "GET", "http://dep.example/a", "", 42, "a", "Bad Name", "x", "X-Value", "a\r\nInjected: yes", "", "empty")
	m := start(t, []*recording.Exchange{odd, exchange(1, "GET", "http://dep.example/b", "", 200, "b", "Alt-Svc", `h3=":443"`)})
	if a := fetch(t, m.client(), "GET", "http://dep.example/a", ""); a.status != http.StatusBadGateway || a.header.Get("Injected") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := fetch(t, m.client(), "GET", "http://dep.example/b", ""); a.status != 200 || a.header.Get("Alt-Svc") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// Events arrive at the recorded pace, or immediately if the user asks for it.
func TestEventsKeepTheirPace(t *testing.T) {
	const body = "data: 1\n\ndata: 2\n\ndata: 3\n\n"
	e := exchange(0, "GET", "http://dep.example/events", "", 200, body, "Content-Type", "text/event-stream", "Transfer-Encoding", "chunked")
	e.Duration = 450
	e.Tags = recording.Tags{{Name: recording.TagRequestEnd, Value: "0"}, {Name: recording.TagResponseStart, Value: "150000"}, {Name: recording.TagPace, Value: "9:300000,18:450000"}}
	for latency, want := range map[Latency][2]time.Duration{ // time to the first and to the last event
		{}:       {0, 0},
		{0, 1}:   {0, 300 * time.Millisecond},
		{1, 1}:   {150 * time.Millisecond, 450 * time.Millisecond},
		{2, 0.5}: {300 * time.Millisecond, 450 * time.Millisecond},
	} {
		m := start(t, []*recording.Exchange{e}, func(o *Options) { o.Latency = latency })
		begin := time.Now()
		res, err := m.client().Get("http://dep.example/events")
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(res.Body)
		var at [3]time.Duration
		for i := range at {
			line, err := in.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i+1) {
				t.Fatalf("%q, %v", line, err)
			}
			in.ReadString('\n')
			at[i] = time.Since(begin)
		}
		res.Body.Close()
		if at[0] < want[0] || at[2] < want[1] {
			t.Errorf("%+v: events at %v", latency, at)
		}
		if latency == (Latency{0, 1}) && at[0] > at[2]-200*time.Millisecond {
			t.Errorf("%+v: events at %v: the first one waits for the others", latency, at)
		}
	}
}

// A request whose client disconnects counts as unfinished, not as a miss, and delays nothing.
func TestClientThatGoesAway(t *testing.T) {
	e := exchange(0, "GET", "http://dep.example/slow", "", 200, "a")
	e.Tags = recording.Tags{{Name: recording.TagRequestEnd, Value: "0"}, {Name: recording.TagResponseStart, Value: "3600000000"}}
	m := start(t, []*recording.Exchange{e}, func(o *Options) { o.Latency = Latency{1, 1} })
	conn := m.dial()
	fmt.Fprint(conn, "GET http://dep.example/slow HTTP/1.1\r\nHost: dep.example\r\n\r\n")
	for m.now.Load().chooser.Served(0) == 0 {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	for m.now.Load().unfinished.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	conn = m.dial()
	fmt.Fprint(conn, "POST http://dep.example/slow HTTP/1.1\r\nHost: dep.example\r\nContent-Length: 10\r\n\r\nhalf")
	conn.Close()
	for m.now.Load().unfinished.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	if r := m.Receipt(); r.Missed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

// A number can look like a token. It is one only if the recording says that a part of the request
// was redacted.
func TestNumbersThatLookLikeTokens(t *testing.T) {
	const account = `{"account":8000123456789012}`
	plain := exchange(0, "POST", "http://dep.example/plain", account, 200, "plain")
	redacted := exchange(1, "POST", "http://dep.example/redacted", account, 200, "redacted")
	redacted.Tags.Set(recording.TagRedacted, "req.body.account,res.header.Set-Cookie")
	answer := exchange(2, "POST", "http://dep.example/answer", account, 200, "answer")
	answer.Tags.Set(recording.TagRedacted, "res.body.token")
	m := startForeign(t, []*recording.Exchange{plain, redacted, answer})
	for path, want := range map[string]int{"/plain": http.StatusNotImplemented, "/redacted": 200, "/answer": http.StatusNotImplemented} {
		a := fetch(t, m.client(), "POST", "http://dep.example"+path, `{"account":8000123456789013}`, "Content-Type", "application/json")
		if a.status != want {
			t.Errorf("%s with another number: %d %s", path, a.status, a.body)
		}
	}
}
