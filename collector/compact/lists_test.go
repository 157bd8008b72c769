package compact

import (
	"context"
	"errors"
	"iter"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// counting counts the calls of a store.
type counting struct {
	*memory
	mu    sync.Mutex
	lists int
}

func (c *counting) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists++
	return c.memory.List(ctx, prefix)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lists
}

func keyOf(t *testing.T, key string) recording.SegmentKey {
	t.Helper()
	k, err := recording.ParseSegmentKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLists(t *testing.T) {
	m, _ := small(4)
	sources := m.Keys()
	s := &counting{memory: m}
	lists := NewLists(s)
	lists.fresh = 0
	has := func(key string) bool {
		t.Helper()
		has, err := lists.Has(t.Context(), keyOf(t, key))
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	if has(sources[0]) {
		t.Error("nothing was compacted")
	}
	compactAll(t, m, Options{MaxBytes: 1100}) // two large ones
	var group sync.WaitGroup
	for range 8 {
		for _, key := range sources {
			group.Go(func() {
				if has, err := lists.Has(t.Context(), keyOf(t, key)); err != nil || !has {
					t.Errorf("%s is in no list: %v", key, err)
				}
			})
		}
	}
	group.Wait()
	other := cart
	other.Workload = "rates"
	for _, key := range []string{
		recording.SegmentKey{Partition: cart, Began: hour, Pod: "other"}.String(),
		recording.LargeKey(cart, 0).String(), // it lists others
		other.String() + "/" + path.Base(sources[0]),
		"cluster=c2/namespace=shop/workload=cart/date=2026-11-22/hour=20/" + path.Base(sources[0]),
	} {
		if has(key) {
			t.Errorf("%s is in a list", key)
		}
	}
	if before := s.count(); !has(sources[0]) || s.count() != before+1 {
		t.Errorf("%d lists for one question", s.count()-before)
	}
	lists.fresh = time.Hour
	before := s.count()
	for _, key := range append(sources, sources...) {
		if !has(key) {
			t.Errorf("%s is in no list", key)
		}
	}
	if n := s.count() - before; n != 1 {
		t.Errorf("%d lists for many questions about one partition", n)
	}
	clear(lists.listed)
	down := errors.New("the store is down")
	if _, err := NewLists(failing{m, "merged", down}).Has(t.Context(), keyOf(t, sources[0])); !errors.Is(err, down) {
		t.Error(err)
	}
	for _, key := range m.Keys() {
		delete(m.Objects, key)
	}
	if has(sources[0]) {
		t.Error("its large segment was removed")
	}
}

// Few names are remembered, however many lists there are.
func TestListsForget(t *testing.T) {
	lists := NewLists(newMemory())
	for n := range 10 {
		all := names{}
		for i := range maxRemembered / 4 {
			all[[16]byte{byte(n), byte(i), byte(i >> 8), byte(i >> 16)}] = true
		}
		lists.remember(string(rune('a'+n)), all)
		sum := 0
		for _, known := range lists.known {
			sum += len(known)
		}
		if sum > maxRemembered || sum != lists.count {
			t.Fatalf("%d names are remembered, and %d counted", sum, lists.count)
		}
	}
}
