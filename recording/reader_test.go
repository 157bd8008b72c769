package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// readAll returns the locations of the exchanges, and the errors, in order.
func readAll(t testing.TB, in io.Reader) (got []string) {
	t.Helper()
	r, err := NewReader(in)
	if err != nil {
		return []string{err.Error()}
	}
	defer r.Close()
	for {
		var e Exchange
		err := r.Next(&e)
		var bad *LineError
		switch {
		case err == nil:
			got = append(got, e.Location)
		case errors.As(err, &bad):
			got = append(got, err.Error())
		case err == io.EOF:
			return got
		default:
			return append(got, err.Error())
		}
	}
}

func TestReaderReadsJSONInAnyLayout(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"white space", " \n\r\n\t", nil},
		{"lines", `{"location":"/1"}` + "\n" + `{"location":"/2"}` + "\n", []string{"/1", "/2"}},
		{"lines from another system", `{"location":"/1"}` + "\r\n" + `{"location":"/2"}` + "\r\n", []string{"/1", "/2"}},
		{"no newline at the end", `{"location":"/1"}` + "\n" + `{"location":"/2"}`, []string{"/1", "/2"}},
		{"a byte order mark", "\ufeff" + `{"location":"/1"}`, []string{"/1"}},
		{"one after another", `{"location":"/1"}{"location":"/2"} {"location":"/3"}` + "\n" + `{"location":"/4"}`, []string{"/1", "/2", "/3", "/4"}},
		{"indented", "{\n  \"location\": \"/1\"\n}\n{\n  \"location\":\n \"/2\"}\n", []string{"/1", "/2"}},
		{"an array", `[{"location":"/1"},{"location":"/2"}]`, []string{"/1", "/2"}},
		{"an indented array", "[\n  {\n \"tags\": {\"a\": \"{[\"}, \"location\": \"/1\"\n  },\n  {\"location\": \"/2\"}\n]\n", []string{"/1", "/2"}},
		{"an empty array", "[]\n", nil},
		{"line breaks without indents", "{\n\"http\":\n{\n\"req\":\n{\n}},\n\"location\": \"/1\"\n}\n", []string{"/1"}},

		{"blank lines", "\n \r\n[\n\t\n" + `{"location":"/1"}` + "\n\n],\n\noops\n" + `{"location":"/2"}` + "\n\n\n", []string{"/1", "line 9: invalid character 'o' looking for beginning of value", "/2"}},
		{"text", "oops\n" + `{"location":"/2"}` + "\n", []string{"line 1: invalid character 'o' looking for beginning of value", "/2"}},
		{"a number", "17\n" + `{"location":"/2"}` + "\n", []string{"line 1: unexpected '1'", "/2"}},
		{"a line that breaks off", `{"location":"/1` + "\n" + `{"location":"/2"}` + "\n", []string{`line 1: invalid character '\n' in string literal`, "/2"}},
		{"a line that breaks off between members", `{"location":"/1",` + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: unexpected '{' on line 2, within an object", "/2"}},
		{"a line that breaks off after a member", `{"location":"/1"` + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: unexpected '{' on line 2, within an object", "/2"}},
		{"a line that breaks off in an object", `{"http":{` + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: unexpected '{' on line 2, within an object", "/2"}},
		{"an unknown word", `{"isTls":maybe}` + "\n" + `{"location":"/2"}` + "\n", []string{`line 1: invalid character 'm' looking for beginning of value`, "/2"}},
		{"a bad value", `{"uuid":"short"}` + "\n" + `{"location":"/2"}` + "\n", []string{`line 1: uuid "short": want 32 hexadecimal digits or base64 of 16 bytes`, "/2"}},
		{"a bad value in an indented record", "{\n\n\"duration\": \"x\"\n}\n" + `{"location":"/2"}` + "\n", []string{"line 1: duration: json: cannot unmarshal string into Go value of type int64", "/2"}},
		{"braces that don't match", `{"a":[}` + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: invalid character '}' looking for beginning of value", "/2"}},
		{"too deep", `{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}\n" + `{"location":"/2"}` + "\n", []string{"line 1: nested more than 500 deep", "/2"}},
		{"objects that are too deep", strings.Repeat(`{"a":`, 600) + "1" + strings.Repeat("}", 600) + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: nested more than 500 deep", "/2"}},
		{"a line that ends in an escape", `{"location":"/1\` + "\n" + `{"location":"/2"}` + "\n", []string{"line 1: invalid character '\\n' in string escape code", "/2"}},
		{"numbers and words", "{\n\"a\":[109,-1.5E+3,1e9],\"b\":false,\"c\":[true,null],\n\"location\":\"/1\"}\n", []string{"/1"}},
		{"other JSON", `{"name":"package.json"}` + "\n" + `{"msgType":"assertion","ts":"2026-11-22T20:15:00Z"}` + "\n" + `{"location":"/2"}` + "\n",
			[]string{`line 1: no exchange: msgType is "", want "rrpair"`, `line 2: no exchange: msgType is "assertion", want "rrpair"`, "/2"}},
		{"a torn line", `{"location":"/1"}` + "\n" + `{"loc`, []string{"/1", "torn tail"}},
		{"a torn indented record", `{"location":"/1"}` + "\n" + "{\n  \"location\": \"/2\"\n", []string{"/1", "torn tail"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, in := range map[string]io.Reader{"at once": strings.NewReader(c.in), "byte by byte": iotest.OneByteReader(strings.NewReader(c.in))} {
				got := strings.Join(readAll(t, in), "\n")
				if want := strings.Join(c.want, "\n"); got != want {
					t.Errorf("%s: got\n%s\nwant\n%s", how, got, want)
				}
			}
		})
	}
}

// All records are read, whatever their size and position, and each can be found by its offset.
func TestReaderFindsEveryRecord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var in bytes.Buffer
		var want []string
		for n := range 1 + rnd.IntN(30) {
			e := full()
			e.Location = fmt.Sprintf("/%d", n)
			e.HTTP.Res.Body = bytes.Repeat([]byte{byte(n)}, rnd.IntN(3)*rnd.IntN(100_000))
			text := e.AppendJSON(nil)
			if rnd.IntN(3) == 0 {
				var indented bytes.Buffer
				json.Indent(&indented, text, "", strings.Repeat(" ", rnd.IntN(3)))
				text = indented.Bytes()
			}
			in.Write(text)
			in.WriteString([]string{"\n", "\n\n", "", " ", "\r\n", ",\n"}[rnd.IntN(6)])
			want = append(want, e.Location)
		}
		r, err := NewReader(bytes.NewReader(in.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range want {
			var e, again Exchange
			if err := r.Next(&e); err != nil || e.Location != want {
				t.Fatalf("record %d: %s, %v", n, e.Location, err)
			}
			if text := in.Bytes()[r.Offset():]; !bytes.HasPrefix(text, r.Text()) || r.Decoder.Decode(r.Text(), &again) != nil || again.Location != want {
				t.Fatalf("record %d is not at %d: %.40q", n, r.Offset(), text)
			}
		}
		if err := r.Next(new(Exchange)); err != io.EOF {
			t.Error(err)
		}
	}
}

// endless repeats a text.
type endless struct {
	text []byte
	left int64
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), e.left)], e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.left -= int64(n)
	return n, nil
}

// spent returns how much memory f allocated.
func spent(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Any segment takes bounded memory, and the records after a broken one are read.
func TestHostileSegmentsCostNoMemory(t *testing.T) {
	behind := "\n" + `{"location":"/behind"}` + "\n"
	z := func(in io.Reader) io.Reader {
		var b bytes.Buffer
		w, _ := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
		io.Copy(w, in)
		w.Close()
		return &b
	}
	line := func(n int64) io.Reader {
		return io.MultiReader(strings.NewReader(`{"location":"`), &endless{text: bytes.Repeat([]byte("x"), 4096), left: n}, strings.NewReader(`"}`+behind))
	}
	for _, c := range []struct {
		name string
		in   io.Reader
		want string
	}{
		{"a line of 512 MiB", line(512 << 20), "line 1: longer than 64 MiB\n/behind"},
		{"a line of 100 MiB, compressed", z(line(100 << 20)), "line 1: longer than 64 MiB\n/behind"},
		{"8 MiB without a newline", io.MultiReader(&endless{text: []byte("oops"), left: 8 << 20}, strings.NewReader(behind)), "line 1: unexpected 'o'\n/behind"},
		{"16 MiB of empty lines", z(&endless{text: []byte("\n"), left: 16 << 20}), ""},
		{"8 MiB of brackets", io.MultiReader(&endless{text: []byte("["), left: 8 << 20}, strings.NewReader(behind)), "/behind"},
		{"nested in one line", io.MultiReader(strings.NewReader(`{"a":`), &endless{text: []byte("["), left: 8 << 20}, strings.NewReader(behind)), "line 1: nested more than 500 deep\n/behind"},
		{"nested in many lines", io.MultiReader(&endless{text: []byte("{\"a\":\n"), left: 6 * 499}, strings.NewReader(behind)), "torn tail"},
		{"a window of 2 GiB", bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0, 0, 'x', '\n'}), "window size exceeded"},
		{"a window of 16 MiB", bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x70, 0x09, 0, 0, 'x', '\n'}), "window size exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			took := spent(func() { got = readAll(t, c.in) })
			if text := strings.Join(got, "\n"); text != c.want {
				t.Errorf("got %.200s, want %s", text, c.want)
			}
			most := uint64(8 << 20) // independent of the segment's content
			if strings.Contains(c.want, "longer than") {
				most = 7 * MaxLine // a buffer that doubles up to the limit
			}
			if took > most {
				t.Errorf("allocated %d MiB", took>>20)
			}
		})
	}
}

