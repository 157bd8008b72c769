package read

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// parts returns the parts of the conversation with this number, one per second. Each part has two
// messages, and its record ends with it.
func parts(number, count int, ts time.Time) (all []*recording.Exchange) {
	for part := 1; part <= count; part++ {
		e := exchange(number*1000+part, ts, time.Duration(part)*time.Second)
		e.Location, e.L7Protocol, e.HTTP.Res.Body = fmt.Sprintf("/talk%d", number), recording.WebSocket, nil
		if count > 1 {
			id := exchange(number*1000+1, ts, 0).UUID
			e.Tags.Set(recording.TagConversation, id.String())
		}
		e.WebSocket = &recording.Conversation{Part: part, Last: part == count, ClientBytes: int64(10 * part), ServerBytes: int64(part)}
		for m := range 2 {
			e.WebSocket.Messages = append(e.WebSocket.Messages, recording.Message{From: recording.Client, At: int64(part*10 + m), Type: "text", Data: []byte(fmt.Sprintf("%d.%d ", part, m))})
		}
		all = append(all, e)
	}
	return all
}

// said returns the messages of a record.
func said(r *Record) string {
	var b strings.Builder
	for _, m := range r.Conversation().Messages {
		b.Write(m.Data)
	}
	return strings.TrimSpace(b.String())
}

func TestConversationsArePutTogether(t *testing.T) {
	for _, order := range []Order{Streamed, Sorted} {
		m := &memory{}
		p := newPod("cart-0")
		talk := parts(1, 4, at(time.Second))
		talk[3].Status, talk[3].HTTP.Res.StatusCode = "101", 101
		talk[1].Tags.Set(recording.TagTruncated, "true")
		p.segment(m, begin, talk[0], exchange(1, at(2*time.Second), time.Millisecond), talk[1])
		p.segment(m, at(4*time.Second), talk[2], talk[3], exchange(2, at(6*time.Second), time.Millisecond))
		got, report := readAll(t, Query{}, Options{Order: order}, m)
		if locations(got) != "/talk1 /1 /2" || report.Err() != nil || len(report.Findings()) > 0 || report.Read != 6 || report.Records != 3 {
			t.Fatalf("%s; %+v %s", locations(got), report, findings(report))
		}
		one := got[0]
		c := one.WebSocket
		if said(one) != "1.0 1.1 2.0 2.1 3.0 3.1 4.0 4.1" || c.Part != 1 || !c.Last || c.ClientBytes != 40 || c.ServerBytes != 4 {
			t.Errorf("%s %+v", said(one), c)
		}
		if _, ok := one.ConversationID(); ok || one.UUID != talk[0].UUID || one.Status != "101" || one.Duration != 4000 || !one.Truncated() || one.Parts != 4 {
			t.Errorf("%+v", one.Exchange)
		}
		if number, _ := one.Sequence(); number != 1001 || one.Key != m.opened[0] {
			t.Errorf("sequence %d, in %s", number, one.Key)
		}
		one.Tags.Set(recording.TagTruncated, "")
		talk[1].Tags.Set(recording.TagTruncated, "")
		if one.Tags = nil; !one.Complete() {
			t.Error("it isn't complete")
		}

		raw, _ := readAll(t, Query{}, Options{Order: order, Parts: true}, m)
		if locations(raw) != "/talk1 /talk1 /talk1 /talk1 /1 /2" || said(raw[2]) != "3.0 3.1" || raw[2].Conversation().Part != 3 {
			t.Errorf("parts: %s", locations(raw))
		}
	}
}

