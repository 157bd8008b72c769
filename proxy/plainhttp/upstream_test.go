package plainhttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// A server that closes without sending an answer ends the client's connection (RFC 9112 section
// 9.3.2): the client would take any later answer for the missing one.
func TestAServerThatClosesOwingAnAnswer(t *testing.T) {
	get := func(host, path string) string {
		return "GET http://" + host + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	}
	const asked = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
	last := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
	for _, c := range []struct {
		name   string
		send   string
		server string // what it waits for => what it answers
		answer string
	}{
		{"nothing else was asked", get("h", "/1"), asked + " => ", ""},
		{"another host was asked", get("h", "/1") + get("other", "/2"), asked + " => ", ""},
		{"a tunnel was asked for", get("h", "/1") + "CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n", asked + " => ", ""},
		{"another request is being sent", get("h", "/1") + get("h", "/2")[:10], asked + " => ", ""},
		{"a request that is refused was sent", get("h", "/1") + "hello\r\n\r\n", asked + " => ", ""},
		{"it said that it would close, and got another request", get("h", "/1") + get("h", "/2") + get("h", "/3")[:10],
			asked + strings.Replace(asked, "1", "2", 1) + " => " + last, last},
		{"the answer ends with the connection, and another host was asked", get("h", "/1") + get("other", "/2"),
			asked + " => HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok"},
		{"the answer ends with the connection, and a tunnel was asked for", get("h", "/1") + "CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n",
			asked + " => HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := answering(t, c.server)
			other, got := answering(t, "GET /2 HTTP/1.1\r\nHost: other\r\n\r\n => "+ok)
			w := start(t, map[string]string{"h": h, "other": other}, nil)
			io.WriteString(w.client, c.send)
			if answer, err := io.ReadAll(w.client); string(answer) != c.answer || err != nil {
				t.Errorf("the client got %q, want %q (%v)", answer, c.answer, err)
			}
			w.client.Close()
			<-w.done
			final := strings.Contains(c.name, "ends with the connection")
			if (w.err == nil) != final || w.err != nil && !errors.Is(w.err, errUnanswered) {
				t.Errorf("Serve: %v", w.err)
			}
			if seen := got(); seen != "" {
				t.Errorf("the other host was asked %q", seen)
			}
		})
	}
}

// An answer that breaks off must not look whole.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
	if answer, err := io.ReadAll(w.client); err == nil {
		t.Errorf("an orderly end after %q", answer)
	}
	<-w.done
	if !errors.Is(w.err, io.ErrUnexpectedEOF) {
		t.Errorf("Serve: %v", w.err)
	}
}

// A drain closes the connection of a client that waits for nothing.
func TestIdleIsWhenAllIsAnswered(t *testing.T) {
	const half = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
	addr, _ := answering(t, toldHost+" => "+half, toldHost+" => half"+ok, toldHost+" => "+ok)
	w := start(t, map[string]string{"h": addr}, nil)
	get := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(w.client, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	w.idle()
	io.WriteString(w.client, askHost)
	get(half)
	if w.handler.Idle() {
		t.Error("idle in the middle of an answer")
	}
	io.WriteString(w.client, askHost)
	get("half" + ok)
	w.idle()
	io.WriteString(w.client, askHost)
	get(ok)
	w.idle()
}

// crashing is a connection that panics when it is read.
type crashing struct{ net.Conn }

func (crashing) Read([]byte) (int, error) { panic("crashing") }

// A panic is the error of one connection, in whichever direction it happens.
func TestAPanicIsAnError(t *testing.T) {
	for name, dial := range map[string]func(net.Conn) *pump.Conn{
		"on the way to the server": func(net.Conn) *pump.Conn { panic("crashing") },
		"on the way back":          func(c net.Conn) *pump.Conn { return pump.NewConn(crashing{c}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := answering(t, toldHost+" => "+ok)
			client, end := net.Pipe()
			defer client.Close()
			h := Handler{
				Dial: func(context.Context, Target) (*pump.Conn, *url.URL, error) {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
					return dial(c), nil, nil
				},
				Tap:   func() *tap.Stream { return nil },
				Meter: &pump.Meter{}, Pool: &tap.Pool{},
			}
			go io.WriteString(client, askHost)
			var crash *pump.Panic
			if _, err := h.Serve(t.Context(), pump.NewConn(end, nil)); !errors.As(err, &crash) || crash.Value != "crashing" {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func TestAServerThatDoesNotSpeakHTTP(t *testing.T) {
	addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => 220 ready\r\n\r\n")
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(w.client), nil)
	if err != nil || resp.StatusCode != http.StatusBadGateway {
		t.Errorf("%v, %v", resp, err)
	}
}

// A server may close its connection just as a request for it arrives. That request
// gets no answer.
func TestAServerThatClosesAsARequestComes(t *testing.T) {
	addr, _ := answering(t, toldHost+" => "+ok)
	clients, _ := listenOnce(t)
	conn := func(addr string) *pump.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return pump.NewConn(c, nil)
	}
	h := &Handler{
		Dial:  func(context.Context, Target) (*pump.Conn, *url.URL, error) { return conn(addr), nil, nil },
		Tap:   func() *tap.Stream { return nil },
		Meter: &pump.Meter{}, Pool: &tap.Pool{},
	}
	client := conn(clients)
	s := &session{Handler: h, client: client, in: &reader{conn: client, pool: h.Pool}}
	q, err := parseRequest([]byte(askHost))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := s.exchange(t.Context(), q); done || err != nil {
		t.Fatalf("the first request: done %v, %v", done, err)
	}
	<-s.up.done
	if done, err := s.exchange(t.Context(), q); !done || !errors.Is(err, errUnanswered) {
		t.Errorf("done %v, %v", done, err)
	}
	if _, err := s.leave(); err != nil {
		t.Errorf("all that the server was asked is answered, and %v", err)
	}
}
