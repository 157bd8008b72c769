package har_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tapedeck/tapedeck/convert/har"
	"github.com/tapedeck/tapedeck/convert/internal/formattest"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

var begin = time.Date(2026, 11, 22, 20, 15, 0, 123456789, time.UTC)

// exchange returns an exchange with everything that an entry shows.
func exchange() *recording.Exchange {
	e := &recording.Exchange{
		MsgType: recording.MsgType, UUID: recording.UUID{1, 2}, TS: begin, Duration: 51, Direction: recording.Out, IsTLS: true, L7Protocol: recording.HTTPS,
		Command: "POST", Location: "/cart", Status: "201", NetworkAddress: "shop.example:443", Namespace: "shop", Service: "cart",
	}
	e.Tags.Set(recording.TagRequestEnd, "1500")
	e.Tags.Set(recording.TagResponseStart, "40000")
	e.HTTP = &recording.HTTP{
		Req: recording.HTTPRequest{URL: "/cart", URI: "/cart?q=a%20b&q=", Version: "1.1", Method: "POST", Host: "shop.example", Body: []byte(`{"n":1}`),
			Headers: recording.Headers{{Name: "Host", Value: "shop.example"}, {Name: "Content-Type", Value: "application/json"}, {Name: "Cookie", Value: "a=1; b=2"}}},
		Res: recording.HTTPResponse{ContentType: "text/plain", StatusCode: 201, StatusMessage: "201 Created", Body: []byte("héllo"),
			Headers: recording.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "Set-Cookie", Value: "s=1; Path=/; Secure; HttpOnly; SameSite=Lax; Expires=Wed, 21 Oct 2026 07:28:00 GMT"}}},
	}
	return e
}

