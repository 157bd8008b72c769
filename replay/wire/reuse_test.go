package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a server without a network: each connection is served by a function.
type pipes struct {
	serve func(n int, conn net.Conn)
	count atomic.Int32
	wait  sync.WaitGroup
}

func (p *pipes) dial(o *Options) {
	o.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		n := int(p.count.Add(1))
		p.wait.Go(func() {
			defer far.Close()
			p.serve(n, far)
		})
		return near, nil
	}
}

// answers answers n requests and then closes the connection.
func answers(conn net.Conn, n int) {
	in := bufio.NewReader(conn)
	for range n {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

const bare = "http://target.example"

func TestAConnectionIsUsedAgain(t *testing.T) {
	p := &pipes{serve: func(_ int, conn net.Conn) { answers(conn, 100) }}
	c := client(t, bare, p.dial)
	var r Result
	for range 10 {
		if err := send(t, c, request("1.1", "GET", "/", ""), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, c, request("1.1", "GET", "/", "", "Connection: close"), &r); err != nil {
		t.Fatal(err)
	}
	if n := p.count.Load(); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
	if err := send(t, c, request("1.1", "GET", "/", ""), &r); err != nil {
		t.Fatal(err)
	}
	if n := p.count.Load(); n != 2 {
		t.Errorf("%d connections, after one was to be closed", n)
	}
	c.Close()
	p.wait.Wait()
}

func TestAClosedConnectionIsNoticed(t *testing.T) {
	for _, test := range []struct {
		name, method string
		want         Failure
		conns        int32
	}{
		{"what may be sent twice is sent again", "GET", "", 2},
		{"what may not is not", "POST", NoAnswer, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &pipes{serve: func(_ int, conn net.Conn) {
				answers(conn, 1)
				_, _ = http.ReadRequest(bufio.NewReader(conn)) // and no answer
			}}
			c := client(t, bare, p.dial)
			var r Result
			if err := send(t, c, request("1.1", "GET", "/", ""), &r); err != nil {
				t.Fatal(err)
			}
			err := send(t, c, request("1.1", test.method, "/", "", "Content-Length: 0"), &r)
			if r.Fail != test.want || (err == nil) != (test.want == "") {
				t.Errorf("got %q: %v", r.Fail, err)
			}
			if n := p.count.Load(); n != test.conns {
				t.Errorf("%d connections, want %d", n, test.conns)
			}
			c.Close()
			p.wait.Wait()
		})
	}
}

// needsUnix skips a test about data on idle connections, because other systems can't detect it.
func needsUnix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not tell whether anything has come on an idle connection")
	}
}

func TestAnIdleConnectionThatIsClosedIsNotUsedForWhatCannotBeSentTwice(t *testing.T) {
	needsUnix(t)
	gone := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			gone <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	c := client(t, s.URL)
	var r Result
	for range 20 {
		if err := send(t, c, request("1.1", "POST", "/", "", "Content-Length: 0"), &r); err != nil {
			t.Fatal(err)
		}
		s.CloseClientConnections()
		<-gone
		idle := c.pool.idle[0]
		for idle.alive() { // until the kernel has delivered the end
		}
	}
}

// An unsolicited answer is not mistaken for that of the next request, and a connection that a TLS
// server has closed is not used, whatever the method.
func TestAConnectionOnWhichSomethingCameIsNotUsed(t *testing.T) {
	needsUnix(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			idle, opened := make(chan net.Conn, 1), atomic.Int32{}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
			s.Config.ConnState = func(c net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					opened.Add(1)
				case http.StateIdle:
					idle <- c
				}
			}
			if scheme == "http" {
				s.Start()
			} else {
				s.StartTLS()
			}
			defer s.Close()
			c := client(t, s.URL, func(o *Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} })
			var r Result
			for i := range 20 {
				if err := send(t, c, request("1.1", "GET", "/", ""), &r); err != nil || r.http.Res.StatusCode != 204 {
					t.Fatalf("request %d: %d, %v", i, r.http.Res.StatusCode, err)
				}
				server := <-idle
				if scheme == "https" {
					_ = server.Close() // with close_notify
				} else if _, err := io.WriteString(server, "HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				for c.pool.idle[0].alive() { // until the kernel has delivered it
				}
				if err := send(t, c, request("1.1", "POST", "/", "", "Content-Length: 0"), &r); err != nil || r.http.Res.StatusCode != 204 {
					t.Fatalf("after request %d: %d, %v", i, r.http.Res.StatusCode, err)
				}
				<-idle
			}
			if n := opened.Load(); n != 21 {
				t.Errorf("%d connections, want one more after each of 20", n)
			}
		})
	}
}

