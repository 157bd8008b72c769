package gor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/convert/gor"
	"github.com/tapedeck/tapedeck/convert/internal/formattest"
	"github.com/tapedeck/tapedeck/recording"
)

const id = "5f1cb7b4a7c1aabbccddeeff"

// record returns a record of a file.
func record(head, message string) string {
	return head + "\n" + strings.ReplaceAll(message, "\n", "\r\n") + "\n" + gor.Separator + "\n"
}

// read returns the exchanges, and the losses and errors as texts.
func read(text string) (all []*recording.Exchange, said []string) {
	return formattest.Read(gor.NewReader(strings.NewReader(text)))
}

func write(t testing.TB, all ...*recording.Exchange) (string, []string) {
	t.Helper()
	var b bytes.Buffer
	var said []string
	w := gor.NewWriter(&b)
	for _, e := range all {
		losses, err := w.Write(e)
		if said = append(said, losses...); err != nil {
			said = append(said, err.Error())
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), said
}

func TestRecords(t *testing.T) {
	get := record("1 "+id+" 1795374900000000000 0", "GET /a?b HTTP/1.1\nhost: shop\nX-A: 1\nx-a: 2\n\n")
	ok := record("2 "+id+" 1795374900040000000 40000000", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")
	post := func(message string) string { return record("1 "+id+" 5 0", message) }
	for _, c := range []struct {
		name, text string
		n          int
		want       string // parts of the JSON, with blanks between them
		said       string // a part of what is said
	}{
		{"a request and its answer", get + ok, 1, `"ts":"2026-11-22T19:15:00Z" "duration":40 "responseStartUs":"40000" "uri":"/a?b" "host":"shop" "X-A":["1","2"] "statusCode":200 "bodyBase64":"aGk="`, ""},
		{"other requests between them", get + record("1 aa 6 0", "GET / HTTP/1.0\n\n") + ok, 2, `"location":"/a"`, ""},
		{"a request without an answer", get, 1, `"incomplete":"no_answer"`, ""},
		{"an answer without a request", ok, 1, `"incomplete":"bytes_lost"`, "request: is not in the file"},
		{"the answer of a replay alone", get + strings.Replace(ok, "2 ", "3 ", 1), 1, `"statusCode":200`, ""},
		{"the answer of a replay after the recorded one", get + ok + strings.Replace(ok, "2 ", "3 ", 1), 1, `"statusCode":200`, "record 3: an answer of a replay"},
		{"the answer of a replay before the recorded one", get + strings.Replace(strings.Replace(ok, "2 ", "3 ", 1), "200 OK", "500 No", 1) + ok, 1, `"statusCode":200`, "record 3: an answer of a replay"},
		{"the answers of two replays", get + strings.Replace(ok, "2 ", "3 ", 1) + strings.Replace(ok, "2 ", "3 ", 1), 1, `"statusCode":200`, "record 3: an answer of a replay"},
		{"an answer before its request", ok + get, 1, `"duration":40 "uri":"/a?b" "statusCode":200`, ""},
		{"an answer before a later request of its identity", ok + strings.Replace(get, "1795374900000000000", "1795374900050000000", 1), 2, `"incomplete":"bytes_lost"`, "request: is not in the file"},
		{"an interim answer before the answer", get + strings.Replace(ok, "HTTP", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP", 1), 1, `"interim":"100" "statusCode":200 "bodyBase64":"aGk="`, ""},
		{"an interim answer in a record", get + record("2 "+id+" 1795374900010000000 10000000", "HTTP/1.1 103 Early Hints\n\n") + ok, 1, `"interim":"103" "duration":40 "statusCode":200`, ""},
		{"another request after one", post("GET / HTTP/1.1\n\nGET /b HTTP/1.1\n\n"), 1, `"uri":"/" "bodyBase64"`, "no field declares a body, but 19 bytes are there"},
		{"an identity of older versions", strings.ReplaceAll(get, id, strings.Repeat("ab", 20)), 1, `"goreplayId":"abababababababababababababababababababab"`, ""},
		{"three fields in the head", strings.Replace(get, " 0\n", "\n", 1), 1, `"uri":"/a?b"`, ""},
		{"a body with a separator's beginning", post("POST / HTTP/1.1\nContent-Length: 12\n\na\n🐵🙈b"), 1, `"bodyBase64":"YQ0K8J+QtfCfmYhi"`, ""},
		{"a body in chunks", post("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3;x=y\nabc\nA\n0123456789\n0\nX-T: 1\n\n"), 1, `"bodyBase64":"YWJjMDEyMzQ1Njc4OQ==" "X-T":["1"] "requestTrailers":"X-T"`, ""},
		{"chunks that end early", post("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nFFFFFFFFFFFFFFF\nabc"), 1, `"bodyBase64":"YWJj"`, "has 3"},
		{"chunks that lack the last one", post("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3\nabc\n"), 1, `"truncated":"true" "bodyBase64":"YWJj"`, "the chunks end early, after 3 bytes"},
		{"an absurd chunk", post("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nFFFFFFFFFFFFFFFFFFFFFFF\nabc"), 1, `"bodyBase64"`, "is not in chunks"},
		{"an absurd length", post("POST / HTTP/1.1\nContent-Length: 9223372036854775807\n\nabc"), 1, `"bodyBase64":"YWJj" "requestBodySize":"9223372036854775807"`, "but 3 bytes are there"},
		{"an invalid length", post("POST / HTTP/1.1\nContent-Length: 1e99\n\nabc"), 1, `"bodyBase64":"YWJj"`, "no field declares a body"},
		{"a line that is not a field", post("GET / HTTP/1.1\nbroken\nA: b\n\n"), 1, `"A":["b"]`, "which is not a field"},
		{"a folded field", post("GET / HTTP/1.1\nA: b\n c\n\n"), 1, `"A":["b c"]`, "folded"},
		{"not UTF-8", post("GET /\xff HTTP/1.1\nA: \xff\n\n"), 1, `"uri":"/` + "\ufffd", "not UTF-8"},
		{"a target of a proxy", post("GET https://a:8/x?y HTTP/1.1\n\n"), 1, `"uri":"https://a:8/x?y" "location":"/x" "network_address":"a:8"`, ""},
		{"a last record without its line feed", strings.TrimSuffix(get, "\n"), 1, `"uri":"/a?b"`, ""},
		{"a last record that is cut", get + ok[:30], 1, `"incomplete":"no_answer"`, "torn"},
		{"an invalid head", record("4 x y", "") + get, 1, `"uri":"/a?b"`, "record 1: found"},
		{"an absurd time", record("1 aa 99999999999999999999 0", "GET / HTTP/1.1\n\n") + get, 1, `"uri":"/a?b"`, "record 1: found"},
		{"an absurd latency", get + strings.Replace(ok, "40000000\r", "9223372036854775807\r", 1), 1, `"statusCode":200`, ""},
		{"an invalid message", record("1 aa 1 0", "hello") + get, 1, `"uri":"/a?b"`, "want a request line"},
		{"too many fields", post("GET / HTTP/1.1\n" + strings.Repeat("a:\n", 5000)), 0, "", "more than 4000 fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, said := read(c.text)
			words := strings.Join(said, "; ")
			if len(got) != c.n || c.said == "" && len(said) > 0 || !strings.Contains(words, c.said) {
				t.Fatalf("%d exchanges, said %q, want %d and %q", len(got), words, c.n, c.said)
			}
			if c.n == 0 {
				return
			}
			text := string(got[0].AppendJSON(nil))
			for part := range strings.SplitSeq(c.want, " \"") {
				if part = strings.TrimPrefix(part, `"`); !strings.Contains(text, part) {
					t.Errorf("%s\nhas no %s", text, part)
				}
			}
		})
	}
}

// A file that is read and written is unchanged, except for the order and the case of names.
func TestATripGivesTheSameFile(t *testing.T) {
	for name, file := range map[string]string{
		"a length": record("1 "+id+" 1795374900000000000 0", "POST /a HTTP/1.1\nHost: shop\nContent-Length: 4\n\na\nb") +
			record("2 "+id+" 1795374900040000000 40000000", "HTTP/1.1 404 Nope at all\nContent-Length: 0\n\n"),
		"chunks":          record("1 "+id+" 1795374900000000000 0", "POST /a HTTP/1.0\nHost: shop\nTransfer-Encoding: chunked\n\n3\nabc\n0\nX-T: 1\n\n"),
		"an answer alone": record("2 "+id+" 1795374900040000000 40000000", "HTTP/1.1 404 Nope\nContent-Length: 2\n\nab"),
		"until the end": record("1 "+id+" 0 0", "HEAD / HTTP/1.1\nHost: shop\n\n") +
			record("2 "+id+" 0 0", "HTTP/1.1 200 OK\nContent-Length: 7\n\n"),
	} {
		t.Run(name, func(t *testing.T) {
			all, said := read(file)
			got, more := write(t, all...)
			if len(said)+len(more) > 0 && name != "an answer alone" || got != file {
				t.Errorf("%q\nbecame\n%q\n%v %v", file, got, said, more)
			}
		})
	}
}

// A message that is rewritten has framing that fits its body.
func TestWhatIsWrittenIsHTTP(t *testing.T) {
	make := func(change func(h *recording.HTTP, e *recording.Exchange)) *recording.Exchange {
		e := &recording.Exchange{UUID: recording.UUID{1}, TS: time.Unix(1, 0), HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "POST", URI: "/", Host: "shop", Version: "2.0", Body: []byte("abc")},
			Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", Body: []byte("xyz")},
		}}
		change(e.HTTP, e)
		return e
	}
	for _, c := range []struct {
		name string
		e    *recording.Exchange
		want string // of the file, with \n
		said string
	}{
		{"a request of HTTP/2", make(func(*recording.HTTP, *recording.Exchange) {}), "POST / HTTP/1.1\nHost: shop\nContent-Length: 3\n\nabc", "written as HTTP/1.1"},
		{"a length that is wrong", make(func(h *recording.HTTP, _ *recording.Exchange) {
			h.Res.Headers = recording.Headers{{Name: "Content-Length", Value: "9"}}
		}), "\nContent-Length: 3\n\nxyz", "Content-Length is corrected to the length of the recorded body"},
		{"two lengths", make(func(h *recording.HTTP, _ *recording.Exchange) {
			h.Res.Headers = recording.Headers{{Name: "Content-Length", Value: "3"}, {Name: "Content-Length", Value: "9"}}
		}), "200 OK\nContent-Length: 3\n\nxyz", ""},
		{"a decoded body", make(func(h *recording.HTTP, e *recording.Exchange) {
			h.Res.Headers = recording.Headers{{Name: "Content-Encoding", Value: "gzip"}}
			e.Tags.Set(recording.TagDecoded, "response")
		}), "200 OK\nContent-Length: 3\n\nxyz", "Content-Encoding is left out"},
		{"a field that smuggles another", make(func(h *recording.HTTP, _ *recording.Exchange) {
			h.Req.Headers = recording.Headers{{Name: "A", Value: "1\r\nB: 2"}, {Name: "C:", Value: ""}}
		}), "Host: shop\nContent-Length", "a field is not valid in HTTP/1"},
		{"a reason that smuggles a field", make(func(h *recording.HTTP, _ *recording.Exchange) { h.Res.StatusMessage = "200 a\r\nB: 2" }), "HTTP/1.1 200 OK\nContent-Length", "response.statusMessage: is not valid in HTTP/1"},
		{"a target that smuggles a field", make(func(h *recording.HTTP, _ *recording.Exchange) { h.Req.URI = "/ HTTP/1.1\r\nB: 2" }), "", "a request line that is not valid"},
		{"a separator in a request", make(func(h *recording.HTTP, _ *recording.Exchange) {
			h.Req.Body = []byte("\n" + gor.Separator + "\n2 aa 1 1\nHTTP/1.1 200 OK")
		}), "", "GoReplay's separator in it"},
		{"a separator in an answer", make(func(h *recording.HTTP, _ *recording.Exchange) { h.Res.Body = []byte("\n" + gor.Separator + "\n") }), "Content-Length: 3\n\nabc\n" + gor.Separator + "\n", "GoReplay's separator in it"},
		{"a host that smuggles a field", make(func(h *recording.HTTP, _ *recording.Exchange) { h.Req.Host = "a\r\nB: 2" }), "HTTP/1.1\nContent-Length", "a field is not valid in HTTP/1"},
		{"a separator in an answer alone", make(func(h *recording.HTTP, _ *recording.Exchange) {
			h.Req, h.Res.Body = recording.HTTPRequest{}, []byte("\n"+gor.Separator+"\n")
		}), "", "GoReplay's separator in it"},
		{"no HTTP", &recording.Exchange{}, "", "not HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, said := write(t, c.e)
			if got = strings.ReplaceAll(got, "\r\n", "\n"); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%q has no %q", got, c.want)
			}
			if words := strings.Join(said, "; "); !strings.Contains(words, c.said) {
				t.Errorf("said %q, want %q", words, c.said)
			}
			if strings.Contains(got, "\nB: 2") {
				t.Errorf("smuggled: %q", got)
			}
		})
	}
}

