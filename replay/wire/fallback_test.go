package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// A target without TLS that speaks only HTTP/1 gets requests that were recorded as HTTP/2 as
// HTTP/1.1, however it answers HTTP/2. gRPC needs HTTP/2, and the failure says so.
func TestATargetThatSpeaksHTTP1AloneGetsThat(t *testing.T) {
	for name, refusal := range map[string]string{
		"net/http":        "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"no status line":  "<!DOCTYPE HTML>\n<title>Error response</title>",
		"a byte at first": "H",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conns := 0
				p := &pipes{serve: func(_ int, conn net.Conn) {
					conns++
					in := bufio.NewReader(conn)
					for {
						r, err := http.ReadRequest(in)
						if err != nil {
							return
						}
						if r.Method == "PRI" {
							go io.Copy(io.Discard, in) // so that the client does not block
							_, _ = io.WriteString(conn, refusal)
							if len(refusal) == 1 {
								_, _ = io.WriteString(conn, "TTP/1.0 400 Bad Request\r\n\r\n")
							}
							conn.Close()
							return
						}
						body, _ := io.ReadAll(r.Body)
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"+string(body))
					}
				}}
				c := client(t, bare, p.dial)
				for range 2 {
					var r Result
					if err := send(t, c, request("2.0", "POST", "/", "some", "Content-Length: 4"), &r); err != nil {
						t.Fatal(err)
					}
					if string(r.Live.HTTP.Res.Body) != "some" || r.Live.ALPN == "h2" {
						t.Errorf("%+v", r.Live.HTTP.Res)
					}
				}
				if conns != 2 {
					t.Errorf("%d connections, want one that finds out, and one that is used", conns)
				}
				var r Result
				err := send(t, c, callOf(1000, say("client", 0, "", "a")), &r)
				if r.Fail != Protocol || err == nil || !strings.Contains(err.Error(), "does not speak HTTP/2") {
					t.Errorf("a call of gRPC: %q, %v", r.Fail, err)
				}
				c.Close()
				p.wait.Wait()
			})
		})
	}
}
