package plainhttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Requests that two parsers could read differently are refused, and nothing of them reaches a
// server. Requests before them are answered.
func TestRefused(t *testing.T) {
	get := "GET http://h/ HTTP/1.1\r\n"
	for _, c := range []struct {
		name, send string
		status     int
	}{
		{"both framing fields", get + "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", get + "Host: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
		{"the same length twice", get + "Host: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
		{"a list of lengths", get + "Host: h\r\nContent-Length: 5, 5\r\n\r\n", 400},
		{"a length with a sign", get + "Host: h\r\nContent-Length: +5\r\n\r\n", 400},
		{"two codings", get + "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"a coding after chunked", get + "Host: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501},
		{"chunked twice", get + "Host: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501},
		{"both framing fields, and identity", get + "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 400},
		{"identity, and chunked in a field of its own", get + "Host: h\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"a parameter of identity", get + "Host: h\r\nTransfer-Encoding: identity;q=1\r\n\r\n", 501},
		{"a coding that looks like chunked", get + "Host: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
		{"chunks in HTTP/1.0", "POST http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"a folded field", get + "Host: h\r\nX: a\r\n b\r\n\r\n", 400},
		{"a space before the colon", get + "Host: h\r\nContent-Length : 5\r\n\r\n", 400},
		{"a field without a colon", get + "Host: h\r\nnothing\r\n\r\n", 400},
		{"a bare LF", get + "Host: h\nX: a\r\n\r\n", 400},
		{"a bare CR", get + "Host: h\r\nX: a\rb\r\n\r\n", 400},
		{"a zero byte", get + "Host: h\r\nX: a\x00b\r\n\r\n", 400},
		{"two Hosts", get + "Host: h\r\nHost: i\r\n\r\n", 400},
		{"no Host", get + "\r\n", 400},
		{"a Host that is a list", get + "Host: h, i\r\n\r\n", 400},
		{"two spaces", "GET  http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"a tab", "GET\thttp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"HTTP/0.9", "GET http://h/\r\n\r\n", 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"origin-form", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"an unknown scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 501},
		{"https, of a host that is not there", "GET https://nowhere/ HTTP/1.1\r\nHost: h\r\n\r\n", 502},
		{"a user in the target", "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"an invalid port", "GET http://h:99999/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"CONNECT to an address that may have a port", "CONNECT ::1:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"CONNECT to a name in brackets", "CONNECT [h] HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"CONNECT to a path", "CONNECT h/443 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"an address that may have a port", "GET http://::1:80/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"a long target", "GET http://h/" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		{"a long host", "GET http://" + strings.Repeat("a", 256) + "/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"a tunnel to a long host", "CONNECT " + strings.Repeat("a", 256) + ":443 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"a target that is longer than a buffer", "GET http://h/" + strings.Repeat("a", 80<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		{"a host that is not there", "GET http://nowhere/ HTTP/1.1\r\nHost: h\r\n\r\n", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := "GET http://h/first HTTP/1.1\r\nHost: h\r\n\r\n"
			addr, got := answering(t, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n => "+ok, strings.Repeat("more", 1000)+" => ")
			w := start(t, map[string]string{"h": addr}, nil)
			go io.WriteString(w.client, first+c.send)
			r := bufio.NewReader(w.client)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
				t.Fatalf("the request before: %v, %v", resp, err)
			} else {
				io.Copy(io.Discard, resp.Body)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.HasPrefix(string(body), "tapedeck: ") {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, c.status)
			}
			w.client.Close()
			<-w.done
			if seen := got(); seen != "GET /first HTTP/1.1\r\nHost: h\r\n\r\n" {
				t.Errorf("the server got %q", seen)
			}
		})
	}
}

// A body that turns out malformed is refused, and ends the server's connection, so that the server
// does not take it for a whole body.
func TestMalformedBody(t *testing.T) {
	for name, body := range map[string]string{
		"a size that isn't a number": "x\r\n",
		"a size with a prefix":       "0x3\r\nabc\r\n0\r\n\r\n",
		"a bare LF":                  "3\nabc\r\n0\r\n\r\n",
		"more than the size":         "3\r\nabcd\r\n0\r\n\r\n",
		"a length in the trailer":    "0\r\nContent-Length: 5\r\n\r\n",
		"a size that is too large":   "ffffffffffffffffff\r\n",
		"a folded trailer":           "0\r\nX: a\r\n b\r\n\r\n",
		"a control in the extension": "3;a=\x01\r\nabc\r\n0\r\n\r\n",
		"an endless line":            strings.Repeat("0", maxChunkLine+1<<10),
	} {
		t.Run(name, func(t *testing.T) {
			head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
			addr, got := answering(t, head+strings.Repeat(" ", 1<<20))
			w := start(t, map[string]string{"h": addr}, nil)
			io.WriteString(w.client, strings.Replace(head, "/", "http://h/", 1)+body)
			resp, err := http.ReadResponse(bufio.NewReader(w.client), nil)
			if name == "an endless line" {
				if err == nil && resp.StatusCode == 200 {
					t.Error("accepted")
				}
			} else if err != nil || resp.StatusCode != 400 {
				t.Errorf("%v, %v", resp, err)
			}
			w.client.Close()
			<-w.done
			if w.err == nil {
				t.Error("no error")
			}
			if strings.HasSuffix(got(), "0\r\n\r\n") {
				t.Errorf("the server got the end of a body: %q", got())
			}
		})
	}
}

// A chunk may turn out malformed after the server got the request's head, and the client may have
// sent other requests before. They are answered in order, and then the request is refused. If it
// already has an answer, it gets no second one: the client would take that for the answer to its
// next request.
func TestAMalformedChunkIsAnswered(t *testing.T) {
	const post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	const posted = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	const refused = "HTTP/1.1 400 "
	for _, c := range []struct {
		name   string
		before int    // requests that are answered before
		behind bool   // one of them is answered only after the chunk
		answer string // how the server answers the request's beginning
		want   string // what its client gets
	}{
		{"as the first request", 0, false, "", refused},
		{"as the second", 1, false, "", refused},
		{"on a connection that lasts", 3, false, "", refused},
		{"after one that waits", 1, true, "", refused},
		{"after the server's 100 Continue", 1, false, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n" + refused},
		{"after an answer", 1, false, ok, ok},
		{"in the middle of an answer", 1, false, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, accepted := listenOnce(t)
			w := start(t, map[string]string{"h": server}, nil)
			var s net.Conn
			for i := range c.before {
				io.WriteString(w.client, askHost)
				if s == nil {
					s = <-accepted
				}
				readString(t, s, toldHost)
				if !c.behind || i < c.before-1 {
					io.WriteString(s, ok)
					readString(t, w.client, ok)
				}
			}
			io.WriteString(w.client, post+"3\r\nabc\r\n")
			if s == nil {
				s = <-accepted
			}
			readString(t, s, posted+"3\r\nabc\r\n")
			io.WriteString(s, c.answer)
			want := c.want
			if want != refused {
				readString(t, w.client, strings.TrimSuffix(want, refused))
				want = want[len(strings.TrimSuffix(want, refused)):]
			}
			io.WriteString(w.client, "x\r\n")
			if c.behind {
				io.WriteString(s, ok)
				readString(t, w.client, ok)
			}
			rest, err := io.ReadAll(w.client)
			if want == refused && (err != nil || !strings.HasPrefix(string(rest), refused) || strings.Count(string(rest), "HTTP/1.1") > 1) ||
				want != refused && len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
			if rest, _ := io.ReadAll(s); len(rest) > 0 {
				t.Errorf("the server got %q", rest)
			}
			<-w.done
			if w.err == nil {
				t.Error("no error")
			}
		})
	}
}

// Some clients send an empty line after a body, which does not begin a request (RFC 9112 section
// 2.2). The client is idle, and its connection ends when the server's does.
func TestAnEmptyLineBeginsNoRequest(t *testing.T) {
	addr, _ := answering(t, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody => "+ok)
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody\r\n")
	if answer, err := io.ReadAll(w.client); string(answer) != ok || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
}

// Empty lines before a request are ignored, however they come.
func TestEmptyLinesBeforeARequestAreIgnored(t *testing.T) {
	for name, parts := range map[string][]string{
		"one":                {"\r\n" + askHost},
		"two":                {"\r\n\r\n" + askHost},
		"many":               {strings.Repeat("\r\n", 1000) + askHost},
		"in parts":           {"\r\n\r\n", "\r\n", "\r\n\r\n\r\n" + askHost},
		"cut within a line":  {"\r", "\n\r", "\n\r\n\r", "\n" + askHost},
		"before each":        {"\r\n\r\n" + askHost + "\r\n\r\n" + askHost},
		"before a long head": {"\r\n\r\n" + strings.TrimSuffix(askHost, "\r\n") + big + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			count := max(1, strings.Count(parts[0], "GET"))
			told := toldHost
			if strings.Contains(name, "long") {
				told = strings.TrimSuffix(strings.Replace(toldHost, "Host: h\r\n", big+"Host: h\r\n", 1), "\r\n") + "\r\n"
			}
			addr, _ := answering(t, slices.Repeat([]string{told + " => " + ok}, count)...)
			w := start(t, map[string]string{"h": addr}, nil)
			go func() {
				for _, part := range parts {
					io.WriteString(w.client, part)
				}
				w.client.CloseWrite()
			}()
			if answer, err := io.ReadAll(w.client); string(answer) != strings.Repeat(ok, count) || err != nil {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}

// A request in HTTP/1.1 has a Host (RFC 9112 section 3.2). If it is empty, and in HTTP/1.0, the
// server gets the Host from the target.
func TestHostComesFromTheTarget(t *testing.T) {
	for send, seen := range map[string]string{
		"GET http://h:80/ HTTP/1.0\r\n\r\n":           "GET / HTTP/1.0\r\nHost: h:80\r\n\r\n",
		"GET http://h/ HTTP/1.0\r\nHost:\r\n\r\n":     "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
		"GET http://h/ HTTP/1.1\r\nHost:\r\n\r\n":     "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET http://h/ HTTP/1.0\r\nHost: i:1\r\n\r\n": "GET / HTTP/1.0\r\nHost: i:1\r\n\r\n",
		"GET http://h/ HTTP/1.1\r\n\r\n":              "",
		"GET http://h/ HTTP/1.1\r\nX: y\r\n\r\n":      "",
	} {
		hosts, want := map[string]string{}, "HTTP/1.1 400 "
		if seen != "" {
			hosts["h"], _ = answering(t, seen+" => "+ok)
			want = ok
		}
		w := start(t, hosts, nil)
		go func() { io.WriteString(w.client, send); w.client.CloseWrite() }()
		if answer, err := io.ReadAll(w.client); !strings.HasPrefix(string(answer), want) || err != nil {
			t.Errorf("%q: %q, %v", send, answer, err)
		}
	}
}

// An answer to HEAD has no body, even if the proxy itself answers.
func TestARefusedHEAD(t *testing.T) {
	addr, _ := answering(t, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n => 220 ready\r\n\r\n")
	for name, url := range map[string]string{"by the proxy": "http://nowhere/", "for what the server says": "http://h/", "for its target": "/"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, map[string]string{"h": addr}, nil)
			io.WriteString(w.client, "HEAD "+url+" HTTP/1.1\r\nHost: h\r\n\r\n")
			answer, err := io.ReadAll(w.client)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") || !strings.HasSuffix(string(answer), "\r\n\r\n") {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}
