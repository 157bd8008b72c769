package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// secretPlaces reads the table of places where secrets stand.
func secretPlaces(t *testing.T) (places [][2]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/secrets.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		where, what, ok := strings.Cut(line, "\t")
		if !ok || !strings.Contains(what, "CANARY") {
			t.Fatalf("testdata/secrets.txt: line %q: want a place, a tab, and CANARY", line)
		}
		places = append(places, [2]string{where, what})
	}
	return places
}

// TestNoSecretIsWritten records traffic with a secret in each of the places, and
// looks for it in what is on the disk.
func TestNoSecretIsWritten(t *testing.T) {
	places := secretPlaces(t)
	if len(places) < 200 {
		t.Errorf("%d places, want at least 200", len(places))
	}
	for n, place := range places {
		t.Run(fmt.Sprintf("%d %s", n, place[0]), func(t *testing.T) {
			t.Parallel()
			canary := fmt.Sprintf("Kanari%04dVogel", n)
			conversations := speak(t, place[0], strings.ReplaceAll(place[1], "CANARY", canary))
			dir := t.TempDir()
			r, err := spool.Open(dir, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range conversations {
				reader := New(Config{}, r).Open(typicalFlow())
				for _, said := range c {
					reader.Data(said.side, epoch, said.data)
				}
				reader.Close(epoch)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			written := readAll(t, dir)
			if lines := bytes.Count(written, []byte("\n")); lines < len(conversations) {
				t.Errorf("%d records of %d conversations: %s", lines, len(conversations), written)
			}
			if found := leak(written, canary); found != "" {
				t.Errorf("%s\nis written %s:\n%s", place[1], found, written)
			}
		})
	}
}

type said struct {
	side tap.Side
	data []byte
}

// speak returns conversations in which something is said in the place.
func speak(t *testing.T, where, what string) [][]said {
	t.Helper()
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	name, value, _ := strings.Cut(what, ": ")
	exchange := func(request, answer string) []said {
		return []said{{tap.FromClient, []byte(request)}, {tap.FromServer, []byte(answer)}}
	}
	switch where {
	case "target":
		return [][]said{
			exchange("GET "+what+" HTTP/1.1\r\nHost: h\r\n\r\n", head+"\r\n"),
			overHTTP2([]string{":path", what}, nil, nil),
		}
	case "header":
		return [][]said{
			exchange("GET / HTTP/1.1\r\n"+what+"\r\n\r\n", head+"\r\n"),
			exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", head+what+"\r\n\r\n"),
			overHTTP2([]string{":path", "/", strings.ToLower(name), value}, []string{strings.ToLower(name), value}, nil),
		}
	case "trailer":
		chunked := "Transfer-Encoding: chunked\r\n\r\n0\r\n" + what + "\r\n\r\n"
		return [][]said{exchange("POST / HTTP/1.1\r\nHost: h\r\n"+chunked, "HTTP/1.1 200 OK\r\n"+chunked)}
	case "metadata":
		call := []string{":path", "/pkg.Service/Call", "content-type", "application/grpc", name, value}
		return [][]said{overHTTP2(call, []string{"content-type", "application/grpc", name, value}, []string{"grpc-status", "0", name, value})}
	case "stream", "greeting":
		text, err := strconv.Unquote(what)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if where == "greeting" {
			return [][]said{{{tap.FromServer, []byte(text)}, {tap.FromClient, []byte("QUIT\r\n")}}}
		}
		whole := []said{{tap.FromClient, []byte(text)}, {tap.FromServer, []byte("+OK\r\n")}}
		var single []said
		for i := range len(text) {
			single = append(single, said{tap.FromClient, []byte(text[i : i+1])})
		}
		return [][]said{whole, single}
	}
	var all [][]said
	if mediaType, ok := strings.CutPrefix(where, "body "); ok {
		for coding, packed := range coded(t, unquoted(t, what)) {
			head := "Content-Type: " + mediaType + "\r\nContent-Length: " + strconv.Itoa(len(packed)) + "\r\n"
			if coding != "" {
				head += "Content-Encoding: " + coding + "\r\n"
			}
			all = append(all, exchange("POST / HTTP/1.1\r\nHost: h\r\n"+head+"\r\n"+packed, "HTTP/1.1 200 OK\r\n"+head+"\r\n"+packed))
		}
		return all
	}
	switch where {
	case "websocket":
		return overWebSocket(t, unquoted(t, what))
	case "grpc":
		message := unquoted(t, what)
		for coding, packed := range coded(t, message) {
			if !strings.Contains(coding, ",") {
				all = append(all, overGRPC(coding, packed))
			}
		}
		return all
	}
	t.Fatalf("testdata/secrets.txt: place %q?", where)
	return nil
}

// unquoted is the text that a place has as a Go string without its quotes. In JSON and the
// like, only the escapes of line breaks and of bytes are the table's.
func unquoted(t *testing.T, what string) string {
	t.Helper()
	return escapes.ReplaceAllStringFunc(what, func(escape string) string {
		text, err := strconv.Unquote(`"` + escape + `"`)
		if err != nil {
			t.Fatalf("testdata/secrets.txt: %s: %v", escape, err)
		}
		return text
	})
}

var escapes = regexp.MustCompile(`\\r\\n|\\x[0-9a-f]{2}`)

// coded returns a text with each coding, and with two, one upon the other.
func coded(t *testing.T, text string) map[string]string {
	t.Helper()
	pack := func(text string, w func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		out := w(&b)
		io.WriteString(out, text)
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	zip := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	br := func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }
	return map[string]string{
		"":         text,
		"gzip":     pack(text, zip),
		"deflate":  pack(text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }),
		"br":       pack(text, br),
		"gzip, br": pack(pack(text, zip), br),
		"zstd": pack(text, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		}),
	}
}

