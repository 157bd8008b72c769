package ship

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// The recorder takes each exchange immediately, whatever happens to the collector for an hour, and
// in the end each exchange is stored once. During the outage, the collector is called at most a few
// times a minute. The log has a line when the outage begins and one when it ends.
func TestNothingIsLostAndNobodyWaits(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end func(w *testPod)
		calls      int  // at most, in the hour
		told       bool // the log says that shipping fails
	}{
		"down": {
			func(w *testPod) { w.set(true) },
			func(w *testPod) { w.set(false) }, 90, true,
		},
		"slow": {
			slow(2 * time.Minute),
			healed, 90, false,
		},
		"stalled": {
			stalled,
			healed, 90, true,
		},
		"failing 10% of calls": {
			func(w *testPod) {
				chance := rand.New(rand.NewPCG(1, 2))
				w.fakeCollector.trouble = func(rw http.ResponseWriter, _ *http.Request, _ bool) bool {
					switch n := chance.IntN(40); n {
					case 0, 1:
						return cut(rw)
					case 2, 3:
						refuse(rw, contract.RefusedStore)
						return true
					}
					return false
				}
			},
			healed, 90, false,
		},
		"full":     {troubled(refusing(contract.RefusedFull)), healed, 90, true},
		"busy":     {troubled(refusing(contract.RefusedBusy)), healed, 90, true},
		"refusing": {troubled(refusing(contract.RefusedNamespace)), healed, 40, true},
		"too old":  {troubled(refusing(contract.RefusedContract)), healed, 40, true},
		"killed between storing and answering": {
			troubled(func(rw http.ResponseWriter, _ *http.Request, stored bool) bool { return stored && cut(rw) }),
			healed, 90, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPod(t, func(t *testing.T, w *testPod) {
				w.start()
				w.record(0, 10)
				c.begin(w)
				before := w.asked() + len(w.called())
				w.record(10, 70)
				if calls := w.asked() + len(w.called()) - before; calls > 2*c.calls || calls < 10 {
					t.Errorf("%d calls in an hour", calls)
				}
				c.end(w)
				w.record(70, 75)
				if s := w.Stats(); s.Failing || s.Segments > 0 {
					t.Errorf("afterwards: %+v", s)
				}
				w.close(time.Minute)
				w.wantOnce(75)
				if s := w.recorder.Stats(); s.Total() > 0 || s.Stored != 75 {
					t.Errorf("%+v", s)
				}
				want := 0
				if c.told {
					want = 1
				}
				if log := w.logs.String(); strings.Count(log, "don't reach the collector") != want || strings.Count(log, "reach the collector again") != want || strings.Count(log, "\n") != 2*want {
					t.Errorf("the log: %s", log)
				}
			})
		})
	}
}

func troubled(trouble func(http.ResponseWriter, *http.Request, bool) bool) func(*testPod) {
	return func(w *testPod) {
		w.fakeCollector.mu.Lock()
		defer w.fakeCollector.mu.Unlock()
		w.fakeCollector.trouble = trouble
	}
}

// stalled makes the collector accept connections and send nothing.
func stalled(w *testPod) {
	troubled(func(http.ResponseWriter, *http.Request, bool) bool { <-w.over; return true })(w)
}

// slow makes the collector wait before it answers.
func slow(d time.Duration) func(*testPod) {
	return func(w *testPod) {
		troubled(func(_ http.ResponseWriter, _ *http.Request, stored bool) bool {
			if !stored {
				select {
				case <-time.After(d):
				case <-w.over:
				}
			}
			return false
		})(w)
	}
}

func healed(w *testPod) { troubled(nil)(w) }

func refusing(code string) func(http.ResponseWriter, *http.Request, bool) bool {
	return func(rw http.ResponseWriter, _ *http.Request, _ bool) bool { refuse(rw, code); return true }
}

// Beyond the bound, the oldest segments are removed to make room. They are counted as lost, and
// show as a gap. The newest segments are stored.
func TestBeyondTheBoundTheOldestGo(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		w.start()
		if err := w.recorder.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var err error
		w.recorder, err = spool.Open(w.dir, spool.Options{MaxFilesKept: 10, SegmentOptions: spool.SegmentOptions{Pod: "cart-0", Completed: w.Wake}})
		if err != nil {
			t.Fatal(err)
		}
		w.set(true)
		w.record(0, 120)
		removed := int(w.recorder.Stats().RemovedByFiles.Segments)
		if n := len(w.files()); removed < 9 || n > 10 {
			t.Errorf("%d were removed, there are %d", removed, n)
		}
		w.set(false)
		time.Sleep(2 * mostPause)
		w.close(time.Minute)
		found := w.exchanges(t)
		for n := 110; n < 120; n++ {
			if found[fmt.Sprintf("/%d", n)] != 1 {
				t.Errorf("%d is stored %d times", n, found[fmt.Sprintf("/%d", n)])
			}
		}
		if len(found) > 120-removed*5 {
			t.Errorf("%d are stored, and %d segments were removed", len(found), removed)
		}
	})
}

// When the pod ends, waiting segments are sent as long as that works.
func TestClosing(t *testing.T) {
	for name, c := range map[string]struct {
		begin      func(w *testPod)
		within     time.Duration // the pod's time
		least, max time.Duration // that it takes
		left       bool
	}{
		"a good collector": {func(*testPod) {}, 20 * time.Second, 0, 0, false},
		"a slow one": {
			slow(2 * time.Second), 20 * time.Second, 8 * time.Second, 14 * time.Second, false,
		},
		"a slow one, without time": {
			slow(2 * time.Second), 5 * time.Second, 5 * time.Second, 5 * time.Second, true,
		},
		"one that fails once": {
			func(w *testPod) {
				var failed atomic.Bool
				troubled(func(rw http.ResponseWriter, _ *http.Request, _ bool) bool { return !failed.Swap(true) && cut(rw) })(w)
			}, 20 * time.Second, 0, 2 * time.Second, false,
		},
		"one that is down":     {func(w *testPod) { w.set(true) }, 20 * time.Second, 0, 2 * time.Second, true},
		"one that is stalled":  {stalled, 20 * time.Second, 5 * time.Second, 6 * time.Second, true},
		"one that is refusing": {troubled(refusing(contract.RefusedToken)), 20 * time.Second, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			inPod(t, func(t *testing.T, w *testPod) {
				w.startRecorder(nil)
				w.record(0, 25)
				c.begin(w)
				recorder := w.recorder
				w.start()
				if err := w.recorder.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.recorder = recorder
				took := w.close(c.within)
				if took < c.least || took > c.max {
					t.Errorf("it took %v", took)
				}
				if left := len(w.files()) > 0; left != c.left {
					t.Errorf("in the spool: %q", w.files())
				}
				if told := strings.Contains(w.logs.String(), "segments stay in the pod's directory"); told != c.left {
					t.Errorf("the log: %s", w.logs.String())
				}
				if c.left {
					return
				}
				w.wantOnce(25)
			})
		})
	}
}

// A collector that has been down for a long time gets one attempt.
func TestClosingWithACollectorThatHasBeenDown(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		w.set(true)
		w.start()
		w.record(0, 30)
		synctest.Wait()
		before := len(w.called())
		if took := w.close(20 * time.Second); took > 0 || len(w.called()) > before+1 {
			t.Errorf("it took %v and %d attempts", took, len(w.called())-before)
		}
		if !strings.Contains(w.logs.String(), "segments=6") {
			t.Errorf("the log: %s", w.logs.String())
		}
	})
}
