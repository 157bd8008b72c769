package plainhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// big is a field that fills a buffer.
var big = "X-Big: " + strings.Repeat("b", 70<<10) + "\r\n"

// many are more fields than are kept.
var many = func() string {
	var b strings.Builder
	for i := range maxFields + 50 {
		fmt.Fprintf(&b, "X-%d: v\r\n", i)
	}
	return b.String()
}()

// Heads of requests and of answers pass whatever their length, and so do the bytes after them. The
// fields that decide how the message is read then come last.
func TestLongHeadsPass(t *testing.T) {
	for name, long := range map[string]string{"a big field": big, "many fields": many, "both, often": strings.Repeat(big+many, 8)} {
		for _, c := range []struct {
			name, send, seen, answer, want string
		}{
			{"GET", "GET http://h/p HTTP/1.1\r\nHost: h\r\n" + long + "\r\n", "GET /p HTTP/1.1\r\n" + long + "Host: h\r\n\r\n", ok, ok},
			{"Host after it", "GET http://h/p HTTP/1.1\r\n" + long + "Host:  h \r\n\r\n", "GET /p HTTP/1.1\r\n" + long + "Host:  h \r\n\r\n", ok, ok},
			{"no Host", "GET http://h/p HTTP/1.0\r\n" + long + "\r\n", "GET /p HTTP/1.0\r\n" + long + "Host: h\r\n\r\n", ok, ok},
			{"a length", "POST http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + long + "\r\nabc", "POST /p HTTP/1.1\r\n" + long + "Host: h\r\nContent-Length: 3\r\n\r\nabc", ok, ok},
			{"chunks", "POST http://h/p HTTP/1.1\r\n" + long + "Host: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", "POST /p HTTP/1.1\r\n" + long + "Host: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ok, ok},
			{"fields for the proxy", "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: x\r\n" + long + "proxy-connection: x\r\nX: y\r\n\r\n", "GET /p HTTP/1.1\r\n" + long + "X: y\r\nHost: h\r\n\r\n", ok, ok},
			{"an upgrade", "GET http://h/p HTTP/1.1\r\nHost: h\r\nUpgrade: ws\r\n" + long + "\r\n", "GET /p HTTP/1.1\r\n" + long + "Host: h\r\nUpgrade: ws\r\n\r\n",
				"HTTP/1.1 101 Go\r\n\r\nanything", "HTTP/1.1 101 Go\r\n\r\nanything"},
			{"an answer", "GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n", toldHost, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + long + "\r\nhi", "HTTP/1.1 200 OK\r\n" + long + "Content-Length: 2\r\n\r\nhi"},
			{"an answer in chunks", askHost, toldHost, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + long + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
				"HTTP/1.1 200 OK\r\n" + long + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
			{"an answer that ends with the connection", askHost, toldHost, "HTTP/1.1 200 OK\n" + strings.ReplaceAll(long, "\r", "") + "X: a\n b\n\nrest", "HTTP/1.1 200 OK\n" + long + "X: a b\r\n\r\nrest"},
			{"hints before an answer", askHost, toldHost, "HTTP/1.1 103 Hints\r\n" + long + "\r\n" + ok, "HTTP/1.1 103 Hints\r\n" + long + "\r\n" + ok},
			{"an answer to HEAD", "HEAD http://h/p HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /p HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + long + "\r\n", "HTTP/1.1 200 OK\r\n" + long + "Content-Length: 9\r\n\r\n"},
		} {
			if len(long) < 64<<10 && c.answer != ok && c.name != "an upgrade" {
				continue // an answer may have as many fields as it likes
			}
			t.Run(name+"/"+c.name, func(t *testing.T) {
				// One request comes before it, and one after it.
				addr, got := answering(t, toldHost+" => "+ok, c.seen+" => "+c.answer, toldHost+" => "+ok)
				w := start(t, map[string]string{"h": addr}, nil)
				last := strings.Contains(c.name, "upgrade") || strings.Contains(c.name, "ends with")
				send, want, seen := askHost+c.send, ok+c.want, toldHost+c.seen
				if !last {
					send, want, seen = send+askHost, want+ok, seen+toldHost
				}
				go func() { io.WriteString(w.client, send); w.client.CloseWrite() }()
				answer, err := io.ReadAll(w.client)
				if string(answer) != want {
					t.Errorf("the client got %d bytes, want %d: %s (%v)", len(answer), len(want), difference(string(answer), want), err)
				}
				<-w.done
				if w.err != nil {
					t.Error(w.err)
				}
				if g := got(); g != seen {
					t.Errorf("the server got %d bytes, want %d: %s", len(g), len(seen), difference(g, seen))
				}
			})
		}
	}
}

// difference shows where two long strings differ.
func difference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("%.60q instead of %.60q at %d", got[i:], want[i:], i)
}

// A long head is refused for the same reasons as a head in one piece. Its server never gets the
// end of it.
func TestLongHeadsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		tail   string
		status int
	}{
		"both framing fields":             {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
		"two lengths":                     {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
		"a second Host":                   {"hOST: i\r\n", 400},
		"a coding that is unknown":        {"Transfer-Encoding: gzip\r\n", 501},
		"a folded field":                  {"X: a\r\n b\r\n", 400},
		"a folded length":                 {"Content-Length:\r\n 5\r\n", 400},
		"a space before the colon":        {"Content-Length : 5\r\n", 400},
		"a bare LF":                       {"X: a\nContent-Length: 5\r\n", 400},
		"a bare CR":                       {"X: a\rContent-Length: 5\r\n", 400},
		"CR CR LF":                        {"X: a\r\r\n", 400},
		"a zero byte":                     {"X: \x00\r\n", 400},
		"no colon":                        {"nothing\r\n", 400},
		"a length that is endless":        {"Content-Length: " + strings.Repeat("0", 80<<10) + "5\r\n", 431},
		"a length with many zeros":        {"Content-Length: " + strings.Repeat("0", 2<<10) + "5\r\n", 431},
		"an upgrade that is long":         {strings.Repeat("Upgrade: "+strings.Repeat("x", 1000)+"\r\n", 3), 431},
		"an endless name":                 {strings.Repeat("x", 80<<10) + ": y\r\n", 431},
		"many fields that decide":         {strings.Repeat("Upgrade: x\r\n", 100), 431},
		"an empty line with an odd start": {"\rX: y\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			server, accepted := listenOnce(t)
			w := start(t, map[string]string{"h": server}, nil)
			go io.WriteString(w.client, "POST http://h/ HTTP/1.1\r\nHost: h\r\n"+big+c.tail+"\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(w.client), nil)
			if err != nil || resp.StatusCode != c.status {
				t.Errorf("%v, %v, want %d", resp, err, c.status)
			}
			got, _ := io.ReadAll(<-accepted)
			if bytes.Contains(got, []byte("\r\n\r\n")) || bytes.Contains(got, []byte("\n\n")) {
				t.Errorf("the server got the end of a head: %q", got[max(0, len(got)-100):])
			}
		})
	}
}

// A server may refuse a head before it ends, and its own answer reaches the client.
func TestALongHeadIsAnsweredEarly(t *testing.T) {
	const refusal = "HTTP/1.1 431 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	addr, _ := answering(t, "GET / HTTP/1.1\r\n"+big[:1000]+" => "+refusal)
	w := start(t, map[string]string{"h": addr}, nil)
	io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n"+big)
	if answer, err := io.ReadAll(w.client); string(answer) != refusal {
		t.Errorf("%q, %v", answer, err)
	}
}

// A server that breaks off in a long head, or whose head is malformed later on, causes a reset of
// its client: a part must not pass for the whole.
func TestALongAnswerThatBreaksOff(t *testing.T) {
	for name, tail := range map[string]string{"it ends": "", "lengths that differ": "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", "an endless length": "Content-Length: " + strings.Repeat("0", 80<<10) + "\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			addr, _ := answering(t, toldHost+" => HTTP/1.1 200 OK\r\n"+big+tail)
			w := start(t, map[string]string{"h": addr}, nil)
			io.WriteString(w.client, askHost)
			if answer, err := io.ReadAll(w.client); err == nil {
				t.Errorf("an orderly end after %d bytes", len(answer))
			}
		})
	}
}

// The head of CONNECT ends at the proxy, whatever its length: some contain Kerberos tickets.
func TestConnectWithALongHead(t *testing.T) {
	const want = `tunnel to {h 443}, behind it "tls"`
	connect := func(fields string) string { return "CONNECT h:443 HTTP/1.1\r\n" + fields + "Host: h\r\n\r\ntls" }
	for name, long := range map[string]string{"a big field": big, "many fields": many} {
		w := start(t, nil, nil)
		io.WriteString(w.client, connect(long))
		if answer, err := io.ReadAll(w.client); string(answer) != want {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		w = start(t, nil, nil)
		io.WriteString(w.client, connect(long+"Host: h\r\n"))
		if answer, _ := io.ReadAll(w.client); !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
			t.Errorf("%s, two Hosts: %q", name, answer)
		}
	}
}

// An upstream proxy gets the whole target, and its own credentials.
func TestALongHeadIsChained(t *testing.T) {
	want := "GET http://h/p HTTP/1.1\r\n" + big + "Host: h\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
	addr, got := answering(t, want+" => "+ok)
	w := start(t, map[string]string{"h": addr}, &url.URL{Scheme: "http", Host: "corp:3128", User: url.UserPassword("u", "p")})
	io.WriteString(w.client, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic YTpi\r\n"+big+"\r\n")
	w.client.CloseWrite()
	if answer, err := io.ReadAll(w.client); string(answer) != ok {
		t.Errorf("%q, %v; %s", answer, err, difference(got(), want))
	}
}

// The Host of a long head may not be known immediately. If it is not among the first fields, it may
// name a metadata server.
func TestALongHeadThatMayBePrivate(t *testing.T) {
	for head, want := range map[string]bool{
		"GET http://h/ HTTP/1.1\r\nHost: h\r\n" + big:                                 false,
		"GET http://h/ HTTP/1.1\r\nHost: metadata.google.internal:80\r\n" + big:       true,
		"GET http://h/ HTTP/1.1\r\n" + big:                                            true,
		"GET http://h/ HTTP/1.1\r\nHost: metadata.goo":                                true, // g, perhaps
		"GET http://h/ HTTP/1.0\r\nX: y\r\n\r\nHost: h\r\n":                           true,
		"GET http://h/ HTTP/1.1\r\nX-Host: h\r\nhost : h\r\nHOST:169.254.169.254\r\n": true,
	} {
		q, _, err := parseLong([]byte(head))
		if err != nil || q.private != want {
			t.Errorf("%.80q: %v, %v", head, q, err)
		}
	}
}

// FuzzLongHead judges a head in one piece and piece by piece. Both ways refuse the same heads. A
// head that passes has the same fields in both, except for the order of those that decide how the
// message is read, and the same body.
func FuzzLongHead(f *testing.F) {
	f.Add([]byte("GET http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: y\r\n\r\n"), uint64(1))
	f.Add([]byte("POST http://[::1]:80/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\nX:\r\n\r\n"), uint64(2))
	f.Add([]byte("GET http://h/ HTTP/1.1\r\nhost:\r\nProxy-Connection: x\r\nTransfer-Encoding: identity\r\n\r\n"), uint64(3))
	f.Add([]byte("GET http://h/ HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\nY: \r\r\n\r\n"), uint64(4))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		end, _, err := headEnd(in, 0, false)
		if err != nil || end == 0 || end > maxName {
			return
		}
		in = bytes.TrimPrefix(in[:end], []byte("\r\n"))
		if _, _, err := headEnd(in, 0, true); err != nil {
			return // refused by the reader
		}
		q, err := parseRequest(in)
		line, rest, lineErr := parseLine(in)
		if lineErr != nil {
			if err == nil {
				t.Fatalf("%q: the line alone is refused: %v", in, lineErr)
			}
			return
		}
		if _, _, err := line.destination(); err != nil {
			return
		}
		read := func(cut []string) (string, error) {
			from, to := &arriving{pieces: slices.Clone(cut)}, &strings.Builder{}
			*line = request{method: line.method, target: line.target, minor: line.minor, authority: line.authority}
			err := line.readLong(&reader{conn: pump.NewConn(from, nil), pool: &tap.Pool{}}, func(p []byte, _ bool) error { to.Write(p); return nil })
			return to.String(), err
		}
		whole, wholeErr := read([]string{string(rest)})
		parts, partsErr := read(pieces(rest, seed))
		if (wholeErr == nil) != (partsErr == nil) || wholeErr == nil && whole != parts {
			t.Fatalf("%q: whole %q, %v; in pieces %q, %v", in, whole, wholeErr, parts, partsErr)
		}
		if (err == nil) != (wholeErr == nil) {
			t.Fatalf("%q: in one piece %v, in several %v", in, err, wholeErr)
		}
		if err != nil {
			return
		}
		if _, _, err := q.destination(); err != nil || q.body != line.body || q.hostless != line.hostless || q.upgrades() != line.upgrades() {
			t.Fatalf("%q: %+v and %+v", in, q, line)
		}
		want, got := sortedLines(string(q.appendFields(nil))), sortedLines(whole)
		if !slices.Equal(want, got) {
			t.Fatalf("%q: fields %q and %q", in, want, got)
		}
	})
}

