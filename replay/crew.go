package replay

import (
	"context"
	"sync"
)

// crew sends jobs with one worker for each job under way, up to a bound. Further jobs queue in
// order.
type crew struct {
	bound int
	send  func(context.Context, *worker, *job)
	hire  func() *worker

	mu      sync.Mutex
	wake    sync.Cond
	queue   []*job
	first   int // index of the first job in queue
	idle    int
	workers int
	open    bool // there may be more jobs
	hits    int64
	gone    sync.WaitGroup
}

func newCrew(bound int, hire func() *worker, send func(context.Context, *worker, *job)) *crew {
	c := &crew{bound: bound, hire: hire, send: send, open: true}
	c.wake.L = &c.mu
	return c
}

// give passes a job to a worker.
func (c *crew) give(ctx context.Context, j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, j)
	switch waiting := len(c.queue) - c.first; {
	case waiting <= c.idle:
		c.wake.Signal()
	case c.workers < c.bound:
		c.workers++
		c.gone.Add(1)
		go c.work(ctx)
	default:
		c.hits++
	}
}

func (c *crew) work(ctx context.Context) {
	defer c.gone.Done()
	w := c.hire()
	for {
		j := c.take()
		if j == nil {
			return
		}
		c.send(ctx, w, j)
	}
}

// take waits for a job. It returns nil if there are no more.
func (c *crew) take() *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.first == len(c.queue) {
		if !c.open {
			return nil
		}
		c.idle++
		c.wake.Wait()
		c.idle--
	}
	j := c.queue[c.first]
	c.queue[c.first] = nil
	if c.first++; c.first == len(c.queue) {
		c.queue, c.first = c.queue[:0], 0
	} else if c.first >= 1024 && c.first > len(c.queue)/2 {
		c.queue = append(c.queue[:0], c.queue[c.first:]...)
		c.first = 0
	}
	return j
}

// close lets the workers finish their jobs, and waits for them to end.
func (c *crew) close() {
	c.mu.Lock()
	c.open = false
	c.wake.Broadcast()
	c.mu.Unlock()
	c.gone.Wait()
}
