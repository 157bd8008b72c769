// Package secrettest plants secrets in traffic, in every place where secrets occur, and finds
// the ones that remain in the output. Tests of what is recorded, logged and shown share it.
//
//	Places ──▶ Conversations ──▶ (code under test) ──▶ Written, and other output ──▶ Found
//
// It promises to find a secret however it is escaped, encoded and compressed. It imports
// proxy/tap, recording's coding, the standard library and libraries for the protocols.
package secrettest

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording/coding"
)

//go:embed places.txt
var table string

// Place is a place where a secret occurs: Where names it, and What is the text there, in which
// CANARY stands for the secret.
type Place struct{ Where, What string }

// Places returns all places.
func Places(t *testing.T) (places []Place) {
	t.Helper()
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		where, what, ok := strings.Cut(line, "\t")
		if !ok || !strings.Contains(what, "CANARY") {
			t.Fatalf("places.txt: line %q: want a place, a tab, and CANARY", line)
		}
		places = append(places, Place{where, what})
	}
	return places
}

// Secret returns the n-th secret that [Found] recognizes.
func Secret(n int) string { return fmt.Sprintf("Kanari%04dVogel", n) }

var secrets = regexp.MustCompile(`(?i)kanari\d{4}vogel`)

// Said holds the bytes that a side of a conversation sends in one piece.
type Said struct {
	Side tap.Side
	Data []byte
}

// Conversations returns conversations that have the secret in this place.
func (p Place) Conversations(t *testing.T, secret string) [][]Said {
	t.Helper()
	where, what := p.Where, strings.ReplaceAll(p.What, "CANARY", secret)
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	name, value, _ := strings.Cut(what, ": ")
	exchange := func(request, answer string) []Said {
		return []Said{{tap.FromClient, []byte(request)}, {tap.FromServer, []byte(answer)}}
	}
	switch where {
	case "target":
		return [][]Said{
			exchange("GET "+what+" HTTP/1.1\r\nHost: h\r\n\r\n", head+"\r\n"),
			overHTTP2([]string{":path", what}, nil, nil),
		}
	case "header":
		return [][]Said{
			exchange("GET / HTTP/1.1\r\n"+what+"\r\n\r\n", head+"\r\n"),
			exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", head+what+"\r\n\r\n"),
			overHTTP2([]string{":path", "/", strings.ToLower(name), value}, []string{strings.ToLower(name), value}, nil),
		}
	case "trailer":
		chunked := "Transfer-Encoding: chunked\r\n\r\n0\r\n" + what + "\r\n\r\n"
		return [][]Said{exchange("POST / HTTP/1.1\r\nHost: h\r\n"+chunked, "HTTP/1.1 200 OK\r\n"+chunked)}
	case "metadata":
		call := []string{":path", "/pkg.Service/Call", "content-type", "application/grpc", name, value}
		return [][]Said{overHTTP2(call, []string{"content-type", "application/grpc", name, value}, []string{"grpc-status", "0", name, value})}
	case "stream", "greeting":
		text, err := strconv.Unquote(what)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if where == "greeting" {
			return [][]Said{{{tap.FromServer, []byte(text)}, {tap.FromClient, []byte("QUIT\r\n")}}}
		}
		whole := []Said{{tap.FromClient, []byte(text)}, {tap.FromServer, []byte("+OK\r\n")}}
		var single []Said
		for i := range len(text) {
			single = append(single, Said{tap.FromClient, []byte(text[i : i+1])})
		}
		return [][]Said{whole, single}
	}
	var all [][]Said
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
	t.Fatalf("places.txt: unknown place %q", where)
	return nil
}

// unquoted replaces the table's escapes of line breaks and of bytes. Other escapes belong to
// the text, such as those of JSON.
func unquoted(t *testing.T, what string) string {
	t.Helper()
	return escapes.ReplaceAllStringFunc(what, func(escape string) string {
		text, err := strconv.Unquote(`"` + escape + `"`)
		if err != nil {
			t.Fatalf("places.txt: %s: %v", escape, err)
		}
		return text
	})
}

var escapes = regexp.MustCompile(`\\r\\n|\\x[0-9a-f]{2}`)

// coded returns text in each content coding, and in two codings applied in turn.
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

// overWebSocket returns conversations in which one side sends text: in one frame, in
// fragments, and twice with compression.
func overWebSocket(t *testing.T, text string) (conversations [][]Said) {
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
			c := []Said{{tap.FromClient, []byte("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")},
				{tap.FromServer, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")}}
			for _, f := range frames {
				c = append(c, Said{side, f})
			}
			conversations = append(conversations, c)
		}
	}
	return conversations
}

