package main

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// openPlace opens the store of a place.
func openPlace(_ context.Context, p contract.Place) (store.Store, error) {
	if !p.IsDir() {
		return nil, fmt.Errorf("place %s: want a directory: this version opens no other places", p)
	}
	return store.Dir(p.Path), nil
}
