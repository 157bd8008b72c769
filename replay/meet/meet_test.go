package meet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestShardsMeet(t *testing.T) {
	virtual(t, "three", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		r, errs := p.all(b, func(index int) time.Duration { return time.Duration((index+2)%3) * 7 * time.Minute })
		p.wants(r, errs, report.Passed)
		if total := r.Results.Total(); total.Sent != 33 || r.Source.Steps != 33 || r.Merged.Of != 3 || len(r.Merged.Lost)+len(r.Merged.Notes) > 0 {
			t.Errorf("%d of %d steps sent, %+v", total.Sent, r.Source.Steps, r.Merged)
		}
		want := []string{"junit.xml", "report.html", "report.json", "result-0.json", "result-1.json", "result-2.json", "shard-0.json", "shard-1.json", "shard-2.json", "start.json", "summary.md"}
		if got := b.has(); !slices.Equal(got, want) {
			t.Errorf("the run has %q", got)
		}
		for index, at := range p.at {
			if since := at.Sub(began) - 14*time.Minute; since < ahead || since > ahead+2*poll || !at.Equal(p.at[0]) {
				t.Errorf("part %d began at %s", index, at.Sub(began))
			}
		}
		// Signs of life do not pile up.
		if progress := len(b.Keys()) - len(want); progress > 3 {
			t.Errorf("%d signs of life are left", progress)
		}
	})
	virtual(t, "one shard starts immediately", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 1)
		began := time.Now()
		r, errs := p.all(b, nil)
		p.wants(r, errs, report.Passed)
		if !p.at[0].Equal(began) {
			t.Errorf("it began after %s", p.at[0].Sub(began))
		}
	})
	virtual(t, "a directory", func(t *testing.T) {
		p := newPods(t, 3)
		r, errs := p.all(store.Dir(t.TempDir()+"/not made yet"), nil)
		p.wants(r, errs, report.Passed)
	})
}

// mortal is the store of a process that dies at one of its accesses to the store.
type mortal struct {
	store.Store
	mu    sync.Mutex
	left  int  // accesses until then
	after bool // it dies after the access has taken effect
	die   context.CancelFunc
}

var errDead = errors.New("the process is dead")

// before reports whether the access is the last one, and whether it still takes effect.
func (m *mortal) before() (err error, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left > 0 {
		return nil, false
	}
	m.die()
	if m.left < 0 || !m.after {
		return errDead, true
	}
	return nil, true
}

func (m *mortal) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	err, last := m.before()
	if err != nil {
		return err
	}
	if err = m.Store.Put(context.WithoutCancel(ctx), key, body); last {
		return errDead
	}
	return err
}

func (m *mortal) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err, last := m.before(); err != nil || last {
		return nil, errDead
	}
	return m.Store.Get(ctx, key)
}

func (m *mortal) Delete(ctx context.Context, key string) error {
	if err, last := m.before(); err != nil || last {
		return errDead
	}
	return m.Store.Delete(ctx, key)
}

func (m *mortal) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err, last := m.before(); err != nil || last {
			yield(store.Object{}, errDead)
			return
		}
		m.Store.List(ctx, prefix)(yield)
	}
}

