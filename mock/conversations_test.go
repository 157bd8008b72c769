package mock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapedeck/tapedeck/recording"
)

// chat is a server that answers each message, pushes two, and closes at "bye".
func chat(compress bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o := &websocket.AcceptOptions{Subprotocols: []string{"chat"}}
		if compress {
			o.CompressionMode, o.CompressionThreshold = websocket.CompressionContextTakeover, 1
		}
		c, err := websocket.Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		ctx := r.Context()
		c.Write(ctx, websocket.MessageText, []byte("welcome, welcome, welcome "+r.URL.Query().Get("as")))
		for {
			kind, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			if string(p) == "bye" {
				c.Close(4000, "so long")
				return
			}
			c.Write(ctx, kind, append([]byte("you say, you say: "), p...))
		}
	}
}

// talk sends messages on a WebSocket and returns the messages that it receives.
func talk(w *world, server *httptest.Server, as string, compress bool, say ...string) (heard []string, err error) {
	u := strings.Replace(server.URL, "http", "ws", 1) + "/chat?as=" + url.QueryEscape(as)
	o := &websocket.DialOptions{HTTPClient: w.client(func(tr *http.Transport) {
		tr.ForceAttemptHTTP2 = false
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}), Subprotocols: []string{"chat"}}
	if compress {
		o.CompressionMode, o.CompressionThreshold = websocket.CompressionContextTakeover, 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, u, o)
	if err != nil {
		return nil, err
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	heard = append(heard, "protocol "+c.Subprotocol(), "extensions "+res.Header.Get("Sec-Websocket-Extensions"))
	_, p, err := c.Read(ctx)
	if err != nil {
		return heard, err
	}
	heard = append(heard, string(p))
	for _, s := range say {
		kind := websocket.MessageText
		if strings.HasPrefix(s, "\x00") {
			kind = websocket.MessageBinary
		}
		if err := c.Write(ctx, kind, []byte(s)); err != nil {
			return heard, err
		}
		_, p, err := c.Read(ctx)
		if err != nil {
			return heard, err
		}
		heard = append(heard, string(p))
	}
	return heard, c.Close(websocket.StatusNormalClosure, "")
}

func TestWebSocketsAreAnsweredAsRecorded(t *testing.T) {
	for name, secure := range map[string]func(http.Handler) *httptest.Server{"plain": httptest.NewServer, "in TLS": httptest.NewTLSServer} {
		for _, compress := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, compressed %t", name, compress), func(t *testing.T) {
				server := secure(chat(compress))
				defer server.Close()
				say := []string{"hello", "hello again", "\x00\x01", strings.Repeat("long ", 5_000)}
				var want []string
				var closed websocket.CloseError
				exchanges := record(t, []*httptest.Server{server}, func(w *world) {
					var err error
					if want, err = talk(w, server, "a", compress, say...); err != nil {
						t.Fatal(err)
					}
					if _, err = talk(w, server, "b", compress, "bye"); !errors.As(err, &closed) {
						t.Fatal(err)
					}
				})
				server.Close()
				m := start(t, exchanges)
				got, err := talk(&m.world, server, "a", compress, say...)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("got %.300q, %v\nwant %.300q", got, err, want)
				}
				if _, err := talk(&m.world, server, "b", compress, "bye"); !errors.As(err, &closed) || closed.Code != 4000 || closed.Reason != "so long" {
					t.Errorf("got %v", err)
				}
				// A client that offers no compression gets none.
				if got, err := talk(&m.world, server, "a", false, say...); err != nil || got[1] != "extensions " || !slices.Equal(got[2:], want[2:]) {
					t.Errorf("got %.300q, %v", got, err)
				}
				m.stop()
				if r := m.Receipt(); r.Served != 3 || r.Missed != 0 || r.NeverUsed != 0 {
					t.Errorf("receipt %s", &r)
				}
			})
		}
	}
}

func TestWebSocketThatSaysSomethingElse(t *testing.T) {
	server := httptest.NewServer(chat(false))
	defer server.Close()
	exchanges := record(t, nil, func(w *world) {
		for _, say := range []string{"one", "two"} {
			if _, err := talk(w, server, "a", false, say, say); err != nil {
				t.Fatal(err)
			}
		}
	})
	m := start(t, exchanges)
	// The client's messages decide which of the two conversations the mock plays.
	for _, say := range []string{"two", "one"} {
		if got, err := talk(&m.world, server, "a", false, say, say); err != nil || got[3] != "you say, you say: "+say {
			t.Errorf("%s: %q, %v", say, got, err)
		}
	}
	var closed websocket.CloseError
	if _, err := talk(&m.world, server, "a", false, "three"); !errors.As(err, &closed) || closed.Code != websocket.StatusInternalError || !strings.Contains(closed.Reason, "MISS") {
		t.Errorf("got %v", err)
	}
	if _, err := talk(&m.world, server, "a", false, "one", "two"); !errors.As(err, &closed) || closed.Code != websocket.StatusInternalError {
		t.Errorf("got %v", err)
	}
	if _, err := talk(&m.world, server, "nobody", false); err == nil || !strings.Contains(err.Error(), "501") {
		t.Errorf("got %v", err)
	}
	m.stop()
	if r := m.Receipt(); r.Served != 2 || r.Missed != 3 {
		t.Errorf("receipt %s", &r)
	}
}

