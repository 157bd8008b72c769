package index

import (
	"cmp"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay/carry"
)

// maxText is how many bytes of a text a row has.
const maxText = 4 << 10

// rowOf makes the row of a record, but for its ID. Nothing in it refers to the record.
func rowOf(rec *read.Record) Row {
	e := rec.Exchange
	r := Row{
		UUID: e.UUID, Start: e.TS.UTC(), Duration: durationOf(e),
		Direction: text(e.Direction), Protocol: text(e.L7Protocol),
		Cluster: known(e.Cluster), Namespace: known(e.Namespace), Workload: known(e.Service), Pod: known(e.Pod()),
		Method: text(e.Command), Host: text(e.Host()), Path: text(e.Location), GRPCStatus: -1,
		Incomplete: text(e.Incomplete()), Truncated: e.Truncated(),
	}
	if who, _ := e.Peer(); who != "unknown" {
		r.Peer = text(who)
	}
	r.RequestSize, r.ResponseSize = e.Sizes()
	r.RequestSize, r.ResponseSize = max(0, r.RequestSize), max(0, r.ResponseSize)
	if c := e.Conversation(); c != nil {
		r.Messages = len(c.Messages)
	}
	r.Parent = e.Parent().UUID
	answered := e.Incomplete() != recording.NoAnswer
	if h := e.HTTP; h != nil {
		r.Status = h.Res.StatusCode
		answered = r.Status != 0
		r.Method = text(cmp.Or(h.Req.Method, e.Command))
		r.Path = text(cmp.Or(h.Req.URI, h.Req.URL, e.Location))
		r.ContentType = mediaType(cmp.Or(h.Res.ContentType, h.Res.Headers.Get("Content-Type")))
		r.Endpoint = text(strings.TrimSpace(carry.Endpoint(e)))
	} else {
		r.Endpoint = r.Protocol
	}
	if e.GRPC != nil || e.L7Protocol == recording.GRPC {
		if n, err := strconv.ParseInt(e.Status, 10, 32); err == nil && n >= 0 {
			r.GRPCStatus = int(n)
		}
	}
	r.Failed = !answered || r.Status >= 500 || r.GRPCStatus > 0
	return r
}

// answered tells whether there was an answer.
func (r *Row) answered() bool {
	if r.Endpoint == r.Protocol && r.Method == "" {
		return !r.Failed
	}
	return r.Status != 0
}

// durationOf is the time to the answer's last byte. The recording has it in milliseconds; the
// time to the first byte, which it has in microseconds, says more of what took less than one.
func durationOf(e *recording.Exchange) time.Duration {
	d := e.End()
	if first, ok := e.ResponseStart(); ok && first > d && first-d < time.Millisecond {
		return first
	}
	return d
}

// text is a text of a record as a row has it.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Clone(s)
}

// known is text for a name that the ecosystem's records always have.
func known(s string) string {
	if s == recording.Undefined {
		return ""
	}
	return text(s)
}

func mediaType(value string) string {
	kind, _, err := mime.ParseMediaType(value)
	if err != nil {
		kind, _, _ = strings.Cut(value, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return text(kind)
}
