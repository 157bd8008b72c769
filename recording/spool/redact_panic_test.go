package spool

import (
	"errors"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// broken is a redaction that panics at every exchange.
type broken struct{ recording.Sink }

func (broken) Write(*recording.Exchange) error { return redact.ErrPanic }

// An exchange that redaction can't search counts as lost, in the counters of the next segment, too.
func TestExchangesThatCannotBeRedactedAreCountedAsLost(t *testing.T) {
	store := new(flaky)
	r, err := OpenFiles(store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(numbered(0)); err != nil {
		t.Fatal(err)
	}
	works := r.Sink
	r.Sink = broken{works}
	if err := r.Write(numbered(1)); !errors.Is(err, RedactPanic) {
		t.Errorf("%v, want %v", err, RedactPanic)
	}
	r.Sink = works
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Dropped[RedactPanic] != 1 || s.Total() != 1 || s.Stored != 1 {
		t.Errorf("%+v", s)
	}
	if exchanges, c := tail(t, store.segments[0].data); exchanges != 1 || c == nil || c.Dropped != 1 {
		t.Errorf("%d exchanges, counters %+v", exchanges, c)
	}
}