func TestPartsThatAreMissing(t *testing.T) {
	for _, c := range []struct {
		name     string
		present  []int // parts of 4
		said     string
		part     int
		last     bool
		findings string
		reason   string
	}{
		{"none", []int{1, 2, 3, 4}, "1.0 1.1 2.0 2.1 3.0 3.1 4.0 4.1", 1, true, "", ""},
		{"the first", []int{2, 3, 4}, "2.0 2.1 3.0 3.1 4.0 4.1", 2, true, "1 conversation with missing parts: 00000000-0000-0000-0000-0000000003e9 in KEY: 1 parts", recording.PartsMissing},
		{"some in the middle", []int{1, 4}, "1.0 1.1 4.0 4.1", 1, true, "1 conversation with missing parts: 00000000-0000-0000-0000-0000000003e9 in KEY: 2 parts", recording.PartsMissing},
		{"all but the last", []int{4}, "4.0 4.1", 4, true, "1 conversation with missing parts: 00000000-0000-0000-0000-0000000003e9 in KEY: 3 parts", recording.PartsMissing},
		{"the last, as it is still open", []int{1, 2}, "1.0 1.1 2.0 2.1", 1, false, "", ""},
		{"one of them twice", []int{1, 2, 2, 3, 4}, "1.0 1.1 2.0 2.1 3.0 3.1 4.0 4.1", 1, true, "1 duplicate: 00000000-0000-0000-0000-0000000003ea in KEY", ""},
	} {
		for _, order := range []Order{Streamed, Sorted} {
			m := &memory{}
			p := newPod("cart-0")
			talk := parts(1, 4, at(time.Second))
			var there []*recording.Exchange
			for _, n := range c.present {
				there = append(there, talk[n-1])
			}
			key := p.segment(m, begin, there...)
			got, report := readAll(t, Query{}, Options{Order: order}, m)
			if len(got) != 1 || said(got[0]) != c.said || got[0].WebSocket.Part != c.part || got[0].WebSocket.Last != c.last || got[0].Incomplete() != c.reason {
				t.Errorf("%s: %d records, %+v", c.name, len(got), got[0].Exchange)
			}
			if want := strings.ReplaceAll(c.findings, "KEY", key); findings(report) != want {
				t.Errorf("%s: %s, want %s", c.name, findings(report), want)
			}
			if whole := len(c.present) >= 4; got[0].Complete() != whole {
				t.Errorf("%s: complete %v", c.name, got[0].Complete())
			}
		}
	}
}

// A query can select a conversation by something that only its last part has, and gets all of it.
// Missing parts of other conversations are not reported.
func TestMatchSeesConversationsAsAWhole(t *testing.T) {
	m := &memory{}
	a, b := parts(1, 3, begin), parts(2, 3, begin)
	a[0].Status, a[1].Status, a[2].Status = "", "", "7"
	newPod("cart-0").segment(m, begin, a...)
	newPod("cart-1").segment(m, begin, b[1:]...)
	status := func(e *recording.Exchange) bool { return e.Status == "7" && e.Request().Headers == nil }
	got, report := readAll(t, Query{Match: status}, Options{}, m)
	if len(got) != 1 || said(got[0]) != "1.0 1.1 2.0 2.1 3.0 3.1" || len(report.Findings()) > 0 {
		t.Errorf("%s; %s", locations(got), findings(report))
	}
	if got, _ := readAll(t, Query{Match: status}, Options{Parts: true}, m); len(got) != 1 || got[0].WebSocket.Part != 3 {
		t.Errorf("parts: %s", locations(got))
	}
}

// A conversation that lasts longer than the window comes in pieces, unless records are sorted.
func TestALongConversationComesInPieces(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	var all []*recording.Exchange
	talk := parts(1, 120, begin)
	for n, part := range talk {
		all = append(all, part, exchange(n, part.Ended(), 0))
	}
	p.segment(m, begin, all...)
	streamed, report := readAll(t, Query{}, Options{}, m)
	var texts []string
	first := streamed[0]
	for _, r := range streamed {
		if r.WebSocket != nil {
			texts = append(texts, said(r))
		}
	}
	if first.WebSocket == nil || first.WebSocket.Last || first.Late || len(first.WebSocket.Messages) < 2*25 || len(texts) < 50 || report.Err() != nil {
		t.Errorf("%d pieces, the first of %d messages; %s", len(texts), len(first.WebSocket.Messages), findings(report))
	}
	sorted, report := readAll(t, Query{}, Options{Order: Sorted}, m)
	if len(sorted) != 121 || said(sorted[0]) != strings.Join(texts, " ") || !sorted[0].WebSocket.Last || len(report.Findings()) > 0 {
		t.Errorf("%d records; %s", len(sorted), findings(report))
	}
}