// If a target resets a connection during a large upload, the failure is a reset, whether the writer or
// the reader notices it first.
func TestAResetDuringAnUploadIsAReset(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the reader of a reset that the writer got")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 100<<10))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\na part")
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	c := client(t, "http://"+l.Addr().String())
	var r Result
	for i := range 20 {
		if err := send(t, c, request("1.1", "POST", "/", strings.Repeat("x", 10<<20)), &r); r.Fail != Reset {
			t.Errorf("request %d: %q: %v", i, r.Fail, err)
		}
	}
}

func TestNoMoreConnectionsAreOpenedThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int, conn net.Conn) {
			in := bufio.NewReader(conn)
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				time.Sleep(time.Second)
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			}
		}}
		c := client(t, bare, p.dial, func(o *Options) { o.MaxConns = 2 })
		began := time.Now()
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				var r Result
				if err := send(t, c, request("1.1", "GET", "/", ""), &r); err != nil {
					t.Error(err)
				}
				if took := r.Done.Sub(r.Sent); took != time.Second {
					t.Errorf("took %v: the wait for a connection is not the target's time", took)
				}
			})
		}
		all.Wait()
		if n, took := p.count.Load(), time.Since(began); n != 2 || took != 3*time.Second {
			t.Errorf("%d connections, %v", n, took)
		}

		// A sender that stops waiting makes room for others.
		ctx, cancel := context.WithCancelCause(t.Context())
		for range 2 {
			all.Go(func() { _ = send(t, c, request("1.1", "GET", "/", ""), new(Result)) })
		}
		synctest.Wait()
		all.Go(func() {
			b, _ := Append(nil, request("1.1", "GET", "/", ""))
			var r Result
			if err := c.Send(ctx, b, &r); r.Fail != Canceled || !errors.Is(err, errStop) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		cancel(errStop)
		all.Wait()
		if err := send(t, c, request("1.1", "GET", "/", ""), new(Result)); err != nil {
			t.Error(err)
		}
		c.Close()
		p.wait.Wait()
	})
}

var errStop = errors.New("stop")

func TestTheEndOfTheContextEndsARequestAtOnce(t *testing.T) {
	for _, version := range []string{"1.1", "2.0"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{serve: func(_ int, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }}
				c := client(t, bare, p.dial)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(errStop) })
				b, _ := Append(nil, request(version, "GET", "/", ""))
				var r Result
				err := c.Send(ctx, b, &r)
				if r.Fail != Canceled || !errors.Is(err, errStop) || r.Done.Sub(r.Sent) != time.Second {
					t.Errorf("got %q after %v: %v", r.Fail, r.Done.Sub(r.Sent), err)
				}
				c.Close()
				p.wait.Wait()
			})
		})
	}
}

func TestARequestOnWhichNothingMovesTimesOut(t *testing.T) {
	slow := func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
		for range 4 {
			time.Sleep(20 * time.Second)
			_, _ = io.WriteString(conn, "x")
		}
		_, _ = io.Copy(io.Discard, conn)
	}
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int, conn net.Conn) { slow(conn) }}
		c := client(t, bare, p.dial)
		var r Result
		_ = send(t, c, request("1.1", "GET", "/", ""), &r)
		if r.Fail != Timeout || string(r.Live.HTTP.Res.Body) != "xxxx" || r.Done.Sub(r.Sent) != 110*time.Second {
			t.Errorf("got %q after %v: %q", r.Fail, r.Done.Sub(r.Sent), r.Live.HTTP.Res.Body)
		}
		c.Close()
		p.wait.Wait()
	})
	synctest.Test(t, func(t *testing.T) { // pauses of the recorded answer are not failures
		p := &pipes{serve: func(_ int, conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
			time.Sleep(time.Minute)
			_, _ = io.WriteString(conn, "b")
		}}
		c := client(t, bare, p.dial)
		e := request("1.1", "GET", "/", "")
		e.Duration = 60_000
		e.Tags.Set("responseStartUs", "0")
		e.Tags.Set("responsePace", "1:60000000")
		var r Result
		if err := send(t, c, e, &r); err != nil {
			t.Error(err)
		}
		if pace := r.Live.Tags.Get("responsePace"); pace != "1:60000000" {
			t.Errorf("the answer's pace is %q", pace)
		}
		c.Close()
		p.wait.Wait()
	})
}

func TestABodyThatNobodyAsksForIsSentAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int, conn net.Conn) { answers(conn, 2) }} // ignores Expect
		c := client(t, bare, p.dial)
		var r Result
		for range 2 {
			if err := send(t, c, request("1.1", "POST", "/", "hello", "Content-Length: 5", "Expect: 100-continue"), &r); err != nil {
				t.Fatal(err)
			}
			if took := r.Done.Sub(r.Sent); took != time.Second {
				t.Errorf("took %v", took)
			}
		}
		if n := p.count.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		c.Close()
		p.wait.Wait()
	})
}

