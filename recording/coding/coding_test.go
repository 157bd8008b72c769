package coding

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const unlimited = 1 << 40

// encode applies a coding; `raw` is deflate without zlib's header.
func encode(t testing.TB, name string, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch name {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw":
		w, _ = flate.NewWriter(&b, flate.BestCompression)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// header returns the coding's name in Content-Encoding.
func header(name string) string { return strings.Replace(name, "raw", "deflate", 1) }

var all = []string{"gzip", "deflate", "raw", "br", "zstd"}

// text returns a text that compresses well, but not to almost nothing.
func text() []byte {
	var b bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&b, `{"n":%d,"square":%d},`, i, i*i)
	}
	return b.Bytes()
}

// One decoder undoes all codings, alone and several on one body.
func TestDecode(t *testing.T) {
	var d Decoder
	defer d.Close()
	want := text()
	for round := range 2 {
		for _, outer := range append(all, "") {
			for _, inner := range append(all, "") {
				body, header := want, header(inner)+", "+header(outer)
				if inner != "" {
					body = encode(t, inner, body)
				}
				if outer != "" {
					body = encode(t, outer, body)
				}
				got, err := d.Decode([]byte("before "), Split(header), body, unlimited)
				if err != nil || string(got) != "before "+string(want) {
					t.Errorf("round %d, %s: %d bytes, %v", round, header, len(got), err)
				}
			}
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{"gzip"}, "gzip"},
		{[]string{" GZip , identity", "X-GZIP,,br"}, "gzip gzip br"},
		{[]string{"aws-chunked, zstd"}, "aws-chunked zstd"},
	} {
		if got := strings.Join(Split(c.values...), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.values, got, c.want)
		}
	}
}

