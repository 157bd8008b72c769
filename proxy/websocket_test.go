package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// A WebSocket's messages pass in both directions, whichever side speaks first.
func TestWebSocket(t *testing.T) {
	app := httptest.NewServer(websocket.Handler(func(ws *websocket.Conn) {
		defer ws.Close()
		websocket.Message.Send(ws, "welcome")
		for {
			var text string
			if websocket.Message.Receive(ws, &text) != nil {
				return
			}
			websocket.Message.Send(ws, "re: "+text)
			websocket.Message.Send(ws, []byte(text))
		}
	}))
	defer app.Close()
	target := app.Listener.Addr().String()
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			s := run(t, app.Listener.Addr(), nil)
			config, err := websocket.NewConfig("ws://"+target+"/chat", "http://"+target)
			if err != nil {
				t.Fatal(err)
			}
			ws, err := websocket.NewClient(config, enter(t, s, target))
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			receive := func(want string) {
				t.Helper()
				var got string
				if err := websocket.Message.Receive(ws, &got); got != want {
					t.Fatalf("%.40q, %v, want %.40q", got, err, want)
				}
			}
			receive("welcome")
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
				text := strings.Repeat("x", size)
				go websocket.Message.Send(ws, text)
				receive("re: " + text)
				receive(text)
			}
		})
	}
	t.Run("absolute-form", func(t *testing.T) {
		s := run(t, nil, nil)
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "GET http://%s/chat HTTP/1.1\r\nHost: %[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: http://%[1]s\r\n\r\n", target)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		if frame, err := r.Peek(9); string(frame) != "\x81\x07welcome" {
			t.Fatalf("%q, %v", frame, err)
		}
		if _, err := c.Write([]byte("\x81\x82\x00\x00\x00\x00hi")); err != nil {
			t.Fatal(err)
		}
		r.Discard(9)
		if frame, err := r.Peek(8); string(frame) != "\x81\x06re: hi" {
			t.Fatalf("%q, %v", frame, err)
		}
	})
}
