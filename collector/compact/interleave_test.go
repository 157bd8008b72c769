package compact

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot/pull"
)

func TestAReaderWhileSegmentsAreCompacted(t *testing.T) {
	for _, o := range []read.Options{{Order: read.Sorted}, {}, {MaxOpen: 1}} {
		m, want := small(2)
		explore(t, m, exactly(want), compacting(t), reader(t, o, want))
	}
	t.Run("next to a large segment", func(t *testing.T) {
		m, want := small(4)
		rest := m.clone()
		for _, key := range m.Keys()[2:] {
			delete(m.Objects, key)
		}
		compactAll(t, m, Options{})
		for _, key := range rest.Keys()[2:] {
			m.Objects[key] = rest.Objects[key]
		}
		for _, o := range []read.Options{{Order: read.Sorted}, {MaxOpen: 1}} {
			explore(t, m, exactly(want), compacting(t), reader(t, o, want))
		}
	})
	t.Run("in two large segments", func(t *testing.T) {
		m, want := small(4)
		several := func(ctx context.Context, s store.Store) {
			if _, err := Run(ctx, s, Options{Now: later, MaxBytes: 1100}); err != nil {
				t.Error(err)
			}
		}
		explore(t, m, func(t *testing.T, m *memory, ended bool) {
			exactly(want)(t, m, ended)
			if ended && len(m.Objects) != 2 {
				t.Error(m.Keys())
			}
		}, several, reader(t, read.Options{MaxOpen: 2}, want))
	})
}

func TestTwoCompactors(t *testing.T) {
	m, want := small(2)
	each := exactly(want)
	explore(t, m, func(t *testing.T, m *memory, ended bool) {
		each(t, m, ended)
		if ended && len(m.Objects) != 1 {
			t.Errorf("%v", m.Keys())
		}
	}, compacting(t), compacting(t))
	t.Run("while a segment arrives", func(t *testing.T) {
		m, want := small(3)
		late := m.Keys()[2]
		body := string(m.Objects[late])
		delete(m.Objects, late)
		each, after := exactly(want), map[string]bool{}
		explore(t, m, func(t *testing.T, m *memory, ended bool) {
			if state := strings.Join(m.Keys(), " "); ended && !after[state] {
				after[state] = true
				each(t, m, ended)
				compactAll(t, m, Options{})
				each(t, m, ended)
			}
		}, compacting(t), compacting(t), func(ctx context.Context, s store.Store) {
			if err := s.Put(ctx, late, strings.NewReader(body)); err != nil {
				t.Error(err)
			}
		})
	})
}

// A sidecar that did not get the answer sends a segment again, at any moment. The collector stores
// it again if it doesn't find it in a large segment yet, and the next run removes it.
func TestALateRetry(t *testing.T) {
	m, want := small(2)
	key := m.Keys()[0]
	body := string(m.Objects[key])
	retry := func(ctx context.Context, s store.Store) {
		has, err := NewLists(s).Has(ctx, keyOf(t, key))
		if err == nil && !has {
			err = store.PutOnce(ctx, s, key, strings.NewReader(body))
		}
		if err != nil && !strings.Contains(err.Error(), "file does not exist") { // deleted between Put and the comparison: tried again
			t.Error(err)
		}
	}
	each := exactly(want)
	explore(t, m, func(t *testing.T, m *memory, ended bool) {
		each(t, m, ended)
		if ended {
			compactAll(t, m, Options{})
			if each(t, m, ended); len(m.Objects) != 1 {
				t.Errorf("%v", m.Keys())
			}
		}
	}, compacting(t), retry)
	explore(t, m, each, compacting(t), retry, reader(t, read.Options{MaxOpen: 1}, want))
}

// A copy that is made during a compaction has each exchange once.
func TestPullWhileSegmentsAreCompacted(t *testing.T) {
	m, want := small(2)
	explore(t, m, exactly(want), compacting(t), func(ctx context.Context, s store.Store) {
		to := newMemory()
		if _, err := pull.Place(ctx, s, pull.To{Store: to}, nil); err != nil {
			t.Error(err)
		}
		if got := locations(ctx, to, read.Options{Order: read.Sorted}); got != want {
			t.Errorf("the copy has %s, want %s", got, want)
		}
	})
}

// dying is a store whose process dies at an operation: before it, or after it, so that nobody learns
// that it was done.
type dying struct {
	*memory
	mu     sync.Mutex
	left   int // operations until then
	behind bool
}

var errDied = errors.New("killed")

func (d *dying) do(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	if d.left < 0 || d.left == 0 && !d.behind {
		return errDied
	}
	err := f()
	if d.left == 0 {
		return errDied
	}
	return err
}

func (d *dying) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return d.do(func() error { return d.memory.Put(ctx, key, body) })
}

func (d *dying) Delete(ctx context.Context, key string) error {
	return d.do(func() error { return d.memory.Delete(ctx, key) })
}

func (d *dying) Get(ctx context.Context, key string) (r io.ReadCloser, err error) {
	err = d.do(func() error { r, err = d.memory.Get(ctx, key); return err })
	return r, err
}

// Readers see each exchange once, wherever a compactor dies, and the next run finishes its work.
func TestACompactorThatDies(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for at := 1; ; at++ {
			m, want := small(4)
			d := &dying{memory: m, left: at, behind: behind}
			_, err := Run(t.Context(), d, Options{Now: later, MaxBytes: 1100})
			if each := exactly(want); true {
				each(t, m, false)
				compactAll(t, m, Options{MaxBytes: 1100})
				each(t, m, true)
			}
			if len(m.Objects) != 2 {
				t.Errorf("dead at %d: %v", at, m.Keys())
			}
			if err == nil {
				if at < 10 {
					t.Errorf("%d operations", at)
				}
				break
			}
		}
	}
}

// If a segment vanishes while it is read, because of its age, its partition is left alone.
func TestAVanishedSegment(t *testing.T) {
	m, _ := small(3)
	keys := m.Keys()
	sum, err := Run(t.Context(), vanishing{m, keys[1]}, Options{Now: later})
	if err != nil || sum.Busy != 1 || sum.Large != 0 || len(m.Objects) != 2 {
		t.Errorf("%v; %+v; %v", err, sum, maps.Keys(m.Objects))
	}
}

type vanishing struct {
	*memory
	key string
}

func (v vanishing) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if key == v.key {
		v.memory.Delete(ctx, key)
	}
	return v.memory.Get(ctx, key)
}