// Wherever a process dies, another one takes its place: nothing is sent twice, the run ends
// with a report, and the report is complete unless a part was begun but not finished.
func TestAProcessDiesAnywhere(t *testing.T) {
	for _, index := range []int{0, 1} {
		for _, after := range []bool{false, true} {
			died := 0
			for n := 1; ; n++ {
				alive := false
				virtual(t, fmt.Sprintf("index %d, access %d, with effect %v", index, n, after), func(t *testing.T) {
					b, p := newBucket(), newPods(t, 2)
					p.sends = func(int) time.Duration { return 3 * time.Minute }
					ctx, die := context.WithCancel(t.Context())
					defer die()
					var first error
					var last *report.Report
					var running sync.WaitGroup
					var otherErr error
					running.Go(func() {
						r, err := p.run(t.Context(), b, 1-index, 0)
						if otherErr = err; index == 1 {
							last = r
						}
					})
					m := &mortal{Store: b, left: n, after: after, die: die}
					r, err := p.run(ctx, m, index, 0)
					if first = err; index == 0 {
						last = r
					}
					if ctx.Err() == nil {
						alive = true
					} else if err != nil {
						died++
						time.Sleep(40 * time.Second) // until there is a new pod
						r, err := p.run(t.Context(), b, index, 0)
						if err != nil {
							t.Errorf("the one that took its place: %v", err)
						}
						if index == 0 {
							last = r
						}
					}
					running.Wait()
					if otherErr != nil {
						t.Fatalf("the other one: %v", otherErr)
					}
					if last == nil {
						t.Fatalf("no report; the first one: %v", first)
					}
					want := report.Passed
					if last.Partial != "" || len(last.Merged.Lost) > 0 {
						want = report.Incomplete
					}
					complete := last.Results.Total().Sent == 21
					if last.ExitCode != want || complete != (want == report.Passed) || last.Source.Steps != 21 && len(last.Merged.Lost) == 0 {
						t.Errorf("exit code %d, %d of %d sent, partial: %q, lost: %v", last.ExitCode, last.Results.Total().Sent, last.Source.Steps, last.Partial, last.Merged.Lost)
					}
					for part, times := range p.sent {
						if times > 1 {
							t.Errorf("part %d was sent %d times", part, times)
						}
					}
					if p.sent[index] == 0 && want == report.Passed {
						t.Errorf("part %d was not sent", index)
					}
					stored, err := report.Parse(b.Objects[folder+"/"+ReportName])
					if err != nil || stored.ExitCode != last.ExitCode {
						t.Errorf("stored: %v, %v", stored, err)
					}
				})
				if alive || t.Failed() {
					break
				}
			}
			if died < 10 {
				t.Errorf("index %d died at %d accesses", index, died)
			}
		}
	}
}

// A process that has to end before the run begins makes room for another one.
func TestAProcessThatIsEvictedBeforeTheStart(t *testing.T) {
	virtual(t, "index 1", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 2)
		ctx, evict := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := p.run(ctx, b, 1, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("the first one: %v", err)
			}
			time.Sleep(5 * time.Minute)
			if _, err := p.run(t.Context(), b, 1, 0); err != nil {
				t.Errorf("the second one: %v", err)
			}
		})
		time.Sleep(time.Minute)
		evict()
		time.Sleep(10 * time.Second)
		r, err := p.run(t.Context(), b, 0, 0)
		running.Wait()
		p.wants(r, []error{err}, report.Passed)
	})
}

// A Job may temporarily have two pods for one index. One of them sends.
func TestTwoProcessesOfOnePart(t *testing.T) {
	for index := range 2 {
		virtual(t, fmt.Sprintf("index %d", index), func(t *testing.T) {
			b, p := newBucket(), newPods(t, 2)
			var running sync.WaitGroup
			reports := make([]*report.Report, 3)
			for i, of := range []int{0, 1, index} {
				running.Go(func() {
					time.Sleep(time.Duration(i) * 100 * time.Millisecond)
					var err error
					if reports[i], err = p.run(t.Context(), b, of, 0); err != nil {
						t.Error(err)
					}
				})
			}
			running.Wait()
			if p.sent[0] != 1 || p.sent[1] != 1 || reports[0] == nil || reports[0].ExitCode != report.Passed {
				t.Errorf("sent %v, %+v", p.sent, reports[0])
			}
			if index == 0 && (reports[2] == nil || reports[2].ExitCode != report.Passed) {
				t.Errorf("the other process of index 0: %+v", reports[2])
			}
		})
	}
}

