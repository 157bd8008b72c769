package tap

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Reader that keeps everything, in order.
type recorder struct {
	mu     sync.Mutex
	side   [2]bytes.Buffer
	gaps   [2]int64
	order  []Side
	closed int
}

func (r *recorder) Data(side Side, _ time.Time, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.side[side].Write(p)
	r.order = append(r.order, side)
}

func (r *recorder) Gap(side Side, _ time.Time, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps[side] += n
}

func (r *recorder) Close(time.Time) { r.closed++ }

func shutdown(t *testing.T, tp *Tap) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := tp.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	s := tp.Stats()
	if s.Used != 0 {
		t.Errorf("%d bytes are still charged after shutdown", s.Used)
	}
	sum := s.Delivered + s.Unwanted
	for _, d := range s.Dropped {
		sum += d.Bytes
	}
	if sum != s.Written {
		t.Errorf("written %d bytes, accounted for %d: %+v", s.Written, sum, s)
	}
}

// chunks writes random chunks of every size class and returns what it wrote.
func chunks(tp *Tap, s *Stream, side Side, count int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var all []byte
	for range count {
		b := tp.Pool().Get(Class(rnd.IntN(len(sizes))))
		n := 1 + rnd.IntN(len(b.B))
		if rnd.IntN(2) == 0 {
			n = 1 + rnd.IntN(300)
		}
		for i := range n {
			b.B[i] = byte(rnd.Uint32())
		}
		all = append(all, b.B[:n]...)
		s.Write(side, time.Now(), b, n)
		b.Release()
	}
	return all
}

func TestEveryByteArrivesInOrder(t *testing.T) {
	var mu sync.Mutex
	readers := map[uint64]*recorder{}
	tp := New(Config{Limit: 1 << 30, Workers: 3, Open: func(f *Flow) Reader {
		r := &recorder{}
		mu.Lock()
		defer mu.Unlock()
		readers[f.ID] = r
		return r
	}})
	var want [20][2][]byte
	var flows sync.WaitGroup
	for id := range want {
		flows.Go(func() {
			s := tp.Open(&Flow{ID: uint64(id)})
			var sides sync.WaitGroup
			for _, side := range []Side{FromClient, FromServer} {
				sides.Go(func() { want[id][side] = chunks(tp, s, side, 40, uint64(id*2)+uint64(side)) })
			}
			sides.Wait()
			s.Close(time.Now())
		})
	}
	flows.Wait()
	shutdown(t, tp)
	for id := range want {
		r := readers[uint64(id)]
		for side := range want[id] {
			if !bytes.Equal(r.side[side].Bytes(), want[id][side]) {
				t.Errorf("flow %d: the %v's bytes differ", id, Side(side))
			}
		}
		if r.closed != 1 {
			t.Errorf("flow %d: closed %d times", id, r.closed)
		}
	}
}

func TestAnAnswerFollowsItsRequest(t *testing.T) {
	r := &recorder{}
	tp := New(Config{Limit: 1 << 20, Open: func(*Flow) Reader { return r }})
	s := tp.Open(&Flow{})
	for range 1000 {
		s.Copy(FromClient, time.Now(), []byte("ping"))
		s.Copy(FromServer, time.Now(), []byte("pong"))
	}
	s.Close(time.Now())
	shutdown(t, tp)
	for i, side := range r.order {
		if side != Side(i%2) {
			t.Fatalf("chunk %d came from the %v", i, side)
		}
	}
}

// journal lists the input of several Readers, in order.
type journal struct {
	mu   sync.Mutex
	said []string
	// holds makes a Reader that is given a chunk wait until the channel is closed. entered says
	// that it waits.
	holds   map[string]chan struct{}
	entered chan string
}

func (j *journal) Data(_ Side, _ time.Time, p []byte) {
	j.mu.Lock()
	j.said = append(j.said, string(p))
	hold := j.holds[string(p)]
	j.mu.Unlock()
	if hold != nil {
		j.entered <- string(p)
		<-hold
	}
}
func (j *journal) Gap(side Side, _ time.Time, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.said = append(j.said, fmt.Sprint(side, " lost ", n))
}
func (j *journal) Close(time.Time) {}

