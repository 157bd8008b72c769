package ship

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// A segment is sent once it is complete, under its own name and the digest of its bytes. Nothing of
// it remains, not even folders.
func TestSegmentsAreStoredAndRemoved(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		w.token = func() (string, error) { return "tdc1_token", nil }
		var heads []http.Header
		w.trouble = func(_ http.ResponseWriter, r *http.Request, stored bool) bool {
			if stored {
				heads = append(heads, r.Header)
			}
			return false
		}
		w.start()
		w.record(0, 14)
		synctest.Wait()
		if stored, files := w.keys(), w.files(); len(stored) != 2 || len(files) != 1 || !strings.HasSuffix(files[0], recording.PartSuffix) {
			t.Errorf("after 14 minutes %q are stored and %q wait", stored, files)
		}
		w.close(time.Minute)
		w.wantOnce(14)
		for i, key := range w.keys() {
			k, err := recording.ParseSegmentKey(key)
			if err != nil || k.Number != i || k.Pod != "cart-0" || k.Namespace != "shop" {
				t.Errorf("%s: %v", key, err)
			}
			if heads[i].Get("Authorization") != "Bearer tdc1_token" {
				t.Errorf("%v", heads[i])
			}
		}
		if left, err := filepath.Glob(filepath.Join(w.dir, "cluster=*")); len(left) > 0 || err != nil {
			t.Errorf("left behind: %q, %v", left, err)
		}
		if log := w.logs.String(); log != "" {
			t.Errorf("the log has %s", log)
		}
	})
}

// The counts of waiting segments rise during an attempt, too.
func TestWhatWaitsIsCountedWhileAnAttemptLasts(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		slow(2 * time.Minute)(w)
		w.start()
		w.record(0, 6)
		asked, before := w.asked(), w.Stats().Segments
		w.record(6, 7) // a minute
		if w.asked() != asked {
			t.Fatal("the attempt is over")
		}
		if err := w.recorder.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := w.Stats(); s.Segments != before+1 || s.Bytes == 0 || s.Oldest.IsZero() {
			t.Errorf("%+v, and %d segments before", s, before)
		}
		w.close(time.Hour)
	})
}

// The newest segment goes first. The older ones follow, the newest of them first. A process
// sends what the one before it has left.
func TestTheNewestGoesFirst(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		w.startRecorder(nil)
		w.record(0, 30)
		if err := w.recorder.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.start()
		synctest.Wait()
		var numbers []int
		for _, key := range w.keys() {
			k, _ := recording.ParseSegmentKey(key)
			numbers = append(numbers, k.Number)
		}
		if !slices.Equal(numbers, []int{5, 4, 3, 2, 1, 0}) {
			t.Errorf("stored in the order %v", numbers)
		}
		w.wantOnce(30)
	})
}

// A failure of one segment does not hold up the others.
func TestOneSegmentDoesNotKeepTheOthers(t *testing.T) {
	for name, trouble := range map[string]func(w http.ResponseWriter) bool{
		"other bytes":              func(w http.ResponseWriter) bool { refuse(w, contract.RefusedOtherBytes); return true },
		"the collector dies of it": cut,
	} {
		t.Run(name, func(t *testing.T) {
			inPod(t, func(t *testing.T, w *testPod) {
				w.trouble = func(answer http.ResponseWriter, r *http.Request, _ bool) bool {
					return strings.Contains(r.URL.Path, "-1.") && trouble(answer)
				}
				w.start()
				w.record(0, 40)
				if stored := len(w.keys()); stored < 5 {
					t.Errorf("%d segments are stored", stored)
				}
				if files := w.files(); len(files) > 3 || !strings.Contains(files[0], "-1.") { // the newest may wait for a pause
					t.Errorf("in the spool: %q", files)
				}
				healed(w)
				time.Sleep(2 * keptPause)
				w.close(time.Minute)
				w.wantOnce(40)
			})
		})
	}
}

// A segment that will never be accepted is set aside, counted, and logged once.
func TestWhatIsNeverTakenIsSetAside(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		w.trouble = func(answer http.ResponseWriter, r *http.Request, _ bool) bool {
			if strings.Contains(r.URL.Path, "-1.") || strings.Contains(r.URL.Path, "-3.") {
				refuse(answer, contract.RefusedSegment)
				return true
			}
			return false
		}
		w.start()
		w.record(0, 40)
		s := w.Stats()
		if s.SetAside != 2 || s.Failures[contract.RefusedSegment] != 2 || s.Failing || s.Segments != 0 {
			t.Errorf("%+v", s)
		}
		aside := slices.DeleteFunc(w.files(), func(name string) bool { return !strings.HasSuffix(name, ".jsonl.zst.corrupt") })
		if len(aside) != 2 {
			t.Errorf("set aside: %q", aside)
		}
		if log := w.logs.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "reason=segment") {
			t.Errorf("the log: %s", log)
		}
	})
}

// A file whose name is not a segment's can't be sent. It is set aside.
func TestAForeignFileIsSetAside(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		folder := filepath.Join(w.dir, "cluster=c/namespace=n/workload=w/date=2026-11-22/hour=20")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "mine.jsonl.zst"), []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		synctest.Wait()
		if files := w.files(); !slices.Equal(files, []string{"mine.jsonl.zst.corrupt"}) || w.asked() > 0 {
			t.Errorf("%q, %d requests", files, w.asked())
		}
	})
}

