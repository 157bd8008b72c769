package pump

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// eventsPerRound is the maximum number of events that a loop gets from epoll at a time.
const eventsPerRound = 128

// Loops move the bytes of pairs of TCP connections. Each loop is a goroutine that serves
// many pairs:
//
//	Go's poller ──"something is ready"──▶ loop ──▶ epoll: what? ──▶ read ─▶ tap ─▶ write
//
// With TLS, or without epoll, two goroutines for each pair do the same. They cost two
// stacks for each pair, a switch for each message, and an empty read after each
// successful one. The empty read is necessary because Go's poller does not report
// the peer's end; epoll does.
//
// Go's poller watches the loop's epoll instance, so an idle loop is a parked goroutine
// and not a blocked thread.
type Loops struct {
	loops   []*loop
	next    atomic.Uint32
	running sync.WaitGroup
}

// NewLoops starts n loops that take their buffers from pool.
func NewLoops(pool *tap.Pool, n int) (*Loops, error) {
	l := &Loops{}
	for range n {
		one, err := newLoop(pool)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("make an epoll instance: %w", err)
		}
		l.loops = append(l.loops, one)
		l.running.Go(one.run)
	}
	return l, nil
}

// Close ends the loops. All pairs must have ended.
func (l *Loops) Close() {
	for _, one := range l.loops {
		_ = one.file.Close()
	}
	l.running.Wait()
}

// adopt takes over a pair from Go's poller and moves its bytes. If it can't, it returns false
// and leaves the pair unchanged.
func (l *Loops) adopt(p *Pump, client, server *Conn, ended func(error)) bool {
	if l == nil {
		return false
	}
	q := &pair{Pump: p, over: ended, loop: l.loops[int(l.next.Add(1))%len(l.loops)]}
	if !q.take(client, server) {
		return false
	}
	q.loop.add(q)
	return true
}

// loop is one goroutine and the pairs that it serves.
type loop struct {
	pool *tap.Pool
	file *os.File // the epoll instance
	conn syscall.RawConn
	fd   int

	events  [eventsPerRound]unix.EpollEvent
	buffers [tap.Classes]*tap.Buffer // buffers to read into; nil until they are needed
	again   []*end                   // ends that had their turn and may have more bytes

	mu    sync.Mutex
	slots []slot
	free  []int32
}

// slot maps an event to its connection. The generation distinguishes events of a connection
// that has ended from events of the next connection in the slot.
type slot struct {
	end        *end
	generation int32
}

func newLoop(pool *tap.Pool) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // Go polls only non-blocking files
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &loop{pool: pool, file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if l.conn, err = l.file.SyscallConn(); err != nil {
		_ = l.file.Close()
		return nil, err
	}
	return l, nil
}

// add begins to serve a pair, unless the pair has ended since it was taken.
func (l *loop) add(q *pair) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	var events [len(q.ends)]unix.EpollEvent
	for i := range q.ends { // both need a slot before one can fail, because close frees both
		events[i] = l.reserve(&q.ends[i])
	}
	for i := range q.ends {
		if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, q.ends[i].fd, &events[i]); err != nil {
			q.close(true, os.NewSyscallError("epoll_ctl", err))
			return
		}
	}
}

// noSlot is the slot of an end that the loop doesn't serve yet.
const noSlot = -1

// reserve gives an end a slot, and returns the event to register with epoll.
func (l *loop) reserve(e *end) unix.EpollEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		l.free = append(l.free, int32(len(l.slots)))
		l.slots = append(l.slots, slot{})
	}
	e.slot = l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.slots[e.slot].end = e
	return unix.EpollEvent{Events: interest, Fd: e.slot, Pad: l.slots[e.slot].generation}
}

// interest selects all events. Epoll reports each change once (EPOLLET).
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// remove forgets an end, if it was added.
func (l *loop) remove(e *end) {
	if e.slot == noSlot {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[e.slot].end = nil
	l.slots[e.slot].generation++
	l.free = append(l.free, e.slot)
}

// find returns the end that an event belongs to; nil if the end is closed.
func (l *loop) find(event *unix.EpollEvent) *end {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.slots[event.Fd]; s.generation == event.Pad {
		return s.end
	}
	return nil
}

// run serves until the epoll instance is closed.
func (l *loop) run() {
	// All rounds run in one call, because Go's poller forgets events between two calls.
	_ = l.conn.Read(func(uintptr) bool {
		for l.round() {
			runtime.Gosched() // let the tap's workers run, which have work now
		}
		return false
	})
}

// round serves each ready end once, and reports whether there may be more.
func (l *loop) round() bool {
	n, err := ready(l.fd, l.events[:])
	if err != nil {
		return err == unix.EINTR
	}
	for i := range l.events[:n] {
		event := &l.events[i]
		if e := l.find(event); e != nil {
			e.pair.happened(e, event.Events)
		}
	}
	again := l.again
	l.again = nil
	for _, e := range again {
		e.pair.turn(e)
	}
	if n < len(l.events) && len(l.again) == 0 {
		l.again = again[:0]
		return false
	}
	return true
}

// buffer returns the buffer to read into.
func (l *loop) buffer(c tap.Class) *tap.Buffer {
	if l.buffers[c] == nil {
		l.buffers[c] = l.pool.Get(c)
	}
	return l.buffers[c]
}

// used releases the buffer of a class if others hold it, too.
func (l *loop) used(c tap.Class) {
	if b := l.buffers[c]; b.Shared() {
		b.Release()
		l.buffers[c] = nil
	}
}