// Readers get an inbound request before the outbound call that it caused, even if a worker is
// still reading earlier traffic of the inbound connection.
func TestACallIsReadAfterItsCause(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			j := &journal{entered: make(chan string), holds: map[string]chan struct{}{"in 1": make(chan struct{}), "in 2": make(chan struct{})}}
			tp := New(Config{Limit: 1 << 20, Workers: workers, Open: func(*Flow) Reader { return j }})
			in, out := tp.Open(&Flow{Direction: In}), tp.Open(&Flow{Direction: Out})
			write := func(s *Stream, text string) { s.Copy(FromClient, time.Now(), []byte(text)) }

			write(in, "in 1")
			<-j.entered
			write(in, "in 2")
			write(out, "out 2")
			tp.release() // where there are two workers, one has the outbound stream now
			close(j.holds["in 1"])
			<-j.entered
			write(in, "in 3")
			write(out, "out 3")
			close(j.holds["in 2"])
			in.Close(time.Now())
			out.Close(time.Now())
			shutdown(t, tp)
			at := map[string]int{}
			for i, text := range j.said {
				at[text] = i
			}
			for _, n := range []string{" 2", " 3"} {
				if at["out"+n] < at["in"+n] {
					t.Errorf("read in the order %q", j.said)
				}
			}
		})
	}
}

// A reader that never returns fills the tap. Writers must not notice, and the counters and the
// reader must have the exact number of lost bytes.
func TestAFullTapDropsAndCounts(t *testing.T) {
	hold := make(chan struct{})
	r := &recorder{}
	tp := New(Config{Limit: 256 << 10, Workers: 1, Open: func(*Flow) Reader { <-hold; return r }})
	s := tp.Open(&Flow{})
	sent := [2]int{}
	for i := range 200 {
		for _, side := range []Side{FromClient, FromServer} {
			sent[side] += len(chunks(tp, s, side, 1, uint64(i)))
		}
	}
	if used := tp.Stats().Used; used > 256<<10 {
		t.Errorf("the tap holds %d bytes, its limit is %d", used, 256<<10)
	}
	lost := tp.Stats().Dropped[ReasonFull].Bytes
	if lost == 0 {
		t.Fatal("nothing was dropped although nobody read")
	}
	close(hold)
	s.Close(time.Now())
	shutdown(t, tp)
	if got := r.gaps[0] + r.gaps[1]; got != lost {
		t.Errorf("the reader got gaps of %d bytes, the counter says %d", got, lost)
	}
	for side := range sent {
		if got := r.side[side].Len() + int(r.gaps[side]); got != sent[side] {
			t.Errorf("%v: given and lost are %d bytes, sent were %d", Side(side), got, sent[side])
		}
	}
}

// Once the bound on buffers is reached, only small ones are allowed until some are given back.
func TestFewBuffersAreLarge(t *testing.T) {
	var p Pool
	p.Bound(100 << 10)
	var held []*Buffer
	for range 4 {
		held = append(held, p.Get(p.Allow(2)))
	}
	var sizes []int
	for _, b := range held {
		sizes = append(sizes, len(b.B))
	}
	if want := []int{64 << 10, 64 << 10, 4 << 10, 4 << 10}; !slices.Equal(sizes, want) {
		t.Errorf("the buffers have %d bytes, want %d", sizes, want)
	}
	held[0].Retain()
	held[0].Release()
	if p.Allow(1) != 0 {
		t.Error("a buffer that is still held was taken for one that was given back")
	}
	for _, b := range held {
		b.Release()
	}
	if p.Allow(1) != 1 {
		t.Error("the bound holds although all buffers were given back")
	}
	if new(Pool).Allow(2) != 2 {
		t.Error("a pool without a bound has one")
	}
}

// A reader gets a gap on one side before it gets more of the other. So a reader of a request knows
// whether the answer before it is still to come.
func TestAGapStandsWhereItWasLost(t *testing.T) {
	j := new(journal)
	tp := New(Config{Limit: 1 << 20, Open: func(*Flow) Reader { return j }})
	s := tp.Open(&Flow{})
	s.Copy(FromClient, time.Now(), []byte("ask"))
	tp.used.Add(1 << 20) // full
	s.Copy(FromServer, time.Now(), []byte("answer"))
	s.Copy(FromClient, time.Now(), []byte("next"))
	tp.used.Add(-1 << 20)
	s.Copy(FromClient, time.Now(), []byte("ask again"))
	s.Close(time.Now())
	shutdown(t, tp)
	if want := []string{"ask", "server lost 6", "client lost 4", "ask again"}; !slices.Equal(j.said, want) {
		t.Errorf("read %q, want %q", j.said, want)
	}
}

// patient waits for a number of ticks.
type patient struct {
	recorder
	left    int
	elapsed chan time.Time
	late    bool // it was asked after its end
}

func (p *patient) Waits() bool {
	p.late = p.late || p.closed > 0
	return p.left > 0
}
func (p *patient) Tick(now time.Time) {
	p.left--
	p.elapsed <- now
}

