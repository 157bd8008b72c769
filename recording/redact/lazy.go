package redact

import (
	"context"
	"sync"

	"github.com/tapedeck/tapedeck/recording"
)

// lazy is a sink that redacts, but builds its tables at the first exchange.
type lazy struct {
	next recording.Sink
	sink func() *Sink
}

// NewLazy returns a sink that redacts like that of [New], but builds the table of words at the first
// exchange. So a sidecar that records nothing saves half a MiB for the table and the pages of its code.
func NewLazy(next recording.Sink, o Options) recording.Sink {
	return lazy{next, sync.OnceValue(func() *Sink { return New(next, o) })}
}

// Write implements [recording.Sink], as [Sink.Write] does.
func (l lazy) Write(e *recording.Exchange) error { return l.sink().Write(e) }

// Flush implements [recording.Sink].
func (l lazy) Flush(ctx context.Context) error { return l.next.Flush(ctx) }

// Close implements [recording.Sink].
func (l lazy) Close(ctx context.Context) error { return l.next.Close(ctx) }
