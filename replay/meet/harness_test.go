package meet

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

const (
	folder  = "runs/checkout-replay-0a1b2c3d/7c9e6679-7425-40de-944b-e07fc1f90ae7"
	timeout = 20 * time.Minute
	// length is how long a part takes to send.
	length = 2 * time.Hour
)

// bucket is a store that remembers when objects were stored, and that fails where a test wants it.
type bucket struct {
	*storetest.Memory
	mu    sync.Mutex
	times map[string]time.Time
	fails func(what, key string) error // nil: it does not
}

func newBucket() *bucket {
	return &bucket{Memory: storetest.NewMemory(), times: map[string]time.Time{}}
}

func (b *bucket) fail(what, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails == nil {
		return nil
	}
	return b.fails(what, key)
}

func (b *bucket) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := b.fail("put", key); err != nil {
		return err
	}
	err := b.Memory.Put(ctx, key, body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.times[key] = time.Now()
	}
	return err
}

func (b *bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := b.fail("get", key); err != nil {
		return nil, err
	}
	return b.Memory.Get(ctx, key)
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := b.fail("list", prefix); err != nil {
			yield(store.Object{}, err)
			return
		}
		for o, err := range b.Memory.List(ctx, prefix) {
			b.mu.Lock()
			o.Modified = b.times[o.Key]
			b.mu.Unlock()
			if !yield(o, err) {
				return
			}
		}
	}
}

// has returns the names in the run's folder, without signs of life.
func (b *bucket) has() (names []string) {
	for _, key := range b.Keys() {
		if name := strings.TrimPrefix(key, folder+"/"); !strings.HasPrefix(name, "progress-") {
			names = append(names, name)
		}
	}
	return names
}

// pods are the processes of a run, as the command runs them.
type pods struct {
	t  *testing.T
	of int
	// of one part
	sends  func(index int) time.Duration // how long sending takes; nil: length
	silent func(index int) bool          // it makes no progress while it sends; nil: it does
	loads  func(index int) error         // whether it is ready to send; nil: it is
	breaks func(index int) error         // how sending ends; nil: well

	settings []string // digests of them, by part; nil: they are the same
	sources  []string // hashes of the recording, by part; nil: they are the same
	prepares error    // what index 0 does before it starts the run

	mu   sync.Mutex
	sent map[int]int // how often each part was sent
	at   map[int]time.Time
	said []string
}

func newPods(t *testing.T, of int) *pods {
	return &pods{t: t, of: of, sent: map[int]int{}, at: map[int]time.Time{}}
}

// part is the report of a part that was sent.
func (p *pods) part(index int) *report.Report {
	run := stats.NewRun()
	l := run.Local()
	for i := range 10 + index {
		l.Add(stats.Sample{Endpoint: run.Endpoint("GET /"), Done: time.Duration(i+1) * time.Millisecond, Status: 200, Succeeded: true})
	}
	r := p.header(index)
	r.Results = run.Result()
	return r
}

func (p *pods) header(index int) *report.Report {
	r := &report.Report{Version: "test", Target: "http://shop", Load: report.Load{Shape: "recorded times", Loop: report.Open}}
	r.Source.Place, r.Source.SHA256, r.Source.Steps = "place", "5f", int64(10+index)
	if p.sources != nil {
		r.Source.SHA256 = p.sources[index]
	}
	return r
}

// run is one process, from its beginning to its end. It returns the report of the run if it is
// index 0's.
func (p *pods) run(ctx context.Context, s store.Store, index int, skew time.Duration) (*report.Report, error) {
	settings := "same"
	if p.settings != nil {
		settings = p.settings[index]
	}
	m, err := Join(ctx, Options{
		Settings: settings, Store: s, Run: folder, Shard: report.Shard{Index: index, Of: p.of}, Timeout: timeout,
		Now: func() time.Time { return time.Now().Add(skew) },
		Say: func(text string) { p.mu.Lock(); defer p.mu.Unlock(); p.said = append(p.said, text) },
	})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	standing, err := m.Standing(ctx)
	switch {
	case err != nil:
	case standing == Reported:
		return m.Report(ctx)
	case standing == Begun:
		err = m.Succeed(ctx)
	case standing == Open:
		err = p.take(ctx, m, index)
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, m.Fail(ctx, err))
	}
	if err != nil || index > 0 {
		return nil, err
	}
	results, notes, err := m.Collect(ctx)
	if err != nil {
		return nil, err
	}
	r, err := report.Merge(results)
	if err != nil {
		return nil, err
	}
	r.Merged.Notes = notes
	r.Judge(nil)
	return m.Publish(ctx, r)
}

// take prepares to send a part, and sends it.
func (p *pods) take(ctx context.Context, m *Meeting, index int) error {
	if p.loads != nil {
		if err := p.loads(index); err != nil {
			return err
		}
	}
	at, mine, err := m.Start(ctx, p.header(index), func(context.Context) (string, error) { return "", p.prepares })
	switch {
	case err != nil:
		return err
	case mine:
		return p.send(ctx, m, index, at)
	}
	return m.Succeed(ctx)
}

func (p *pods) send(ctx context.Context, m *Meeting, index int, at time.Time) error {
	p.mu.Lock()
	p.sent[index]++
	p.at[index] = at
	p.mu.Unlock()
	took := length
	if p.sends != nil {
		took = p.sends(index)
	}
	for end := time.Now().Add(took); time.Now().Before(end); {
		if p.silent == nil || !p.silent(index) {
			m.Alive()
		}
		if err := sleep(ctx, min(time.Minute, time.Until(end))); err != nil {
			return err
		}
	}
	if p.breaks != nil {
		if err := p.breaks(index); err != nil {
			return err
		}
	}
	r := p.part(index)
	r.Started, r.Ended = at.UTC(), time.Now().UTC()
	return m.Finish(ctx, r)
}

// all runs a process for each part, with delays between them, and returns the result of index 0.
func (p *pods) all(s store.Store, after func(index int) time.Duration) (r *report.Report, errs []error) {
	errs = make([]error, p.of)
	var running sync.WaitGroup
	for index := range p.of {
		running.Go(func() {
			if after != nil {
				time.Sleep(after(index))
			}
			one, err := p.run(p.t.Context(), s, index, 0)
			if errs[index] = err; index == 0 {
				r = one
			}
		})
	}
	running.Wait()
	return r, errs
}

func (p *pods) wants(r *report.Report, errs []error, exitCode int) {
	p.t.Helper()
	if err := errors.Join(errs...); err != nil {
		p.t.Fatal(err)
	}
	if r == nil || r.ExitCode != exitCode {
		p.t.Fatalf("report %+v, want exit code %d; %q", r, exitCode, p.said)
	}
}

func virtual(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
