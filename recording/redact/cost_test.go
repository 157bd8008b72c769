package redact

import (
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Whatever a peer sends, the cost of a text grows with its length and no faster.
func TestCostOfHostileTexts(t *testing.T) {
	const size, times = 1 << 10, 16
	r := New(recording.Discard{}, Options{})
	for name, part := range map[string]string{
		"blanks": " ", "commas": ",", "slashes": "/", "escapes": "%25", "nested escapes": "%", "names": "a=", "secrets": "token=a;", "secrets of a query": "token=a&",
		"secret words": "token-", "keys": "key-1-", "quotes": `"=`, "half quotes": `'x=`, "JSON": `"token":`, "brackets": `"token":[`, "backslashes": `\"`, "tokens": "eyJ=", "tokens in paths": "/eyJ.",
		"users": "//a@", "steps": "/token/new", "paths": "/token/a", "bots": "/bot1:", "glued": "apitoken", "digits": "a1", "cookies": "a=b;", "colons": "a: ", "colons in a row": ":a", "escaped colons": "%3Aa", "logins": "a:b@", "dots": ".", "brackets of names": "[a]",
	} {
		cost := func(size int) time.Duration {
			hostile := strings.Repeat(part, size/len(part))
			if name == "nested escapes" {
				hostile = "%" + strings.Repeat("25", size/2)
			}
			least := time.Hour
			for range 5 {
				begun := time.Now()
				for _, text := range []string{hostile, "password=" + hostile, hostile + "=x", "?" + hostile} {
					e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: text, URL: text, Host: text, Headers: recording.Headers{{Name: text, Value: "x"}, {Name: "X-Any", Value: text}, {Name: "Location", Value: text},
						{Name: "Cookie", Value: text}, {Name: "Set-Cookie", Value: text}, {Name: "Sec-Websocket-Protocol", Value: text}, {Name: "Www-Authenticate", Value: text}}}}}
					r.Write(e)
				}
				least = min(least, time.Since(begun))
			}
			return least
		}
		// 16 times as much takes 16 times as long, or 256 times if it grew with the square.
		if short, long := cost(size), cost(times*size); long > times*times/2*short {
			t.Errorf("%s: %v for %d bytes, %v for %d", name, short, size, long, times*size)
		}
	}
}