// A body that was cut anywhere yields a prefix, and is reported as cut. A deflated body yields
// everything that was flushed.
func TestDecodeOfACutBody(t *testing.T) {
	var d Decoder
	defer d.Close()
	want := text()
	for _, name := range all {
		body := encode(t, name, want)
		most := 0
		for cut := 1; cut < len(body); cut += 1 + cut/16 {
			got, err := d.Decode(nil, Split(header(name)), body[:cut], unlimited)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(want, got) {
				t.Fatalf("%s cut at %d of %d: %d bytes, %v", name, cut, len(body), len(got), err)
			}
			most = max(most, len(got))
		}
		if most < len(want)/4 && name != "zstd" { // zstd yields whole blocks of 128 KiB
			t.Errorf("%s: at most %d bytes", name, most)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	var d Decoder
	defer d.Close()
	for _, c := range []struct {
		name, codings string
		body          []byte
		want          string
	}{
		{"an unknown coding", "compress", nil, `content coding "compress": want gzip, deflate, br, zstd or identity`},
		{"an unknown coding below a known one", "sdch, gzip", encode(t, "gzip", nil), `content coding "sdch": want gzip`},
		{"too many codings", "gzip, gzip, gzip, gzip, gzip", nil, "5 content codings; at most 4"},
		{"not gzip", "gzip", []byte("plain text"), "gzip: invalid header"},
		{"not zstd", "zstd", []byte("plain text"), "magic number mismatch"},
		{"not deflate", "deflate", []byte("plain text"), "flate: corrupt input"},
		{"not brotli", "br", []byte("{\"a\": \"text\"}"), "brotli: "},
		{"not gzip below brotli", "gzip, br", encode(t, "br", []byte("plain text")), "gzip: invalid header"},
		{"a window that is too large", "zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0}, "window size exceeded"},
	} {
		if got, err := d.Decode(nil, Split(c.codings), c.body, unlimited); err == nil || !strings.Contains(err.Error(), c.want) || len(got) > 0 {
			t.Errorf("%s: %q, %v; want %s", c.name, got, err, c.want)
		}
	}
	if got, err := d.Decode(nil, Split("gzip"), nil, unlimited); err != nil || len(got) > 0 {
		t.Errorf("an empty body, as in an answer to HEAD: %q, %v", got, err)
	}
}

// A decoded body has no place for bytes that follow the compressed ones, so they are an error.
// Otherwise it would be taken for the whole body.
func TestWhatFollowsTheEndIsAnError(t *testing.T) {
	var d Decoder
	defer d.Close()
	for _, name := range all {
		for _, behind := range []string{"", "password=hush"} {
			body := append(encode(t, name, text()), behind...)
			if got, err := d.Decode(nil, Split(header(name)), body, unlimited); !bytes.Equal(got, text()) || (err == nil) != (behind == "") {
				t.Errorf("%s, %q: %d bytes, %v", name, behind, len(got), err)
			}
		}
	}
}

// Content that expands a thousandfold takes no more memory than its limit. Content that is encoded
// several times is limited at each layer.
func TestBombs(t *testing.T) {
	const max = 1 << 20
	zeros := make([]byte, 16<<20)
	for _, name := range all {
		bomb := encode(t, name, zeros)
		twice := encode(t, name, bomb)
		for _, c := range []struct {
			codings string
			body    []byte
		}{{header(name), bomb}, {header(name) + "," + header(name), twice}} {
			var d Decoder
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := d.Decode(nil, Split(c.codings), c.body, max)
			runtime.ReadMemStats(&after)
			d.Close()
			if !errors.Is(err, ErrTooLarge) || len(got) != max {
				t.Errorf("%s: %d bytes, %v", c.codings, len(got), err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 48<<20 { // zstd and brotli hold windows of up to 8 MiB
				t.Errorf("%s: took %d MiB", c.codings, took>>20)
			}
		}
	}
	// The blocks yield nothing as the outer coding, but 16 MiB as the inner one.
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 16<<20/5) // empty blocks of deflate
	var d Decoder
	defer d.Close()
	if got, err := d.Decode(nil, Split("deflate, gzip"), encode(t, "gzip", empty), max); !errors.Is(err, ErrTooLarge) {
		t.Errorf("blocks of nothing: %d bytes, %v", len(got), err)
	}
}

// Some recorders decode bodies and keep the header.
func TestApplied(t *testing.T) {
	plain := map[string][]byte{"JSON": []byte(`{"a":1}`), "text": []byte("xyz"), "UTF-8": []byte("größer"), "UTF-8 that was cut": []byte("gr\xc3")}
	for _, name := range all {
		for _, n := range []int{1, 10, 10_000} {
			if body := encode(t, name, bytes.Repeat([]byte("hello, "), n)); !Applied(header(name), body) {
				t.Errorf("%s: not recognized in %x", name, body[:10])
			}
		}
		for what, body := range plain {
			if Applied(header(name), body) {
				t.Errorf("%s is taken for %s", what, name)
			}
		}
	}
}

func TestKnown(t *testing.T) {
	for _, name := range all {
		if !Known(header(name)) {
			t.Errorf("%s is not known", name)
		}
	}
	if Known("compress") || Known("identity") || Known("") {
		t.Error("more is known than can be undone")
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range all {
		f.Add(header(name), encode(f, name, []byte("hello, hello, hello")))
	}
	f.Add("gzip, br", encode(f, "br", encode(f, "gzip", []byte("hello"))))
	var d Decoder
	f.Fuzz(func(t *testing.T, codings string, body []byte) {
		const max = 1 << 16
		got, err := d.Decode(nil, Split(codings), body, max)
		if len(got) > max && len(Split(codings)) > 0 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		var fresh Decoder
		defer fresh.Close()
		if again, err2 := fresh.Decode(nil, Split(codings), body, max); !bytes.Equal(got, again) || (err == nil) != (err2 == nil) {
			t.Errorf("a used decoder gives %d bytes and %v, a new one %d and %v", len(got), err, len(again), err2)
		}
	})
}