func TestAnAnswerThatComesBeforeTheBodyIsReadCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int, conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			for range 3 { // and then the client has gone
				if _, err := conn.Read(make([]byte, 1<<20)); err != nil {
					return
				}
				time.Sleep(uploadGrace)
			}
			t.Error("the client has not gone")
		}}
		c := client(t, bare, p.dial)
		var r Result
		if err := send(t, c, request("1.1", "POST", "/", strings.Repeat("x", 8<<20), "Content-Length: 0"), &r); err != nil {
			t.Fatal(err)
		}
		if r.Live.HTTP.Res.StatusCode != 413 || r.BytesOut >= 8<<20 {
			t.Errorf("got status %d, %d bytes sent", r.Live.HTTP.Res.StatusCode, r.BytesOut)
		}
		c.Close()
		p.wait.Wait()
	})
}

func TestALargeBodyArrives(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(told))
	defer s.Close()
	c := client(t, s.URL)
	body := strings.Repeat("0123456789", 100_000)
	var r Result
	for _, field := range []string{"Content-Length: 0", "Transfer-Encoding: chunked"} {
		if err := send(t, c, request("1.1", "PUT", "/", body, field), &r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(r.Live.HTTP.Res.Body), body) || r.BytesOut != 1_000_000 {
			t.Errorf("%s: %d bytes sent, %d received", field, r.BytesOut, r.BytesIn)
		}
		if len(c.pool.idle) != 1 {
			t.Errorf("%s: the connection can't be used again", field)
		}
	}
}

func TestFailures(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	quiet := log.New(io.Discard, "", 0)
	unknown := httptest.NewUnstartedServer(http.NotFoundHandler())
	unknown.Config.ErrorLog = quiet
	unknown.StartTLS()
	defer unknown.Close()
	strict := httptest.NewUnstartedServer(http.NotFoundHandler())
	strict.Config.ErrorLog = quiet
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.StartTLS()
	defer strict.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	resets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}))
	defer resets.Close()
	insecure := func(o *Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} }
	none := func(*Options) {}
	for _, test := range []struct {
		name, target, version string
		set                   func(*Options)
		want                  Failure
	}{
		{"nobody listens", "http://" + closed.Addr().String(), "1.1", none, Refused},
		{"nobody listens", "http://" + closed.Addr().String(), "2.0", none, Refused},
		{"no such name", "http://a.invalid", "1.1", func(o *Options) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
			}
		}, DNS},
		{"no way there", "http://a.example", "1.1", func(o *Options) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errStop }
		}, Unreachable},
		{"a certificate of nobody known", unknown.URL, "1.1", none, TLS},
		{"a certificate of nobody known", unknown.URL, "2.0", none, TLS},
		{"a client without certificate", strict.URL, "1.1", insecure, TLS},
		{"TLS is not spoken", strings.Replace(plain.URL, "http", "https", 1), "1.1", insecure, TLS},
		{"HTTP/2 is not spoken", strings.Replace(plain.URL, "http", "h2c", 1), "2.0", none, Protocol},
		{"HTTP/2 is not agreed to", strings.Replace(unknown.URL, "https", "grpcs", 1), "2.0", insecure, TLS},
		{"a reset", resets.URL, "1.1", none, Reset},
	} {
		t.Run(test.name+" "+test.version, func(t *testing.T) {
			c := client(t, test.target, test.set)
			var r Result
			err := send(t, c, request(test.version, "GET", "/", ""), &r)
			var known *Error
			if !errors.As(err, &known) || known.Failure != test.want || r.Fail != test.want {
				t.Errorf("got %q: %v", r.Fail, err)
			}
		})
	}
}

func TestEveryFailureIsDescribedOnce(t *testing.T) {
	seen := map[Failure]bool{}
	for _, f := range Failures() {
		if seen[f.Failure] || f.Doc == "" {
			t.Errorf("%q is listed twice or has no description", f.Failure)
		}
		seen[f.Failure] = true
	}
}

func TestAnAnswerWithoutBoundsIsAFailure(t *testing.T) {
	forever := func(text string) func(io.Writer) {
		return func(w io.Writer) {
			for {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	}
	for _, test := range []struct {
		name, begin string
		then        func(io.Writer)
		want        Failure
	}{
		{"a long field", "HTTP/1.1 200 OK\r\nX: ", forever(strings.Repeat("x", 4096)), TooLarge},
		{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: 1\r\n", 5000) + "\r\n", forever("x"), TooLarge},
		{"interim answers", "", forever("HTTP/1.1 100 Continue\r\n\r\n"), Protocol},
		{"a chunk's line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", forever(strings.Repeat("x", 4096)), TooLarge},
		{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", forever("X: 1\r\n"), TooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &pipes{serve: func(_ int, conn net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, test.begin)
				test.then(conn)
			}}
			c := client(t, bare, p.dial)
			var r Result
			if _ = send(t, c, request("1.1", "GET", "/", ""), &r); r.Fail != test.want {
				t.Errorf("got %q", r.Fail)
			}
			c.Close()
			p.wait.Wait()
		})
	}
}
