package proxy

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// historyAge and historySize bound the ended connections that /connections
	// shows.
	historyAge  = 5 * time.Minute
	historySize = 1024
)

// registry knows the connections that are open, and those that ended lately.
type registry struct {
	mu    sync.Mutex
	next  uint64
	live  map[uint64]*conn
	done  []View // a ring, once it is full
	at    int
	open  [2]int    // by direction
	total [2]totals // by direction
	empty map[tap.Direction]chan struct{}
}

// totals are what ended connections add up to.
type totals struct {
	accepted, failed int64
	bytes            [2]int64 // by side
}

func newRegistry() *registry {
	return &registry{live: map[uint64]*conn{}, empty: map[tap.Direction]chan struct{}{}}
}

// add registers a connection and gives it its number.
func (r *registry) add(k *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	k.id = r.next
	r.live[k.id] = k
	r.open[k.direction]++
	r.total[k.direction].accepted++
}

// flow describes a connection to the tap. The first flow has the connection's
// number; a client that goes on to other hosts gets a new one for each.
func (r *registry) flow(k *conn) *tap.Flow {
	f := k.flow()
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.flows++; k.flows > 1 {
		r.next++
		f.ID = r.next
	}
	return f
}

// end takes a connection out and returns its final state.
func (r *registry) end(k *conn, err error) View {
	k.mu.Lock()
	k.ended, k.err = time.Now(), err
	k.mu.Unlock()
	v := k.view()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, k.id)
	r.open[k.direction]--
	t := &r.total[k.direction]
	for side := range t.bytes {
		t.bytes[side] += k.meter.Bytes(tap.Side(side))
	}
	if err != nil {
		t.failed++
	}
	if len(r.done) < historySize {
		r.done = append(r.done, v)
	} else {
		r.done[r.at] = v
		r.at = (r.at + 1) % historySize
	}
	if ch := r.empty[k.direction]; ch != nil && r.open[k.direction] == 0 {
		close(ch)
		delete(r.empty, k.direction)
	}
	return v
}

// idle returns a channel that is closed when no connection of a direction is
// open. It is for a direction that accepts no more.
func (r *registry) idle(d tap.Direction) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := make(chan struct{})
	if r.open[d] == 0 {
		close(ch)
	} else {
		r.empty[d] = ch
	}
	return ch
}

// each calls f for every open connection of a direction.
func (r *registry) each(d tap.Direction, f func(*conn)) {
	r.mu.Lock()
	var live []*conn
	for _, k := range r.live {
		if k.direction == d {
			live = append(live, k)
		}
	}
	r.mu.Unlock()
	for _, k := range live {
		f(k)
	}
}

// views returns the open connections and those that ended in the last five
// minutes, oldest first.
func (r *registry) views() (live, ended []View) {
	live, ended = []View{}, []View{}
	for _, d := range []tap.Direction{tap.In, tap.Out} {
		r.each(d, func(k *conn) { live = append(live, k.view()) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.done {
		v := r.done[(r.at+i)%len(r.done)]
		if time.Since(*v.EndTime) < historyAge {
			ended = append(ended, v)
		}
	}
	return live, ended
}

// sums returns, for a direction, what all connections add up to and how many
// are open.
func (r *registry) sums(d tap.Direction) (totals, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.total[d]
	for _, k := range r.live {
		if k.direction == d {
			for side := range t.bytes {
				t.bytes[side] += k.meter.Bytes(tap.Side(side))
			}
		}
	}
	return t, r.open[d]
}