// The tap calls Tick for a reader that waits, even if no bytes come, and not for other readers.
func TestTimePassesForThoseWhoWait(t *testing.T) {
	p := &patient{left: 2, elapsed: make(chan time.Time)}
	tp := New(Config{Limit: 1 << 20, Tick: time.Millisecond, Open: func(f *Flow) Reader {
		if f.ID == 1 {
			return p
		}
		return &recorder{}
	}})
	began := time.Now()
	waits, not := tp.Open(&Flow{ID: 1}), tp.Open(&Flow{ID: 2})
	for _, s := range []*Stream{waits, not} {
		s.Copy(FromClient, time.Now(), []byte("hello"))
	}
	first, second := <-p.elapsed, <-p.elapsed
	if first.Sub(began) < time.Millisecond || second.Sub(first) < time.Millisecond {
		t.Errorf("ticks %v and %v after the beginning", first.Sub(began), second.Sub(began))
	}
	waits.Close(time.Now())
	not.Close(time.Now())
	shutdown(t, tp)
	if len(tp.waiting) > 0 {
		t.Error("a stream waits although its reader doesn't")
	}
}

// A stream that ends while it waits is forgotten, and Shutdown waits for no tick.
func TestNoTickAfterTheEnd(t *testing.T) {
	p := &patient{left: 1}
	tp := New(Config{Limit: 1 << 20, Tick: time.Hour, Open: func(*Flow) Reader { return p }})
	s := tp.Open(&Flow{})
	s.Copy(FromClient, time.Now(), []byte("hello"))
	s.Close(time.Now())
	shutdown(t, tp)
	tp.tick()
	if p.left != 1 || p.closed != 1 || p.late {
		t.Errorf("%d ticks, closed %d times, asked after the end: %v", 1-p.left, p.closed, p.late)
	}
}

type panicking struct{ recorder }

func (p *panicking) Data(_ Side, _ time.Time, b []byte) {
	if bytes.Equal(b, []byte("boom")) {
		panic("a decoder's bug")
	}
}

func TestAPanicLosesItsFlowAlone(t *testing.T) {
	healthy := &recorder{}
	var said string
	tp := New(Config{Limit: 1 << 20, Workers: 1,
		Open: func(f *Flow) Reader {
			if f.ID == 1 {
				return &panicking{}
			}
			return healthy
		},
		Panicked: func(f *Flow, v any, _ []byte) { said = fmt.Sprint(f.ID, " ", v) },
	})
	bad, good := tp.Open(&Flow{ID: 1}), tp.Open(&Flow{ID: 2})
	for _, p := range []string{"fine", "boom", "lost"} {
		bad.Copy(FromClient, time.Now(), []byte(p))
		good.Copy(FromClient, time.Now(), []byte(p))
	}
	bad.Close(time.Now())
	good.Close(time.Now())
	shutdown(t, tp)
	if said != "1 a decoder's bug" {
		t.Errorf("the panic was reported as %q", said)
	}
	if got := healthy.side[FromClient].String(); got != "fineboomlost" {
		t.Errorf("the other flow's reader got %q", got)
	}
	if got := tp.Stats().Dropped[ReasonPanic]; got != (Loss{Chunks: 2, Bytes: 8}) {
		t.Errorf("counted %+v", got)
	}
}

func TestAnUnwantedFlowIsNotKept(t *testing.T) {
	tp := New(Config{Limit: 1 << 24, Open: func(*Flow) Reader { return nil }}) // room for all until the worker comes
	s := tp.Open(&Flow{})
	for i := range 100 {
		chunks(tp, s, FromClient, 1, uint64(i))
	}
	s.Close(time.Now())
	shutdown(t, tp)
	if s := tp.Stats(); s.Unwanted != s.Written {
		t.Errorf("%+v", s)
	}
}

// readers opens a new recorder each time, and keeps them in order.
type readers struct{ all []*recorder }

func (r *readers) open(*Flow) Reader {
	r.all = append(r.all, new(recorder))
	return r.all[len(r.all)-1]
}

