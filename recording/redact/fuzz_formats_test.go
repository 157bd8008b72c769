package redact

import (
	"bytes"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

func jsonText(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// formats write a text from the fuzzer, and a password next to it.
var formats = []struct {
	mediaType string
	write     func(text string) string
}{
	{"application/json", func(s string) string {
		return `{"a":[{"text":` + jsonText(s) + `,"password":"` + canary + `"}]}`
	}},
	{"application/x-www-form-urlencoded", func(s string) string {
		return "text=" + url.QueryEscape(s) + "&password=" + canary + "&a=" + url.QueryEscape(s)
	}},
	{"multipart/form-data; boundary=0123456789", func(s string) string {
		part := func(name, text string) string {
			return "--0123456789\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + text + "\r\n"
		}
		return part("text", s) + part("password", canary) + part("a", s) + "--0123456789--\r\n"
	}},
	{"text/xml", func(s string) string {
		s = html.EscapeString(s)
		return `<a><b c="` + s + `">` + s + `</b><password>` + canary + `</password></a>`
	}},
	{"application/graphql", func(s string) string {
		return `mutation { login(text: ` + jsonText(s) + `, password: "` + canary + `") { id } }`
	}},
	{"text/event-stream", func(s string) string {
		return "event: a\ndata: " + jsonText(s) + "\n\ndata: {\"text\":" + jsonText(s) + ",\ndata: \"password\":\"" + canary + "\"}\n\n"
	}},
	{"application/yaml", func(s string) string {
		return "text: " + jsonText(s) + "\npassword: " + canary + "\na: " + jsonText(s) + "\n"
	}},
	{"application/grpc", func(s string) string {
		return "\x0a\x00" + s + "\x12\x20ghp_" + canary + canary + "\x18\x01"
	}},
}

// A password doesn't survive in any format, whatever is next to it. JSON remains JSON, and a second
// redaction changes nothing.
func FuzzFormats(f *testing.F) {
	for i := range formats {
		f.Add(byte(i), "a\"b'c&d=<e>\n- f: {g}\\u0041 %41 +1")
		f.Add(byte(i), `{"name":"token","value":1,"x":"{\"a\":[`)
		f.Add(byte(i), "Bearer 0123456789 https://u:p@h/?key=x#--")
	}
	r := New(recording.Discard{}, Options{Key: []byte("a key for tests")})
	f.Fuzz(func(t *testing.T, format byte, text string) {
		if strings.Contains(text, canary[:4]) || strings.Contains(text, "0123456789--") {
			return
		}
		form := formats[int(format)%len(formats)]
		body := form.write(text)
		if form.mediaType != "application/grpc" && !isText(body) {
			return
		}
		got := document(r, body, form.mediaType)
		if strings.Contains(got, canary) {
			t.Errorf("%s: %q\nbecame %q", form.mediaType, body, got)
		}
		if json.Valid([]byte(body)) && !json.Valid([]byte(got)) {
			t.Errorf("JSON %q\nbecame %q", body, got)
		}
		if form.mediaType == "application/grpc" && len(got) != len(body) {
			t.Errorf("%d bytes became %d", len(body), len(got))
		}
	})
}

// A password doesn't survive, wherever WebSocket frames and parts of a conversation divide it,
// compressed or not. The rest of the message remains.
func FuzzFrames(f *testing.F) {
	f.Add("some text", uint16(3), uint16(9), byte(0), false)
	f.Add("some text", uint16(30), uint16(36), byte(1), true)
	f.Add("", uint16(0), uint16(0), byte(2), true)
	f.Fuzz(func(t *testing.T, text string, first, second uint16, part byte, compressed bool) {
		if strings.Contains(text, canary[:4]) {
			return
		}
		data := []byte(`{"text":` + jsonText(text) + `,"password":"` + canary + `"}`)
		if compressed {
			data = deflated(t, string(data))[0]
		}
		a := int(first) % (len(data) + 1)
		b := a + int(second)%(len(data)-a+1)
		frames := []recording.Message{
			{From: "client", Type: "text", More: true, Compressed: compressed, Data: bytes.Clone(data[:a])},
			{From: "client", Type: "continuation", More: true, Data: bytes.Clone(data[a:b])},
			{From: "client", Type: "continuation", Data: bytes.Clone(data[b:])},
		}
		at := int(part) % len(frames) // where the second part begins
		r := New(recording.Discard{}, Options{})
		var all []recording.Message
		for i, messages := range [][]recording.Message{frames[:at], frames[at:]} {
			e := ws(i+1, i == 1, messages...)
			if err := r.Write(e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e.WebSocket.Messages...)
		}
		var whole []byte
		for _, m := range all {
			if m.Compressed {
				t.Errorf("%+v is compressed", m)
			}
			whole = append(whole, m.Data...)
		}
		var got struct{ Text, Password string }
		if err := json.Unmarshal(whole, &got); err != nil || !IsToken(got.Password) {
			t.Errorf("%q, divided at %d and %d, became %q: %v", data, a, b, whole, err)
		}
	})
}
