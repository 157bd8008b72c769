package plainhttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// A request, and what the server is told.
const (
	askHost  = "GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n"
	toldHost = "GET /p HTTP/1.1\r\nHost: h\r\n\r\n"
)

// heard is what one side says at once, and what becomes of it: it passes as it
// is, something passes instead of it, or a rest is left to the session.
type heard struct {
	side    tap.Side
	says    string
	instead string
	rest    string
}

// A follower takes one ordinary exchange after the other. What isn't ordinary,
// what has no end that it can see, and what is wrong, it leaves unread.
func TestFollower(t *testing.T) {
	const client, server = tap.FromClient, tap.FromServer
	asked := heard{client, askHost, toldHost, ""}
	answered := heard{server, ok, "", ""}
	for name, talk := range map[string][]heard{
		"exchanges":                  {asked, answered, asked, answered},
		"the next in the same piece": {asked, {server, ok + ok, "", ok}},
		"an answer in pieces":        {asked, {server, ok[:len(ok)-1], "", ""}, {server, "k", "", ""}, asked},
		"a body in pieces": {
			{client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo", ""},
			{client, "dy", "", ""}, answered, asked,
		},
		"chunks both ways": {
			{client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na", ""},
			{client, "bc\r\n0\r\n", "", ""}, {client, "A: b\r\n\r\n", "", ""},
			{server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r", "", ""}, {server, "\nx\r\n0\r\n\r", "", ""}, {server, "\n", "", ""}, asked,
		},
		"an answer to HEAD": {
			{client, "HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", ""},
			{server, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", ""}, asked, answered,
		},
		"an answer before the body ends": {
			{client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", ""},
			answered, {client, "body", "", ""}, asked, answered,
		},
		"a field for the proxy":                 {{client, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: x\r\n\r\n", toldHost, ""}},
		"left: a request behind its body":       {{client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nb" + askHost, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nb", askHost}},
		"left: a request before the answer":     {asked, {client, askHost, "", askHost}},
		"left: a head in pieces":                {{client, askHost[:9], "", askHost[:9]}},
		"left: an answer's head in pieces":      {asked, {server, ok[:9], "", ok[:9]}},
		"left: another host":                    {{client, strings.ReplaceAll(askHost, "h/", "g/"), "", strings.ReplaceAll(askHost, "h/", "g/")}},
		"left: a tunnel":                        {{client, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"}},
		"left: an upgrade":                      {{client, "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n", "", "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n"}},
		"left: not HTTP":                        {{client, "hello\r\n\r\n", "", "hello\r\n\r\n"}},
		"left: a bare LF":                       {{client, "GET http://h/ HTTP/1.1\nHost: h\n\n", "", "GET http://h/ HTTP/1.1\nHost: h\n\n"}},
		"left: a chunk that is wrong":           {{client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "x"}},
		"left: an interim answer":               {asked, {server, "HTTP/1.1 100 Continue\r\n\r\n", "", "HTTP/1.1 100 Continue\r\n\r\n"}},
		"left: an answer that ends at the end":  {asked, {server, "HTTP/1.1 200 OK\r\n\r\nbody", "", "HTTP/1.1 200 OK\r\n\r\nbody"}},
		"left: an answer framed twice":          {asked, {server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"}},
		"left: an answer that nobody asked for": {{server, ok, "", ok}},
		"left: not an answer":                   {asked, {server, "220 ready\r\n\r\n", "", "220 ready\r\n\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &follower{target: Target{Host: "h", Port: 80}, open: new(atomic.Int64)}
			for i, h := range talk {
				instead, used := f.Pass(h.side, []byte(h.says))
				got := heard{h.side, h.says, string(instead), h.says[used:]}
				if got != h {
					t.Fatalf("%d: %+v, want %+v", i, got, h)
				}
			}
		})
	}
}

// followOne returns what passes one exchange through a follower.
func followOne(t testing.TB) func() {
	ask := []byte("GET http://h/path HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n")
	answer := []byte("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	f := &follower{target: Target{Host: "h", Port: 80}, open: new(atomic.Int64)}
	return func() {
		_, asked := f.Pass(tap.FromClient, ask)
		_, answered := f.Pass(tap.FromServer, answer)
		if asked != len(ask) || answered != len(answer) {
			t.Fatalf("%d and %d bytes passed", asked, answered)
		}
	}
}

func TestAnExchangeThatIsFollowedAllocatesLittle(t *testing.T) {
	if n := testing.AllocsPerRun(100, followOne(t)); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFollower(b *testing.B) {
	exchange := followOne(b)
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}

// A connection that lasts is moved by a loop, one that doesn't isn't; and one
// that goes back to goroutines for something unusual still works.
func TestALoopTakesOverWhatLasts(t *testing.T) {
	const most = 500
	addr, _ := answering(t, slices.Repeat([]string{toldHost + " => " + ok}, most)...)
	loops := newLoops(t)
	if loops == nil {
		t.Skip("there are no loops on this system")
	}
	w := start(t, &Handler{Loops: loops}, map[string]string{"h": addr}, nil)
	if w.moved() {
		t.Fatal("moved before it has spoken")
	}
	exchange := func(pieces ...string) {
		t.Helper()
		for _, piece := range pieces {
			io.WriteString(w.client, piece)
		}
		got := make([]byte, len(ok))
		if _, err := io.ReadFull(w.client, got); err != nil || string(got) != ok {
			t.Fatalf("%q, %v", got, err)
		}
	}
	n := 0
	for ; !w.moved(); n++ {
		if n == most/2 {
			t.Fatalf("no loop has it after %d exchanges", n)
		}
		exchange(askHost)
	}
	if n <= followAfter {
		t.Errorf("a loop has it after %d exchanges", n)
	}
	for ; n < most; n++ {
		if n%50 == 0 {
			exchange(askHost[:20], askHost[20:])
		} else {
			exchange(askHost)
		}
	}
}

// A server may end its connection just as a request for it comes, which then has
// no answer, whoever was to move it.
func TestAServerThatClosesAsARequestComes(t *testing.T) {
	for name, loops := range map[string]*pump.Loops{"goroutines": nil, "loops": newLoops(t)} {
		t.Run(name, func(t *testing.T) {
			addr, _ := answering(t)
			conn := func() *pump.Conn {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return pump.NewConn(c, nil)
			}
			h := &Handler{
				Dial:  func(context.Context, Target) (*pump.Conn, *url.URL, error) { return conn(), nil, nil },
				Tap:   func() *tap.Stream { return nil },
				Meter: &pump.Meter{}, Pool: &tap.Pool{}, Loops: loops, eager: true,
			}
			client := conn()
			s := &session{Handler: h, client: client, in: &reader{conn: client, pool: h.Pool}}
			if err := s.connect(t.Context(), Target{Host: "h", Port: 80}); err != nil {
				t.Fatal(err)
			}
			s.up.start(nil, nil)
			<-s.up.done
			q, err := parseRequest([]byte(askHost))
			if err != nil {
				t.Fatal(err)
			}
			if done, err := s.exchange(t.Context(), q); !done || !errors.Is(err, errUnanswered) {
				t.Errorf("done %v, %v", done, err)
			}
			if _, err := s.leave(); err != nil {
				t.Errorf("nothing was asked, and %v", err)
			}
		})
	}
}

// FuzzFollower cuts an exchange anywhere behind its heads. What passes, and what
// is left to the session, is the same as in one piece, unless it is wrong.
func FuzzFollower(f *testing.F) {
	f.Add([]byte(askHost), []byte(ok), uint64(1))
	f.Add([]byte("POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), uint64(2))
	f.Add([]byte("HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\nrest"), []byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nrest"), uint64(3))
	f.Fuzz(func(t *testing.T, asks, answers []byte, seed uint64) {
		// run gives each side's pieces in turn until it leaves some of them.
		run := func(f *follower, side tap.Side, cut []string) (passed, rest string) {
			for i, piece := range cut {
				instead, used := f.Pass(side, []byte(piece))
				switch {
				case used > len(piece) || instead != nil && used == 0:
					t.Fatalf("of %q %d bytes were used, %q instead", piece, used, instead)
				case instead != nil:
					passed += string(instead)
				default:
					passed += piece[:used]
				}
				if used < len(piece) {
					return passed, piece[used:] + strings.Join(cut[i+1:], "")
				}
			}
			return passed, ""
		}
		whole, cut := &follower{target: Target{Host: "h", Port: 80}, open: new(atomic.Int64)}, &follower{target: Target{Host: "h", Port: 80}, open: new(atomic.Int64)}
		asked, rest := run(whole, tap.FromClient, []string{string(asks)})
		if asked == "" || rest != "" && whole.request.open { // wrong: the session refuses it
			return
		}
		behindHead := func(p []byte, strict bool) []string {
			end, _, _ := headEnd(p, 0, strict)
			return slices.Concat([]string{string(p[:end])}, pieces(p[end:], seed))
		}
		cutAsked, cutRest := run(cut, tap.FromClient, behindHead(asks, true))
		if asked != cutAsked || rest != cutRest {
			t.Fatalf("%q passed as %q and left %q, in pieces as %q and %q", asks, asked, rest, cutAsked, cutRest)
		}
		answered, rest := run(whole, tap.FromServer, []string{string(answers)})
		if answered == "" || rest != "" && whole.answer.open {
			return
		}
		if answered+rest != string(answers) {
			t.Fatalf("%q passed as %q and left %q", answers, answered, rest)
		}
		cutAnswered, cutRest := run(cut, tap.FromServer, behindHead(answers, false))
		if answered != cutAnswered || rest != cutRest {
			t.Fatalf("%q passed as %q and left %q, in pieces as %q and %q", answers, answered, rest, cutAnswered, cutRest)
		}
		if whole.waiting != cut.waiting || whole.begun != cut.begun {
			t.Fatalf("%q: %+v, in pieces %+v", answers, whole, cut)
		}
	})
}