// A conversation of any length takes bounded memory.
func TestAConversationIsBounded(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	talk := parts(1, 5, begin)
	for _, part := range talk {
		part.WebSocket.Messages[0].Data = make([]byte, 12<<20)
	}
	p.segment(m, begin, talk...)
	got, report := readAll(t, Query{}, Options{Order: Sorted, TempDir: t.TempDir()}, m)
	if len(got) != 3 || len(got[0].WebSocket.Messages) != 4 || len(got[1].WebSocket.Messages) != 4 || got[1].WebSocket.Part != 3 || !got[2].WebSocket.Last || report.Count(Divided) != 1 || report.Err() != nil {
		t.Errorf("%d records; %s", len(got), findings(report))
	}
}

// Conversations with the same start, and those whose parts are interleaved, are not mixed up.
func TestConversationsStayApart(t *testing.T) {
	for _, order := range []Order{Streamed, Sorted} {
		m := &memory{}
		a, b, c := parts(1, 3, begin), parts(2, 3, begin), parts(3, 1, begin)
		newPod("cart-0").segment(m, begin, a[0], c[0], a[1], a[2])
		newPod("cart-1").segment(m, begin, b[0], b[1], b[2])
		got, report := readAll(t, Query{}, Options{Order: order}, m)
		if locations(got) != "/talk3 /talk1 /talk2" || said(got[1]) != said(got[2]) || said(got[0]) != "1.0 1.1" || len(report.Findings()) > 0 {
			t.Errorf("%s; %s", locations(got), findings(report))
		}
	}
}

// A segment that exists twice, or was copied to two places, gives its exchanges once.
func TestDuplicatesComeOnce(t *testing.T) {
	for _, order := range []Order{Streamed, Sorted} {
		m, copied := &memory{}, &memory{}
		p := newPod("cart-0")
		talk := parts(1, 2, at(time.Second))
		key := p.segment(m, begin, exchange(1, begin, time.Second), talk[0], exchange(2, begin, time.Second), talk[1])
		copied.put("copy/of.jsonl.zst", m.Objects[key])
		got, report := readAll(t, Query{}, Options{Order: order}, m, copied)
		if locations(got) != "/1 /2 /talk1" || report.Count(Duplicate) != 4 || report.Err() != nil || said(got[2]) != "1.0 1.1 2.0 2.1" {
			t.Errorf("%s; %s", locations(got), findings(report))
		}
		// Records of other tools may have no UUID.
		none := &memory{}
		none.put("a.jsonl", []byte(strings.Repeat(`{"location":"/1","ts":"2026-11-22T20:15:00Z"}`+"\n", 3)))
		if got, report := readAll(t, Query{}, Options{Order: order}, none); len(got) != 3 || len(report.Findings()) > 0 {
			t.Errorf("%d; %s", len(got), findings(report))
		}
	}
}

// A writer in one namespace that knows records from another can't cause them to be left out as
// duplicates.
func TestDuplicatesAreOfOneNamespace(t *testing.T) {
	for _, order := range []Order{Streamed, Sorted} {
		m := &memory{}
		m.put("a.jsonl", []byte(`{"location":"/forged","namespace":"evil","ts":"2026-11-22T20:15:00Z","uuid":"AQAAAAAAAAAAAAAAAAAAAA=="}`+"\n"))
		m.put("b.jsonl", []byte(strings.Repeat(`{"location":"/pay","namespace":"bank","ts":"2026-11-22T20:15:00Z","uuid":"AQAAAAAAAAAAAAAAAAAAAA=="}`+"\n", 2)))
		if got, report := readAll(t, Query{}, Options{Order: order}, m); locations(got) != "/forged /pay" || report.Count(Duplicate) != 1 {
			t.Errorf("%s; %s", locations(got), findings(report))
		}
	}
}
