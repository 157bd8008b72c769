package snapshot

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Opener opens the store of a place, as place.Open does.
type Opener func(context.Context, contract.Place) (store.Store, error)

// Source opens the source of a command: a place, or one snapshot. It checks the pin of a snapshot, and
// each file is verified when it is read. For a place, the returned snapshot is nil.
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

// CheckPlaces returns an error if one of the two places is inside the other, because one would become a
// part of the other. Both may be the same place, because snapshots have a separate folder.
//
// It also returns an error if the target is a collector, which takes no writes from commands.
func CheckPlaces(from, to contract.Place) error {
	if to.IsCollector() {
		return fmt.Errorf("can't write to %s: a collector takes no writes from commands; name the directory or the bucket that it stores in", to)
	}
	if ref, ok, err := from.Snapshot(); err == nil && ok {
		from = ref.Place
	}
	inner, outer := to, from
	if !outer.Contains(inner) {
		inner, outer = outer, inner
	}
	if outer.Contains(inner) && !inner.Contains(outer) {
		return fmt.Errorf("%s is inside %s; name the same place for both, or two places that are not inside each other", inner, outer)
	}
	return nil
}
