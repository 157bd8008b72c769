package traffic

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapedeck/tapedeck/recording"
)

// said is a message of a WebSocket, or a control frame, with its decoded content.
type said struct{ kind, data string }

// A chat: the server echoes messages. At pingMe it pings first, and at hangUp it closes instead.
var (
	pingMe  = said{"text", "ping me"}
	hangUp  = said{"text", "hang up"}
	lengthy = strings.Repeat("lengthy ", 40_000)
	chat    = []said{{"text", "hello"}, {"binary", "\x00\xff"}, {"text", ""}, {"text", lengthy}, {"binary", lengthy}, pingMe, {"text", lengthy}}
)

// opcodes are WebSocket's names for the types of messages.
var opcodes = map[string]websocket.MessageType{"text": websocket.MessageText, "binary": websocket.MessageBinary}

// listen reads messages until there are no more, and answers pings meanwhile.
func listen(ctx context.Context, c *websocket.Conn) (<-chan said, <-chan error) {
	c.SetReadLimit(-1)
	messages, ended := make(chan said), make(chan error, 1)
	go func() {
		defer close(messages)
		for {
			opcode, data, err := c.Read(ctx)
			if err != nil {
				ended <- err
				return
			}
			for kind, o := range opcodes {
				if o == opcode {
					messages <- said{kind, string(data)}
				}
			}
		}
	}()
	return messages, ended
}

// say sends a message in fragments. The last fragment is empty.
func say(ctx context.Context, c *websocket.Conn, m said) error {
	w, err := c.Writer(ctx, opcodes[m.kind])
	if err != nil {
		return err
	}
	for half := range slices.Chunk([]byte(m.data), len(m.data)/2+1) {
		if _, err := w.Write(half); err != nil {
			return err
		}
	}
	return w.Close()
}

// end describes how a WebSocket is closed.
type end struct {
	code   websocket.StatusCode
	reason string
}

// frame returns the close frame as it is recorded.
func (e end) frame() said {
	return said{"close", string(binary.BigEndian.AppendUint16(nil, uint16(e.code))) + e.reason}
}

// serveChat is the server's part.
func serveChat(ctx context.Context, c *websocket.Conn, e end) error {
	messages, ended := listen(ctx, c)
	for m := range messages {
		switch m {
		case hangUp:
			return c.Close(e.code, e.reason)
		case pingMe:
			if err := c.Ping(ctx); err != nil {
				return err
			}
		}
		if err := c.Write(ctx, opcodes[m.kind], []byte(m.data)); err != nil {
			return err
		}
	}
	return <-ended
}

// converse is the client's part.
func converse(ctx context.Context, c *websocket.Conn, e end) error {
	messages, ended := listen(ctx, c)
	for _, m := range chat {
		if err := say(ctx, c, m); err != nil {
			return err
		}
		if got := <-messages; got != m {
			return fmt.Errorf("said %s %.40q, heard %s %.40q", m.kind, m.data, got.kind, got.data)
		}
	}
	if err := c.Ping(ctx); err != nil {
		return err
	}
	if err := c.Write(ctx, websocket.MessageText, []byte(hangUp.data)); err != nil {
		return err
	}
	if err := <-ended; websocket.CloseStatus(err) != e.code || !strings.Contains(err.Error(), e.reason) {
		return fmt.Errorf("want the code %d and %q: %w", e.code, e.reason, err)
	}
	return nil
}

