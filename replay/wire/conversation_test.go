package wire

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/tapedeck/tapedeck/recording"
)

// serve runs a net/http server without a network, for HTTP/1 and for HTTP/2 without TLS. It returns
// a client for it, and a function that stops both.
func serve(t *testing.T, h http.HandlerFunc, set ...func(*Options)) (*Client, func()) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	c := client(t, bare, append(set, func(o *Options) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			l.conns <- far
			return near, nil
		}
	})...)
	return c, func() {
		c.Close()
		_ = s.Close()
		done.Wait()
	}
}

// pipeListener is a listener that hands out ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func pace(p float64) func(*Options) { return func(o *Options) { o.Pace = p } }

// say is a message; at is in milliseconds.
func say(from string, at int64, kind, data string) recording.Message {
	return recording.Message{From: from, At: at * 1000, Type: kind, Data: []byte(data)}
}

// socketOf returns a recorded WebSocket.
func socketOf(messages ...recording.Message) *recording.Exchange {
	e := request("1.1", "GET", "/talk", "", "Host: recorded.example", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Version: 13")
	e.L7Protocol = recording.WebSocket
	e.HTTP.Res.StatusCode = 101
	e.WebSocket = &recording.Conversation{Part: 1, Last: true, Messages: messages}
	e.Duration = messages[len(messages)-1].At / 1000
	return e
}

// said shows the messages of the server.
func said(c *recording.Conversation) string {
	if c == nil {
		return "no conversation"
	}
	var all []string
	for _, m := range c.Messages {
		text := fmt.Sprintf("%v %s %q", time.Duration(m.At)*time.Microsecond, m.Type, m.Data)
		if m.More {
			text += " more"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// notes are the messages that a server receives, with their times.
type notes struct {
	mu    sync.Mutex
	began time.Time
	all   []string
}

func (l *notes) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf("%v ", time.Since(l.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (l *notes) String() string { return strings.Join(l.all, ", ") }

func TestWhatTheClientSaidAfterAMessageIsSentAfterIt(t *testing.T) {
	recorded := []recording.Message{
		say("client", 0, "text", "a"), say("client", 100, "text", "b"),
		say("server", 1000, "text", "B"), say("client", 3000, "binary", "c"),
		say("server", 3100, "binary", "C"), say("client", 3200, "close", "\x03\xe8bye"), say("server", 3200, "close", "\x03\xe8bye"),
	}
	for _, test := range []struct {
		pace         float64
		heard, lives string
	}{
		{1, `0s a, 100ms b, 7.1s c, 12.2s close 1000 bye`, `5.1s text "B", 12.1s binary "C", 12.2s close "\x03\xe8bye"`},
		{2, `0s a, 50ms b, 6.05s c, 11.1s close 1000 bye`, `5.05s text "B", 11.05s binary "C", 11.1s close "\x03\xe8bye"`},
		{0.5, `0s a, 200ms b, 9.2s c, 14.4s close 1000 bye`, `5.2s text "B", 14.2s binary "C", 14.4s close "\x03\xe8bye"`},
		{0, `0s a, 0s b, 5s c, 10s close 1000 bye`, `5s text "B", 10s binary "C", 10s close "\x03\xe8bye"`},
	} {
		t.Run(fmt.Sprint(test.pace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := notes{began: time.Now()}
				c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
					conn, err := websocket.Accept(w, r, nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.CloseNow()
					for {
						kind, data, err := conn.Read(t.Context())
						var closed websocket.CloseError
						if errors.As(err, &closed) {
							heard.add("close %d %s", closed.Code, closed.Reason)
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						if heard.add("%s", data); string(data) == "a" {
							continue
						}
						time.Sleep(5 * time.Second) // slower than recorded
						if err := conn.Write(t.Context(), kind, bytes.ToUpper(data)); err != nil {
							t.Error(err)
						}
					}
				}, pace(test.pace))
				defer stop()
				var r Result
				if err := send(t, c, socketOf(recorded...), &r); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := heard.String(); got != test.heard {
					t.Errorf("the server heard\n%s\nwant\n%s", got, test.heard)
				}
				if got := said(r.Live.WebSocket); got != test.lives {
					t.Errorf("the server said\n%s\nwant\n%s", got, test.lives)
				}
				if r.Live.HTTP.Res.StatusCode != 101 || r.BytesOut != 8 || r.Live.WebSocket.ServerBytes != r.BytesIn {
					t.Errorf("status %d, %d bytes out, %d in", r.Live.HTTP.Res.StatusCode, r.BytesOut, r.BytesIn)
				}
			})
		})
	}
}

func TestTheEndOfAWebSocket(t *testing.T) {
	for _, test := range []struct {
		name     string
		recorded []recording.Message
		serve    func(ctx context.Context, conn *websocket.Conn)
		want     string
		fail     Failure
	}{
		{"the server closes, with another code", []recording.Message{
			say("client", 0, "text", "a"), say("server", 1, "close", "\x03\xe8"), say("client", 2, "close", "\x03\xe8"),
		}, func(ctx context.Context, conn *websocket.Conn) {
			_, _, _ = conn.Read(ctx)
			_ = conn.Close(4001, "enough")
		}, `close "\x0f\xa1enough"`, ""},
		{"the client goes without a close frame, as recorded", []recording.Message{
			say("client", 0, "text", "a"), say("server", 1, "text", "b"),
		}, func(ctx context.Context, conn *websocket.Conn) {
			_, _, _ = conn.Read(ctx)
			_ = conn.Write(ctx, websocket.MessageText, []byte("B"))
			_, _, _ = conn.Read(ctx)
		}, `text "B"`, ""},
		{"the server goes without a close frame, as recorded", []recording.Message{
			say("client", 0, "text", "a"), say("server", 1, "text", "b"),
		}, func(ctx context.Context, conn *websocket.Conn) { _ = conn.CloseNow() }, "", ""},
		{"the server goes without one, which was not recorded", []recording.Message{
			say("server", 1, "text", "b"), say("client", 2, "close", ""),
		}, func(ctx context.Context, conn *websocket.Conn) { _ = conn.CloseNow() }, "", Truncated},
		{"the server says nothing", []recording.Message{
			say("server", 1, "text", "b"), say("client", 2, "close", ""),
		}, func(ctx context.Context, conn *websocket.Conn) { _, _, _ = conn.Read(ctx) }, "", Timeout},
		{"pings are answered, and those of the recording are not", []recording.Message{
			say("server", 1, "ping", "x"), say("client", 2, "pong", "x"), say("server", 3, "close", ""),
		}, func(ctx context.Context, conn *websocket.Conn) {
			ctx = conn.CloseRead(ctx)
			if err := conn.Ping(ctx); err != nil {
				panic(err)
			}
			_ = conn.Close(1000, "")
		}, `ping "1", close "\x03\xe8"`, ""},
		{"fragments are sent as recorded", []recording.Message{
			{From: "client", Type: "text", More: true, Data: []byte("a")},
			say("client", 0, "ping", "x"),
			say("client", 1, "continuation", "b"), say("server", 3, "close", ""),
		}, func(ctx context.Context, conn *websocket.Conn) {
			_, data, err := conn.Read(ctx)
			_ = conn.Close(1000, fmt.Sprintf("%s %v", data, err))
		}, `pong "x", close "\x03\xe8ab <nil>"`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
					conn, err := websocket.Accept(w, r, nil)
					if err != nil {
						t.Error(err)
						return
					}
					test.serve(t.Context(), conn)
					_ = conn.CloseNow()
				})
				defer stop()
				var r Result
				_ = send(t, c, socketOf(test.recorded...), &r)
				var got []string
				for _, m := range r.Live.WebSocket.Messages {
					got = append(got, fmt.Sprintf("%s %q", m.Type, m.Data))
				}
				if text := strings.Join(got, ", "); text != test.want || r.Fail != test.fail {
					t.Errorf("got %s, failure %q", text, r.Fail)
				}
			})
		})
	}
}

func TestARefusedHandshakeIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
		defer stop()
		var r Result
		if err := send(t, c, socketOf(say("client", 0, "text", "a")), &r); err != nil {
			t.Fatal(err)
		}
		if res := r.Live.HTTP.Res; res.StatusCode != 403 || string(res.Body) != "no\n" || r.Live.WebSocket != nil {
			t.Errorf("got %d %q", res.StatusCode, res.Body)
		}
		if len(c.pool.idle) != 1 {
			t.Error("the connection can't be used again")
		}
	})
}

func TestCompressedMessagesArriveWhateverTheTargetAgreesTo(t *testing.T) {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestCompression)
	squeeze := func(text string) []byte { // one window for all
		b.Reset()
		_, _ = io.WriteString(z, text)
		_ = z.Flush()
		return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	}
	long := strings.Repeat("tell me more ", 100)
	first, second := squeeze(long+"1"), squeeze(long+"2")
	message := func(kind string, more bool, data []byte) recording.Message {
		return recording.Message{From: recording.Client, Type: kind, More: more, Compressed: true, Data: data}
	}
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover, websocket.CompressionDisabled} {
		synctest.Test(t, func(t *testing.T) {
			var heard []string
			c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
				conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.CloseNow()
				for range 2 {
					_, data, err := conn.Read(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					heard = append(heard, string(data))
				}
				_ = conn.Write(t.Context(), websocket.MessageText, []byte(long))
				_ = conn.Close(1000, "")
			})
			defer stop()
			e := socketOf(message("text", true, first[:9]), message("continuation", false, first[9:]), message("text", false, second), say("server", 9, "text", long), say("server", 9, "close", ""))
			e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: extensions, Value: "permessage-deflate"})
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: extensions, Value: "permessage-deflate"})
			var r Result
			if err := send(t, c, e, &r); err != nil {
				t.Fatal(mode, err)
			}
			if !slices.Equal(heard, []string{long + "1", long + "2"}) {
				t.Errorf("mode %d: the server heard %q", mode, heard)
			}
			whole, err := recording.JoinFrames(r.Live.WebSocket.Messages, 1<<20)
			if err != nil || len(whole) != 2 || string(whole[0].Data) != long {
				t.Errorf("mode %d: the server said %v, %v", mode, whole, err)
			}
			if deflated := r.Live.WebSocket.Messages[0].Compressed; deflated != (mode != websocket.CompressionDisabled) {
				t.Errorf("mode %d: compressed is %v", mode, deflated)
			}
		})
	}
}

