package decode

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// asks writes a GET with the headers, and answers an answer without content.
func asks(headers string) []byte { return []byte("GET / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n") }

var answer = []byte("HTTP/1.1 204 No Content\r\n\r\n")

const (
	trace   = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-%016x-01\r\n"
	b3      = "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n"
	b3multi = "X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7\r\n"
	request = "X-Request-ID: 5b1c0a6e\r\n"
)

// recordsOf returns the records of inbound requests with these headers, and of an outbound request
// that comes before they are answered. The outbound one's record is the first.
func recordsOf(t *testing.T, in []string, out string) []recording.Exchange {
	t.Helper()
	var sink memory
	d := New(Config{}, &sink)
	var open []tap.Reader
	for _, h := range in {
		r := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
		r.Data(tap.FromClient, epoch, asks(h))
		open = append(open, r)
	}
	r := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
	r.Data(tap.FromClient, epoch, asks(out))
	r.Data(tap.FromServer, epoch, answer)
	for _, r := range open {
		r.Data(tap.FromServer, epoch, answer)
	}
	return sink.decode(t)
}

// TestOutboundNamesItsCause sends inbound requests, then, before they are
// answered, an outbound one.
func TestOutboundNamesItsCause(t *testing.T) {
	for _, c := range []struct {
		name   string
		in     []string
		out    string
		parent int // which of in, from 1; 0: none
		by     string
	}{
		{"by traceparent", []string{fmt.Sprintf(trace, 1)}, fmt.Sprintf(trace, 2), 1, "traceparent"},
		{"by b3", []string{b3}, b3, 1, "b3"},
		{"by x-b3-traceid", []string{b3multi}, b3multi, 1, "x-b3-traceid"},
		{"by x-request-id", []string{request}, request, 1, "x-request-id"},
		{"by the surest", []string{fmt.Sprintf(trace, 1), request}, fmt.Sprintf(trace, 1) + request, 1, "traceparent"},
		{"by what differs, where the trace is the same", []string{fmt.Sprintf(trace, 1), fmt.Sprintf(trace, 2) + request}, fmt.Sprintf(trace, 3) + request, 2, "x-request-id"},
		{"not if two could be it", []string{request, request}, request, 0, "ambiguous"},
		{"not without a header", []string{request}, "", 0, "unknown"},
		{"not by a sampling decision", []string{"b3: 0\r\n"}, "b3: 0\r\n", 0, "unknown"},
		{"not if nothing came in", nil, request, 0, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := recordsOf(t, c.in, c.out)
			tags := records[0].Tags
			if c.parent == 0 {
				if tags.Get("parent") != c.by || tags.Get("parentBy") != "" {
					t.Errorf("tags %v, want parent=%s", tags, c.by)
				}
				return
			}
			if want := records[c.parent].UUID.String(); tags.Get("parent") != want || tags.Get("parentBy") != c.by {
				t.Errorf("tags %v, want parent=%s by %s", tags, want, c.by)
			}
		})
	}
}

// A trace that comes in again after the first request was answered isn't ambiguous: the later
// request is the cause.
func TestLaterInboundTakesOver(t *testing.T) {
	var sink memory
	d := New(Config{}, &sink)
	in := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	for range 2 {
		in.Data(tap.FromClient, epoch, asks(request))
		in.Data(tap.FromServer, epoch, answer)
	}
	out := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
	out.Data(tap.FromClient, epoch, asks(request))
	out.Close(epoch)
	records := sink.decode(t)
	if got, want := records[2].Tags.Get("parent"), records[1].UUID.String(); got != want {
		t.Errorf("parent %s, want %s", got, want)
	}
}

// Requests with one ID come and go. A call is linked only if no request but the last can have
// caused it.
func TestOverlappingInboundIsAmbiguous(t *testing.T) {
	for _, c := range []struct {
		name, order string // a capital ends what its letter began
		parent      string
	}{
		{"one at a time", "aAbB", "b"},
		{"two at once", "ab", ""},
		{"two at once, of which the later ended", "abB", ""},
		{"a third while the first goes on", "abBc", ""},
		{"the first goes on when the third has ended", "abBcC", ""},
		{"all have ended", "abBA", ""},
		{"one after all have ended", "abBAc", "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink memory
			d := New(Config{}, &sink)
			open := map[rune]tap.Reader{}
			for _, letter := range c.order {
				name := letter | 0x20
				if letter != name {
					open[name].Data(tap.FromServer, epoch, answer)
					continue
				}
				open[name] = d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
				open[name].Data(tap.FromClient, epoch, asks(request+"Name: "+string(name)+"\r\n"))
			}
			out := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
			out.Data(tap.FromClient, epoch, asks(request))
			out.Close(epoch)
			for _, r := range open {
				r.Close(epoch)
			}
			names, parent := map[string]string{"ambiguous": ""}, ""
			for _, e := range sink.decode(t) {
				names[e.UUID.String()] = e.HTTP.Req.Headers.Get("Name")
				if e.Direction == recording.Out {
					parent = e.Tags.Get(recording.TagParent)
				}
			}
			if got, ok := names[parent]; !ok || got != c.parent {
				t.Errorf("the parent is %s, want %s", got, c.parent)
			}
		})
	}
}

