package decode

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// seeds calls add with the bytes of client and server in the cases of a protocol.
func seeds(f *testing.F, pattern string, add func(client, server []byte)) {
	names, err := filepath.Glob("testdata/" + pattern + ".txtar")
	if err != nil || len(names) == 0 {
		f.Fatal("no cases", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var said [2][]byte
		for _, l := range parse(f, archive).lines {
			said[l.side] = append(said[l.side], l.data...)
		}
		add(said[0], said[1])
	}
}

// hold checks what is true for any bytes and any losses: nothing panics, no memory remains held,
// and the records don't depend on how the bytes were cut.
func hold(t *testing.T, s *script, seed uint64) {
	t.Helper()
	holdOne(t, s, seed)
	var err error
	if s.filter, err = filter.Parse(map[string]string{"exclude": "method=GET path=/a*; header.a=*", "sample": "0.5"}); err != nil {
		t.Fatal(err)
	}
	holdOne(t, s, seed)
}

func holdOne(t *testing.T, s *script, seed uint64) {
	t.Helper()
	small := framework.DefaultLimits()
	small.Head, small.Headers, small.Streams, small.Body = 1<<10, 20, 5, 100
	s.cfg.Limits = small
	want, _ := s.play(&memory{blur: true}, whole)
	for name, cut := range map[string]func([]byte) [][]byte{"singly": singly, "anywhere": anywhere(rand.New(rand.NewPCG(seed, 1)))} {
		got, d := s.play(&memory{blur: true}, cut)
		stats := d.Stats()
		if stats.Held != 0 {
			t.Fatalf("%d bytes are still held", stats.Held)
		}
		for failure := range stats.Failed {
			if failure.Reason == Panic {
				t.Fatalf("%s panicked", failure.Protocol)
			}
		}
		if diff := want.diff(got); diff != "" {
			t.Fatalf("whole (-) cut %s (+):\n%s", name, diff)
		}
	}
}

// conversation lets the client speak first and the server answer, and then both continue.
func conversation(client, server []byte) *script {
	s := &script{flow: *typicalFlow()}
	for _, half := range []int{0, 1} {
		for side, p := range [][]byte{client, server} {
			from, to := half*len(p)/2, (half+1)*len(p)/2
			s.lines = append(s.lines, line{side: tap.Side(side), data: p[from:to]})
		}
	}
	return s
}

func FuzzHTTP1(f *testing.F) {
	seeds(f, "http1*", func(c, s []byte) { f.Add(c, s, uint64(1)) })
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		hold(t, conversation(client, server), seed)
	})
}

func FuzzHTTP2(f *testing.F) {
	add := func(c, s []byte) { f.Add(bytes.TrimPrefix(c, []byte(http2.ClientPreface)), s, uint64(1)) }
	seeds(f, "http2*", add)
	seeds(f, "grpc*", add)
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		hold(t, conversation(append([]byte(http2.ClientPreface), client...), server), seed)
	})
}

// FuzzHPACK puts the bytes into the header blocks of both sides.
func FuzzHPACK(f *testing.F) {
	f.Add([]byte{0x82, 0x86, 0x84, 0x41, 0x01, 'a'}, []byte{0x88}, uint64(1))
	f.Add([]byte{0x3f, 0xe1, 0x1f, 0x40, 1, 'a', 1, 'b', 0xbe}, []byte{0x20, 0x08, 3, '1', '0', '3'}, uint64(2))
	f.Fuzz(func(t *testing.T, asked, answered []byte, seed uint64) {
		frames := func(block []byte) []byte {
			fr := newFramer()
			for id := uint32(1); id < 8; id += 2 {
				fr.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true})
			}
			return fr.out.Bytes()
		}
		hold(t, conversation(append([]byte(http2.ClientPreface), frames(asked)...), frames(answered)), seed)
	})
}

// FuzzGRPC puts the bytes into the bodies of a call, in frames of any size.
func FuzzGRPC(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02hi\x01\x00\x00\x00\x00"), []byte("\x00\x00\x00\x00\x09half"), uint64(3))
	f.Fuzz(func(t *testing.T, asked, answered []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		frames := func(head string, body []byte) []byte {
			fr := newFramer()
			out := bytes.Clone(fr.frame(t, head))
			for len(body) > 0 {
				n := 1 + r.IntN(len(body))
				fr.out.Reset()
				fr.fr.WriteData(1, n == len(body), body[:n])
				out, body = append(out, fr.out.Bytes()...), body[n:]
			}
			return out
		}
		client := frames("HEADERS 1 :method=POST :path=/a/b content-type=application/grpc", asked)
		server := frames("HEADERS 1 :status=200 content-type=application/grpc", answered)
		hold(t, conversation(append([]byte(http2.ClientPreface), client...), server), seed)
	})
}

func FuzzWebSocket(f *testing.F) {
	const (
		up   = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		over = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	)
	seeds(f, "websocket*", func(c, s []byte) {
		_, c, _ = bytes.Cut(c, []byte("\r\n\r\n"))
		_, s, _ = bytes.Cut(s, []byte("\r\n\r\n"))
		f.Add(c, s[:min(len(s), 1000)], uint64(1))
	})
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		s := conversation(client, server)
		s.lines = append([]line{{side: tap.FromClient, data: []byte(up)}, {side: tap.FromServer, data: []byte(over)}}, s.lines...)
		hold(t, s, seed)
	})
}

// FuzzAnything lets the sides send anything in any order, and loses some of it.
func FuzzAnything(f *testing.F) {
	seeds(f, "opaque*", func(c, s []byte) { f.Add(append(c, s[:min(len(s), 1000)]...), uint64(1)) })
	seeds(f, "http1-ch*", func(c, s []byte) { f.Add(append(c, s...), uint64(2)) })
	f.Fuzz(func(t *testing.T, said []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := &script{flow: *typicalFlow()}
		s.flow.Direction = tap.Direction(r.IntN(2))
		s.flow.Opaque = r.IntN(20) == 0
		for len(said) > 0 {
			n := 1 + r.IntN(len(said))
			l := line{side: tap.Side(r.IntN(2)), data: said[:n]}
			if r.IntN(8) == 0 {
				l.gap = int64(binary.BigEndian.Uint16(append(said[:n:n], 0, 1)))
			}
			if l.gap <= 0 || strings.Contains(string(said[:n]), "HTTP/1") {
				l.gap = 0
			}
			s.lines = append(s.lines, l)
			said = said[n:]
		}
		hold(t, s, seed)
	})
}
