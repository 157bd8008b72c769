package recording

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestALossListNamesEachLossOnce(t *testing.T) {
	var l LossList
	l.Add("http.req.cookies", "not kept")
	l.Add("http.req.cookies", "not kept")
	l.Add("log\nentry", "bytes \xff that are no text")
	l.Add("path", strings.Repeat("a", 1000))
	l.Add("p", strings.Repeat("b", maxLossText-len("p: ")))
	want := LossList{"http.req.cookies: not kept", "log entry: bytes \ufffd that are no text", "path: " + strings.Repeat("a", maxLossText-len("path: ")) + "…", "p: " + strings.Repeat("b", maxLossText-len("p: "))}
	if !slices.Equal(l, want) {
		t.Errorf("%q, want %q", l, want)
	}
	for i := range 2 * maxLosses {
		l.Add("path", fmt.Sprint(i))
	}
	if len(l) != maxLosses {
		t.Errorf("%d losses", len(l))
	}
}

// Weight is close to the length of the JSON, whichever part of the exchange is large.
func TestWeight(t *testing.T) {
	const size = 90_000
	long := []byte(strings.Repeat("a", size))
	var lines Headers
	for i := range size / 100 {
		lines = append(lines, Header{fmt.Sprintf("X-Header-%d", i), string(long[:100])})
	}
	var messages []Message
	for range size / 30 {
		messages = append(messages, Message{From: Client, Data: long[:30]})
	}
	for name, e := range map[string]*Exchange{
		"little":                 {Location: "/"},
		"the body of a request":  {HTTP: &HTTP{Req: HTTPRequest{Body: long}}},
		"the body of a response": {HTTP: &HTTP{Res: HTTPResponse{Body: long}}},
		"headers of a request":   {HTTP: &HTTP{Req: HTTPRequest{Headers: lines}}},
		"headers of a response":  {HTTP: &HTTP{Res: HTTPResponse{Headers: lines}}},
		"a long message":         {TCP: &Conversation{Messages: []Message{{From: Client, Data: long}}}},
		"many messages":          {TCP: &Conversation{Messages: messages}},
		"other members":          {Extra: []Member{{"a", json.RawMessage(`"` + string(long) + `"`)}, {"b", json.RawMessage(`"` + string(long) + `"`)}}},
	} {
		got, want := e.Weight(), int64(len(e.AppendJSON(nil)))
		if got < want*3/4 || got > want*3/2+1<<10 {
			t.Errorf("%s: %d, and %d bytes of JSON", name, got, want)
		}
	}
}
