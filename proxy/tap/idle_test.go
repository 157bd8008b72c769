package tap

import (
	"testing"
	"testing/synctest"
	"time"
)

// questions is a Reader that is idle when the server spoke last.
type questions struct {
	last Side
	hold chan struct{} // closed when the Reader may read
}

func (q *questions) Data(side Side, _ time.Time, _ []byte) { <-q.hold; q.last = side }
func (q *questions) Gap(Side, time.Time, int64)            {}
func (q *questions) Close(time.Time)                       {}
func (q *questions) Idle() bool                            { return q.last == FromServer }

// A flow is idle when its Reader says so and has read everything.
func TestIdle(t *testing.T) {
	for _, c := range []struct {
		name   string
		says   []Side
		held   bool // the Reader is still reading
		lost   bool // there is no room for the last bytes
		reader func(*questions) Reader
		want   bool
	}{
		{name: "answered", says: []Side{FromClient, FromServer}, want: true},
		{name: "asked", says: []Side{FromClient}},
		{name: "not read yet", says: []Side{FromClient, FromServer}, held: true},
		{name: "lost", says: []Side{FromClient, FromServer, FromClient}, lost: true},
		{name: "a Reader that does not know", says: []Side{FromClient, FromServer}, reader: func(*questions) Reader { return &recorder{} }},
		{name: "no Reader", says: []Side{FromClient, FromServer}, reader: func(*questions) Reader { return nil }},
		{name: "nothing was said"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &questions{hold: make(chan struct{})}
				tp := New(Config{Limit: 64 << 10, Workers: 1, Open: func(*Flow) Reader {
					if c.reader != nil {
						return c.reader(q)
					}
					return q
				}})
				if !c.held {
					close(q.hold)
				}
				s := tp.Open(&Flow{})
				for i, side := range c.says {
					n := 1
					if c.lost && i == len(c.says)-1 {
						n = 128 << 10
					}
					b := &Buffer{B: make([]byte, n)}
					s.Write(side, time.Now(), b, n)
					time.Sleep(2 * gather) // virtual: the worker has had its turn
				}
				synctest.Wait()
				if got := s.Idle(); got != c.want {
					t.Errorf("idle %v", got)
				}
				if c.held {
					close(q.hold)
				}
				s.Close(time.Now())
				shutdown(t, tp)
			})
		})
	}
	if (*Stream)(nil).Idle() {
		t.Error("a stream without a Reader is not known to be idle")
	}
}
