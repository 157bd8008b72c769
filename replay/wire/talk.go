package wire

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// talk is a conversation in progress. The client's side follows the script and waits for the
// server's messages, which another goroutine records.
type talk struct {
	pace   float64
	watch  *watch
	into   *Result // used only by the goroutine that records the server's messages
	began  time.Time
	max    int64
	cancel bool          // cancel the call at the point where the recorded client did
	bell   chan struct{} // gets an element when a message arrives
	over   chan struct{} // closed at the end

	mu     sync.Mutex
	script // must not be read after ended is set, because the caller reuses the memory
	ended  bool
	times  []time.Duration // when the server's messages arrived, since began
}

// talk begins a conversation.
func (c *Client) talk(f *form, into *Result, w *watch) *talk {
	t := &talk{pace: c.o.Pace, watch: w, into: into, began: into.Sent, max: c.o.MaxBody, cancel: f.has(cancels), bell: make(chan struct{}, 1), over: make(chan struct{})}
	t.open(f)
	into.talk.Part, into.talk.Last = 1, true
	t.last = t.scaled(t.last)
	if t.cancel && t.total == 0 {
		t.giveUp()
	}
	return t
}

// giveUp makes the call end when the recorded client cancelled it.
func (t *talk) giveUp() {
	t.watch.giveUp = time.AfterFunc(t.last, func() { t.watch.cancel(errLeft) })
}

// heard records a frame or a message from the server. Its data is at the end of the body. counts
// means that it is a message, or the last frame of one.
func (t *talk) heard(m recording.Message, counts bool) {
	r := t.into
	at := time.Since(t.began)
	m.From, m.At = recording.Server, at.Microseconds()
	r.talk.Messages = append(r.talk.Messages, m)
	r.ends = append(r.ends, len(r.body))
	r.talk.ServerBytes = r.BytesIn
	t.watch.moved()
	if !counts {
		return
	}
	t.mu.Lock()
	t.times = append(t.times, at)
	n := len(t.times)
	t.mu.Unlock()
	if t.cancel && n == t.total {
		t.giveUp()
	}
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

// wait waits until the server has sent after messages, and then for the gap at the pace of the
// replay. It returns false if the conversation ends earlier.
func (t *talk) wait(after int, gap time.Duration) bool {
	for {
		t.mu.Lock()
		have, since := len(t.times), time.Duration(0)
		if after > 0 && have >= after {
			since = t.times[after-1]
		}
		t.mu.Unlock()
		if have >= after {
			return t.sleep(t.began.Add(since + t.scaled(gap)))
		}
		select {
		case <-t.bell:
		case <-t.over:
			return false
		case <-t.watch.ctx.Done():
			return false
		}
	}
}

// waitOver waits for the end of the conversation.
func (t *talk) waitOver() {
	select {
	case <-t.over:
	case <-t.watch.ctx.Done():
	}
}

// scaled returns the length of a recorded pause at the pace of the replay.
func (t *talk) scaled(d time.Duration) time.Duration {
	if t.pace == 0 {
		return 0
	}
	return time.Duration(float64(d) / t.pace)
}

// sleep waits until due. It returns false if the conversation ends earlier.
func (t *talk) sleep(due time.Time) bool {
	if d := time.Until(due); t.pace > 0 && d > 0 {
		t.watch.until(due)
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.over:
		case <-t.watch.ctx.Done():
		}
	}
	select {
	case <-t.over:
		return false
	default:
		return t.watch.ctx.Err() == nil
	}
}

// stop ends the conversation. Nothing reads the script afterwards.
func (t *talk) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		close(t.over)
	}
}