// A WebSocket's messages and control frames pass on every way through the
// sidecar, and are recorded, each frame as it was sent.
func TestWebSocket(t *testing.T) {
	for _, way := range []struct {
		name, direction, via string
		proxy                string
		tls                  bool
	}{
		{name: "reverse", direction: recording.In, via: "tcp"},
		{name: "absolute-form", direction: recording.Out, via: "http", proxy: "http"},
		{name: "SOCKS5", direction: recording.Out, via: "socks5", proxy: "socks5"},
		{name: "CONNECT, intercepted", direction: recording.Out, via: "connect", proxy: "http", tls: true},
	} {
		for _, kind := range []struct {
			name string
			mode websocket.CompressionMode
			end  end
		}{
			{"plain", websocket.CompressionDisabled, end{websocket.StatusNormalClosure, ""}},
			{"deflate", websocket.CompressionContextTakeover, end{4001, "enough"}},
			{"deflate, each message for itself", websocket.CompressionNoContextTakeover, end{websocket.StatusInternalError, "a täpe tore"}},
		} {
			t.Run(way.name+"/"+kind.name, func(t *testing.T) {
				mode := kind.mode
				ended := make(chan error, 1)
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode})
					if err == nil {
						err = serveChat(r.Context(), c, kind.end)
					}
					ended <- err
				}))
				client, target, scheme := &http.Transport{}, "", "ws"
				a := newAuthority(t)
				if way.tls {
					server.TLS, scheme = a.server("http/1.1"), "wss"
					server.StartTLS()
				} else {
					server.Start()
				}
				defer server.Close()
				address := server.Listener.Addr().String()
				s := start(t, address, a.intercepting()...)
				target = s.reverse()
				if way.direction == recording.Out {
					target = s.to(address)
					client.Proxy = http.ProxyURL(&url.URL{Scheme: way.proxy, Host: outTee})
					client.TLSClientConfig = &tls.Config{ServerName: serverName, RootCAs: pool(t, s.bundle())}
					s.understood = way.proxy == "http"
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				c, _, err := websocket.Dial(ctx, scheme+"://"+target+"/chat", &websocket.DialOptions{
					HTTPClient: &http.Client{Transport: client}, CompressionMode: mode,
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := converse(ctx, c, kind.end); err != nil {
					t.Error("client:", err)
				}
				if err := <-ended; err != nil {
					t.Error("server:", err)
				}
				recorded := conversations(t, s.stop(), ofWebSocket)
				if len(recorded) != 1 {
					t.Fatalf("recorded %d times", len(recorded))
				}
				r := recorded[0]
				if r.Direction != way.direction || r.Tags.Get(recording.TagVia) != way.via || r.IsTLS != way.tls || r.L7Protocol != recording.WebSocket ||
					r.Command != "GET" || r.Location != "/chat" || r.Status != "101" || r.Tags.Get(recording.TagIncomplete) != "" {
					t.Errorf("%s via %s: %s %s %s, status %s, %v", r.Direction, r.Tags.Get(recording.TagVia), r.L7Protocol, r.Command, r.Location, r.Status, r.Tags)
				}
				deflate := strings.Contains(r.HTTP.Res.Headers.Get("Sec-Websocket-Extensions"), "permessage-deflate")
				if deflate != (mode != websocket.CompressionDisabled) {
					t.Errorf("permessage-deflate: %v", deflate)
				}
				// These are the messages of each side, without the payload of pings, which the
				// library invents.
				want := slices.Concat(chat, []said{{"ping", ""}, hangUp, kind.end.frame()})
				want = slices.Insert(want, 6, said{"pong", ""})
				sameWords(t, r, recording.Client, want)
				want = slices.Concat(chat[:5], []said{{"ping", ""}}, chat[5:], []said{{"pong", ""}, kind.end.frame()})
				sameWords(t, r, recording.Server, want)
				fragments := 0
				for _, m := range r.messages {
					if m.From == recording.Client && m.Type == "continuation" {
						fragments++
					}
				}
				if fragments < len(chat) {
					t.Errorf("%d fragments are recorded", fragments)
				}
			})
		}
	}
}

// sameWords joins the recorded frames of one side and compares its messages.
func sameWords(t *testing.T, r *conversation, from string, want []said) {
	t.Helper()
	var got []said
	var whole said // the message whose frames are being joined
	var compressed bool
	for _, m := range r.messages {
		if m.From != from {
			continue
		}
		switch m.Type {
		case "ping", "pong":
			got = append(got, said{kind: m.Type})
			continue
		case "close":
			got = append(got, said{m.Type, string(m.Data)})
			continue
		case "continuation":
		default:
			whole, compressed = said{kind: m.Type}, m.Compressed
		}
		if m.Compressed != compressed {
			t.Error("the frames of a message are marked differently")
		}
		whole.data += string(m.Data)
		if m.More {
			continue
		}
		if compressed { // whatever the mode, messages are stored decompressed
			t.Errorf("message %d of the %s is stored compressed", len(got), from)
		}
		got = append(got, whole)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the %s said %s, want %s", from, brief(got), brief(want))
	}
}

func brief(all []said) string {
	var b bytes.Buffer
	for _, s := range all {
		fmt.Fprintf(&b, "%s %d %.12q; ", s.kind, len(s.data), s.data)
	}
	return b.String()
}
