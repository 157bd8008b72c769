package redact

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// hostile are parts of texts that are meant to be costly.
var hostile = map[string]string{
	"blanks": " ", "commas": ",", "slashes": "/", "escapes": "%25", "nested escapes": "%", "names": "a=", "secrets": "token=a;", "secrets of a query": "token=a&",
	"secret words": "token-", "keys": "key-1-", "quotes": `"=`, "half quotes": `'x=`, "JSON": `"token":`, "brackets": `"token":[`, "backslashes": `\"`, "tokens": "eyJ=", "tokens in paths": "/eyJ.",
	"users": "//a@", "steps": "/token/new", "paths": "/token/a", "bots": "/bot1:", "glued": "apitoken", "digits": "a1", "cookies": "a=b;", "colons": "a: ", "colons in a row": ":a", "escaped colons": "%3Aa", "logins": "a:b@", "dots": ".", "brackets of names": "[a]",
	"quoted quotes": `"`, "members": `{"a":1,`, "values": `{"value":"a","b":"c",`, "named": `{"name":"a","value":"b"},`, "arrays": "[", "closed": "}", "objects": `{"a":`, "strings": `"a",`, "escaped strings": `"a\\",`, "slashed quotes": `\\"`,
	"tags": "<a>", "attributes": "<a b=c ", "closing tags": "</a>", "comments": "<!--", "CDATA": "<![CDATA[", "entities": "&amp;", "brackets of tags": "<", "scripts": "<script>", "inputs": "<input name=a value=b>",
	"events": "data: a\n", "events of JSON": "data: {\"a\":1}\n\n", "lines": "a: b\n", "boundaries": "--x\r\n\r\n", "parts": "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n",
	"keys in PEM": "-----BEGIN PRIVATE KEY-----", "headers of PEM": "-----BEGIN ", "cards": "4111111111111111 ", "digits and blanks": "1 ", "digits and dashes": "1-", "headers of tokens": "eyJhbGciOiJIUzI1NiJ9.", "one token": "eyJhbGciOiIi", "sections": "[a]\n", "schemes": "Bearer+",
	"words of GraphQL": "mutation{a(b:\"c\")", "percents": "%", "plus": "+", "basic": "Basic ", "bearer": "Bearer ", "prefixes": "ghp_", "numbers": "1,", "zeros": "\x00", "high": "\xff",
}

func repeated(name, part string, size int) string {
	switch name {
	case "nested escapes":
		return "%" + strings.Repeat("25", size/2)
	case "one token":
		return strings.Repeat(part, size/len(part)) + "Q. "
	}
	return strings.Repeat(part, size/len(part))
}

// isLinear compares the cost of short and of long texts. It measures processor time, because the
// machine may be busy.
func isLinear(t *testing.T, what, name string, size, times int, f func(text string)) {
	t.Helper()
	cost := func(size int) time.Duration {
		text := repeated(name, hostile[name], size)
		begun := cpu(t)
		f(text)
		return cpu(t) - begun
	}
	// 16 times as much should take 16 times as long. With a quadratic cost, it would be 256 times.
	for range 5 {
		short, long := max(cost(size), 200*time.Microsecond), cost(times*size)
		if long <= time.Duration(times*times/2)*short {
			return
		}
		t.Logf("%s: %v for %d bytes, %v for %d", what, short, size, long, times*size)
	}
	t.Errorf("%s: the cost grows faster than the text", what)
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The cost of a text grows linearly with its length, whatever a peer sends.
func TestCostOfHostileTexts(t *testing.T) {
	r := New(recording.Discard{}, Options{})
	for name := range hostile {
		isLinear(t, name, name, 512, 16, func(hostile string) {
			for _, text := range []string{hostile, "password=" + hostile, hostile + "=x", "?" + hostile} {
				e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: text, URL: text, Host: text, Headers: recording.Headers{{Name: text, Value: "x"}, {Name: "X-Any", Value: text}, {Name: "Location", Value: text},
					{Name: "Cookie", Value: text}, {Name: "Set-Cookie", Value: text}, {Name: "Sec-Websocket-Protocol", Value: text}, {Name: "Www-Authenticate", Value: text}}}}}
				r.Write(e)
			}
		})
	}
}

// mediaTypes are those of documents that are searched in different ways.
var mediaTypes = []string{"", "application/json", "application/xml", "text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql",
	"text/event-stream", "text/plain", "application/yaml", "text/javascript", "application/octet-stream"}

// The cost of a body of any kind also grows linearly.
func TestCostOfHostileBodies(t *testing.T) {
	r := New(recording.Discard{}, Options{})
	for name := range hostile {
		for _, mediaType := range mediaTypes {
			isLinear(t, mediaType+": "+name, name, 1<<10, 16, func(hostile string) {
				for _, text := range []string{hostile, `{"a":"` + hostile + `"}`, `{"credentials":{"a":` + hostile, "<a>" + hostile} {
					var found places
					q := search{r: r, places: &found, at: "req.body", request: true, max: DefaultMaxBody}
					q.document(text, mediaType)
				}
			})
		}
	}
}
