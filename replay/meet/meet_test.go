package meet

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
