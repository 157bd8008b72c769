package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/recording/store"
)

// Memory is a [store.Store] in memory. Tests may change Objects while nothing else uses the store.
type Memory struct {
	mu      sync.Mutex
	Objects map[string][]byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{Objects: map[string][]byte{}} }

// Put implements [store.Store].
func (m *Memory) Put(_ context.Context, key string, body io.ReadSeeker) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Objects[key] != nil {
		return fmt.Errorf("put %s: %w", key, fs.ErrExist)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	all, err := io.ReadAll(body)
	m.Objects[key] = all
	return err
}

// Get implements [store.Store].
func (m *Memory) Get(_ context.Context, key string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.Objects[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// Delete implements [store.Store].
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.Objects, key)
	return nil
}

// Keys returns a sorted copy of the keys.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.Objects))
}

// List implements [store.Store]. It lists the objects that exist when it begins.
func (m *Memory) List(_ context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, key := range m.Keys() {
			m.mu.Lock()
			size := int64(len(m.Objects[key]))
			m.mu.Unlock()
			if strings.HasPrefix(key, prefix) && !yield(store.Object{Key: key, Size: size}, nil) {
				return
			}
		}
	}
}

// Folders implements [store.Store].
func (m *Memory) Folders(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for _, key := range m.Keys() {
			rest, ok := strings.CutPrefix(key, prefix)
			if folder, _, below := strings.Cut(rest, "/"); ok && below && folder != last {
				last = folder
				if !yield(prefix+folder+"/", nil) {
					return
				}
			}
		}
	}
}
