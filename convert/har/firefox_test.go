package har_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/har"
	"github.com/tapedeck/tapedeck/recording"
)

// firefoxLog has what Firefox's network panel reads from an imported log, with the types that it
// needs. Where another value makes its code throw, it shows nothing that follows:
//
//   - devtools/client/netmonitor/src/har/har-importer.js of mozilla/gecko-dev (1f3b7e2), doImport:
//     log.pages and log.entries are arrays; an entry has objects request, response,
//     response.content, timings and cache.
//   - devtools/client/netmonitor/src/utils/request-utils.js (08761cd), getUrlDetails: the URL can
//     be parsed. getFormattedProtocol and getResponseHeader: the names of fields are strings.
//   - har-importer.js, totalTime: it adds up the timings that are neither missing nor -1, so a
//     string would turn the sum into a string.
type firefoxLog struct {
	Log struct {
		Pages   *[]struct{ ID string }
		Entries *[]struct {
			StartedDateTime string
			Request         *firefoxMessage
			Response        *struct {
				firefoxMessage
				Content *struct {
					Size     *float64
					MimeType *string
				}
				Status     *float64
				StatusText *string
				BodySize   *float64
			}
			Timings         map[string]float64
			Cache           map[string]any
			ServerIPAddress string
			Connection      string
		}
	}
}

type firefoxMessage struct {
	Method, URL, HTTPVersion *string
	Headers, Cookies         []struct{ Name, Value *string }
	HeadersSize              *float64
	PostData                 *struct{ Text, MimeType *string }
}