// Requests of a replay, and the calls that they cause, are tagged with the ID of its run.
func TestReplaysAreTagged(t *testing.T) {
	replay := func(id string) string { return "Tapedeck-Replay: " + id + "\r\n" }
	long := strings.Repeat("x", contract.MaxReplayID+1)
	for _, c := range []struct {
		name   string
		in     []string // requests on connections of their own that are not answered yet
		out    string
		wantIn []string
		want   string
	}{
		{"a request", []string{replay("run-1")}, "", []string{"run-1"}, ""},
		{"by the name in lower case", []string{"tapedeck-replay:run-1\r\n"}, "", []string{"run-1"}, ""},
		{"a call that it causes", []string{replay("run-1") + request}, request, []string{"run-1"}, "run-1"},
		{"a call that something else causes", []string{replay("run-1") + request, fmt.Sprintf(trace, 1)}, fmt.Sprintf(trace, 2), []string{"run-1", ""}, ""},
		{"a call that carries the header itself", []string{request}, replay("run-2"), []string{""}, "run-2"},
		{"a call with the header of another run than its cause", []string{replay("run-1") + request}, replay("run-2") + request, []string{"run-1"}, "run-2"},
		{"a call that several requests of a run may cause", []string{replay("run-1") + request, replay("run-1") + request}, request, []string{"run-1", "run-1"}, "run-1"},
		{"a call that requests of two runs may cause", []string{replay("run-1") + request, replay("run-2") + request}, request, []string{"run-1", "run-2"}, ""},
		{"a call that a user's request may cause, too", []string{replay("run-1") + request, request}, request, []string{"run-1", ""}, ""},
		{"a call that a user's request may cause, which came first", []string{request, replay("run-1") + request}, request, []string{"", "run-1"}, ""},
		{"a call that several of three may cause, of which two agree", []string{replay("run-1") + request, request, replay("run-1") + request}, request, []string{"run-1", "", "run-1"}, ""},
		{"a call whose cause a surer header does not tell", []string{replay("run-1") + fmt.Sprintf(trace, 1), replay("run-1") + fmt.Sprintf(trace, 1), request},
			fmt.Sprintf(trace, 2) + request, []string{"run-1", "run-1", ""}, ""},
		{"not a value that is no ID", []string{replay("Run 1"), replay("a,b"), replay(""), replay(long)}, "", []string{"", "", "", ""}, ""},
		{"not a call with a value that is no ID", nil, replay("Run 1"), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, e := range recordsOf(t, c.in, c.out) {
				want := c.want
				if i > 0 {
					want = c.wantIn[i-1]
				}
				got := e.Tags.Get(recording.TagReplay)
				if has := slices.ContainsFunc(e.Tags, func(tag recording.Tag) bool { return tag.Name == recording.TagReplay }); got != want || has != (want != "") {
					t.Errorf("record %d (%s): tags %v, want replay=%q", i, e.Direction, e.Tags, want)
				}
			}
		})
	}
}

// A connection may serve users and replays alternately, and a replay that is over is forgotten.
func TestReplaysAreTaggedRequestByRequest(t *testing.T) {
	var sink memory
	d := New(Config{}, &sink)
	in := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	want := []string{"run-1", "", "run-1", "run-2", "", "run-2"}
	for _, run := range want {
		headers := request
		if run != "" {
			headers += "Tapedeck-Replay: " + run + "\r\n"
		}
		in.Data(tap.FromClient, epoch, asks(headers))
		out := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
		out.Data(tap.FromClient, epoch, asks(request))
		out.Data(tap.FromServer, epoch, answer)
		in.Data(tap.FromServer, epoch, answer)
	}
	for i, e := range sink.decode(t) {
		if got := e.Tags.Get(recording.TagReplay); got != want[i/2] {
			t.Errorf("record %d (%s): replay=%q, want %q", i, e.Direction, got, want[i/2])
		}
	}
}

func TestCausesAreBounded(t *testing.T) {
	d := New(Config{}, recording.Discard{})
	in := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	for i := range 20_000 {
		in.Data(tap.FromClient, epoch, asks(fmt.Sprintf("x-request-id: %d\r\n", i)))
		in.Data(tap.FromServer, epoch, answer)
	}
	linked := func(id int) bool {
		before := d.Stats().Linked
		out := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
		out.Data(tap.FromClient, epoch, asks(fmt.Sprintf("x-request-id: %d\r\n", id)))
		out.Close(epoch)
		return d.Stats().Linked > before
	}
	if linked(0) || !linked(19_999) {
		t.Error("the oldest should be forgotten, and the newest not")
	}
}

func (m *memory) decode(t *testing.T) (records []recording.Exchange) {
	t.Helper()
	for _, line := range m.lines {
		var e recording.Exchange
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		records = append(records, e)
	}
	return records
}