func TestPartsThatAreLost(t *testing.T) {
	virtual(t, "one that never comes", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		r, errs := p.all(b, func(index int) time.Duration { return time.Duration(index/2) * 1000 * time.Hour })
		p.wants(r, errs[:2], report.Incomplete)
		if !slices.Equal(r.Merged.Lost, []int{2}) || r.Results.Total().Sent != 21 {
			t.Errorf("%+v, %d sent", r.Merged, r.Results.Total().Sent)
		}
		if since := p.at[0].Sub(began); since < timeout || since > timeout+10*time.Second {
			t.Errorf("it began after %s", since)
		}
		if errs[2] != nil {
			t.Errorf("the one that came after the end: %v", errs[2])
		}
	})
	virtual(t, "one that comes after the start", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		r, errs := p.all(b, func(index int) time.Duration { return time.Duration(index/2) * (timeout + time.Minute) })
		p.wants(r, errs, report.Incomplete)
		if p.sent[2] > 0 || !strings.Contains(r.Partial, "shard 2: its process joined after the run had begun") {
			t.Errorf("sent %v, partial: %q", p.sent, r.Partial)
		}
	})
	virtual(t, "one that hangs", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		p.sends = func(index int) time.Duration {
			return map[int]time.Duration{0: time.Hour, 1: 5 * time.Hour, 2: 90 * 24 * time.Hour}[index]
		}
		p.silent = func(index int) bool { return index == 2 }
		began := time.Now()
		ended := time.Time{}
		var running sync.WaitGroup
		running.Go(func() {
			r, err := p.run(t.Context(), b, 0, 0)
			ended = time.Now()
			if err != nil || !slices.Equal(r.Merged.Lost, []int{2}) || r.ExitCode != report.Incomplete {
				t.Errorf("%v, %+v", err, r)
			}
		})
		for index := 1; index < 3; index++ {
			running.Go(func() { _, _ = p.run(t.Context(), b, index, 0) })
		}
		running.Wait()
		if took := ended.Sub(began); took < 5*time.Hour || took > 5*time.Hour+time.Minute {
			t.Errorf("it took %s", took)
		}
	})
	virtual(t, "index 0 never comes", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 2)
		_, err := p.run(t.Context(), b, 1, 0)
		if err == nil || !strings.Contains(err.Error(), "part 0 did not start the run, and no part has given a sign of life for 21m0s") || p.sent[1] > 0 {
			t.Errorf("%v, sent %v", err, p.sent)
		}
	})
}

