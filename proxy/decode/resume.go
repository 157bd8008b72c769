package decode

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// either follows a flow whose beginning was lost, for all protocols that can resume. The
// first one that finds a place to resume at gets the flow.
//
//	bytes ─▶ either ─┬─▶ http2's
//	                 └─▶ http1's ─▶ rest, which counts
type either struct {
	ways []framework.Decoder
	rest framework.Decoder
	over bool
}

// eitherThatResumes returns the decoder of a flow whose protocol is unknown.
func (f *flow) eitherThatResumes(side tap.Side, at time.Time, rest framework.Decoder) framework.Decoder {
	e := &either{rest: rest}
	for i := range f.table {
		if resume := f.table[i].Resume; resume != nil {
			e.ways = append(e.ways, resume(f.state, side, at, way{e, len(e.ways) > 0}))
		}
	}
	return e
}

// Data implements [framework.Decoder].
func (e *either) Data(side tap.Side, at time.Time, p []byte) error {
	for _, d := range e.ways {
		if err := d.Data(side, at, p); err != nil || e.over {
			return err
		}
	}
	return nil
}

// Gap implements [framework.Decoder].
func (e *either) Gap(side tap.Side, at time.Time, n int64) error {
	for _, d := range e.ways {
		if err := d.Gap(side, at, n); err != nil || e.over {
			return err
		}
	}
	return nil
}

// Close implements [framework.Decoder].
func (e *either) Close(at time.Time) {
	if e.over {
		return
	}
	e.over = true
	for _, d := range e.ways {
		d.Close(at)
	}
	e.rest.Close(at)
}

// way is the rest that either gives to one of its decoders. Only one of them has bytes
// counted. A decoder that closes its way before the flow ends has found its place.
type way struct {
	*either
	counts bool
}

func (w way) Data(side tap.Side, at time.Time, p []byte) error {
	if !w.counts {
		return nil
	}
	return w.rest.Data(side, at, p)
}

func (w way) Gap(side tap.Side, at time.Time, n int64) error {
	if !w.counts {
		return nil
	}
	return w.rest.Gap(side, at, n)
}
