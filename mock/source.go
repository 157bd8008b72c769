package mock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/recording/read"
)

// Hashed is a store that hashes the objects that are read from it.
type Hashed struct {
	read.Store
	mu   sync.Mutex
	sums map[string]string // by key
}

// NewHashed returns a store that reads from s.
func NewHashed(s read.Store) *Hashed { return &Hashed{Store: s, sums: map[string]string{}} }

// Get implements read.Store.
func (h *Hashed) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := h.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return &hashedObject{r, h, key, sha256.New()}, nil
}

type hashedObject struct {
	io.ReadCloser
	h   *Hashed
	key string
	sum hash.Hash
}

func (o *hashedObject) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	_, _ = o.sum.Write(p[:n]) // never fails
	return n, err
}

// Close reads the rest of the object, so that its hash is complete.
func (o *hashedObject) Close() error {
	_, _ = io.Copy(io.Discard, o)
	o.h.mu.Lock()
	o.h.sums[o.key] = hex.EncodeToString(o.sum.Sum(nil))
	o.h.mu.Unlock()
	return o.ReadCloser.Close()
}

// Sum returns the SHA-256 of all objects that were read. It is the hash of a list in the format
// of sha256sum: one line with the hash and key of each object, sorted by key.
func (h *Hashed) Sum() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(h.sums)) {
		fmt.Fprintf(all, "%s  %s\n", h.sums[key], key)
	}
	return hex.EncodeToString(all.Sum(nil))
}
