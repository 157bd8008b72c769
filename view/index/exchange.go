package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// place is where an exchange lies.
type place struct {
	store  int
	key    string
	offset int64
	parts  int
}

// errMoved tells that an exchange is not where it was.
var errMoved = errors.New("moved")

// fetch reads an exchange in full: where it was, or else wherever it is now.
func (x *Index) fetch(ctx context.Context, r *Row, p place) (*recording.Exchange, error) {
	if p.parts == 1 && p.offset >= 0 {
		e, err := x.at(ctx, r, p)
		if err == nil || ctx.Err() != nil {
			return e, err
		}
	}
	return x.search(ctx, r)
}

// at reads the exchange at its offset.
func (x *Index) at(ctx context.Context, r *Row, p place) (*recording.Exchange, error) {
	f, err := x.stores[p.store].Get(ctx, p.key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := recording.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	in.Decoder = &recording.Decoder{Light: true, Reuse: true, Glance: func(*recording.Exchange) bool { return in.Offset() >= p.offset }}
	for {
		e := new(recording.Exchange)
		err := in.Next(e)
		switch bad := (*recording.LineError)(nil); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &bad):
			continue
		case err != nil:
			return nil, err
		case in.Offset() < p.offset:
			continue
		case in.Offset() > p.offset || !same(e, r):
			return nil, errMoved
		}
		whole := new(recording.Exchange)
		return whole, in.Whole(whole)
	}
}

// same tells whether the exchange is that of the row.
func same(e *recording.Exchange, r *Row) bool { return e.UUID == r.UUID && e.TS.Equal(r.Start) }

// search finds the exchange by reading what the recording has of its time.
func (x *Index) search(ctx context.Context, r *Row) (*recording.Exchange, error) {
	q := x.query
	q.From, q.To = r.Start, r.Start.Add(time.Nanosecond)
	q.Match = func(e *recording.Exchange) bool { return same(e, r) }
	q.Glance = q.Match
	in, err := read.Open(ctx, q, read.Options{Order: read.Sorted, Foreign: x.options.Foreign}, x.stores...)
	if err != nil {
		return nil, err
	}
	for e, err := range in.Exchanges() {
		return e, err
	}
	return nil, fmt.Errorf("exchange %s of %s: %w", r.UUID, r.Start.Format(time.RFC3339Nano), ErrGone)
}
