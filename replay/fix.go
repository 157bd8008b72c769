package replay

import (
	"sync/atomic"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
)

// fixes counts what became of recorded failures.
type fixes struct {
	gone, still atomic.Int64
	example     atomic.Pointer[string] // of one that is still there
}

// isFailure tells whether an answer is one that its server should not have given.
func isFailure(e *recording.Exchange) bool {
	switch {
	case e.HTTP == nil || e.HTTP.Res.StatusCode == 0:
		return true
	case e.GRPC != nil:
		return e.Status != "" && e.Status != "0"
	}
	return e.HTTP.Res.StatusCode >= 500
}

// note notes the answer to a request whose recorded answer is a failure.
func (f *fixes) note(recorded, live *recording.Exchange, failed bool) {
	if !failed && !isFailure(live) {
		f.gone.Add(1)
		return
	}
	f.still.Add(1)
	what := plan.RequestLine(recorded)
	f.example.CompareAndSwap(nil, &what)
}

// report is what there is to say about them.
func (f *fixes) report() *report.Fixes {
	r := &report.Fixes{Gone: f.gone.Load(), Still: f.still.Load()}
	if example := f.example.Load(); example != nil {
		r.Example = *example
	}
	return r
}
