package socks

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      string
		want    Request
		replied string // what the client is answered before Reply
		err     string // part of it
	}{
		{"socks4 address", "\x04\x01\x1f\x90\x7f\x00\x00\x01me\x00", Request{4, "127.0.0.1", 8080}, "", ""},
		{"socks4a name", "\x04\x01\x01\xbb\x00\x00\x00\x01\x00db.svc\x00", Request{4, "db.svc", 443}, "", ""},
		{"socks4 bind is refused", "\x04\x02\x01\xbb\x7f\x00\x00\x01\x00", Request{}, "\x00\x5b\x00\x00\x00\x00\x00\x00", "only CONNECT"},
		{"socks4 endless user id", "\x04\x01\x01\xbb\x7f\x00\x00\x01" + strings.Repeat("a", 300), Request{}, "\x00\x5b\x00\x00\x00\x00\x00\x00", "longer than 255"},
		{"socks5 address", "\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", Request{5, "10.0.0.1", 80}, "\x05\x00", ""},
		{"socks5 IPv6", "\x05\x02\x02\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", Request{5, "::1", 80}, "\x05\x00", ""},
		{"socks5 name", "\x05\x01\x00\x05\x01\x00\x03\x06db.svc\x15\x38", Request{5, "db.svc", 5432}, "\x05\x00", ""},
		{"socks5 wants a password", "\x05\x01\x02", Request{}, "\x05\xff", "authentication methods [2]"},
		{"socks5 udp is refused", "\x05\x01\x00\x05\x03\x00\x01\x0a\x00\x00\x01\x00\x50", Request{}, "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", "command 3"},
		{"socks5 unknown address type", "\x05\x01\x00\x05\x01\x00\x09", Request{}, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", "address type 9"},
		{"socks5 empty name", "\x05\x01\x00\x05\x01\x00\x03\x00\x15\x38", Request{}, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "no host name"},
		{"socks5 name with a line break", "\x05\x01\x00\x05\x01\x00\x03\x03a\r\n\x15\x38", Request{}, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "an invalid character"},
		{"socks5 name with a password", "\x05\x01\x00\x05\x01\x00\x03\x0au:SECRET@h\x15\x38", Request{}, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "an invalid character"},
		{"socks4a name with a port", "\x04\x01\x01\xbb\x00\x00\x00\x01\x00h:443\x00", Request{}, "\x00\x5b\x00\x00\x00\x00\x00\x00", "an invalid character"},
		{"socks5 IPv6 as a name", "\x05\x01\x00\x05\x01\x00\x03\x03::1\x15\x38", Request{5, "::1", 5432}, "\x05\x00", ""},
		{"port 0", "\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x00", Request{}, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "port 0"},
		{"cut short", "\x05\x01\x00\x05\x01", Request{}, "\x05\x00", "unexpected EOF"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", Request{}, "", "version 71"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			q, err := Accept(bufio.NewReader(strings.NewReader(c.in)), &out)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the name is quoted: %v", err)
			}
			if err == nil && q != c.want {
				t.Errorf("got %+v, want %+v", q, c.want)
			}
			if out.String() != c.replied {
				t.Errorf("replied %q, want %q", out.String(), c.replied)
			}
		})
	}
}

func TestReply(t *testing.T) {
	bound6 := netip.MustParseAddrPort("[::1]:9")
	for _, c := range []struct {
		name  string
		q     Request
		code  Reply
		bound netip.AddrPort
		want  string
	}{
		{"socks4 granted", Request{Version: 4}, Granted, bound6, "\x00\x5a\x00\x00\x00\x00\x00\x00"},
		{"socks4 has one refusal", Request{Version: 4}, HostUnreachable, netip.AddrPort{}, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"socks5 IPv4", Request{Version: 5}, Granted, netip.MustParseAddrPort("127.0.0.1:9"), "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x09"},
		{"socks5 IPv6", Request{Version: 5}, Granted, bound6, "\x05\x00\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x09"},
		{"socks5 refused", Request{Version: 5}, ConnectionRefused, netip.AddrPort{}, "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := c.q.Reply(&out, c.code, c.bound); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.want {
				t.Errorf("got %q, want %q", out.String(), c.want)
			}
		})
	}
}

func FuzzAccept(f *testing.F) {
	f.Add([]byte("\x04\x01\x01\xbb\x00\x00\x00\x01\x00db.svc\x00"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x06db.svc\x15\x38"))
	f.Add([]byte("\x05\x02\x02\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		br := bufio.NewReaderSize(r, 16)
		var out bytes.Buffer
		q, err := Accept(br, &out)
		read := len(in) - r.Len() - br.Buffered()
		if read > 1024 {
			t.Errorf("read %d bytes of a handshake", read)
		}
		if out.Len() > 64 {
			t.Errorf("replied with %d bytes", out.Len())
		}
		if err != nil {
			return
		}
		if q.Host == "" || q.Port < 1 || q.Port > 65535 || strings.ContainsAny(q.Host, "\r\n\x00 /@") {
			t.Errorf("accepted %+v", q)
		}
	})
}