func TestASegmentAsLargeAsTheLimitIsRead(t *testing.T) {
	const text = `{"location":"/1"}` + "\n"
	for limit, want := range map[int64]string{int64(len(text)): "EOF", int64(len(text)) - 1: "more than 17 bytes when decompressed"} {
		r, err := NewReader(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.MaxBytes = limit
		for err == nil {
			err = r.Next(new(Exchange))
		}
		if err.Error() != want {
			t.Errorf("of at most %d bytes: %v, want %s", limit, err, want)
		}
	}
}

func TestASegmentEndsAtItsLimit(t *testing.T) {
	r, err := NewReader(&endless{text: []byte(`{"location":"/1"}` + "\n"), left: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	r.MaxBytes = 1 << 20
	n := 0
	for ; err == nil; n++ {
		err = r.Next(new(Exchange))
	}
	if want := (1 << 20) / len(`{"location":"/1"}.`); n < want-1 || n > want+1 || !strings.Contains(err.Error(), "more than 1048576 bytes when decompressed") {
		t.Errorf("%d exchanges, then %v", n, err)
	}
}

// Readers that share a decoder may take turns.
func TestReadersShareADecoder(t *testing.T) {
	var d Decoder
	var readers [3]*Reader
	for i := range readers {
		in := strings.Repeat(strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"location":"/%d","resource":"%s"} `, i, strings.Repeat(fmt.Sprint(i), 50_000)), 3), " ")+"\n", 3)
		r, err := NewReader(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		r.Decoder = &d
		readers[i] = r
	}
	for range 9 {
		for i, r := range readers {
			var e Exchange
			if err := r.Next(&e); err != nil || e.Location != fmt.Sprintf("/%d", i) || strings.Trim(e.Resource, fmt.Sprint(i)) != "" {
				t.Fatalf("%s, %v", e.Location, err)
			}
		}
	}
}
