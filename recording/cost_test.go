package recording

import (
	"strings"
	"testing"
	"time"
)

// Whatever a peer sends, the cost of a text grows with its length and no faster:
// each of these took seconds where it grew with the square.
func TestCostOfHostileTexts(t *testing.T) {
	const size = 256 << 10 // the largest head
	r := NewRedact(Discard{})
	for name, part := range map[string]string{
		"blanks": " ", "commas": ",", "slashes": "/", "escapes": "%25", "nested escapes": "%", "names": "a=", "secrets": "token=a;", "secrets of a query": "token=a&",
		"secret words": "token-", "keys": "key-1-", "quotes": `"=`, "half quotes": `'x=`, "JSON": `"token":`, "brackets": `"token":[`, "backslashes": `\"`, "tokens": "eyJ=", "tokens in paths": "/eyJ.",
		"users": "//a@", "steps": "/token/new", "paths": "/token/a", "bots": "/bot1:", "glued": "apitoken", "digits": "a1", "cookies": "a=b;", "colons": "a: ", "dots": ".", "brackets of names": "[a]",
	} {
		hostile := strings.Repeat(part, size/len(part))
		if name == "nested escapes" {
			hostile = "%" + strings.Repeat("25", size/2)
		}
		begun := time.Now()
		for _, text := range []string{hostile, "password=" + hostile, hostile + "=x", "?" + hostile} {
			e := &Exchange{HTTP: &HTTP{Req: HTTPRequest{URI: text, URL: text, Host: text, Headers: Headers{{text, "x"}, {"X-Any", text}, {"Location", text},
				{"Cookie", text}, {"Set-Cookie", text}, {"Sec-Websocket-Protocol", text}, {"Www-Authenticate", text}}}}}
			r.Write(e)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: %v for %d bytes", name, took, size)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}