// lineServer answers lines, after a greeting if it has one.
func lineServer(t *testing.T, greeting string) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				io.WriteString(c, greeting)
				p := make([]byte, 1<<10)
				for {
					k, err := c.Read(p)
					if err != nil {
						return
					}
					if string(p[:k]) == "quit\x00" {
						io.WriteString(c, "bye\x00")
						return
					}
					c.Write(bytes.ToUpper(p[:k]))
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l
}

// converse sends strings on a connection, and returns everything that it receives.
func converse(t *testing.T, c net.Conn, greeting int, say ...string) (string, error) {
	t.Helper()
	defer c.Close()
	var heard bytes.Buffer
	if _, err := io.CopyN(&heard, c, int64(greeting)); err != nil {
		return heard.String(), err
	}
	for _, s := range say {
		if _, err := io.WriteString(c, s); err != nil {
			return heard.String(), err
		}
		p := make([]byte, 1<<10)
		n, err := c.Read(p)
		heard.Write(p[:n])
		if err != nil {
			return heard.String(), err
		}
	}
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
	rest, err := io.ReadAll(c)
	heard.Write(rest)
	return heard.String(), err
}

func TestStreamsAreAnsweredWhereTheirBytesMatch(t *testing.T) {
	for _, greeting := range []string{"", "ready\x00"} {
		t.Run(fmt.Sprintf("greeting %q", greeting), func(t *testing.T) {
			l := lineServer(t, greeting)
			address := l.Addr().String()
			talks := [][]string{{"get a\x00", "get b\x00"}, {"get a\x00", "get c\x00"}, {"set a\x00"}, {"get a\x00", "quit\x00"}}
			var want []string
			exchanges := record(t, nil, func(w *world) {
				for _, say := range talks {
					heard, err := converse(t, w.tunnel(address), len(greeting), say...)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, heard)
				}
			})
			l.Close()
			m := start(t, exchanges)
			for _, i := range []int{2, 3, 0, 1} {
				if got, err := converse(t, m.tunnel(address), len(greeting), talks[i]...); err != nil || got != want[i] {
					t.Errorf("%q: got %q, %v, want %q", talks[i], got, err, want[i])
				}
			}
			for _, say := range [][]string{{"get d\x00"}, {"get a\x00", "get d\x00"}, {"set a\x00", "more\x00"}} {
				got, err := converse(t, m.tunnel(address), len(greeting), say...)
				if err == nil {
					t.Errorf("%q: got %q and an orderly end, want a reset", say, got)
				}
			}
			if got, err := converse(t, m.tunnel("127.0.0.1:9"), 0, "anything\x00"); err == nil {
				t.Errorf("a server that was not recorded: %q", got)
			}
			m.stop()
			if r := m.Receipt(); r.Served != 4 || r.Missed != 4 || r.NeverUsed != 0 {
				t.Errorf("receipt %s", &r)
			}
		})
	}
}

// A client that opens several connections at the same time closes those that it doesn't need. Such
// a connection does not count as an answer that was never used.
func TestConnectionsThatWereNotNeeded(t *testing.T) {
	unused := &recording.Exchange{MsgType: recording.MsgType, TS: begun, Direction: recording.Out, L7Protocol: recording.TCP, IsTLS: true,
		NetworkAddress: "dep.example:443", TCP: &recording.Conversation{Part: 1, Last: true}}
	settings := *unused
	settings.ALPN, settings.TCP = "h2", &recording.Conversation{Part: 1, Last: true, ServerBytes: 39, Messages: []recording.Message{{From: recording.Server, Size: 39}}}
	m := start(t, []*recording.Exchange{unused, &settings, exchange(1, "GET", "https://dep.example/a", "", 200, "a")})
	if a := fetch(t, m.client(), "GET", "https://dep.example/a", ""); a.body != "a" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if r := m.Receipt(); r.Loaded != 1 || r.NeverUsed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

// A stream of which only sizes were recorded is a miss, because there are no bytes to answer with.
func TestStreamsOfWhichOnlySizesWereRecorded(t *testing.T) {
	l := lineServer(t, "")
	address := l.Addr().String()
	exchanges := record(t, nil, func(w *world) {
		if _, err := converse(t, w.tunnel(address), 0, "get a\x00"); err != nil {
			t.Fatal(err)
		}
	})
	for _, e := range exchanges {
		if e.TCP != nil {
			for i := range e.TCP.Messages {
				e.TCP.Messages[i].Size, e.TCP.Messages[i].Data = int64(len(e.TCP.Messages[i].Data)), nil
			}
		}
	}
	m := start(t, exchanges)
	if got, err := converse(t, m.tunnel(address), 0, "get a\x00"); err == nil {
		t.Errorf("got %q", got)
	}
	m.stop()
	if r := m.Receipt(); r.Missed != 1 {
		t.Errorf("receipt %s", &r)
	}
}

// rpc is a server with calls of all four kinds. They differ only in the number of messages.
func rpc(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		flush := w.(http.Flusher).Flush
		var all []string
		status := "0"
		switch r.URL.Path {
		case "/t.T/Unary", "/t.T/Fail":
			m, err := readMessage(r.Body)
			if err == nil && r.URL.Path == "/t.T/Unary" {
				w.Write(message("unary " + m))
			} else {
				status = "5"
			}
		case "/t.T/Serve":
			m, _ := readMessage(r.Body)
			for i := range 3 {
				w.Write(message(fmt.Sprint(m, i)))
				flush()
			}
		case "/t.T/Collect":
			for {
				m, err := readMessage(r.Body)
				if err != nil {
					break
				}
				all = append(all, m)
			}
			w.Write(message(strings.Join(all, "+")))
		case "/t.T/Chat":
			flush()
			for {
				m, err := readMessage(r.Body)
				if err != nil {
					break
				}
				w.Write(message("re " + m))
				flush()
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
		w.Header().Set(http.TrailerPrefix+"X-Cost", "7")
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	return s
}

func message(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s))), s...)
}

