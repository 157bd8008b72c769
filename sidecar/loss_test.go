package sidecar

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// A connection that lost bytes in a burst is recorded again as soon as it is calm. A header that
// can't be known after the loss is recorded as unknown.
func TestABurstDoesNotBlindAConnection(t *testing.T) {
	const calm = 200
	for _, version := range []string{"1.1", "2.0"} {
		t.Run("HTTP "+version, func(t *testing.T) {
			var protocols http.Protocols
			protocols.SetHTTP1(version == "1.1")
			protocols.SetUnencryptedHTTP2(version == "2.0")
			app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				io.WriteString(w, r.URL.Path)
			}))
			app.Config.Protocols = &protocols
			app.Start()
			t.Cleanup(app.Close)
			cfg := config(t)
			fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &cfg.In[0].App.Port)
			dir, logs := t.TempDir(), &logs{}
			queue := queueBytes(cfg.Memory)
			cfg.Memory = 256 << 10
			c, err := open(cfg, "test", logs.logger(), func(o spool.Options) (*spool.Recorder, error) {
				o.QueueBytes = queue // it loses nothing
				return spool.OpenFiles(spool.Dir(dir), o)
			})
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, cfg, c, logs)

			transport := &http.Transport{Protocols: &protocols, MaxConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			post := func(path string, n, size int) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.InAddr().String()+path, strings.NewReader(noise(n, size)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Opaque", fmt.Sprint("opaque-", n))
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); string(body) != path || err != nil {
					t.Errorf("%s: answer %q, %v", path, body, err)
				}
			}
			post("/first", 0, 10)
			full := func() bool { return s.Tap().Dropped[tap.ReasonFull].Bytes > 1<<20 }
			for n := 0; !full() && n < 1000; n += 50 {
				var burst sync.WaitGroup
				for i := range 50 {
					burst.Go(func() { post("/burst", n+i, 200<<10) })
				}
				burst.Wait()
			}
			if !full() {
				t.Fatal("the burst lost nothing")
			}
			eventually(t, "the tap is empty", func() bool { return s.Tap().Used == 0 })
			for i := range calm {
				post(fmt.Sprintf("/calm/%d", i), 10_000+i, 10)
			}
			transport.CloseIdleConnections()
			s.stop()
			if err := s.capture.Close(t.Context()); err != nil {
				t.Fatal(err)
			}

			found, unknown := map[string]bool{}, 0
			for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(e.Location, "/calm/") {
					continue
				}
				if string(e.HTTP.Res.Body) != e.Location || e.Status != "200" {
					t.Errorf("%s is recorded with %s, %q", e.Location, e.Status, e.HTTP.Res.Body)
				}
				found[e.Location] = true
				if values := e.HTTP.Req.Headers; values.Get("X-Opaque") == "" {
					unknown++
					if e.Tags.Get(recording.TagIncomplete) != "headers_lost" {
						t.Errorf("%s lacks a header and does not say so: %v", e.Location, e.Tags)
					}
					if line := string(e.AppendJSON(nil)); strings.Contains(line, "opaque-1") || !strings.Contains(line, `":unknown"`) {
						t.Errorf("recorded: %s", line)
					}
				}
			}
			if len(found) < calm-3 {
				t.Errorf("%d of %d calm requests are recorded; %+v", len(found), calm, s.ledger(t))
			}
			if version == "2.0" && unknown == 0 {
				t.Error("all names are known: nothing was lost")
			}
			if n := strings.Count(s.logs.String(), "it is unrecorded until decoding can begin again"); n != 1 {
				t.Errorf("the log says %d times that a connection is not recorded", n)
			}
		})
	}
}