func write(t testing.TB, all ...*recording.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	w := har.NewWriter(&b, "v1")
	for _, e := range all {
		if losses, err := w.Write(e); err != nil || len(losses) > 0 {
			t.Fatal(losses, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read returns the exchanges, and the losses and errors as texts.
func read(text []byte) (all []*recording.Exchange, said []string) {
	return formattest.Read(har.NewReader(bytes.NewReader(text)))
}

// Every field that HAR 1.2 demands is there, with the type that it demands.
func TestAWrittenLogIsStrict(t *testing.T) {
	unanswered := exchange()
	unanswered.HTTP.Res = recording.HTTPResponse{}
	bare := &recording.Exchange{UUID: recording.UUID{3}, HTTP: &recording.HTTP{Req: recording.HTTPRequest{Host: "a", Headers: recording.Headers{{Name: "X", Value: "\xff"}}}}}
	hostile := exchange()
	hostile.Extra = []recording.Member{{Name: "har", Value: []byte(`{"time":"x","timings":{"send":"1"},"cache":[],"pageref":"p","_own":1,"request":{"method":1,"url":2,"bodySize":"x"},"response":{"status":"x","statusText":7}}`)}}
	type pair struct{ Name, Value *string }
	var log struct {
		Log struct {
			Version string
			Creator struct{ Name, Version string }
			Pages   []any
			Entries []struct {
				Pageref         *string
				StartedDateTime time.Time
				Time            *float64
				Request         struct {
					Method, URL, HTTPVersion *string
					Cookies, Headers         []pair
					QueryString              []pair
					PostData                 *struct {
						MimeType, Text *string
						Params         []pair
					}
					HeadersSize, BodySize *float64
				}
				Response struct {
					Status                  *int
					StatusText, HTTPVersion *string
					Cookies, Headers        []pair
					Content                 struct {
						Size     *float64
						MimeType *string
					}
					RedirectURL           *string
					HeadersSize, BodySize *float64
				}
				Cache   map[string]any
				Timings struct{ Send, Wait, Receive *float64 }
			}
		}
	}
	d := json.NewDecoder(bytes.NewReader(write(t, exchange(), unanswered, bare, hostile)))
	if err := d.Decode(&log); err != nil {
		t.Fatal(err)
	}
	l := log.Log
	if l.Version != "1.2" || l.Creator.Name != "tapedeck" || l.Creator.Version != "v1" || l.Pages == nil || len(l.Pages) != 0 || len(l.Entries) != 4 {
		t.Fatalf("%+v", l)
	}
	for i, e := range l.Entries {
		q, s, ti := e.Request, e.Response, e.Timings
		if e.Pageref != nil || e.Time == nil || q.Method == nil || q.URL == nil || q.HTTPVersion == nil || q.Cookies == nil || q.Headers == nil || q.QueryString == nil || q.HeadersSize == nil || q.BodySize == nil ||
			s.Status == nil || s.StatusText == nil || s.HTTPVersion == nil || s.Cookies == nil || s.Headers == nil || s.Content.Size == nil || s.Content.MimeType == nil || s.RedirectURL == nil || s.HeadersSize == nil || s.BodySize == nil ||
			e.Cache == nil || ti.Send == nil || ti.Wait == nil || ti.Receive == nil {
			t.Fatalf("entry %d lacks something: %+v", i, e)
		}
		if p := q.PostData; p != nil && (p.MimeType == nil || p.Text == nil || p.Params == nil) {
			t.Errorf("entry %d: %+v", i, p)
		}
		if sum := *ti.Send + *ti.Wait + *ti.Receive; *ti.Send < 0 || *ti.Wait < 0 || *ti.Receive < 0 || sum-*e.Time > 1e-6 || *e.Time-sum > 1e-6 {
			t.Errorf("entry %d: %v ms are not the sum of %+v", i, *e.Time, ti)
		}
		for _, all := range [][]pair{q.Cookies, q.Headers, q.QueryString, s.Cookies, s.Headers} {
			for _, p := range all {
				if p.Name == nil || p.Value == nil {
					t.Errorf("entry %d: a pair without a name or a value", i)
				}
			}
		}
	}
}

// An exchange is the same after it is written and read, whatever its bodies are.
func TestATripGivesTheSame(t *testing.T) {
	zipped, _ := coding.Append(nil, []string{"gzip"}, []byte("héllo"))
	bomb, _ := coding.Append(nil, []string{"gzip"}, make([]byte, 40<<20))
	for name, change := range map[string]func(*recording.Exchange){
		"text":                      func(*recording.Exchange) {},
		"no bodies":                 func(e *recording.Exchange) { e.HTTP.Req.Body, e.HTTP.Res.Body = nil, nil },
		"binary":                    func(e *recording.Exchange) { e.HTTP.Req.Body, e.HTTP.Res.Body = []byte{0, 255}, []byte{254, 0} },
		"NUL, U+FFFD and line ends": func(e *recording.Exchange) { e.HTTP.Res.Body = []byte("a\x00b\ufffd\u2028\r\n</script>") },
		"an image that is text":     func(e *recording.Exchange) { e.HTTP.Res.Body, e.HTTP.Res.ContentType = []byte("GIF89a"), "image/gif" },
		"compressed":                func(e *recording.Exchange) { compressed(e, zipped) },
		"said to be compressed":     func(e *recording.Exchange) { compressed(e, []byte("plain")); e.Tags.Set(recording.TagDecoded, "true") },
		"compressed and damaged":    func(e *recording.Exchange) { compressed(e, zipped[:len(zipped)-5]) },
		"a decompression bomb":      func(e *recording.Exchange) { compressed(e, bomb) },
		"a version 2":               func(e *recording.Exchange) { e.HTTP.Req.Version = "2.0" },
		"an absolute target":        func(e *recording.Exchange) { e.HTTP.Req.URI = "http://other/x?y"; e.HTTP.Req.URL = "/x" },
		"a server's options":        func(e *recording.Exchange) { e.HTTP.Req.Method, e.HTTP.Req.URI, e.HTTP.Req.URL = "OPTIONS", "*", "*" },
		"a CONNECT": func(e *recording.Exchange) {
			e.HTTP.Req.Method, e.HTTP.Req.URI, e.HTTP.Req.URL = "CONNECT", "shop.example:443", "shop.example:443"
		},
		"no host": func(e *recording.Exchange) {
			e.NetworkAddress, e.HTTP.Req.Host, e.HTTP.Req.Headers = "", "", e.HTTP.Req.Headers[1:]
		},
		"a body that was left out": func(e *recording.Exchange) {
			compressed(e, nil)
			e.Tags.Set(recording.TagTruncated, "true")
			e.Tags.Set(recording.TagResponseBodySize, "99")
		},
		"no answer": func(e *recording.Exchange) {
			e.HTTP.Res = recording.HTTPResponse{}
			e.Tags.Set(recording.TagIncomplete, "no_answer")
		},
		"a signature and a protocol": func(e *recording.Exchange) {
			e.Signature = map[string][]byte{"a:b": {0, 1}}
			e.Extra = []recording.Member{{Name: "postgres", Value: []byte(`{"x":[1]}`)}}
		},
		"names as others write them": func(e *recording.Exchange) {
			e.HTTP.Req.Headers = recording.Headers{{Name: "x-lower", Value: "1"}, {Name: ":path", Value: "/"}, {Name: "", Value: "2"}, {Name: "X-Lines", Value: "a\nb"}}
		},
		"no method":       func(e *recording.Exchange) { e.HTTP.Req.Method, e.Command = "", "" },
		"the year 0":      func(e *recording.Exchange) { e.TS = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"another charset": func(e *recording.Exchange) { e.HTTP.Res.ContentType = "text/plain; charset=iso-8859-1" },
		"an address": func(e *recording.Exchange) {
			e.NetInfo = &recording.NetInfo{StartTime: begin, Upstream: recording.Endpoint{IPAddress: "::1", Port: 443}}
		},
		"no times but the whole":    func(e *recording.Exchange) { e.Tags = nil },
		"a status without a reason": func(e *recording.Exchange) { e.HTTP.Res.StatusMessage = "201" },
		"a call of gRPC": func(e *recording.Exchange) {
			e.L7Protocol, e.GRPC = recording.GRPC, &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{{From: recording.Client, At: 5, Data: []byte{0, 1}}}}
		},
		"a WebSocket": func(e *recording.Exchange) {
			e.L7Protocol, e.WebSocket = recording.WebSocket, &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{
				{From: recording.Client, At: 5, Type: "text", Data: []byte("\xc3"), More: true}, {From: recording.Server, At: 9, Type: "close", Data: []byte{3, 232}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := exchange()
			change(e)
			want := e.AppendJSON(nil)
			got, said := read(write(t, e))
			if len(got) != 1 || len(said) > 0 {
				t.Fatalf("%d exchanges, %v", len(got), said)
			}
			if text := got[0].AppendJSON(nil); !bytes.Equal(text, want) {
				t.Errorf("%.2000s\nbecame\n%.2000s", want, text)
			}
		})
	}
}

func compressed(e *recording.Exchange, body []byte) {
	e.HTTP.Res.Body = body
	e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: "Content-Encoding", Value: "gzip"})
}

// A member of an entry that somebody changed overrides the copy in the record.
func TestAChangedEntryHolds(t *testing.T) {
	zipped, _ := coding.Append(nil, []string{"gzip"}, []byte("secret"))
	for name, c := range map[string]struct {
		old, new string
		is       func(e *recording.Exchange) bool
	}{
		"a URL": {`"url":"https://shop.example/cart?q=a%20b&q="`, `"url":"http://other:81/x"`, func(e *recording.Exchange) bool {
			return e.HTTP.Req.URI == "/x" && e.NetworkAddress == "other:81" && !e.IsTLS
		}},
		"a method":  {`"method":"POST","url"`, `"method":"PUT","url"`, func(e *recording.Exchange) bool { return e.HTTP.Req.Method == "PUT" && e.Command == "PUT" }},
		"a status":  {`"status":201,`, `"status":500,`, func(e *recording.Exchange) bool { return e.HTTP.Res.StatusCode == 500 && e.Status == "500" }},
		"a body":    {`"text":"{\"n\":1}"`, `"text":"{\"n\":2}"`, func(e *recording.Exchange) bool { return string(e.HTTP.Req.Body) == `{"n":2}` }},
		"a field":   {`{"name":"Cookie","value":"a=1; b=2"}`, `{"name":"Cookie","value":"a=3"}`, func(e *recording.Exchange) bool { return e.HTTP.Req.Headers.Get("Cookie") == "a=3" }},
		"a start":   {`20:15:00.123456789Z`, `20:16:00Z`, func(e *recording.Exchange) bool { return e.TS.Minute() == 16 }},
		"a reason":  {`"statusText":"Created"`, `"statusText":"Made"`, func(e *recording.Exchange) bool { return e.HTTP.Res.StatusMessage == "201 Made" }},
		"a version": {`"httpVersion":"HTTP/1.1"`, `"httpVersion":"h2"`, func(e *recording.Exchange) bool { return e.HTTP.Req.Version == "2.0" }},
		"a type":    {`"mimeType":"text/plain"`, `"mimeType":"text/html"`, func(e *recording.Exchange) bool { return e.HTTP.Res.ContentType == "text/html" }},
		"a server":  {`"serverIPAddress":"10.0.0.1"`, `"serverIPAddress":"10.0.0.2"`, func(e *recording.Exchange) bool { return e.NetInfo.Upstream.IPAddress == "10.0.0.2" }},
		"a duration": {`"time":51,`, `"time":70,`, func(e *recording.Exchange) bool {
			return e.Duration == 70 && e.Tags.Get(recording.TagRequestEnd) == "1500"
		}},
		"a phase": {`"wait":38.5`, `"wait":8.5`, func(e *recording.Exchange) bool { return e.Tags.Get(recording.TagResponseStart) == "10000" }},
		"a message": {`"opcode":1,"data":"hello"`, `"opcode":1,"data":"bye"`, func(e *recording.Exchange) bool {
			return string(e.WebSocket.Messages[0].Data) == "bye" && e.WebSocket.ClientBytes == 3
		}},
		"no messages": {`,"_webSocketMessages":[`, `,"_messages":[`, func(e *recording.Exchange) bool { return e.WebSocket.Messages == nil }},
		"a body that was compressed": {`"text":"secret"`, `"text":"gone"`, func(e *recording.Exchange) bool {
			return string(e.HTTP.Res.Body) == "gone" && e.Response().Decoded()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := exchange()
			compressed(e, zipped)
			e.NetInfo = &recording.NetInfo{StartTime: begin, Upstream: recording.Endpoint{IPAddress: "10.0.0.1", Port: 443}}
			if strings.Contains(name, "message") {
				e.WebSocket = &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{{From: recording.Client, At: 5, Type: "text", Data: []byte("hello")}}}
			}
			text := write(t, e)
			if !bytes.Contains(text, []byte(c.old)) {
				t.Fatalf("%s has no %s", text, c.old)
			}
			got, _ := read(bytes.Replace(text, []byte(c.old), []byte(c.new), 1))
			if len(got) != 1 || !c.is(got[0]) {
				t.Errorf("%s", got[0].AppendJSON(nil))
			}
		})
	}
}

// entryOf returns a log with one entry, to which members are added.
func entryOf(members string) string {
	return `{"log":{"entries":[{"startedDateTime":"2026-11-22T20:15:00.000+01:00","time":2.5,"request":{"method":"GET","url":"https://a.example:8443/p?x=1#f","headers":[]},` +
		`"response":{"status":200,"headers":[],"content":{}}` + members + `}]}}`
}

func TestEntriesOfOtherTools(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string // parts of the JSON, with blanks between them, and " / " between two exchanges
		said       string // a part of what is said
	}{
		{"a plain one", entryOf(""), `"ts":"2026-11-22T19:15:00Z" "network_address":"a.example:8443" "uri":"/p?x=1" "isTls":true "direction":"IN"`, ""},
		{"with a mark of its encoding", "\ufeff" + entryOf(""), `"uri":"/p?x=1"`, ""},
		{"what an exchange has no field for", entryOf(`,"_priority":"High","timings":{"send":1,"wait":0.5,"receive":1}`), `"_priority":"High" "requestEndUs":"1000" "responseStartUs":"1500"`, ""},
		{"a log one level deeper", `{"x":` + entryOf("") + `}`, `"uri":"/p?x=1"`, ""},
		{"members in another order", strings.Replace(entryOf(""), `"entries"`, `"pages":[],"comment":"","entries"`, 1), `"uri":"/p?x=1"`, ""},
		{"invalid base64", strings.Replace(entryOf(""), `"content":{}`, `"content":{"text":"plain!","encoding":"base64"}`, 1), `"bodyBase64":"cGxhaW4h"`, "response.content.encoding: says base64"},
		{"a body that was left out", strings.Replace(entryOf(""), `"content":{}`, `"content":{"size":7}`, 1), `"responseBodySize":"7"`, "a body of 7 bytes is not in the file"},
		{"a decoded body", strings.Replace(entryOf(""), `"headers":[],"content":{}`, `"headers":[{"name":"content-encoding","value":"br"}],"content":{"text":"x"}`, 1), `"decoded":"response" "Content-Encoding":["br"]`, ""},
		{"parameters without a text", strings.Replace(entryOf(""), `"headers":[]}`, `"headers":[],"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"a b","value":"&"}]}}`, 1), `"bodyBase64":"YStiPSUyNg=="`, ""},
		{"HTTP/2's own fields", strings.Replace(entryOf(""), `"headers":[]}`, `"httpVersion":"h2","headers":[{"name":":method","value":"GET"},{"name":":authority","value":"b"},{"name":"x-y","value":"1"}]}`, 1), `"version":"2.0" "headers":{"X-Y":["1"]}`, ""},
		{"another charset", strings.Replace(entryOf(""), `"content":{}`, `"content":{"mimeType":"text/plain; charset=iso-8859-1","text":"é"}`, 1), `"bodyBase64":"w6k="`, "was in \"iso-8859-1\""},
		{"white space after it", entryOf("") + " \n", `"uri":"/p?x=1"`, ""},
		{"messages", entryOf(`,"_webSocketMessages":[{"type":"send","time":1795374901,"opcode":1,"data":"hi"},{"type":"receive","time":0,"opcode":2,"data":"AP8="}]`), `"l7protocol":"websocket" "at":1000000,"type":"text","dataBase64":"aGk="},{"from":"server","at":0,"type":"binary","dataBase64":"AP8="}`, ""},
		{"a member that stands twice", entryOf(`,"time":3,"time":4`), `"duration":4`, "time: occurs more than once"},
		{"a user and a password", strings.Replace(entryOf(""), "https://a.", "https://u:p@a.", 1), `"host":"a.example:8443"`, "user and password are not kept"},
		{"pages", strings.Replace(entryOf(""), `"entries"`, `"pages":[{}],"entries"`, 1), `"uri"`, "log.pages: not kept"},
		{"pages after the entries", strings.Replace(entryOf(""), `}]}}`, `}],"pages":[{}]}}`, 1), `"uri"`, "log.pages: not kept"},
		{"no UTF-8", strings.Replace(entryOf(""), `"content":{}`, "\"content\":{\"text\":\"\xff\"}", 1), `"bodyBase64":"77+9"`, "is not all Unicode"},
		{"half a character", strings.Replace(entryOf(""), `"content":{}`, `"content":{"text":"\ud83d"}`, 1), `"bodyBase64":"77+9"`, "is not all Unicode"},
		{"a huge number", entryOf(`,"time":1e308`), `"duration":0`, "is not a plausible number"},
		{"a time of ages", entryOf(`,"time":1e12`), `"duration":0`, "longer than a year"},
		{"an invalid status", strings.Replace(entryOf(""), `"status":200`, `"status":1e9`, 1), `"incomplete":"no_answer"`, "is not a status"},
		{"a deep member", entryOf(`,"_deep":` + strings.Repeat("[", 300) + strings.Repeat("]", 300)), `"uri"`, "nested more than 100 deep"},
		{"a deeper one than JSON is read", entryOf(`,"_deep":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), "", "exceeded max depth"},
		{"too many members", entryOf(`,"_x":0` + strings.Repeat(`,"":1`, 2000)), "", "has more than 1000"},
		{"too many fields", strings.Replace(entryOf(""), `"headers":[]`, `"headers":[`+strings.TrimSuffix(strings.Repeat(`{"name":"a","value":""},`, 5000), ",")+"]", 1), "", "has more than 4000"},
		{"an invalid entry", strings.Replace(entryOf(""), `"entries":[`, `"entries":[7,{"request":{}},`, 1), `"uri":"/p?x=1"`, `entry 1: found "7"`},
		{"an invalid URL", strings.Replace(entryOf(""), "https://a.example:8443/p?x=1#f", "nowhere", 1), "", `request.url is "nowhere", want an absolute URL`},
		{"something else after it", entryOf("") + "\nhello", `"uri":"/p?x=1"`, "after entry 1: invalid character 'h'"},
		{"NUL after it", entryOf("") + "\x00\x00", `"uri":"/p?x=1"`, "after entry 1: invalid character"},
		{"another object behind it", entryOf("") + `{"msgType":"rrpair"}`, `"uri":"/p?x=1"`, "after entry 1: there is no member log"},
		{"another log that is cut", entryOf("") + entryOf("")[:200], `"uri":"/p?x=1"`, "torn"},
		{"no entries", `{"log":{"Entries":[{}]}}`, "", "log.Entries: not kept, log.entries: is missing"},
		{"a URL of a page itself", strings.Replace(entryOf(""), "https://a.example:8443/p?x=1#f", "data:text/html,hi", 1), "", "entry 1: request.url has the scheme data, which is not HTTP"},
		{"a URL of an extension", strings.Replace(entryOf(""), "https:", "chrome-extension:", 1), "", "the scheme chrome-extension, which is not HTTP"},
		{"a CONNECT to a host", strings.NewReplacer("https://a.example:8443/p?x=1#f", "a.example:8443", "GET", "CONNECT").Replace(entryOf("")), `"uri":"a.example:8443" "network_address":"a.example:8443"`, ""},
		{"a CONNECT to a URL", strings.NewReplacer("https://a.example:8443/p?x=1#f", "https://a.example/", "GET", "CONNECT").Replace(entryOf("")), `"uri":"a.example:443"`, ""},
		{"a URL that only looks like one", strings.Replace(entryOf(""), "https://a.example:8443/p?x=1#f", "a.example:8443", 1), "", `want an absolute URL`},
		{"pages before an invalid entry", strings.Replace(strings.Replace(entryOf(""), `"entries"`, `"pages":[{}],"entries"`, 1), "[{\"started", "[7,{\"started", 1), `"uri"`, "log.pages: not kept"},
		{"a zone without a colon", strings.Replace(entryOf(""), "+01:00", "+0100", 1), `"ts":"2026-11-22T19:15:00Z"`, ""},
		{"no seconds", strings.Replace(entryOf(""), "20:15:00.000+01:00", "20:15Z", 1), `"ts":"2026-11-22T20:15:00Z"`, ""},
		{"no zone", strings.Replace(entryOf(""), "+01:00", "", 1), `"ts":"2026-11-22T20:15:00Z"`, "has no time zone"},
		{"an invalid time", strings.Replace(entryOf(""), "2026-11-22T20:15:00.000+01:00", "NaN", 1), "", `startedDateTime is "NaN"`},
		{"an error of a WebSocket", entryOf(`,"_webSocketMessages":[{"type":"error","time":1795374901,"opcode":-1,"data":"reset"},{"type":"send","time":1795374901,"opcode":1,"data":"hi"}]`), `"dataBase64":"aGk="`, `"error" is neither send nor receive`},
		{"fields that a browser joined", strings.Replace(entryOf(""), `"headers":[],"content":{}`, `"cookies":[{"name":"b","value":"2"}],"headers":[{"name":"Set-Cookie","value":"a=1\nb=2"},{"name":"x","value":""}],"content":{}`, 1), `"Set-Cookie":["a=1","b=2"] "X":[""]`, ""},
		{"parameters with an empty text", strings.Replace(entryOf(""), `"headers":[]}`, `"headers":[],"postData":{"mimeType":"application/x-www-form-urlencoded","text":"","params":[{"name":"a","value":"b"}]}}`, 1), `"bodyBase64":"YT1i"`, ""},
		{"more parameters than the text has", strings.Replace(entryOf(""), `"headers":[]}`, `"headers":[],"postData":{"mimeType":"application/x-www-form-urlencoded","text":"a=b","params":[{"name":"a","value":"b"},{"name":"c"}]}}`, 1), `"bodyBase64":"YT1i"`, "params: has more than the text"},
		{"a request's body that was left out", strings.Replace(entryOf(""), `"headers":[]}`, `"headers":[],"bodySize":7}`, 1), `"truncated":"true" "requestBodySize":"7"`, "a body of 7 bytes is not in the file"},
		{"an authority that the URL does not have", strings.Replace(entryOf(""), `"headers":[]}`, `"httpVersion":"h2","headers":[{"name":":authority","value":"b.example"}]}`, 1), `"host":"b.example" "network_address":"a.example:8443"`, ""},
		{"a log that is cut", entryOf("")[:200], "", "torn"},
		{"an invalid log", `{"log":[1]}`, "", "want an object"},
		{"no log", `{"x":1}`, "", "no member log"},
		{"a list", `[1]`, "", "want a HAR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, said := read([]byte(c.text))
			words := strings.Join(said, "; ")
			if c.said == "" && len(said) > 0 || !strings.Contains(words, c.said) {
				t.Errorf("said %q, want %q", words, c.said)
			}
			if c.want == "" {
				if len(got) > 0 {
					t.Errorf("read %s", got[0].AppendJSON(nil))
				}
				return
			}
			wants := strings.Split(c.want, " / ")
			if len(got) != len(wants) {
				t.Fatalf("read %d, and said %q", len(got), words)
			}
			for i, want := range wants {
				text := string(got[i].AppendJSON(nil))
				for part := range strings.SplitSeq(want, " \"") {
					if part = strings.TrimPrefix(part, `"`); !strings.Contains(text, part) {
						t.Errorf("%s\nhas no %s", text, part)
					}
				}
				if _, err := (&again{}).read(text); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// again reads the output as a recording.