func readMessage(r io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	p := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, p)
	return string(p), err
}

// invoke makes a call. If waits is set, it sends each message only after the server has answered
// the previous one.
func invoke(t *testing.T, c *http.Client, url string, waits bool, say ...string) (heard []string, status string) {
	t.Helper()
	body, in := io.Pipe()
	r, err := http.NewRequest("POST", url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	answered := make(chan struct{}, 10)
	go func() {
		for i, s := range say {
			if waits && i > 0 {
				<-answered
			}
			in.Write(message(s))
		}
		in.Close()
	}()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for {
		m, err := readMessage(res.Body)
		if err != nil {
			break
		}
		heard = append(heard, m)
		answered <- struct{}{}
	}
	io.Copy(io.Discard, res.Body)
	status = res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
	if cost := res.Trailer.Get("X-Cost"); cost != "" {
		status += " cost " + cost
	}
	if text := res.Header.Get("Grpc-Message") + res.Trailer.Get("Grpc-Message"); text != "" {
		status += " " + text
	}
	return heard, status
}

func TestCallsOfAllFourKinds(t *testing.T) {
	server := rpc(t)
	defer server.Close()
	calls := []struct {
		path  string
		waits bool
		say   []string
	}{
		{"/t.T/Unary", false, []string{"a"}}, {"/t.T/Unary", false, []string{"b"}}, {"/t.T/Fail", false, []string{"a"}}, {"/t.T/Serve", false, []string{"s"}},
		{"/t.T/Collect", false, []string{"1", "2", "3"}}, {"/t.T/Collect", false, []string{"1", "2"}}, {"/t.T/Collect", false, nil},
		{"/t.T/Chat", true, []string{"x", "y", "z"}}, {"/t.T/Chat", true, []string{"x", "z"}}, {"/t.T/Chat", true, []string{"x"}},
	}
	type result struct {
		heard  []string
		status string
	}
	run := func(w *world) (all []result) {
		c := w.client()
		for _, call := range calls {
			heard, status := invoke(t, c, server.URL+call.path, call.waits, call.say...)
			all = append(all, result{heard, status})
		}
		return all
	}
	var want []result
	exchanges := record(t, []*httptest.Server{server}, func(w *world) { want = run(w) })
	server.Close()
	m := start(t, exchanges)
	for round := range 2 {
		for i, got := range run(&m.world) {
			if !slices.Equal(got.heard, want[i].heard) || got.status != want[i].status {
				t.Errorf("round %d, %s %q: got %q, want %q", round, calls[i].path, calls[i].say, got, want[i])
			}
		}
	}
	c := m.client()
	for _, call := range []struct {
		path  string
		waits bool
		say   []string
	}{
		{"/t.T/Unary", false, []string{"c"}}, {"/t.T/Unary", false, []string{"a", "more"}}, {"/t.T/None", false, []string{"a"}},
		{"/t.T/Collect", false, []string{"1", "3"}}, {"/t.T/Collect", false, []string{"1", "2", "3", "4"}}, {"/t.T/Chat", true, []string{"x", "q"}},
	} {
		_, status := invoke(t, c, server.URL+call.path, call.waits, call.say...)
		if !strings.HasPrefix(status, "13") || !strings.Contains(status, "MISS") {
			t.Errorf("%s %q: %s", call.path, call.say, status)
		}
	}
	m.stop()
	if r := m.Receipt(); r.Served != 20 || r.Missed != 6 || r.NeverUsed != 0 {
		t.Errorf("receipt %s", &r)
	}
}

var _ = recording.GRPC