// overWebSocket says a text on either side: in one frame, in three, and compressed, where
// the second message repeats the first.
func overWebSocket(t *testing.T, text string) (conversations [][]said) {
	t.Helper()
	frame := func(first byte, payload string) []byte {
		head := []byte{first, 126, byte(len(payload) >> 8), byte(len(payload))}
		return append(head, payload...)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	var deflated []string
	for range 2 {
		io.WriteString(w, text)
		w.Flush()
		deflated = append(deflated, strings.TrimSuffix(packed.String(), "\x00\x00\xff\xff"))
		packed.Reset()
	}
	third := len(text) / 3
	for _, frames := range [][][]byte{
		{frame(0x81, text)},
		{frame(0x01, text[:third]), frame(0x89, "ping"), frame(0x00, text[third:2*third]), frame(0x80, text[2*third:])},
		{frame(0xc1, deflated[0]), frame(0xc1, deflated[1])},
		{frame(0x41, deflated[0][:2]), frame(0x80, deflated[0][2:]), frame(0xc1, deflated[1])},
	} {
		for _, side := range []tap.Side{tap.FromClient, tap.FromServer} {
			c := []said{{tap.FromClient, []byte("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")},
				{tap.FromServer, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")}}
			for _, f := range frames {
				c = append(c, said{side, f})
			}
			conversations = append(conversations, c)
		}
	}
	return conversations
}

// overGRPC says a message on both sides of a call.
func overGRPC(coding, message string) []said {
	fields := []string{":path", "/pkg.Service/Call", "content-type", "application/grpc"}
	compressed := byte(0)
	if coding != "" {
		fields, compressed = append(fields, "grpc-encoding", coding), 1
	}
	data := append([]byte{compressed, 0, 0, byte(len(message) >> 8), byte(len(message))}, message...)
	all := overHTTP2(fields, fields[2:], []string{"grpc-status", "0"})
	var conn []said
	for i, s := range all {
		var out bytes.Buffer
		switch i {
		case 1, 2: // headers of a request, and of an answer
			s.data = openStream(s.data)
			http2.NewFramer(&out, nil).WriteData(1, i == 1, data)
		}
		conn = append(conn, s)
		if out.Len() > 0 {
			conn = append(conn, said{s.side, out.Bytes()})
		}
	}
	return conn
}

// openStream takes the flag off a frame that says that its stream ends.
func openStream(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[4] &^= byte(http2.FlagHeadersEndStream)
	return frame
}

// overHTTP2 speaks one exchange, with fields as names and values.
func overHTTP2(request, answer, trailers []string) []said {
	var out [2]bytes.Buffer
	var conn []said
	write := func(side tap.Side, pseudo []string, fields []string, end bool) {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for _, list := range [][]string{pseudo, fields} {
			for i := 0; i+1 < len(list); i += 2 {
				e.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
			}
		}
		out[side].Reset()
		http2.NewFramer(&out[side], nil).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
		conn = append(conn, said{side, bytes.Clone(out[side].Bytes())})
	}
	conn = append(conn, said{tap.FromClient, []byte(http2.ClientPreface)})
	write(tap.FromClient, []string{":method", "POST", ":scheme", "http", ":authority", "h"}, request, true)
	write(tap.FromServer, []string{":status", "200"}, answer, trailers == nil)
	if trailers != nil {
		write(tap.FromServer, nil, trailers, true)
	}
	return conn
}

// readAll returns all lines of a recording.
func readAll(t *testing.T, dir string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "cluster=*/namespace=*/workload=*/date=*/hour=*/*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	var all bytes.Buffer
	for _, name := range names {
		packed, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		plain, err := zstd.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		if _, err := all.ReadFrom(plain); err != nil {
			t.Fatal(err)
		}
	}
	return all.Bytes()
}

var (
	base64Text = regexp.MustCompile(`[A-Za-z0-9+/]{8,}={0,2}`)
	percent    = regexp.MustCompile(`%(?:[^0-9a-fA-F]|.[^0-9a-fA-F])`)
)

// leak says how the secret stands in what was written, "" if it doesn't.
func leak(written []byte, secret string) string {
	text := string(written)
	for range 8 { // as it may have been escaped
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			return "as text"
		}
		text, _ = url.PathUnescape(percent.ReplaceAllString(text, "%25"))
	}
	for _, packed := range base64Text.FindAll(written, -1) {
		plain, err := base64.StdEncoding.DecodeString(string(packed))
		if err == nil && bytes.Contains(bytes.ToLower(plain), bytes.ToLower([]byte(secret))) {
			return "in base64"
		}
		var d coding.Decoder
		for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
			once, _ := d.Decode(nil, []string{name}, plain, 1<<20)
			twice, _ := d.Decode(nil, []string{"gzip"}, once, 1<<20)
			if bytes.Contains(once, []byte(secret)) || bytes.Contains(twice, []byte(secret)) {
				return "in base64 of " + name
			}
		}
		d.Close()
	}
	return ""
}

// The table finds what it looks for: without redaction, each of the secrets is written.
func TestSecretsAreWrittenWithoutRedaction(t *testing.T) {
	for n, place := range secretPlaces(t) {
		canary := fmt.Sprintf("Kanari%04dVogel", n)
		limits := codec.DefaultLimits()
		limits.Opaque = true
		sink := new(memory)
		for _, c := range speak(t, place[0], strings.ReplaceAll(place[1], "CANARY", canary)) {
			reader := New(Config{Limits: limits}, sink).Open(typicalFlow())
			for _, said := range c {
				reader.Data(said.side, epoch, said.data)
			}
			reader.Close(epoch)
		}
		if silent := place[0] == "stream" && strings.Contains(place[1], "PROXY"); leak(bytes.Join(sink.lines, []byte("\n")), canary) == "" && !silent {
			t.Errorf("%s: %s: the test can't find the secret in what is written", place[0], place[1])
		}
	}
}
