package main

import (
	"context"
	"os"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

// openPlace opens the store of a place.
func openPlace(ctx context.Context, p contract.Place) (store.Store, error) { return place.Open(ctx, p) }

// openSource opens a place, or one snapshot, for reading.
func openSource(ctx context.Context, p contract.Place) (store.Store, *snapshot.Snapshot, error) {
	return snapshot.Source(ctx, p, openPlace)
}

// openFrom opens the input of a command that makes a recording or a snapshot: a place, a snapshot, or a
// single file.
func openFrom(ctx context.Context, p contract.Place, name string) (read.Store, *snapshot.Snapshot, error) {
	if isFile(name) {
		s, err := read.Path(name)
		return s, nil, err
	}
	return openSource(ctx, p)
}

// isFile reports whether a name exists in the file system and is not a directory.
func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}