func sortedLines(s string) []string { return slices.Sorted(strings.Lines(s)) }

// FuzzLongAnswer does the same for answers, which are parsed leniently. The standard library reads
// an answer that passes piece by piece as it reads the output for a head in one piece.
func FuzzLongAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n z\r\n\r\n"), uint64(1))
	f.Add([]byte("HTTP/1.1 200 OK\nTransfer-Encoding : chunked\nContent-Length: 3\nnothing\n\n"), uint64(2))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		end, _, err := headEnd(in, 0, false)
		if err != nil || end == 0 || end > maxName {
			return
		}
		in = in[:end]
		line := in[:bytes.IndexByte(in, '\n')+1]
		if _, err := parseResponse(slices.Concat(line, []byte("\r\n")), "GET"); err != nil {
			return
		}
		read := func(cut []string) (string, *response, error) {
			h := longHead{lenient: true, fate: responseFate}
			var out []byte
			done := false
			for i := 0; i < len(cut) && !done; i++ {
				var n int
				var err error
				if out, n, done, err = h.take(out, []byte(cut[i])); err != nil {
					return "", nil, err
				}
				if done && n < len(cut[i]) {
					t.Fatalf("%q: the head ends before %q", in, cut[i][n:])
				}
			}
			if !done {
				t.Fatalf("%q: the head does not end", in)
			}
			head := slices.Clone(line)
			for _, f := range h.held {
				head = append(head, f.line...)
			}
			r, err := parseResponse(append(head, "\r\n"...), "GET")
			if err != nil {
				return "", nil, err
			}
			return string(line) + string(out) + string(r.head[len(line):]), r, nil
		}
		whole, ours, wholeErr := read([]string{string(in[len(line):])})
		parts, _, partsErr := read(pieces(in[len(line):], seed))
		if (wholeErr == nil) != (partsErr == nil) || whole != parts {
			t.Fatalf("%q: whole %q, %v; in pieces %q, %v", in, whole, wholeErr, parts, partsErr)
		}
		r, err := parseResponse(in, "GET")
		if wholeErr != nil || err != nil {
			return // CR in odd places is refused piece by piece
		}
		if r.body != ours.body || r.status != ours.status {
			t.Fatalf("%q: %+v and %+v", in, r, ours)
		}
		one, oneErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.head)), nil)
		two, twoErr := http.ReadResponse(bufio.NewReader(strings.NewReader(whole)), nil)
		if oneErr != nil || twoErr != nil {
			return
		}
		if one.ContentLength != two.ContentLength || !slices.Equal(one.TransferEncoding, two.TransferEncoding) {
			t.Fatalf("%q: %q and %q are framed differently", in, r.head, whole)
		}
	})
}