// A collector that wants another token is seldom called, and accepts everything once the Secret has
// come. The token is in no line of the log.
func TestATokenThatComesLater(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		const good = "tdc1_good-secret"
		var token atomic.Value
		token.Store("")
		w.token = func() (string, error) { return token.Load().(string), nil }
		w.trouble = func(answer http.ResponseWriter, r *http.Request, stored bool) bool {
			if !stored && r.Header.Get("Authorization") != "Bearer "+good {
				refuse(answer, contract.RefusedToken)
				return true
			}
			return false
		}
		w.start()
		w.record(0, 60)
		token.Store("tdc1_bad-secret")
		w.record(60, 120)
		if n := w.asked(); n < 20 || n > 60 {
			t.Errorf("%d requests in two hours", n)
		}
		if s := w.Stats(); !s.Failing || s.Segments < 20 || s.Shipped > 0 || time.Since(s.Oldest) < 110*time.Minute || s.Failures[contract.RefusedToken] != uint64(w.asked()) {
			t.Errorf("%+v", s)
		}
		token.Store(good)
		time.Sleep(keptPause)
		if s := w.Stats(); s.Failing || s.Segments > 0 || s.Bytes != 0 || !s.Oldest.IsZero() {
			t.Errorf("%+v", s)
		}
		w.close(time.Minute)
		w.wantOnce(120)
		log := w.logs.String()
		if strings.Contains(log, "secret") || strings.Count(log, "\n") != 2 || !strings.Contains(log, "tapedeck collect token") || !strings.Contains(log, "reach the collector again") {
			t.Errorf("the log: %s", log)
		}
	})
}

// A token that can't be read is a separate reason, and no collector is called without a token.
func TestATokenThatCannotBeRead(t *testing.T) {
	inPod(t, func(t *testing.T, w *testPod) {
		var mended atomic.Bool
		w.token = func() (string, error) {
			if mended.Load() {
				return "", nil
			}
			return "", errors.New("read token: found 3 bytes")
		}
		w.start()
		w.record(0, 10)
		if s := w.Stats(); s.Failures[contract.RefusedToken] == 0 || !s.Failing || w.asked() > 0 {
			t.Errorf("%+v, %d requests", s, w.asked())
		}
		if log := w.logs.String(); !strings.Contains(log, "found 3 bytes") {
			t.Errorf("the log: %s", log)
		}
		mended.Store(true)
		time.Sleep(keptPause)
		w.close(time.Minute)
		w.wantOnce(10)
	})
}

// Only a collector's answer removes a segment: proxies answer for a collector that is down, and a
// redirect leads to another server.
func TestAnswersOfOthersAreRetried(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"503 of a proxy": func(w http.ResponseWriter) {
			w.Header().Set("Server", "envoy")
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		},
		"404": func(w http.ResponseWriter) { http.Error(w, "<html>", http.StatusNotFound) },
		"a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(307)
		},
		"200 of a web server": func(w http.ResponseWriter) {
			w.Header().Del(contract.HeaderContract)
			fmt.Fprint(w, "<html>")
		},
		"204":                      func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"a code nobody knows":      func(w http.ResponseWriter) { problem(w, 422, "tired") },
		"a code with other status": func(w http.ResponseWriter) { problem(w, 500, contract.RefusedSegment) },
		"a code in plain JSON": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(422)
			fmt.Fprintf(w, `{"code":"segment"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPod(t, func(t *testing.T, w *testPod) {
				w.trouble = func(rw http.ResponseWriter, _ *http.Request, _ bool) bool { answer(rw); return true }
				w.start()
				w.record(0, 20)
				if s := w.Stats(); s.Shipped+s.SetAside > 0 || s.Failures[reasonAnswer] != uint64(w.asked()) || !s.Failing {
					t.Errorf("%+v", s)
				}
				for _, addr := range w.called() {
					if addr != "collector.example:4310" {
						t.Errorf("called %s", addr)
					}
				}
				healed(w)
				time.Sleep(mostPause)
				w.close(time.Minute)
				w.wantOnce(20)
			})
		})
	}
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", contract.ProblemType)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%q}`, code)
}

// The shipper waits as long as a collector's Retry-After says, up to a minute.
func TestRetryAfter(t *testing.T) {
	for after, want := range map[string][2]time.Duration{
		"20":    {20 * time.Second, 21 * time.Second},
		"86400": {mostPause, mostPause + time.Second},
		"date":  {30 * time.Second, 31 * time.Second},
		"soon":  {firstPause / 2, firstPause + time.Second},
	} {
		t.Run(after, func(t *testing.T) {
			inPod(t, func(t *testing.T, w *testPod) {
				var mu sync.Mutex
				var asked []time.Time
				w.trouble = func(rw http.ResponseWriter, r *http.Request, stored bool) bool {
					if stored {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					if asked = append(asked, time.Now()); len(asked) > 1 {
						return false
					}
					value := after
					if after == "date" {
						value = time.Now().Add(31 * time.Second).UTC().Format(http.TimeFormat)
					}
					rw.Header().Set("Retry-After", value)
					refuse(rw, contract.RefusedBusy)
					return true
				}
				w.start()
				w.record(0, 10)
				mu.Lock()
				defer mu.Unlock()
				if len(asked) < 2 {
					t.Fatal("asked once")
				}
				if waited := asked[1].Sub(asked[0]); waited < want[0] || waited > want[1] {
					t.Errorf("asked again after %v", waited)
				}
			})
		})
	}
}

// Proxies in the environment are the application's.
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://proxy.example:3128")
	}
	inPod(t, func(t *testing.T, w *testPod) {
		w.start()
		w.record(0, 10)
		if len(w.called()) == 0 || slices.ContainsFunc(w.called(), func(addr string) bool { return addr != "collector.example:4310" }) {
			t.Errorf("called %q", w.called())
		}
	})
}
