package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// draining starts a sidecar for an application, which a test stops while requests are under way.
func draining(t *testing.T, app net.Addr) *sidecar {
	t.Helper()
	cfg := config(t)
	cfg.Type, cfg.Protocols, cfg.Forward = "dual", "tcp:http", true
	cfg.In = []proxy.Inbound{{App: proxy.App{Host: "127.0.0.1", Port: app.(*net.TCPAddr).Port}}}
	s := run(t, cfg, spool.Dir(t.TempDir()))
	t.Cleanup(func() {
		s.stop()
		if err := s.capture.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A drain closes connections on which everything is answered. It waits for an answer that isn't
// finished, however long the server is silent, and whichever side sent the last bytes.
func TestADrainWaitsForAnswers(t *testing.T) {
	answers := map[string]struct{ begin, rest string }{
		"/slow":         {"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
		"/hints":        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
		"/length":       {"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhalf", "half"},
		"/chunks":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n0\r\n\r\n"},
		"/until-closed": {"HTTP/1.0 200 OK\r\n\r\nhalf", "half"},
	}
	const all = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	goOn := make(chan struct{})
	app := listen(t, func(c net.Conn) {
		q, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return // the sidecar checks whether the application accepts connections
		}
		if q.URL.Path == "/idle" {
			io.WriteString(c, all)
			io.Copy(io.Discard, c)
			return
		}
		answer := answers[q.URL.Path]
		io.WriteString(c, answer.begin)
		<-goOn
		io.WriteString(c, answer.rest)
	})
	s := draining(t, app)
	halves := map[string]func(path string) (net.Addr, string){
		"reverse": func(path string) (net.Addr, string) { return s.InAddr(), path },
		"forward": func(path string) (net.Addr, string) { return s.OutAddr(), "http://" + app.String() + path },
	}
	ask := func(half, path string) net.Conn {
		to, target := halves[half](path)
		c := dial(t, to)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: app\r\n\r\n", target)
		return c
	}
	under := map[string]net.Conn{}
	for half := range halves {
		for path, answer := range answers {
			c := ask(half, path)
			if _, err := io.ReadFull(c, make([]byte, len(answer.begin))); err != nil {
				t.Fatal(err)
			}
			under[half+path] = c
		}
	}
	idle := ask("reverse", "/idle")
	if _, err := io.ReadFull(idle, make([]byte, len(all))); err != nil {
		t.Fatal(err)
	}
	go s.stop()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("on the idle connection %v, want its end", err)
	}
	close(goOn)
	for name, c := range under {
		want := answers[name[strings.IndexByte(name, '/'):]].rest
		if rest, err := io.ReadAll(c); string(rest) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, rest, err, want)
		}
		c.Close()
	}
	s.stop()
}

// In HTTP/2 the last frame before an answer is often the server's: a window update that lets the
// client send more.
func TestADrainWaitsForStreams(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	asked, goOn := make(chan struct{}), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			close(asked)
			<-goOn
		}
		fmt.Fprint(w, n)
	})}
	go app.Serve(ln)
	t.Cleanup(func() { app.Close() })
	s := draining(t, ln.Addr())
	post := func(path string) (answer string, ended <-chan struct{}, err error) {
		over := make(chan struct{})
		tr := &http.Transport{Protocols: &protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", s.InAddr().String())
			return &watched{Conn: c, over: over}, err
		}}
		t.Cleanup(tr.CloseIdleConnections)
		resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Post("http://app"+path, "text/plain", bytes.NewReader(make([]byte, 64<<10)))
		if err != nil {
			return "", over, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), over, err
	}
	var slow sync.WaitGroup
	slow.Go(func() {
		if answer, _, err := post("/slow"); answer != "65536" || err != nil {
			t.Errorf("slow: %q, %v", answer, err)
		}
	})
	<-asked
	_, ended, err := post("/fast")
	if err != nil {
		t.Fatal(err)
	}
	go s.stop()
	<-ended
	close(goOn)
	slow.Wait()
	s.stop()
}

// watched is a connection that closes a channel when it is over.
type watched struct {
	net.Conn
	once sync.Once
	over chan struct{}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.over) })
	}
	return n, err
}

// listen runs a server that calls serve for every connection.
func listen(t *testing.T, serve func(net.Conn)) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr()
}

func dial(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}
