package recording

import (
	"slices"
	"testing"
	"time"
)

func TestTimings(t *testing.T) {
	start := time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)
	e := &Exchange{TS: start, Duration: 12, Tags: Tags{{TagRequestEnd, "250"}, {TagResponseStart, "11000"}}}
	if d, ok := e.RequestEnd(); d != 250*time.Microsecond || !ok {
		t.Error(d, ok)
	}
	if d, ok := e.ResponseStart(); d != 11*time.Millisecond || !ok {
		t.Error(d, ok)
	}
	if got := e.Ended(); !got.Equal(start.Add(12*time.Millisecond)) || e.End() != 12*time.Millisecond {
		t.Error(got)
	}
	e.Tags = Tags{{TagRequestEnd, "0"}}
	if d, ok := e.RequestEnd(); d != 0 || !ok {
		t.Errorf("an immediate end: %v, %v", d, ok)
	}
	for _, foreign := range []Tags{nil, {{TagRequestEnd, "soon"}}, {{TagRequestEnd, "-1"}}} {
		e.Tags = foreign
		if d, ok := e.RequestEnd(); d != 0 || ok {
			t.Errorf("%v: %v, %v", foreign, d, ok)
		}
	}
}

func TestCompleteness(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Exchange
		want bool
	}{
		{"an HTTP exchange", Exchange{HTTP: &HTTP{}}, true},
		{"a conversation", Exchange{GRPC: &Conversation{Part: 1, Last: true}}, true},
		{"one without an answer", Exchange{Tags: Tags{{TagIncomplete, NoAnswer}}}, false},
		{"one that was cut", Exchange{Tags: Tags{{TagTruncated, "true"}}}, false},
		{"an unknown protocol", Exchange{Tags: Tags{{TagUndecoded, "http1: large"}}}, false},
		{"the first part of a conversation", Exchange{TCP: &Conversation{Part: 1}}, false},
		{"the last part of a conversation", Exchange{WebSocket: &Conversation{Part: 2, Last: true}}, false},
	} {
		if got := c.e.Complete(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestRelations(t *testing.T) {
	id := UUID{1, 2, 3}
	for _, c := range []struct {
		tags Tags
		want Parent
	}{
		{nil, Parent{}},
		{Tags{{TagParent, id.String()}, {TagParentBy, "b3"}}, Parent{ParentKnown, id, "b3"}},
		{Tags{{TagParent, id.String()}}, Parent{ParentKnown, id, ""}},
		{Tags{{TagParent, "unknown"}}, Parent{Kind: ParentUnknown}},
		{Tags{{TagParent, "ambiguous"}}, Parent{Kind: ParentAmbiguous}},
		{Tags{{TagParent, "what?"}, {TagParentBy, "b3"}}, Parent{Kind: ParentUnknown}},
	} {
		if got := (&Exchange{Tags: c.tags}).Parent(); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.tags, got, c.want)
		}
	}
	e := &Exchange{Tags: Tags{{TagTunnel, id.String()}, {TagConversation, "no uuid"}, {TagSequence, "7"}, {TagPodName, "cart-0"}, {TagPeer, "10.0.0.1"}, {TagPeerBy, "address"}, {TagReplay, "run-1"}}}
	if got, ok := e.Tunnel(); got != id || !ok {
		t.Error(got, ok)
	}
	if got, ok := e.ConversationID(); ok {
		t.Error(got)
	}
	if n, ok := e.Sequence(); n != 7 || !ok || e.Pod() != "cart-0" {
		t.Error(n, ok, e.Pod())
	}
	if got := e.Replay(); got != "run-1" {
		t.Error(got)
	}
	if who, by := e.Peer(); who != "10.0.0.1" || by != "address" {
		t.Error(who, by)
	}
	if _, ok := new(Exchange).Sequence(); ok {
		t.Error("found a sequence without a tag")
	}
}

func TestHostAndSizes(t *testing.T) {
	for _, c := range []struct {
		e    Exchange
		host string
	}{
		{Exchange{}, ""},
		{Exchange{NetworkAddress: "db:5432"}, "db:5432"},
		{Exchange{NetworkAddress: ":8080"}, "8080"},
		{Exchange{NetworkAddress: ":8080", HTTP: &HTTP{Req: HTTPRequest{Host: "shop"}}}, "shop"},
	} {
		if got := c.e.Host(); got != c.host {
			t.Errorf("%q, want %q", got, c.host)
		}
	}
	e := &Exchange{HTTP: &HTTP{Req: HTTPRequest{Body: []byte("12")}}, Tags: Tags{{TagResponseBodySize, "9000"}}}
	if client, server := e.Sizes(); client != 2 || server != 9000 {
		t.Error(client, server)
	}
	e.GRPC = &Conversation{ClientBytes: 5, ServerBytes: 6}
	if client, server := e.Sizes(); client != 5 || server != 6 {
		t.Error(client, server)
	}
}

func TestPace(t *testing.T) {
	for text, want := range map[string][]Moment{
		"":                      nil,
		"0:1800":                {{0, 1800 * time.Microsecond}},
		"0:1800,64:1002000":     {{0, 1800 * time.Microsecond}, {64, 1002 * time.Millisecond}},
		"0:1,0:1":               {{0, time.Microsecond}, {0, time.Microsecond}},
		"0:0":                   {{0, 0}},
		"0:86400000000":         {{0, 24 * time.Hour}},
		"0:86400000001":         nil,
		"64:1,0:2":              nil, // bytes come in order
		"0:2,1:1":               nil,
		"0":                     nil,
		"0:":                    nil,
		"-1:1":                  nil,
		"0:-1":                  nil,
		"0:1,":                  {{0, time.Microsecond}},
		"0:999999999999999":     nil,
		"0:1;DROP":              nil,
		"9223372036854775808:1": nil,
	} {
		e := Exchange{Tags: Tags{{TagPace, text}}}
		if got := e.Pace(); !slices.Equal(got, want) {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestTrailersThatATagNames(t *testing.T) {
	e := &Exchange{
		Tags: Tags{{TagResponseTrailers, "X-Cost,X-Absent"}, {TagRequestTrailers, "X-Sum"}},
		HTTP: &HTTP{Req: HTTPRequest{Headers: Headers{{"X-Sum", "1"}, {"X-Cost", "2"}}}, Res: HTTPResponse{Headers: Headers{{"Server", "a"}, {"Trailer", "X-Time"}, {"X-Cost", "7"}, {"X-Time", "8"}}}},
	}
	if got := e.Response().Trailers(); !slices.Equal(got, []string{"X-Cost", "X-Time"}) {
		t.Error(got)
	}
	if got := e.Request().Trailers(); !slices.Equal(got, []string{"X-Sum"}) {
		t.Error(got)
	}
}

func TestIsEvents(t *testing.T) {
	for contentType, want := range map[string]bool{
		"text/event-stream": true, "Text/Event-Stream; charset=utf-8": true, "application/x-ndjson": true,
		"application/json": false, "": false,
	} {
		if got := IsEvents(contentType); got != want {
			t.Errorf("%q: %t", contentType, got)
		}
	}
}
