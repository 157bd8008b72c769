package plainhttp

import (
	"io"
	"net/url"
	"strings"
	"testing"
)

func TestForward(t *testing.T) {
	for _, c := range []struct {
		name   string
		send   string
		server []string // what it waits for => what it answers
		seen   string   // what it got
		answer string
	}{
		{
			name:   "origin-form, with case, order and spacing kept, hop-by-hop fields gone",
			send:   "GET http://h/p?q HTTP/1.1\r\nX-b:  2 \r\nhOST: h\r\nProxy-Connection: keep-alive\r\nx-A: 1\r\nProxy-Authorization: Basic x\r\n\r\n",
			server: []string{"GET /p?q HTTP/1.1\r\nX-b:  2 \r\nhOST: h\r\nx-A: 1\r\n\r\n => " + ok},
			answer: ok,
		},
		{
			name:   "Host as the client sent it",
			send:   "GET http://h HTTP/1.1\r\nHost: other.svc\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: other.svc\r\n\r\n => " + ok},
			answer: ok,
		},
		{
			name:   "OPTIONS of the server",
			send:   "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n => " + ok},
			answer: ok,
		},
		{
			name:   "pipelining",
			send:   "GET http://h/1 HTTP/1.1\r\nHost: h\r\n\r\nPOST http://h/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET http://h/3 HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\n\r\n => " + ok + ok + ok},
			answer: ok + ok + ok,
		},
		{
			name:   "chunks, extensions and trailers",
			send:   "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
			server: []string{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n => HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"},
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		},
		{
			name:   "HTTP/1.0, and a body that ends with the connection",
			send:   "GET http://h/ HTTP/1.0\r\n\r\n",
			server: []string{"GET / HTTP/1.0\r\nHost: h\r\n\r\n => HTTP/1.0 200 OK\r\n\r\nuntil the end"},
			answer: "HTTP/1.0 200 OK\r\n\r\nuntil the end",
		},
		{
			name:   "a host that stands in the target alone",
			send:   "GET http://h:80/p HTTP/1.0\r\nX: 1\r\n\r\n",
			server: []string{"GET /p HTTP/1.0\r\nHost: h:80\r\nX: 1\r\n\r\n => " + ok},
			answer: ok,
		},
		{
			name:   "an empty Host",
			send:   "GET http://h/p HTTP/1.1\r\nX: 1\r\nHost:\r\n\r\n",
			server: []string{"GET /p HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n => " + ok},
			answer: ok,
		},
		{
			name:   "HEAD and 304 have no body",
			send:   "HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\nGET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		},
		{
			name:   "early hints",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok},
			answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok,
		},
		{
			name:   "an early answer to a body that does not come",
			send:   "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123",
			server: []string{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n => HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
			seen:   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123",
			answer: "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		},
		{
			name:   "both framing fields in an answer: the chunks count",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		},
		{
			name:   "one length, said twice in an answer",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi",
		},
		{
			name:   "a coding that looks like chunked: the answer ends with the connection",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, xchunked\r\n\r\nuntil the end"},
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, xchunked\r\n\r\nuntil the end",
		},
		{
			name: "identity, which is no coding, in an answer",
			send: strings.Repeat("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 4),
			server: []string{strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 4) + " => " +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi" +
				"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding:\r\nX: y\r\n\r\nhi" +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity , Chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" +
				"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi" +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n0\r\n\r\n",
		},
		{
			name:   "identity alone: the answer ends with the connection",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nuntil the end"},
			answer: "HTTP/1.1 200 OK\r\n\r\nuntil the end",
		},
		{
			name: "identity in requests",
			send: "POST http://h/1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc" +
				"POST http://h/2 HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\nHost: h\r\n\r\n0\r\n\r\n" +
				"GET http://h/3 HTTP/1.0\r\nTransfer-Encoding: identity\r\nHost: h\r\n\r\n",
			server: []string{"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" +
				"POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: h\r\n\r\n0\r\n\r\n" +
				"GET /3 HTTP/1.0\r\nHost: h\r\n\r\n => " + ok + ok + ok},
			answer: ok + ok + ok,
		},
		{
			name:   "a space before the colon, which some readers take for another field",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: y\r\nContent-Length : 2\r\n\r\nhi"},
			answer: "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi",
		},
		{
			name:   "fields over several lines, which some readers take for others",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: a \r\n\t b\r\n  c\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
			answer: "HTTP/1.1 200 OK\r\nX: a b c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		},
		{
			name:   "an upgrade becomes a tunnel",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n => HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\n\r\n\x00\x01any\nthing"},
			answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\n\r\n\x00\x01any\nthing",
		},
		{
			name:   "a refused upgrade stays HTTP",
			send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\nGET http://h/2 HTTP/1.1\r\nHost: h\r\n\r\n",
			server: []string{"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n => " + ok, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n => " + ok},
			answer: ok + ok,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, got := answering(t, c.server...)
			w := start(t, map[string]string{"h": addr}, nil)
			io.WriteString(w.client, c.send)
			if strings.Contains(c.name, "ends") || !strings.Contains(c.name, "early answer") {
				w.client.CloseWrite()
			}
			answer, err := io.ReadAll(w.client)
			if string(answer) != c.answer {
				t.Errorf("the client got %q, want %q (%v)", answer, c.answer, err)
			}
			<-w.done
			if w.err != nil {
				t.Errorf("Serve: %v", w.err)
			}
			want := c.seen
			if want == "" {
				for _, s := range c.server {
					request, _, _ := strings.Cut(s, " => ")
					want += request
				}
			}
			if seen := got(); seen != want {
				t.Errorf("the server got %q, want %q", seen, want)
			}
		})
	}
}

func TestContinue(t *testing.T) {
	addr, got := answering(t, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n => HTTP/1.1 100 Continue\r\n\r\n", "body => "+ok)
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	go100 := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(w.client, go100); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w.client, "body")
	if answer, err := io.ReadAll(w.client); string(answer) != ok {
		t.Errorf("%q, %v", answer, err)
	}
	if !strings.HasSuffix(got(), "\r\n\r\nbody") {
		t.Errorf("%q", got())
	}
}

// After an upgrade each side may end before the other.
func TestHalfCloseOfAnUpgrade(t *testing.T) {
	addr, got := answering(t, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n => HTTP/1.1 101 S\r\n\r\nserver is done")
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n")
	if answer, err := io.ReadAll(w.client); string(answer) != "HTTP/1.1 101 S\r\n\r\nserver is done" {
		t.Errorf("%q, %v", answer, err)
	}
	io.WriteString(w.client, "client goes on")
	w.client.CloseWrite()
	<-w.done
	if !strings.HasSuffix(got(), "client goes on") {
		t.Errorf("%q", got())
	}
}

// A client's connection may send requests to several hosts.
func TestSeveralHosts(t *testing.T) {
	a, gotA := answering(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n => "+ok)
	b, gotB := answering(t, "GET / HTTP/1.1\r\nHost: b\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
	w := start(t, map[string]string{"a": a, "b": b}, nil)
	io.WriteString(w.client, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nGET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n")
	w.client.CloseWrite()
	if answer, err := io.ReadAll(w.client); string(answer) != ok+"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb" {
		t.Errorf("%q, %v", answer, err)
	}
	if gotA() == "" || gotB() == "" {
		t.Error("one was not asked")
	}
}

func TestConnectLeavesWhatFollows(t *testing.T) {
	addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => "+ok)
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\nCONNECT [::1]:5432 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03")
	if answer, err := io.ReadAll(w.client); string(answer) != ok+`tunnel to {::1 5432}, behind it "\x16\x03"` {
		t.Errorf("%q, %v", answer, err)
	}
}

// CONNECT without a port means port 443.
func TestConnectWithoutAPort(t *testing.T) {
	for authority, want := range map[string]string{"h": "{h 443}", "h:": "{h 443}", "[::1]": "{::1 443}", "127.0.0.1": "{127.0.0.1 443}", "h:80": "{h 80}"} {
		w := start(t, nil, nil)
		io.WriteString(w.client, "CONNECT "+authority+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if answer, err := io.ReadAll(w.client); string(answer) != "tunnel to "+want+`, behind it ""` {
			t.Errorf("%s: %q, %v", authority, answer, err)
		}
	}
}

// An upstream proxy gets the whole target and its own credentials.
func TestChained(t *testing.T) {
	addr, got := answering(t, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic dTpw\r\n\r\n => "+ok)
	w := start(t, map[string]string{"h": addr}, &url.URL{Scheme: "http", Host: "corp:3128", User: url.UserPassword("u", "p")})
	io.WriteString(w.client, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic YTpi\r\n\r\n")
	w.client.CloseWrite()
	if answer, err := io.ReadAll(w.client); string(answer) != ok {
		t.Errorf("%q, %v; the proxy got %q", answer, err, got())
	}
}