func TestAPlaceThatFails(t *testing.T) {
	away := errors.New("connection refused")
	virtual(t, "for a while, again and again", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		b.fails = func(string, string) error {
			if int(time.Since(began)/time.Minute)%3 == 0 {
				return away
			}
			return nil
		}
		p.sends = func(int) time.Duration { return 5 * time.Minute }
		r, errs := p.all(b, nil)
		p.wants(r, errs, report.Passed)
		if len(p.said) == 0 || !strings.Contains(p.said[0], "the place fails, retrying: connection refused") {
			t.Errorf("said %q", p.said)
		}
	})
	virtual(t, "answers that get lost", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		lossy := &lossy{Store: b, lost: map[string]bool{}}
		r, errs := p.all(lossy, nil)
		p.wants(r, errs, report.Passed)
		if len(lossy.lost) < 10 || p.sent[0] != 1 || p.sent[1] != 1 || p.sent[2] != 1 {
			t.Errorf("%d answers were lost, sent %v", len(lossy.lost), p.sent)
		}
	})
	for _, c := range []struct {
		name  string
		err   error
		takes time.Duration
	}{{"for ever", away, timeout}, {"no rights", fs.ErrPermission, deniedTime}} {
		virtual(t, c.name, func(t *testing.T) {
			b, p := newBucket(), newPods(t, 1)
			b.fails = func(what, _ string) error {
				if what == "put" {
					return c.err
				}
				return nil
			}
			began := time.Now()
			_, err := p.run(t.Context(), b, 0, 0)
			if took := time.Since(began); !errors.Is(err, c.err) || took > c.takes+failTime || took < c.takes-longestPause || p.sent[0] > 0 {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
}

// lossy loses the answer to the first Put of each key.
type lossy struct {
	store.Store
	mu   sync.Mutex
	lost map[string]bool
}

func (l *lossy) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	err := l.Store.Put(ctx, key, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && !l.lost[key] {
		l.lost[key] = true
		return errors.New("connection reset")
	}
	return err
}

// Foreign objects are reported, and change nothing except what they block.
func TestForeignObjects(t *testing.T) {
	large := strings.Repeat(" ", maxNote+1)
	for _, c := range []struct {
		name, object, body string
		exitCode           int
		err                string // of index 0
	}{
		{"no marker", "shard-1.json", "{", report.Passed, ""},
		{"a marker of another run", "shard-1.json", `{"run":"runs/other/1","index":1,"of":3,"process":"p","report":{}}`, report.Passed, ""},
		{"a marker of another part", "shard-1.json", `{"run":"` + folder + `","index":2,"of":3,"process":"p","report":{}}`, report.Passed, ""},
		{"a large marker", "shard-1.json", large, report.Passed, ""},
		{"names that mean nothing", "shard-01.json", "{}", report.Passed, ""},
		{"a part that there is not", "result-7.json", "{}", report.Passed, ""},
		{"signs of life", "progress-1-4000000000", "", report.Passed, ""},
		{"high signs of life", "progress-1-2000000000", "", report.Passed, ""},
		{"something else", "index.html", "<p>", report.Passed, ""},
		{"no start", "start.json", "[]", 0, "start.json: it does not belong to this run"},
		{"the start of another run", "start.json", `{"run":"runs/other/1","of":3,"at":"2000-01-01T00:00:00Z"}`, 0, `it belongs to 3 shards of "runs/other/1"`},
		{"a start in the future", "start.json", `{"run":"` + folder + `","of":3,"at":"2222-01-01T00:00:00Z"}`, 0, "the run begins "},
		{"a start of nobody", "start.json", `{"run":"` + folder + `","of":3,"at":"2000-01-01T00:00:00Z","shards":{}}`, 0, "part 0 has neither a result nor a marker"},
		{"no result", "result-1.json", "{}", report.Incomplete, ""},
		{"the result of another part", "result-1.json", `{"schemaVersion":1,"settings":"same","run":"` + folder + `","shard":{"index":2,"of":3}}`, report.Incomplete, ""},
		{"the result of another run", "result-1.json", `{"schemaVersion":1,"run":"runs/other/1","source":{"sha256":"5f"},"shard":{"index":1,"of":3}}`, report.Incomplete, ""},
		{"its own result of another run", "result-0.json", `{"schemaVersion":1,"run":"runs/other/1","source":{"sha256":"5f"},"shard":{"index":0,"of":3}}`, 0, `result-0.json: it does not belong to this run: it belongs to run "runs/other/1"`},
		{"the result of another recording", "result-1.json", `{"schemaVersion":1,"settings":"same","run":"` + folder + `","source":{"sha256":"6f"},"shard":{"index":1,"of":3}}`, report.Incomplete, ""},
		{"the result of a run with other settings", "result-1.json", `{"schemaVersion":1,"settings":"other","run":"` + folder + `","source":{"sha256":"5f"},"shard":{"index":1,"of":3}}`, report.Incomplete, ""},
		{"the report of a run with other settings", "report.json", `{"schemaVersion":1,"settings":"other","run":"` + folder + `"}`, 0, "it is from a replay with other flags; use the same flags, or another ID"},
		{"the report of another run", "report.json", `{"schemaVersion":1,"run":"runs/other/1"}`, 0, "another run uses this ID, so give this one a different ID"},
		{"no report", "report.json", "{}", 0, "report.json: it does not belong to this run"},
		{"a report with a code of its own", "report.json", `{"schemaVersion":1,"settings":"same","run":"` + folder + `","exitCode":77}`, 0, "its exit code is 77"},
		{"a page", "report.html", "<p>", report.Passed, ""},
		{"no reason", "failed-1.json", "{}", report.Incomplete, ""},
		{"a long reason", "failed-1.json", `{"run":"` + folder + `","index":1,"of":3,"reason":"` + strings.Repeat("a", maxReason+1) + `"}`, report.Incomplete, ""},
		{"a reason of another part", "failed-2.json", `{"run":"` + folder + `","index":1,"of":3,"reason":"a"}`, report.Incomplete, ""},
	} {
		virtual(t, c.name, func(t *testing.T) {
			b, p := newBucket(), newPods(t, 3)
			b.Objects[folder+"/"+c.object] = []byte(c.body)
			r, errs := p.all(b, nil)
			if c.err != "" {
				if errs[0] == nil || !strings.Contains(errs[0].Error(), c.err) {
					t.Errorf("%v, want %s", errs[0], c.err)
				}
				return
			}
			p.wants(r, errs[:1], c.exitCode)
			// Before the start, no process knows that the result of another recording does not
			// belong to the run.
			if known := c.name != "the result of another recording"; c.object == "result-1.json" && (known && errs[1] == nil || p.sent[1] > 0 || len(r.Merged.Notes) == 0 || !strings.Contains(r.Merged.Notes[0], "result-1.json: it does not belong to this run")) {
				t.Errorf("part 1: %v, sent %v, notes %q", errs[1], p.sent, r.Merged.Notes)
			}
		})
	}
}

// An entry of a directory that can't be listed is reported once, and the run continues.
func TestAnEntryThatCannotBeListed(t *testing.T) {
	virtual(t, "a link out of the place", func(t *testing.T) {
		place, p := t.TempDir(), newPods(t, 2)
		if err := os.MkdirAll(filepath.Join(place, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(place, folder, "link")); err != nil {
			t.Fatal(err)
		}
		r, errs := p.all(store.Dir(place), nil)
		p.wants(r, errs, report.Passed)
		if len(p.said) != 2 || !strings.Contains(p.said[0], "/link: ") {
			t.Errorf("said %q", p.said)
		}
	})
}

// If clocks differ, the report says so, because each shard begins by its own clock.
func TestClocksThatDiffer(t *testing.T) {
	for _, skew := range []time.Duration{time.Second, 5 * time.Second, -5 * time.Second} {
		virtual(t, skew.String(), func(t *testing.T) {
			b, p := newBucket(), newPods(t, 2)
			var r *report.Report
			var running sync.WaitGroup
			running.Go(func() { r, _ = p.run(t.Context(), b, 0, 0) })
			running.Go(func() { _, _ = p.run(t.Context(), b, 1, skew) })
			running.Wait()
			want := 0
			if skew.Abs() > maxSpread {
				want = 1
			}
			if r == nil || len(r.Merged.Notes) != want || want > 0 && !strings.Contains(r.Merged.Notes[0], "differ by 5s") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The run does not wait for a shard that fails, and the report says why it failed.
func TestAPartThatFails(t *testing.T) {
	bad := func(at int) func(int) error {
		return func(index int) error {
			if index == at {
				return errors.New("no such snapshot")
			}
			return nil
		}
	}
	ended := func(t *testing.T, began time.Time, most time.Duration) {
		t.Helper()
		if took := time.Since(began); took > most {
			t.Errorf("it took %s", took)
		}
	}
	const why = "part 2 could not be sent: no such snapshot"
	lost := func(t *testing.T, p *pods, r *report.Report, errs []error) {
		t.Helper()
		p.wants(r, errs[:2], report.Incomplete)
		if !slices.Equal(r.Merged.Lost, []int{2}) || !slices.Contains(r.Merged.Notes, why) || r.Results.Total().Sent != 21 {
			t.Errorf("%+v, %d sent", r.Merged, r.Results.Total().Sent)
		}
		if errs[2] == nil || !strings.Contains(errs[2].Error(), "no such snapshot") {
			t.Errorf("the one that failed: %v", errs[2])
		}
	}
	virtual(t, "before the start", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		p.loads = bad(2)
		r, errs := p.all(b, nil)
		lost(t, p, r, errs)
		ended(t, began, length+time.Minute)
	})
	virtual(t, "while it sends", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		p.breaks = bad(2)
		r, errs := p.all(b, nil)
		lost(t, p, r, errs)
		ended(t, began, length+time.Minute)
	})
	virtual(t, "index 0", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		began := time.Now()
		p.loads = bad(0)
		_, errs := p.all(b, nil)
		for index, err := range errs {
			if err == nil || !strings.Contains(err.Error(), "no such snapshot") || p.sent[index] > 0 {
				t.Errorf("index %d: %v, sent %v", index, err, p.sent)
			}
		}
		ended(t, began, 5*time.Second)
	})
	virtual(t, "the place of one that failed", func(t *testing.T) {
		b, p := newBucket(), newPods(t, 3)
		p.loads = bad(2)
		_, first := p.run(t.Context(), b, 2, 0)
		p.loads = nil
		r, errs := p.all(b, nil)
		lost(t, p, r, errs)
		if first == nil || p.sent[2] > 0 {
			t.Errorf("the first one: %v, sent %v", first, p.sent)
		}
	})
}

// Anything that keeps index 0 from starting the run ends all shards immediately.
func TestTheStartFails(t *testing.T) {
	for _, c := range []struct {
		name, want string
		fails      func(p *pods)
	}{
		{"shards that read different recordings", `part 1 is from another run than part 0: its hash of the recording is "1", not "0"`, func(p *pods) { p.sources = []string{"0", "1"} }},
		{"shards with different settings", `part 1 is from another run than part 0: its digest of the settings is "speed 2", not "speed 1"`, func(p *pods) { p.settings = []string{"speed 1", "speed 2"} }},
		{"no responder", "no responder", func(p *pods) { p.prepares = errors.New("no responder") }},
	} {
		virtual(t, c.name, func(t *testing.T) {
			p := newPods(t, 2)
			c.fails(p)
			began := time.Now()
			_, errs := p.all(newBucket(), nil)
			for index, err := range errs {
				if err == nil || !strings.Contains(err.Error(), c.want) || p.sent[index] > 0 {
					t.Errorf("index %d: %v", index, err)
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
