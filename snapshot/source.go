package snapshot

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Opener opens the store of a place, as place.Open does.
type Opener func(context.Context, contract.Place) (store.Store, error)

// Source opens what a command reads: a place, or one snapshot, whose pin is checked and
// whose files are verified as they are read. The snapshot is nil for a place.
func Source(ctx context.Context, p contract.Place, open Opener) (store.Store, *Snapshot, error) {
	ref, isSnapshot, err := p.Snapshot()
	if err != nil {
		return nil, nil, err
	}
	if !isSnapshot {
		s, err := open(ctx, p)
		return s, nil, err
	}
	root, err := open(ctx, ref.Place)
	if err != nil {
		return nil, nil, err
	}
	s, err := Open(ctx, root, ref.ID, ref.Digest)
	if err != nil {
		return nil, nil, err
	}
	return s.Store(), s, nil
}

// CheckPlaces refuses to write into a place that lies inside the one that is read, and the
// other way round: one would become a part of the other. The same place for both is fine,
// since snapshots have a folder of their own.
//
// It refuses to write to a collector, too, which takes no writes from commands.
func CheckPlaces(from, to contract.Place) error {
	if to.IsCollector() {
		return fmt.Errorf("%s is written to: a collector takes no writes from commands; name the directory or the bucket that it stores in", to)
	}
	if ref, ok, err := from.Snapshot(); err == nil && ok {
		from = ref.Place
	}
	inner, outer := to, from
	if !outer.Contains(inner) {
		inner, outer = outer, inner
	}
	if outer.Contains(inner) && !inner.Contains(outer) {
		return fmt.Errorf("%s lies inside %s: name the same place for both, or two that have nothing in common", inner, outer)
	}
	return nil
}
