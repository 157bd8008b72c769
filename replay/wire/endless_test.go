package wire

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/tapedeck/tapedeck/recording"
)

// The client gives up an answer that arrives slowly and never ends, over each protocol. It waits for
// the time that the recorded answer took plus MaxTime.
func TestAnAnswerThatNeverEndsIsGivenUp(t *testing.T) {
	drip := func(w http.ResponseWriter, r *http.Request, some string) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(some))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	}
	body := func(w http.ResponseWriter, r *http.Request) { drip(w, r, "x") }
	took := func(version string) *recording.Exchange {
		e := request(version, "GET", "/", "")
		e.Duration = 20_000
		return e
	}
	for name, c := range map[string]struct {
		recorded *recording.Exchange
		handler  http.HandlerFunc
		pace     float64
	}{
		"HTTP/1.1":                   {took("1.1"), body, 1},
		"HTTP/1.1 at half the speed": {took("1.1"), body, 0.5},
		"HTTP/1.1, a head": {took("1.1"), func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			for some := "HTTP/1.1 200 OK\r\nX: "; err == nil; some = "x" {
				_, err = conn.Write([]byte(some))
				time.Sleep(time.Second)
			}
		}, 1},
		"HTTP/2": {took("2.0"), body, 1},
		"gRPC": {callOf(20_000, say("client", 0, "", "a"), say("server", 1000, "", "A")), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			drip(w, r, "\x00\x00\x00\x00\x01A")
		}, 1},
		"WebSocket": {socketOf(say("client", 0, "text", "a"), say("server", 1000, "text", "A")), func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			for err == nil {
				err = conn.Write(r.Context(), websocket.MessageText, []byte("A"))
				time.Sleep(time.Second)
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var busy sync.WaitGroup // handlers that have taken their connections
				defer busy.Wait()
				client, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
					busy.Add(1)
					defer busy.Done()
					c.handler(w, r)
				}, pace(c.pace), func(o *Options) { o.MaxTime = time.Minute })
				defer stop()
				var r Result
				err := send(t, client, c.recorded, &r)
				want := time.Minute + time.Duration(float64(c.recorded.End())/c.pace)
				if took := r.Done.Sub(r.Sent); r.Fail != TooLong || (took-want).Abs() > time.Second {
					t.Errorf("%q after %v, want %v: %v", r.Fail, took, want, err)
				}
			})
		})
	}
}

// A target that sends a head, and then neither reads the request's body nor continues, does not
// delay a request beyond its timeout, or beyond the end of the run.
func TestATargetThatReadsNoBodyHoldsNothingUp(t *testing.T) {
	large := strings.Repeat("x", 10<<20)
	for name, recorded := range map[string]*recording.Exchange{
		"HTTP/2": request("2.0", "POST", "/", large),
		"gRPC":   callOf(0, say("client", 0, "", large), say("server", 1000, "", "A")),
	} {
		for _, ends := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ends %v", name, ends), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					over := make(chan struct{})
					client, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Type", "application/grpc")
						_ = http.NewResponseController(w).Flush()
						<-over
					})
					defer stop()
					defer close(over)
					encoded, err := Append(nil, recorded)
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want := Timeout
					if ends {
						time.AfterFunc(time.Second, cancel)
						want = Canceled
					}
					var r Result
					err = client.Send(ctx, encoded, &r)
					if took := r.Done.Sub(r.Sent); r.Fail != want || took > DefaultTimeout+time.Second || ends && took > 2*time.Second {
						t.Errorf("%q after %v, want %q: %v", r.Fail, took, want, err)
					}
				})
			})
		}
	}
}