// A paused tap holds nothing. It closes a flow's Reader, and a new one learns what it missed
// before it gets more.
func TestAPausedTapHoldsNothing(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("a flow that spoke before: %v", before), func(t *testing.T) {
			var paused atomic.Bool
			var readers readers
			tp := New(Config{Limit: 1 << 24, Workers: 1, Open: readers.open, Paused: &paused})
			s := tp.Open(&Flow{})
			var first, last []byte
			if before {
				first = chunks(tp, s, FromClient, 5, 1)
			}
			paused.Store(true)
			missed := [2]int{len(chunks(tp, s, FromClient, 50, 2)), len(chunks(tp, s, FromServer, 50, 3))}
			eventually(t, func() bool { return tp.Stats().Used == 0 })
			if got := tp.Stats(); got.Unwanted != int64(missed[0]+missed[1]) || got.Delivered != int64(len(first)) {
				t.Errorf("while it was paused: %+v", got)
			}
			paused.Store(false)
			last = chunks(tp, s, FromServer, 5, 4)
			s.Close(time.Now())
			shutdown(t, tp)
			if before {
				if r := readers.all[0]; r.closed != 1 || !bytes.Equal(r.side[FromClient].Bytes(), first) || r.gaps != [2]int64{} {
					t.Errorf("the first reader was closed %d times, and told of %v lost", r.closed, r.gaps)
				}
				readers.all = readers.all[1:]
			}
			if len(readers.all) != 1 {
				t.Fatalf("%d readers followed", len(readers.all))
			}
			r := readers.all[0]
			if r.closed != 1 || r.gaps != [2]int64{int64(missed[0]), int64(missed[1])} || !bytes.Equal(r.side[FromServer].Bytes(), last) {
				t.Errorf("the last reader was closed %d times, told of %v lost, and given %d bytes", r.closed, r.gaps, r.side[FromServer].Len())
			}
			if d := tp.Stats().Dropped[ReasonFull]; d.Bytes != 0 {
				t.Errorf("%d bytes count as dropped, and nobody wanted them", d.Bytes)
			}
		})
	}
}

// A flow without bytes after a pause has no reader for those that came during the pause.
func TestAFlowThatWasPausedToItsEndIsNotRead(t *testing.T) {
	var paused atomic.Bool
	var readers readers
	tp := New(Config{Limit: 1 << 24, Workers: 1, Open: readers.open, Paused: &paused})
	s := tp.Open(&Flow{})
	paused.Store(true)
	chunks(tp, s, FromClient, 3, 1)
	paused.Store(false)
	s.Close(time.Now())
	shutdown(t, tp)
	if len(readers.all) > 0 {
		t.Errorf("%d readers were opened", len(readers.all))
	}
}

// If a reader waits for ticks when the tap is paused, the next reader still gets ticks.
func TestTimePassesForThoseWhoFollowAPause(t *testing.T) {
	var paused atomic.Bool
	opened := make(chan *patient, 2)
	tp := New(Config{Limit: 1 << 24, Workers: 1, Paused: &paused, Tick: 20 * time.Millisecond, Open: func(*Flow) Reader {
		p := &patient{left: 1, elapsed: make(chan time.Time, 1)}
		opened <- p
		return p
	}})
	s := tp.Open(&Flow{})
	say := func() { s.Copy(FromClient, time.Now(), []byte("hello")) }
	say()
	<-opened // it waits from now on
	paused.Store(true)
	say()
	eventually(t, func() bool { // the tick came, and there was no reader
		s.mu.Lock()
		defer s.mu.Unlock()
		tp.mu.Lock()
		defer tp.mu.Unlock()
		return len(tp.waiting) == 0 && s.events == nil && !s.queued
	})
	paused.Store(false)
	say()
	<-(<-opened).elapsed
	s.Close(time.Now())
	shutdown(t, tp)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
	}
}

func TestShutdownGivesUpOnAStuckReader(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{})
	tp := New(Config{Limit: 1 << 20, Workers: 1, Open: func(*Flow) Reader { close(entered); <-hold; return nil }})
	stuck, waiting := tp.Open(&Flow{}), tp.Open(&Flow{})
	stuck.Copy(FromClient, time.Now(), []byte("x"))
	<-entered
	waiting.Copy(FromClient, time.Now(), []byte("four"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tp.Shutdown(ctx); err == nil {
		t.Error("no error although a reader is stuck")
	}
	waiting.Copy(FromClient, time.Now(), []byte("late"))
	if got := tp.Stats().Dropped[ReasonShutdown]; got != (Loss{Chunks: 2, Bytes: 8}) {
		t.Errorf("counted %+v", got)
	}
	close(hold)
	tp.workers.Wait()
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var seen int64
			tp := New(Config{Limit: 64 << 20, Open: func(*Flow) Reader { return &counting{&seen} }})
			s := tp.Open(&Flow{})
			class := Class(0)
			for sizes[class] < size {
				class++
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			now := time.Now()
			for b.Loop() {
				buf := tp.Pool().Get(class)
				s.Write(FromClient, now, buf, size)
				buf.Release()
			}
			s.Close(now)
			_ = tp.Shutdown(context.Background())
		})
	}
}

type counting struct{ n *int64 }

func (c *counting) Data(_ Side, _ time.Time, p []byte) { *c.n += int64(len(p)) }
func (c *counting) Gap(Side, time.Time, int64)         {}
func (c *counting) Close(time.Time)                    {}