// callOf returns a recorded gRPC call. ended is when the client's side ended, in milliseconds.
func callOf(ended int64, messages ...recording.Message) *recording.Exchange {
	e := request("2.0", "POST", "/shop.Cart/Add", "", "Content-Type: application/grpc", "Te: trailers", "User-Agent: grpc-go/1.80")
	e.L7Protocol = recording.GRPC
	e.GRPC = &recording.Conversation{Part: 1, Last: true, Messages: messages}
	for _, m := range messages {
		e.Duration = max(e.Duration, m.At/1000)
	}
	e.Tags.Set(recording.TagRequestEnd, fmt.Sprint(ended*1000))
	return e
}

// grpcServer implements the HTTP/2 part of a gRPC server.
type grpcServer struct {
	w http.ResponseWriter
	r *http.Request
}

func (s grpcServer) read() (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(s.r.Body, head[:]); err != nil {
		return "", err
	}
	data := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(s.r.Body, data)
	if head[0] != 0 {
		data = append(data, " compressed"...)
	}
	return string(data), err
}

func (s grpcServer) write(text string) {
	_, _ = s.w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...))
	_ = http.NewResponseController(s.w).Flush()
}

func (s grpcServer) end(status string) {
	s.w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
}

func TestEveryKindOfCall(t *testing.T) {
	const c, s = recording.Client, recording.Server
	for _, test := range []struct {
		name     string
		recorded *recording.Exchange
		serve    func(heard *notes, s grpcServer)
		heard    string
		said     string
		status   string
	}{
		{"unary", callOf(1, say(c, 0, "", "a"), say(s, 5, "", "A")), func(heard *notes, s grpcServer) {
			text, _ := s.read()
			_, err := s.read()
			heard.add("%s %v %s", text, err, s.r.Header["Te"])
			s.write("A")
			s.end("0")
		}, "0s a EOF [trailers]", `0s  "A"`, "0"},
		{"the server streams, and pauses as long as it did", callOf(1, say(c, 0, "", "a"), say(s, 5, "", "A"), say(s, 60_000, "", "B")), func(heard *notes, s grpcServer) {
			text, _ := s.read()
			_, err := s.read()
			heard.add("%s %v", text, err)
			s.write("A")
			time.Sleep(time.Minute)
			s.write("B")
			s.end("0")
		}, "0s a EOF", `0s  "A", 1m0s  "B"`, "0"},
		{"the client streams", callOf(120_000, say(c, 0, "", "a"), say(c, 1000, "", "b"), say(c, 100_000, "", "c"), say(s, 120_001, "", "A")), func(heard *notes, s grpcServer) {
			for {
				text, err := s.read()
				heard.add("%s", text)
				if err != nil {
					break
				}
			}
			s.write("A")
			s.end("0")
		}, "0s a, 500ms b, 50s c, 50s ", `50s  "A"`, "0"},
		{"both stream", callOf(3000, say(c, 0, "", "a"), say(s, 1000, "", "A"), say(c, 2000, "", "b"), say(s, 2500, "", "B")), func(heard *notes, s grpcServer) {
			for {
				text, err := s.read()
				heard.add("%s", text)
				if err != nil {
					break
				}
				time.Sleep(10 * time.Second)
				s.write(strings.ToUpper(text))
			}
			s.end("0")
		}, "0s a, 10.5s b, 20.75s ", `10s  "A", 20.5s  "B"`, "0"},
		{"a status alone", callOf(1, say(c, 0, "", "a"), say(s, 5, "", "A")), func(_ *notes, s grpcServer) {
			s.w.Header().Set("Grpc-Status", "5")
		}, "", "", "5"},
		{"the server ends early", callOf(9000, say(c, 0, "", "a"), say(s, 5, "", "A"), say(c, 9000, "", "b")), func(heard *notes, s grpcServer) {
			text, _ := s.read()
			heard.add("%s", text)
			s.end("8")
		}, "0s a", "", "8"},
		{"a compressed message", callOf(1, recording.Message{From: c, Compressed: true, Data: []byte("a")}, say(s, 5, "", "A")), func(heard *notes, s grpcServer) {
			text, _ := s.read()
			heard.add("%s", text)
			s.end("0")
		}, "0s a compressed", "", "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := notes{began: time.Now()}
				c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/grpc")
					test.serve(&heard, grpcServer{w, r})
				}, pace(2))
				defer stop()
				var r Result
				if err := send(t, c, test.recorded, &r); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := heard.String(); got != test.heard {
					t.Errorf("the server heard\n%s\nwant\n%s", got, test.heard)
				}
				if got := said(r.Live.GRPC); got != test.said || r.Live.Status != test.status {
					t.Errorf("the server said\n%s\nwith status %q; want\n%s", got, r.Live.Status, test.said)
				}
			})
		})
	}
}