// firefoxImports returns an error if Firefox can't import a log.
func firefoxImports(text []byte) error {
	var l firefoxLog
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	if !utf8.Valid(text) || l.Log.Pages == nil || l.Log.Entries == nil {
		return fmt.Errorf("not a log with pages and entries: %.200s", text)
	}
	for i, e := range *l.Log.Entries {
		q, s := e.Request, e.Response
		switch {
		case q == nil || s == nil || s.Content == nil || e.Timings == nil || e.Cache == nil:
			return fmt.Errorf("entry %d lacks an object: %+v", i, e)
		case q.Method == nil || q.URL == nil || q.HTTPVersion == nil || q.HeadersSize == nil || q.Headers == nil || q.Cookies == nil:
			return fmt.Errorf("entry %d: the request lacks something: %+v", i, q)
		case s.Headers == nil || s.Cookies == nil || s.HeadersSize == nil || s.Status == nil || s.StatusText == nil || s.BodySize == nil || s.Content.Size == nil || s.Content.MimeType == nil:
			return fmt.Errorf("entry %d: the answer lacks something: %+v", i, s)
		case q.PostData != nil && (q.PostData.Text == nil || q.PostData.MimeType == nil):
			return fmt.Errorf("entry %d: postData lacks something: %+v", i, q.PostData)
		}
		// For the hosts that are written, url.Parse is as strict as Firefox: see TestIsHost.
		scheme, rest, _ := strings.Cut(*q.URL, "://")
		if host, _, _ := strings.Cut(strings.NewReplacer("?", "/", "#", "/").Replace(rest), "/"); scheme == "" || host == "" {
			return fmt.Errorf("entry %d: no URL: %q", i, *q.URL)
		} else if u, err := url.Parse(scheme + "://" + host); err != nil || u.Hostname() == "" {
			return fmt.Errorf("entry %d: the URL %q: %v", i, *q.URL, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, e.StartedDateTime); err != nil { // for Date.parse
			return fmt.Errorf("entry %d: %w", i, err)
		}
		for _, all := range [][]struct{ Name, Value *string }{q.Headers, q.Cookies, s.Headers, s.Cookies} {
			for _, f := range all {
				if f.Name == nil || f.Value == nil {
					return fmt.Errorf("entry %d: a field or a cookie lacks its name or its value", i)
				}
			}
		}
	}
	return nil
}

// The rules find each fault for which Firefox refuses a log.
func TestFirefoxRefuses(t *testing.T) {
	const sound = `{"log":{"pages":[],"entries":[{"startedDateTime":"2026-11-22T20:15:00Z","cache":{},"timings":{"send":1,"wait":2,"receive":3},` +
		`"request":{"method":"GET","url":"http://a/","httpVersion":"HTTP/1.1","headers":[{"name":"A","value":"b"}],"cookies":[],"headersSize":-1},` +
		`"response":{"headers":[],"cookies":[],"headersSize":-1,"status":200,"statusText":"","bodySize":-1,"content":{"size":0,"mimeType":""}}}]}}`
	if err := firefoxImports([]byte(sound)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"pages":[],`, ``}, {`"pages":[]`, `"pages":{}`}, {`"entries":[`, `"entri":[`}, {`"cache":{},`, ``}, {`"cache":{}`, `"cache":[]`},
		{`"timings"`, `"time"`}, {`"send":1`, `"send":"1"`}, {`"request"`, `"req"`}, {`"response"`, `"res"`}, {`"content"`, `"body"`},
		{`http://a/`, `/`}, {`http://a/`, `http://a|b/`}, {`http://a/`, `http://a:x/`}, {`"name":"A",`, ``}, {`"value":"b"`, `"value":1`}, {`"mimeType":""`, `"mimeType":1`},
		{`2026-11-22T20:15:00Z`, `today`}, {`"status":200`, `"status":"OK"`},
	} {
		text := strings.Replace(sound, change[0], change[1], 1)
		if text == sound || firefoxImports([]byte(text)) == nil {
			t.Errorf("nothing is wrong with %s", text)
		}
	}
}

// Firefox imports a log of any recording, including exchanges that kept parts of another log.
func TestFirefoxImportsEveryLog(t *testing.T) {
	var all []*recording.Exchange
	add := func(change func(e *recording.Exchange)) {
		e := exchange()
		change(e)
		all = append(all, e)
	}
	add(func(*recording.Exchange) {})
	add(func(e *recording.Exchange) {
		*e = recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Host: "a"}}}
	})
	add(func(e *recording.Exchange) { e.HTTP.Res = recording.HTTPResponse{} })
	add(func(e *recording.Exchange) { e.TS = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) })
	add(func(e *recording.Exchange) { e.Duration = -5 })
	add(func(e *recording.Exchange) { e.HTTP.Req.Body, e.HTTP.Res.Body = []byte{0xff}, []byte{0xfe} })
	add(func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{}, {Name: "\xff", Value: "\x00"}, {Name: "Cookie", Value: "=;a=b; =c"}}
	})
	add(func(e *recording.Exchange) {
		e.HTTP.Res.Headers = recording.Headers{{Name: "Set-Cookie"}, {Name: "Set-Cookie", Value: "a; Expires=never; Path; Path=/; Secure=0"}}
	})
	add(func(e *recording.Exchange) {
		e.WebSocket = &recording.Conversation{Messages: []recording.Message{{}, {From: "x", Type: "y", At: -1, Data: []byte{0xff}}}}
	})
	for _, host := range []string{"a b", "a|b", "a:port", "a:99999", "[::1", "1.2.3.4.5", "xn--a", "%", "${jndi:ldap://x}", "\xff", "ä.example"} {
		add(func(e *recording.Exchange) { e.HTTP.Req.Host, e.HTTP.Req.Headers = host, nil })
		add(func(e *recording.Exchange) { e.HTTP.Req.URI = "http://" + host + "/x" })
	}
	for _, kept := range []string{
		`7`, `null`, `{"request":7,"response":null}`, `{"time":"x","timings":{"send":"1","wait":1,"receive":1},"cache":[],"connection":{},"serverIPAddress":7}`,
		`{"timings":{"send":1,"wait":1},"cache":null,"pageref":"p","startedDateTime":7,"_webSocketMessages":[null],"_initiator":null,"_rrpair":1}`,
		`{"timings":{"send":1,"wait":1,"receive":1,"_workerStart":"x"}}`,
		`{"request":{"method":1,"url":2,"bodySize":"x","headers":null,"cookies":{},"postData":7},"response":{"status":"x","statusText":7,"content":1,"_transferSize":"x"}}`,
	} {
		add(func(e *recording.Exchange) { e.Extra = []recording.Member{{Name: "har", Value: []byte(kept)}} })
		add(func(e *recording.Exchange) { // without bodies there is no postData
			e.HTTP.Req.Body = nil
			e.Extra = []recording.Member{{Name: "har", Value: []byte(kept)}}
		})
	}
	var log strings.Builder
	w := har.NewWriter(&log, "v1")
	for _, e := range all {
		if _, err := w.Write(e); err != nil && !errors.As(err, new(*recording.LeftOutError)) {
			t.Errorf("%s: %v", e.AppendJSON(nil), err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := firefoxImports([]byte(log.String())); err != nil {
		t.Error(err)
	}
}