// A record without an end, and requests without answers, cost bounded memory.
func TestBounds(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("1 aa 1 0\nPOST / HTTP/1.1\r\n\r\n"), io.LimitReader(zeros{}, gor.MaxRecord+1<<20),
		strings.NewReader("\n"+gor.Separator+"\n"+record("1 bb 2 0", "GET /behind HTTP/1.1\n\n")))
	r := gor.NewReader(endless)
	var e recording.Exchange
	if _, err := r.Next(&e); err == nil || !strings.Contains(err.Error(), "record 1 is longer than 32 MiB") {
		t.Error(err)
	}
	if _, err := r.Next(&e); err != nil || e.Location != "/behind" {
		t.Error(e.Location, err)
	}
	var many strings.Builder
	for i := range 10_100 {
		many.WriteString(record(fmt.Sprintf("1 %06x 1 0", i), fmt.Sprintf("GET /%d HTTP/1.1\n\n", i)))
	}
	first := gor.NewReader(io.MultiReader(strings.NewReader(many.String()), failing{}))
	if _, err := first.Next(&e); err != nil || e.Location != "/0" { // it comes before the reader reaches the end
		t.Error(e.Location, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the end was read") }

// Exchanges that were read from any file can be written and read again, with the same bodies.
func FuzzRead(f *testing.F) {
	f.Add(record("1 "+id+" 1 0", "POST /a HTTP/1.1\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n") + record("2 "+id+" 2 1", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"))
	f.Add(record("1 aa 1", "GET http://a/ HTTP/1.0\n\n") + record("3 aa 2 1", "HTTP/1.1 304 \n\n"))
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := read(text)
		for _, e := range all {
			var d recording.Decoder
			if err := d.Decode(e.AppendJSON(nil), new(recording.Exchange)); err != nil {
				t.Fatalf("%s: %v", e.AppendJSON(nil), err)
			}
			file, said := write(t, e)
			if file == "" {
				continue
			}
			got, _ := read(file)
			if len(got) != 1 || !bytes.Equal(got[0].HTTP.Req.Body, e.HTTP.Req.Body) {
				t.Fatalf("%s became %q", e.AppendJSON(nil), file)
			}
			if len(said) == 0 && !bytes.Equal(got[0].HTTP.Res.Body, e.HTTP.Res.Body) {
				t.Fatalf("%s became %q", e.AppendJSON(nil), file)
			}
		}
	})
}

// The benchmark compares the speed with that of encoding/json, which reads the same exchanges as
// RRPairs.
func BenchmarkRead(b *testing.B) {
	var file strings.Builder
	body := strings.Repeat(`{"id":1,"name":"a name","tags":["x","y"]},`, 100)
	for i := range 200 {
		file.WriteString(record(fmt.Sprintf("1 %024x 1 0", i), "GET /a HTTP/1.1\nHost: shop\nAccept: */*\n\n"))
		file.WriteString(record(fmt.Sprintf("2 %024x 2 1", i), fmt.Sprintf("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: %d\n\n%s", len(body), body)))
	}
	all, _ := read(file.String())
	var lines []byte
	for _, e := range all {
		lines = append(e.AppendJSON(lines), '\n')
	}
	b.Run("gor", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		b.ReportAllocs()
		for b.Loop() {
			if all, _ := read(file.String()); len(all) != 200 {
				b.Fatal(len(all))
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(lines)))
		b.ReportAllocs()
		for b.Loop() {
			d := json.NewDecoder(bytes.NewReader(lines))
			for d.More() {
				var v any
				if err := d.Decode(&v); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func ExampleWriter() {
	var e recording.Exchange
	_, err := gor.NewReader(strings.NewReader("1 aa 1795374900000000000 0\nGET /cart HTTP/1.1\nHost: shop\n\n" + "\n" + gor.Separator + "\n")).Next(&e)
	fmt.Println(e.Command, e.HTTP.Req.Host, e.Location, e.TS, err)
	// Output: GET shop /cart 2026-11-22 19:15:00 +0000 UTC <nil>
}
