package proxyprotocol

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
)

const v2 = signature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xc3\x50\x00\x50"

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		header, source string
		err            error
	}{
		"TCP4":              {header: "PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n", source: "192.0.2.1:50000"},
		"TCP6":              {header: "PROXY TCP6 2001:db8::1 2001:db8::2 50000 80\r\n", source: "[2001:db8::1]:50000"},
		"unknown":           {header: "PROXY UNKNOWN\r\n"},
		"unknown, more":     {header: "PROXY UNKNOWN ffff::1 nonsense 1\r\n"},
		"family mixed up":   {header: "PROXY TCP4 ::1 ::2 1 2\r\n", err: errLine},
		"port too large":    {header: "PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n", err: errLine},
		"port missing":      {header: "PROXY TCP4 192.0.2.1 192.0.2.2 50000\r\n", err: errLine},
		"no carriage":       {header: "PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\n", err: errLine},
		"zone":              {header: "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", err: errLine},
		"longer than ever":  {header: "PROXY UNKNOWN " + strings.Repeat("x", maxLine), err: errLine},
		"version 2":         {header: v2, source: "192.0.2.1:50000"},
		"version 2, local":  {header: signature + "\x20\x00\x00\x00"},
		"version 2, UNIX":   {header: signature + "\x21\x31\x00\xd8" + strings.Repeat("/", 216)},
		"version 2, extras": {header: signature + "\x21\x11\x00\x10\xc0\x00\x02\x01\xc0\x00\x02\x02\xc3\x50\x00\x50\x04\x00\x01x", source: "192.0.2.1:50000"},
		"version 2, short":  {header: signature + "\x21\x11\x00\x04\xc0\x00\x02\x01", err: errLength},
		"version 3":         {header: signature + "\x31\x11\x00\x00", err: errVersion},
		"command 2":         {header: signature + "\x22\x11\x00\x00", err: errVersion},
	} {
		t.Run(name, func(t *testing.T) {
			h := new(header)
			source, n, done, err := h.read([]byte(c.header + "rest"))
			if err != c.err {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			var want netip.AddrPort
			if c.source != "" {
				want = netip.MustParseAddrPort(c.source)
			}
			if !done || n != len(c.header) || source != want {
				t.Errorf("done %v after %d bytes of %d, source %v, want %v", done, n, len(c.header), source, want)
			}
		})
	}
}

func TestDetectWaitsForAWholeWord(t *testing.T) {
	for first, want := range map[string]framework.Verdict{
		"": framework.Maybe, "P": framework.Maybe, "PROXY TCP": framework.Maybe, "PROXY TCP4 ": framework.Yes, "PROXY UNKNOWN\r\n": framework.Yes,
		"PROXY / HTTP/1.1\r\n": framework.No, "PROXY TCP5 ": framework.No, "PRI * HTTP/2.0": framework.No, "\r\n\r\n": framework.Maybe, "\r\n\r\nGET": framework.No, v2: framework.Yes,
	} {
		if got := detect(nil, []byte(first)); got != want {
			t.Errorf("%q: verdict %v, want %v", first, got, want)
		}
	}
}

// A header reads the same, however it is cut into chunks.
func FuzzHeader(f *testing.F) {
	f.Add("PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\nGET /", 3)
	f.Add("PROXY UNKNOWN\r\n", 1)
	f.Add(v2+"GET /", 5)
	f.Add(signature+"\x21\x21\xff\xff", 20)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if detect(nil, []byte(text)) != framework.Yes {
			return
		}
		source, n, done, err := new(header).read([]byte(text))
		h, at := new(header), 0
		for step := max(1, cut%64); at < len(text); {
			chunk := text[at:min(len(text), at+step)]
			source2, n2, done2, err2 := h.read([]byte(chunk))
			at += n2
			if done2 || err2 != nil {
				if source2 != source || done2 != done || (err2 == nil) != (err == nil) || err == nil && at != n {
					t.Fatalf("in chunks: %v, %d, %v, %v; whole: %v, %d, %v, %v", source2, at, done2, err2, source, n, done, err)
				}
				return
			}
		}
		if done || err != nil {
			t.Fatalf("whole: %v, %v; in chunks it never ended", done, err)
		}
	})
}
