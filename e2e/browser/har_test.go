package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tapedeck/tapedeck/convert/har"
	"github.com/tapedeck/tapedeck/recording"
)

// TestNetworkPanelTakesHAR imports a log with the code of the browser's own network panel.
func TestNetworkPanelTakesHAR(t *testing.T) {
	ctx := browser(t)
	var log bytes.Buffer
	w := har.NewWriter(&log, "v1")
	begin := time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)
	for i := range 3 {
		e := &recording.Exchange{MsgType: recording.MsgType, UUID: recording.UUID{byte(i + 1)}, TS: begin, Duration: 30, HTTP: &recording.HTTP{}}
		e.HTTP.Req = recording.HTTPRequest{Method: "POST", URI: fmt.Sprintf("/items?n=%d", i), Host: "shop.example", Version: "1.1", Body: []byte("a=1&b=2"),
			Headers: recording.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}, {Name: "Cookie", Value: "s=1"}}}
		e.HTTP.Res = recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", ContentType: "text/plain", Body: []byte("hé"),
			Headers: recording.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "Set-Cookie", Value: "s=2; Path=/; HttpOnly"}}}
		switch i {
		case 1: // no answer
			e.HTTP.Res = recording.HTTPResponse{}
		case 2:
			e.HTTP.Res.StatusCode, e.HTTP.Res.Body = 101, nil
			e.WebSocket = &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{
				{From: recording.Client, At: 1500, Type: "text", Data: []byte("ping")}, {From: recording.Server, At: 2500, Type: "binary", Data: []byte{0, 255}}}}
		}
		e.Tags.Set(recording.TagRequestEnd, "2000")
		e.Tags.Set(recording.TagResponseStart, "20000")
		if _, err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	must(t, w.Close())
	must(t, chromedp.Do(ctx, chromedp.Navigate("devtools://devtools/bundled/devtools_app.html")))
	text, err := json.Marshal(log.String())
	must(t, err)
	// The panel makes the same calls when a file is dropped on it.
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(async () => {
		const HAR = await import('devtools://devtools/bundled/models/har/har.js');
		const root = new HAR.HARFormat.HARRoot(JSON.parse(`+string(text)+`));
		const all = HAR.Importer.Importer.requestsFromHARLog(root.log);
		const lines = [];
		for (const r of all) {
			const content = await r.requestContentData();
			lines.push([r.requestMethod, r.url(), r.statusCode, r.finished, (r.duration * 1000).toFixed(0), content.text ?? content.error ?? '',
				await r.requestFormData(), (r.responseCookies || []).length, r.frames().map(f => f.type + ' ' + f.text).join('|')].join(' · '));
		}
		return lines.join('\n');
	})()`, chromedp.EvalAwaitPromise))
	must(t, err)
	want := strings.Join([]string{
		"POST · http://shop.example/items?n=0 · 200 · true · 30 · hé · a=1&b=2 · 1 · ",
		"POST · http://shop.example/items?n=1 · 0 · true · 30 ·  · a=1&b=2 · 0 · ",
		"POST · ws://shop.example/items?n=2 · 101 · true · 30 ·  · a=1&b=2 · 1 · send ping|receive AP8=",
	}, "\n")
	if got != want {
		t.Errorf("the panel shows\n%s\nwant\n%s", got, want)
	}
}