type again struct{ d recording.Decoder }

func (a *again) read(text string) (*recording.Exchange, error) {
	var e recording.Exchange
	err := a.d.Decode([]byte(text), &e)
	return &e, err
}

// A file that can't be read does not count as damage of the log.
func TestAFileThatFails(t *testing.T) {
	for _, n := range []int{3, 60, 200} {
		failed := errors.New("the disk is gone")
		r := har.NewReader(io.MultiReader(strings.NewReader(entryOf("")[:n]), iotest.ErrReader(failed)))
		if _, err := r.Next(new(recording.Exchange)); err != failed {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// The sizes of reads make no difference.
func TestPieces(t *testing.T) {
	all, said := formattest.Read(har.NewReader(iotest.OneByteReader(strings.NewReader("\ufeff" + entryOf("")))))
	if len(all) != 1 || len(said) > 0 {
		t.Error(len(all), said)
	}
}

// The reader gives up on a value that is longer than the limit.
func TestAnEntryWithoutAnEnd(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"log":{"entries":[{"_x":"`), io.LimitReader(spaces{}, 1<<40))
	_, err := har.NewReader(endless).Next(new(recording.Exchange))
	if err == nil || !strings.Contains(err.Error(), "64 MiB without an end") {
		t.Error(err)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A record that was read from any file can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add(write(f, exchange()))
	f.Add([]byte(entryOf(`,"_webSocketMessages":[{"type":"send","time":1,"opcode":1,"data":"hi"}],"timings":{"send":1,"wait":2,"receive":-1}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, _ := read(text)
		for _, e := range all {
			if _, err := (&again{}).read(string(e.AppendJSON(nil))); err != nil {
				t.Fatalf("%s: %v", e.AppendJSON(nil), err)
			}
			var b bytes.Buffer
			w := har.NewWriter(&b, "v1")
			_, err := w.Write(e)
			if err != nil {
				continue
			}
			w.Close()
			if err := firefoxImports(b.Bytes()); err != nil {
				t.Fatal(err)
			}
			got, _ := read(b.Bytes())
			if len(got) != 1 || !bytes.Equal(got[0].HTTP.Req.Body, e.HTTP.Req.Body) || !bytes.Equal(got[0].HTTP.Res.Body, e.HTTP.Res.Body) {
				t.Fatalf("%s became %s", e.AppendJSON(nil), b.Bytes())
			}
		}
	})
}

func log(b *testing.B) []byte {
	e := exchange()
	e.HTTP.Res.Body = []byte(strings.Repeat(`{"id":1,"name":"a name","tags":["x","y"]},`, 100))
	var all []*recording.Exchange
	for range 200 {
		all = append(all, e)
	}
	return write(b, all...)
}

// The benchmark compares the speed with that of encoding/json, which makes values of the same
// bytes.
func BenchmarkRead(b *testing.B) {
	text := log(b)
	b.Run("har", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if all, _ := read(text); len(all) != 200 {
				b.Fatal(len(all))
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(text, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	text := log(b)
	all, _ := read(text)
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		b.Fatal(err)
	}
	b.Run("har", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			write(b, all...)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ExampleReader() {
	r := har.NewReader(strings.NewReader(entryOf("")))
	var e recording.Exchange
	losses, err := r.Next(&e)
	fmt.Println(e.Command, e.NetworkAddress, e.Location, e.Status, losses, err)
	// Output: GET a.example:8443 /p 200 [] <nil>
}
