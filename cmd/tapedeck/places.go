package main

import (
	"context"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
)

// openPlace opens the store of a place.
func openPlace(ctx context.Context, p contract.Place) (store.Store, error) { return place.Open(ctx, p) }
