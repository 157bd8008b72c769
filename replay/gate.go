package replay

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/plan"
)

// job is a request to send.
type job struct {
	step     int
	recorded plan.Step // set when the step is sent
	of       *pass
	// scheduled is when the schedule alone would send the request, and due is when it is due. Both
	// count from the start.
	scheduled, due time.Duration
	waits          int // number of answers that the job still waits for
}

// pass is one pass over the recording, with its own live values.
type pass struct {
	live, baseline *side

	mu       sync.Mutex
	answered []uint64 // a bit for each step
	left     int      // steps without an answer
	waiting  map[int][]*job
}

// newPass returns a pass in which steps steps are sent.
func newPass(g *carry.Graph, o carry.StateOptions, steps int, baseline bool) *pass {
	p := &pass{live: newSide(g, o), answered: make([]uint64, (g.Steps()+63)/64), left: steps}
	if baseline {
		p.baseline = newSide(g, o)
	}
	return p
}

// admit reports whether all answers that the job depends on have arrived. If not, [pass.done]
// returns the job later.
func (p *pass) admit(j *job, after []int) bool {
	if len(after) == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, step := range after {
		if p.answered[step/64]>>(step%64)&1 != 0 {
			continue
		}
		if p.waiting == nil {
			p.waiting = map[int][]*job{}
		}
		p.waiting[step] = append(p.waiting[step], j)
		j.waits++
	}
	return j.waits == 0
}

// done notes that a step was answered or never will be. It returns the jobs that were waiting only
// for this step. over reports whether it was the last step of the pass.
func (p *pass) done(step int, now time.Duration) (free []*job, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[step/64] |= 1 << (step % 64)
	for _, j := range p.waiting[step] {
		if j.waits--; j.waits == 0 {
			j.due = max(j.scheduled, now)
			free = append(free, j)
		}
	}
	delete(p.waiting, step)
	p.left--
	p.live.done(step)
	if p.baseline != nil {
		p.baseline.done(step)
	}
	return free, p.left == 0
}

// side has the values that one server, target or baseline, issued during a pass.
type side struct {
	*carry.State
	g *carry.Graph

	mu      sync.Mutex
	carried map[int]*compare.Carried // by session
	ended   map[int]int              // number of steps that are done, by unfinished session
}

func newSide(g *carry.Graph, o carry.StateOptions) *side {
	return &side{State: g.NewState(o), g: g, carried: map[int]*compare.Carried{}, ended: map[int]int{}}
}

// done forgets the values of a session once all its steps are done, so that memory holds only those
// of open sessions.
func (s *side) done(step int) {
	session := s.g.Session(step)
	size := s.g.SessionSize(session)
	s.mu.Lock()
	if size > 1 {
		if s.ended[session]++; s.ended[session] < size {
			s.mu.Unlock()
			return
		}
		delete(s.ended, session)
	}
	delete(s.carried, session)
	s.mu.Unlock()
	s.Forget(session)
}

// answered takes the values that an answer issues. If a recorded value is a token, token
// redacts the live one, so that comparisons see no secrets.
func (s *side) answered(step int, recorded, live *recording.Exchange, token func(string) string) {
	if !s.Issues(step) {
		return
	}
	pairs := s.Answered(step, recorded, live)
	if len(pairs) == 0 {
		return
	}
	session := s.g.Session(step)
	s.mu.Lock()
	c := s.carried[session]
	if c == nil {
		c = new(compare.Carried)
		s.carried[session] = c
	}
	s.mu.Unlock()
	for _, p := range pairs {
		if token != nil && redact.IsToken(p.Recorded) {
			p.Live = token(p.Live)
		}
		c.Add(p.Recorded, p.Live)
	}
}

// known returns the values that a step's session was given, or nil if there are none.
func (s *side) known(step int) *compare.Carried {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.carried[s.g.Session(step)]
}
