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

// Hashed is a store that knows what was read of it.
type Hashed struct {
	read.Store
	mu   sync.Mutex
	sums map[string]string // by key
}

// NewHashed makes one.
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

// Close reads the rest, of which nothing was wanted.
func (o *hashedObject) Close() error {
	_, _ = io.Copy(io.Discard, o)
	o.h.mu.Lock()
	o.h.sums[o.key] = hex.EncodeToString(o.sum.Sum(nil))
	o.h.mu.Unlock()
	return o.ReadCloser.Close()
}

// Sum is the SHA-256 of all that was read: over a line with the hash and the key of each
// object, in the order of their keys, as sha256sum writes it.
func (h *Hashed) Sum() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(h.sums)) {
		fmt.Fprintf(all, "%s  %s\n", h.sums[key], key)
	}
	return hex.EncodeToString(all.Sum(nil))
}