// overGRPC returns a call in which both sides send the message.
func overGRPC(coding, message string) []Said {
	fields := []string{":path", "/pkg.Service/Call", "content-type", "application/grpc"}
	compressed := byte(0)
	if coding != "" {
		fields, compressed = append(fields, "grpc-encoding", coding), 1
	}
	data := append([]byte{compressed, 0, 0, byte(len(message) >> 8), byte(len(message))}, message...)
	all := overHTTP2(fields, fields[2:], []string{"grpc-status", "0"})
	var conn []Said
	for i, s := range all {
		var out bytes.Buffer
		switch i {
		case 1, 2: // the headers of the request and of the answer
			s.Data = openStream(s.Data)
			http2.NewFramer(&out, nil).WriteData(1, i == 1, data)
		}
		conn = append(conn, s)
		if out.Len() > 0 {
			conn = append(conn, Said{s.Side, out.Bytes()})
		}
	}
	return conn
}

// openStream clears the END_STREAM flag of a frame.
func openStream(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[4] &^= byte(http2.FlagHeadersEndStream)
	return frame
}

// overHTTP2 returns one exchange. The fields are names and values in turn.
func overHTTP2(request, answer, trailers []string) []Said {
	var out [2]bytes.Buffer
	var conn []Said
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
		conn = append(conn, Said{side, bytes.Clone(out[side].Bytes())})
	}
	conn = append(conn, Said{tap.FromClient, []byte(http2.ClientPreface)})
	write(tap.FromClient, []string{":method", "POST", ":scheme", "http", ":authority", "h"}, request, true)
	write(tap.FromServer, []string{":status", "200"}, answer, trailers == nil)
	if trailers != nil {
		write(tap.FromServer, nil, trailers, true)
	}
	return conn
}

// Written returns the names and bytes of all files in a directory, and the content of the compressed
// ones.
func Written(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		fmt.Fprintln(&all, name)
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(os.DirFS(dir), name)
		if err == nil {
			all.Write(text)
			err = unpack(&all, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// Archived returns the bytes of a tar archive and of its files, and the content of the compressed
// ones.
func Archived(t *testing.T, archive []byte) []byte {
	t.Helper()
	var all bytes.Buffer
	all.Write(archive)
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		_, err := r.Next()
		if err == io.EOF {
			return all.Bytes()
		}
		var text []byte
		if err == nil {
			text, err = io.ReadAll(r)
		}
		if err == nil {
			all.Write(text)
			err = unpack(&all, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unpack appends the content of text if text is compressed with zstd.
func unpack(all *bytes.Buffer, text []byte) error {
	if !bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return nil
	}
	z, err := zstd.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer z.Close()
	_, err = all.ReadFrom(z)
	return err
}

var percent = regexp.MustCompile(`%(?:[^0-9a-fA-F]|.[^0-9a-fA-F])`)

// base64Texts returns the parts of text that may be base64 and have at least 8 characters. A regular
// expression would take ten times as long.
func base64Texts(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for from := 0; from < len(text); from++ {
			to := from
			for to < len(text) && isBase64[text[to]] {
				to++
			}
			end := to
			for end < len(text) && end < to+2 && text[end] == '=' {
				end++
			}
			if to-from >= 8 && (end-from)%4 == 0 && !yield(text[from:end]) {
				return
			}
			from = to
		}
	}
}

var isBase64 = func() (is [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		is[c] = true
	}
	return is
}()

// Found returns the secrets in text, and how each is encoded. It decodes a part that occurs
// several times only once.
func Found(text []byte) (all []string) {
	see := func(how string, view []byte) {
		if !bytes.Contains(bytes.ToLower(view), []byte("kanari")) {
			return // the regular expression is slow if it finds nothing
		}
		for _, secret := range secrets.FindAll(view, -1) {
			all = append(all, string(secret)+" "+how)
		}
	}
	escaped := string(text)
	for range 8 { // it may have been escaped several times
		see("as text", []byte(escaped))
		if strings.IndexByte(escaped, '%') < 0 {
			break
		}
		plain, _ := url.PathUnescape(percent.ReplaceAllString(escaped, "%25"))
		if plain == escaped {
			break
		}
		escaped = plain
	}
	var d coding.Decoder
	defer d.Close()
	unpacked := map[string]bool{}
	for packed := range base64Texts(text) {
		if unpacked[string(packed)] {
			continue
		}
		unpacked[string(packed)] = true
		plain, err := base64.StdEncoding.DecodeString(string(packed))
		if err != nil {
			continue
		}
		see("in base64", plain)
		for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
			once, _ := d.Decode(nil, []string{name}, plain, 1<<20)
			twice, _ := d.Decode(nil, []string{"gzip"}, once, 1<<20)
			see("in base64 of "+name, append(once, twice...))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
