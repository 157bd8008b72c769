package meet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

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
