package view

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/view/index"
	"github.com/tapedeck/tapedeck/view/trace"
)

// Bounds of a waterfall.
const (
	maxSpans   = 2000
	maxIndent  = 12  // steps; deeper calls get the same indent
	chartWidth = 1e4 // units of a bar's drawing
	ticks      = 4
)

// waterfall is the data of waterfall.html.
type waterfall struct {
	Item  *item
	Trace *trace.Trace
	Spans []spanRow
	More  int // spans that are not shown
	Ticks []tick
	// Root is the first row. Width is the width of the drawings, in units.
	Root  *index.Row
	Width int
	// Moved means that the times of a pod were moved, and Inferred that links were inferred.
	Moved, Inferred bool
}

// spanRow is a span, and its drawing.
type spanRow struct {
	*trace.Span
	Row    *index.Row
	Indent int
	Here   bool // the page was opened for this exchange
	// URL is that of the caller's record, and CalleeURL of the callee's; "" for none.
	URL, CalleeURL   string
	Who              string // the calling workload; "" if its side was not recorded
	Bar, CalleeBar   bar
	HasBoth, HasSkew bool
}

// bar is a part of a drawing.
type bar struct{ X, Width int }

// tick is a time on the axis.
type tick struct {
	At time.Duration
	X  int
}

// waterfall shows the exchanges that belong to one request, in several pods.
func (s *Server) waterfall(w http.ResponseWriter, r *http.Request, it *item) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return notFound("there is no exchange %q", r.PathValue("id"))
	}
	rows, err := it.index.Trace(r.Context(), id)
	if err != nil {
		return err
	}
	t := trace.Build(rows)
	data := waterfall{Item: it, Trace: t, Width: chartWidth}
	place := func(at, long time.Duration) bar {
		if t.Length <= 0 {
			return bar{0, chartWidth}
		}
		x := int(float64(at) / float64(t.Length) * chartWidth)
		x = min(x, chartWidth-20)
		return bar{x, max(20, min(chartWidth-x, int(float64(long)/float64(t.Length)*chartWidth)))}
	}
	for _, span := range t.Spans {
		here := span.Caller != nil && span.Caller.ID == id || span.Callee != nil && span.Callee.ID == id
		if len(data.Spans) >= maxSpans && !here {
			data.More++
			continue
		}
		row := spanRow{Span: span, Row: span.Row(), Indent: min(span.Depth, maxIndent), Here: here, HasBoth: span.Caller != nil && span.Callee != nil}
		row.Bar = place(span.Start, row.Row.Duration)
		if span.Caller != nil {
			row.URL, row.Who = it.Exchange(span.Caller.ID), nameOf(span.Caller)
		}
		if span.Callee != nil {
			row.CalleeURL = it.Exchange(span.Callee.ID)
			row.CalleeBar = place(span.CalleeStart, span.Callee.Duration)
		}
		row.HasSkew = span.Skew != 0
		data.Moved = data.Moved || row.HasSkew
		data.Inferred = data.Inferred || span.Link == trace.Inferred
		data.Spans = append(data.Spans, row)
	}
	if len(data.Spans) > 0 {
		data.Root = data.Spans[0].Row
	}
	for i := range ticks + 1 {
		data.Ticks = append(data.Ticks, tick{t.Length * time.Duration(i) / ticks, chartWidth * i / ticks})
	}
	return s.render(w, r, "waterfall.html", data)
}

// nameOf returns the workload of a row with its namespace, or the pod if the workload is unknown.
func nameOf(r *index.Row) string {
	switch {
	case r.Workload == "":
		return r.Pod
	case r.Namespace == "":
		return r.Workload
	}
	return r.Namespace + "/" + r.Workload
}
