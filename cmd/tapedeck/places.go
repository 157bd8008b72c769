package main

import (
	"context"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

// openPlace opens the store of a place.
func openPlace(ctx context.Context, p contract.Place) (store.Store, error) { return place.Open(ctx, p) }

// openSource opens a place, or one snapshot, for reading.
func openSource(ctx context.Context, p contract.Place) (store.Store, *snapshot.Snapshot, error) {
	return snapshot.Source(ctx, p, openPlace)
}
