package spool

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a store in which calls of one kind don't return until it is released, like a frozen disk or
// an unreachable file server.
type stuck struct {
	in   string
	free chan struct{}
}

func (s *stuck) wait(call string) error {
	if call == s.in {
		<-s.free
	}
	return nil
}
func (s *stuck) Try() error { return s.wait("try") }
func (s *stuck) WriteLines(_ []byte, n int) (Fate, error) {
	return Fate{Stored: n}, s.wait("write")
}
func (s *stuck) Flush() (Fate, error) { return Fate{}, s.wait("flush") }
func (s *stuck) Close() (Fate, error) { return Fate{}, s.wait("close") }

// A store that does not answer counts as failing after a while, until it answers. The counts and
// the callback show it while the call still lasts.
func TestAStoreThatDoesNotAnswer(t *testing.T) {
	for _, in := range []string{"try", "write", "flush", "close"} {
		t.Run(in, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stuck{in: in, free: make(chan struct{})}
				var told []string
				q := NewQueue(s, 1<<10, time.Second, func(err error, lost uint64) { told = append(told, fmt.Sprint(err, ", ", lost, " lost")) })
				closed := make(chan error, 1)
				if in == "close" {
					go func() { closed <- q.Close(t.Context()) }()
				} else {
					_ = q.Write(numbered(0))
				}
				time.Sleep(patience / 2) // bubble time
				if err := q.Stats().Err; err != nil {
					t.Errorf("it counts as failing immediately: %v", err)
				}
				for n := range 20 { // not all of them fit
					_ = q.Write(numbered(n))
				}
				time.Sleep(patience)
				synctest.Wait()
				const want = "the store has not answered for 5s"
				if err := q.Stats().Err; err == nil || err.Error() != want {
					t.Errorf("after a while: %v", err)
				}
				full := q.Stats().Dropped[QueueFull]
				close(s.free)
				synctest.Wait()
				if err := q.Stats().Err; err != nil {
					t.Errorf("when it answers: %v", err)
				}
				if len(told) != 2 || (full == 0) != (in == "close") || told[0] != fmt.Sprintf("%s, %d lost", want, full) {
					t.Errorf("told %q; %d found the queue full", told, full)
				}
				if in == "close" {
					if err := <-closed; err != nil {
						t.Error(err)
					}
				} else if err := q.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
