package replay

import (
	"sync/atomic"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
)

// fixes counts recorded failures that are fixed, and those that remain.
type fixes struct {
	gone, still atomic.Int64
	example     atomic.Pointer[string] // a failure that remains
}

// isFailure reports whether an answer is a failure of its server.
func isFailure(e *recording.Exchange) bool {
	switch {
	case e.HTTP == nil || e.HTTP.Res.StatusCode == 0:
		return true
	case e.GRPC != nil:
		return e.Status != "" && e.Status != "0"
	}
	return e.HTTP.Res.StatusCode >= 500
}

// note counts the answer to a request whose recorded answer is a failure.
func (f *fixes) note(recorded, live *recording.Exchange, failed bool) {
	if !failed && !isFailure(live) {
		f.gone.Add(1)
		return
	}
	f.still.Add(1)
	what := plan.RequestLine(recorded)
	f.example.CompareAndSwap(nil, &what)
}

// report returns the counts for the report.
func (f *fixes) report() *report.Fixes {
	r := &report.Fixes{Gone: f.gone.Load(), Still: f.still.Load()}
	if example := f.example.Load(); example != nil {
		r.Example = *example
	}
	return r
}