func TestACallThatTheClientGaveUpIsGivenUp(t *testing.T) {
	for _, ended := range []int64{1, 0} { // or the client's side never did
		giveUp(t, ended)
	}
}

func giveUp(t *testing.T, ended int64) {
	synctest.Test(t, func(t *testing.T) {
		e := callOf(ended, say("client", 0, "", "a"), say("server", 5000, "", "A"))
		e.Duration = 7000
		e.Tags.Set(recording.TagIncomplete, recording.Reset)
		e.Tags.Set(recording.TagReset, "client: CANCEL")
		gone := make(chan time.Duration, 1)
		began := time.Now()
		c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			s := grpcServer{w, r}
			_, _ = s.read()
			time.Sleep(time.Second)
			s.write("A")
			if ended == 0 {
				if _, err := s.read(); err == io.EOF {
					t.Error("the client's side has ended")
				}
			}
			<-r.Context().Done()
			gone <- time.Since(began)
		}, pace(1))
		defer stop()
		var r Result
		if err := send(t, c, e, &r); err != nil {
			t.Fatal(err)
		}
		if got := <-gone; got != 3*time.Second || said(r.Live.GRPC) != `1s  "A"` || r.Live.Tags.Get(recording.TagReset) != "client: CANCEL" {
			t.Errorf("given up after %v; the server said %s", got, said(r.Live.GRPC))
		}
	})
}

func TestACallThatNobodyAnswersTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, pace(1))
		defer stop()
		var r Result
		_ = send(t, c, callOf(9000, say("server", 5000, "", "A"), say("client", 9000, "", "a")), &r)
		if took := r.Done.Sub(r.Sent); r.Fail != Timeout || took != 35*time.Second {
			t.Errorf("got %q after %v", r.Fail, took)
		}
	})
}
