package browser

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tapedeck/tapedeck/convert/har"
	"github.com/tapedeck/tapedeck/recording"
)

// TestBrowsersParseURLs writes a log of requests to hosts of any kind. Firefox imports nothing from
// it if it can't parse one URL, and it parses them by the same standard as Chromium.
func TestBrowsersParseURLs(t *testing.T) {
	hosts := []string{"shop.example:8080", "a_b", "[::1]:443", "[fe80::1%25eth0]", "10.0.0.1", "10.0.0.256", "a.1", "1", "0x7f.1", "a.0x", "a:99999", "a:x", "a:", "[::1]x",
		"xn--bcher-kva.example", "xn--a", "xn--", "a.xn--.b", "xn--ls8h", "bücher.example", "a\u00adb", "a\u200db", "\u0627b", "a..b", ".a", "a.", "-a-", "a--b", "..", "a,b", strings.Repeat("a.", 500)}
	for c := rune(0); c < 0x100; c++ {
		hosts = append(hosts, "a"+string(c)+"b", string(c)+".example")
	}
	var log bytes.Buffer
	w := har.NewWriter(&log, "v1")
	for i, host := range hosts {
		for _, target := range []string{"/a b?c\\d#é\xff%", "http://" + host + "/x"} {
			e := &recording.Exchange{MsgType: recording.MsgType, UUID: recording.UUID{byte(i), byte(i >> 8)}, TS: time.Unix(1, 0), HTTP: &recording.HTTP{}}
			e.HTTP.Req = recording.HTTPRequest{Method: "GET", Host: host, URI: target}
			_, _ = w.Write(e) // Write leaves out invalid hosts
		}
	}
	must(t, w.Close())
	var written struct {
		Log struct {
			Entries []struct{ Request struct{ URL string } }
		}
	}
	must(t, json.Unmarshal(log.Bytes(), &written))
	replaced := strings.Count(log.String(), "//unknown.invalid/")
	if n := len(written.Log.Entries); n < 2*len(hosts)-50 || replaced > n/2 {
		t.Errorf("%d entries of %d hosts, and %d of them without theirs", n, len(hosts), replaced)
	}
	text, err := json.Marshal(log.String())
	must(t, err)
	ctx := browser(t)
	must(t, chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	bad, err := chromedp.Run(ctx, chromedp.Evaluate[string](`JSON.parse(`+string(text)+`).log.entries.map(e => e.request.url).filter(u => URL.parse(u) === null).join('\n')`))
	must(t, err)
	if bad != "" {
		t.Errorf("Chromium can't parse\n%s", bad)
	}
}
