package proxy

import (
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// historyAge and historySize bound the list of ended connections in /connections.
	historyAge  = 5 * time.Minute
	historySize = 1024
)

// registry holds the open connections, and those that ended recently.
type registry struct {
	mu    sync.Mutex
	next  uint64
	live  map[uint64]*conn
	done  []View             // a ring, once it is full
	at    int                // index of the oldest in done
	open  [2]int             // by direction
	total [2]totals          // by direction
	fails [2]*status.Failure // by direction: the last one
	last  time.Time          // when a connection was last opened, or an ended one last carried bytes
	empty map[tap.Direction]chan struct{}
	shut  [2]bool // by direction: no more connections are accepted
}

// totals are the sums over ended connections.
type totals struct {
	accepted, failed int64
	bytes            [2]int64                       // by side
	tls              [len(intercept.Outcomes)]int64 // by the index of intercept.Outcomes
}

func newRegistry() *registry {
	return &registry{live: map[uint64]*conn{}, empty: map[tap.Direction]chan struct{}{}}
}

// add registers a connection and sets its number. It returns false if the direction takes no
// more connections.
func (r *registry) add(k *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut[k.direction] {
		return false
	}
	r.last = k.started
	r.next++
	k.id = r.next
	r.live[k.id] = k
	r.open[k.direction]++
	r.total[k.direction].accepted++
	return true
}

// count returns how many connections are open.
func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

// countOf returns how many connections of a direction are open.
func (r *registry) countOf(d tap.Direction) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[d]
}

// flow returns the description of a connection for the tap. The first flow has the
// connection's number. If the client continues with other hosts, each gets a flow with a new
// number.
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

// end removes a connection and returns its final state.
func (r *registry) end(k *conn, err error) View {
	k.mu.Lock()
	k.ended, k.err = time.Now(), err
	k.mu.Unlock()
	v := k.view()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, k.id)
	r.last = later(r.last, k.meter.Last())
	r.open[k.direction]--
	t := &r.total[k.direction]
	for side := range t.bytes {
		t.bytes[side] += k.meter.Bytes(tap.Side(side))
	}
	if err != nil {
		t.failed++
		r.fails[k.direction] = v.failure()
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
		r.shut[k.direction] = true
	}
	return v
}

// unwrapped counts the outcome of TLS on a connection.
func (r *registry) unwrapped(d tap.Direction, o intercept.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(intercept.Outcomes[:], o); i >= 0 {
		r.total[d].tls[i]++
	}
}

// failed returns the last failure of a direction; nil if there was none.
func (r *registry) failed(d tap.Direction) *status.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fails[d]
}

// drained returns a channel that is closed once no connection of a direction is open. From
// then on the direction takes no more, because a closed listener may still return the
// connection that it was accepting.
func (r *registry) drained(d tap.Direction) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := make(chan struct{})
	if r.open[d] == 0 {
		close(ch)
		r.shut[d] = true
	} else {
		r.empty[d] = ch
	}
	return ch
}

// abort resets the open connections of a direction. The direction takes no more.
func (r *registry) abort(d tap.Direction) {
	r.mu.Lock()
	r.shut[d] = true
	r.mu.Unlock()
	r.each(d, (*conn).abort)
}

// active returns when a connection was last opened or last carried bytes.
func (r *registry) active() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last
	for _, k := range r.live {
		last = later(last, k.meter.Last())
	}
	return last
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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

// sums returns the sums over all connections of a direction, open ones included, and how
// many are open.
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
