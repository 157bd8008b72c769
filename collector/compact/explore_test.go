package compact

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// op is an actor's next operation on the store.
type op struct {
	actor int
	name  string // get, put, delete or list
	key   string // or the prefix
	go_   chan struct{}
}

func (o *op) String() string { return fmt.Sprintf("%d: %s %s", o.actor, o.name, o.key) }

// commute reports whether the order of two operations makes no difference to anybody.
func commute(a, b *op) bool {
	reads := func(o *op) bool { return o.name == "get" || o.name == "list" }
	if reads(a) && reads(b) {
		return true
	}
	return a.key != b.key && a.name != "list" && b.name != "list"
}

// stage has actors do one operation at a time, in every order that makes a difference.
type stage struct {
	*memory
	mu      sync.Mutex
	pending []*op
}

// actor is the store that an actor sees.
type actor struct {
	*stage
	number int
}

// wait waits for the actor's turn.
func (a actor) wait(ctx context.Context, name, key string) error {
	o := &op{a.number, name, key, make(chan struct{})}
	a.stage.mu.Lock()
	a.pending = append(a.pending, o)
	a.stage.mu.Unlock()
	<-o.go_
	return ctx.Err()
}

func (a actor) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := a.wait(ctx, "put", key); err != nil {
		return err
	}
	return a.memory.Put(ctx, key, body)
}

func (a actor) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := a.wait(ctx, "get", key); err != nil {
		return nil, err
	}
	return a.memory.Get(ctx, key)
}

func (a actor) Delete(ctx context.Context, key string) error {
	if err := a.wait(ctx, "delete", key); err != nil {
		return err
	}
	return a.memory.Delete(ctx, key)
}

// List returns the objects of one moment. A list of the marks that tapedeck redact writes takes no
// turn, since compaction changes nothing there.
func (a actor) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	if strings.HasPrefix(prefix, "_redact") {
		return a.memory.List(ctx, prefix)
	}
	return func(yield func(store.Object, error) bool) {
		if err := a.wait(ctx, "list", prefix); err != nil {
			yield(store.Object{}, err)
			return
		}
		for o, err := range a.memory.clone().List(ctx, prefix) {
			if !yield(o, err) {
				return
			}
		}
	}
}

// explore runs the actors on copies of the store in every order, and calls moment after
// each operation that changes something and at the end.
func explore(t *testing.T, from *memory, moment func(t *testing.T, m *memory, ended bool), actors ...func(ctx context.Context, s store.Store)) {
	t.Helper()
	var choices, options []int
	schedules := 0
	for {
		steps := []string{}
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			s := &stage{memory: from.clone()}
			for i, act := range actors {
				go act(ctx, actor{s, i})
			}
			var asleep []*op // operations that began another order with the same effect
			options = options[:0]
			for step := 0; ; step++ {
				synctest.Wait()
				slices.SortFunc(s.pending, func(a, b *op) int { return strings.Compare(a.String(), b.String()) })
				can := slices.DeleteFunc(slices.Clone(s.pending), func(o *op) bool { return slices.Contains(asleep, o) })
				if len(s.pending) == 0 {
					schedules++
					moment(t, s.memory, true)
					return
				}
				if step == len(choices) {
					choices = append(choices, 0)
				}
				if options = append(options, len(can)); len(can) == 0 || t.Failed() { // or another order has the same effect
					for len(s.pending) > 0 {
						o := s.pending[0]
						s.pending = s.pending[1:]
						close(o.go_)
						synctest.Wait()
					}
					return
				}
				next := can[choices[step]]
				asleep = slices.DeleteFunc(append(asleep, can[:choices[step]]...), func(o *op) bool { return !commute(o, next) })
				s.pending = slices.DeleteFunc(s.pending, func(o *op) bool { return o == next })
				steps = append(steps, next.String())
				close(next.go_)
				synctest.Wait()
				if next.name == "put" || next.name == "delete" {
					moment(t, s.memory, false)
				}
			}
		})
		if t.Failed() {
			t.Fatalf("in this order:\n%s", strings.Join(steps, "\n"))
		}
		choices = choices[:len(options)]
		for len(choices) > 0 && choices[len(choices)-1]+1 >= options[len(choices)-1] {
			choices = choices[:len(choices)-1]
		}
		if len(choices) == 0 {
			break
		}
		choices[len(choices)-1]++
	}
	if schedules < len(actors) {
		t.Fatalf("%d orders", schedules)
	}
	t.Logf("%d orders", schedules)
}

// small returns a recording of a few segments, and the locations in it.
func small(segments int) (m *memory, want string) {
	m = newMemory()
	next := 0
	var all []string
	for i := range segments {
		p := &pod{Partition: cart, name: fmt.Sprint("pod-", i), process: recording.UUID{byte(i + 1)}, next: &next}
		at := hour.Add(time.Duration(i+1) * time.Minute)
		key, body := p.segment(at, true, true, p.exchange(at, 0), p.exchange(at.Add(time.Duration(5-i)*10*time.Second), 0))
		m.Objects[key] = body
		all = append(all, fmt.Sprintf("/%d", next-1), fmt.Sprintf("/%d", next))
	}
	slices.Sort(all)
	return m, strings.Join(all, " ")
}

// locations returns what a reader sees, and what is wrong with it.
func locations(ctx context.Context, s read.Store, o read.Options) string {
	r, err := read.Open(ctx, read.Query{}, o, s)
	if err != nil {
		return err.Error()
	}
	var all []string
	for rec, err := range r.Records() {
		if err != nil {
			return err.Error()
		}
		all = append(all, rec.Location)
	}
	slices.Sort(all)
	for _, f := range r.Report().Findings() {
		if f.Kind != read.Late {
			all = append(all, f.String())
		}
	}
	return strings.Join(all, " ")
}

// exactly checks that a reader of each moment sees each exchange once.
func exactly(want string) func(t *testing.T, m *memory, ended bool) {
	known := map[string]bool{}
	return func(t *testing.T, m *memory, _ bool) {
		state := strings.Join(m.Keys(), " ")
		if known[state] {
			return
		}
		if got := locations(t.Context(), m, read.Options{Order: read.Sorted}); got != want {
			t.Errorf("a reader sees %s, want %s\n%s", got, want, strings.Join(m.Keys(), "\n"))
		}
		known[state] = true
	}
}

func compacting(t *testing.T) func(context.Context, store.Store) {
	return func(ctx context.Context, s store.Store) {
		if _, err := Run(ctx, s, Options{Now: later}); err != nil {
			t.Error(err)
		}
	}
}

// reader reads, and must see each exchange once, whatever happens while it reads.
func reader(t *testing.T, o read.Options, want string) func(context.Context, store.Store) {
	return func(ctx context.Context, s store.Store) {
		if got := locations(ctx, s, o); got != want {
			t.Errorf("%+v sees %s, want %s", o, got, want)
		}
	}
}
