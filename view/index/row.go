package index

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay/carry"
)

// maxText is the largest number of bytes of a text in a row.
const maxText = 4 << 10

// entryOf makes the entry of a record. It shares texts with the record.
func entryOf(rec *read.Record) entry {
	e := rec.Exchange
	r := entry{place: place{rec.Store, rec.Key, rec.Offset, rec.Parts}, answered: e.Incomplete() != recording.NoAnswer}
	r.Row = Row{
		UUID: e.UUID, Start: e.TS.UTC(), Duration: durationOf(e),
		Direction: text(e.Direction), Protocol: text(e.L7Protocol),
		Cluster: known(e.Cluster), Namespace: known(e.Namespace), Workload: known(e.Service), Pod: known(e.Pod()),
		Method: text(e.Command), Host: text(e.Host()), Path: text(e.Location), GRPCStatus: -1,
		Incomplete: text(e.Incomplete()), Truncated: e.Truncated(), Parent: e.Parent().UUID,
	}
	if who, _ := e.Peer(); who != "unknown" {
		r.Peer = text(who)
	}
	r.RequestSize, r.ResponseSize = e.Sizes()
	r.RequestSize, r.ResponseSize = max(0, r.RequestSize), max(0, r.ResponseSize)
	if c := e.Conversation(); c != nil {
		r.Messages = len(c.Messages)
	}
	if h := e.HTTP; h != nil {
		r.Status = h.Res.StatusCode
		r.answered = r.Status != 0
		r.Method = text(cmp.Or(h.Req.Method, e.Command))
		r.Path = text(cmp.Or(h.Req.URI, h.Req.URL, e.Location))
		r.ContentType = mediaType(cmp.Or(h.Res.ContentType, h.Res.Headers.Get("Content-Type")))
		r.Endpoint = text(strings.TrimSpace(carry.Endpoint(e)))
		id, shared := h.Req.Headers.Trace()
		r.Trace, r.shared = text(id), text(shared)
	} else {
		r.Endpoint = r.Protocol
	}
	if e.GRPC != nil || e.L7Protocol == recording.GRPC {
		if n, err := strconv.ParseInt(e.Status, 10, 32); err == nil && n >= 0 {
			r.GRPCStatus = int(n)
		}
	}
	r.Failed = !r.answered || r.Status >= 500 || r.GRPCStatus > 0
	return r
}

// durationOf returns the time to the answer's last byte. The recording has it in milliseconds. For
// shorter exchanges, the time to the first byte is more exact, as that is in microseconds.
func durationOf(e *recording.Exchange) time.Duration {
	d := e.End()
	if first, ok := e.ResponseStart(); ok && first > d && first-d < time.Millisecond {
		return first
	}
	return d
}

// text cuts a text of a record to maxText.
func text(s string) string { return clip(s, maxText) }

// known is text for a name that is Undefined in a record if it is unknown.
func known(s string) string {
	if s == recording.Undefined {
		return ""
	}
	return text(s)
}

// mediaType returns the media type of a Content-Type, without its parameters.
func mediaType(value string) string {
	kind, _, _ := strings.Cut(value, ";")
	return text(strings.ToLower(strings.TrimSpace(kind)))
}
