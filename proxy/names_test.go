package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// Names come from outside, and some of them are kept: in the views of connections, with the leaf
// certificates, and in the history of hosts. They can't fill the memory.
func TestLongNamesAreRefused(t *testing.T) {
	const tries, most = 1500, 8 << 20
	srv, root := secure(t, func(http.ResponseWriter, *http.Request) {})
	target := srv.Listener.Addr().String()
	dir, _ := caDir(t)
	s := run(t, srv.Listener.Addr(), func(c *Config) {
		c.TLSOut, c.CADir, c.UpstreamCA = true, dir, root
		c.TLSIn = leafFiles(t, authorityOf(t, dir), "app.svc")
	})
	name := func(n int) string { return fmt.Sprintf("%d%s.test", n, strings.Repeat(".abcdefg", 14<<10/8)) }
	ask := func(request string, n int) error {
		c := dial(t, s.OutAddr())
		defer c.Close()
		fmt.Fprintf(c, request, name(n))
		answer, _ := io.ReadAll(c)
		return fmt.Errorf("%s", answer)
	}
	sni := func(c net.Conn, n int) error {
		defer c.Close()
		return tls.Client(c, &tls.Config{ServerName: name(n), InsecureSkipVerify: true}).Handshake()
	}
	for _, c := range []struct {
		what string
		ask  func(n int) error
		want string
	}{
		{"CONNECT", func(n int) error { return ask("CONNECT %s:443 HTTP/1.1\r\nHost: h\r\n\r\n", n) }, "400 Bad Request"},
		{"absolute-form", func(n int) error { return ask("GET http://%s/ HTTP/1.1\r\nHost: h\r\n\r\n", n) }, "400 Bad Request"},
		{"outbound SNI", func(n int) error { return sni(entries["CONNECT"](t, s, target), n) }, "unrecognized name"},
		{"inbound SNI", func(n int) error { return sni(dial(t, s.InAddr()), n) }, "unrecognized name"},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := heap()
			for n := range tries {
				if err := c.ask(n); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%.200v, want %q", err, c.want)
				}
			}
			if grown := heap() - before; grown > most {
				t.Errorf("%d names take %d MiB", tries, grown>>20)
			}
		})
	}
	if strings.Contains(s.logs.String(), "abcdefg") {
		t.Error("the log quotes an invalid name")
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An error may quote what the other side sent.
func TestAnErrorIsKeptInPart(t *testing.T) {
	for text, want := range map[string]string{
		"short":                               "short",
		strings.Repeat("x", maxError):         strings.Repeat("x", maxError),
		strings.Repeat("x", maxError+1):       strings.Repeat("x", maxError) + "…",
		strings.Repeat("x", maxError-1) + "é": strings.Repeat("x", maxError-1) + "…",
	} {
		if got := clip(text); got != want {
			t.Errorf("%d bytes became %d: …%s", len(text), len(got), got[max(0, len(got)-8):])
		}
	}
}
