package meet

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

// Options say where and how shards meet.
type Options struct {
	Store store.Store
	// Run is the folder of the run, such as runs/JOB/UID.
	Run string
	report.Shard
	// Settings is a digest of the settings that all shards of the run must share.
	Settings string
	// Timeout is how long to wait for a shard that makes no progress, and how long to retry a place
	// that fails.
	Timeout time.Duration
	// Say receives messages for people about a place that fails, or about objects that do not belong
	// to the run. It may be nil.
	Say func(text string)
	// Now is the process's clock. The default is time.Now.
	Now func() time.Time
}

const (
	// poll is the time between two looks at the place.
	poll = time.Second
	// ahead is how long before the start start.json is stored, so that all shards read it in time.
	ahead = 3 * time.Second
	// beats is the number of signs of life during a timeout. maxBeat bounds the time between two.
	beats   = 20
	maxBeat = 30 * time.Second
	// maxGrace bounds how much longer than the timeout to wait for a part, because a process that
	// ends at the timeout still has to report.
	maxGrace = time.Minute
	// maxAhead is how far in the future the start may be, because clocks differ.
	maxAhead = time.Hour
	// maxSpread is how much clocks may differ before the report mentions it.
	maxSpread = 2 * time.Second
)

// Meeting is a process's membership in a run. Only Alive may be called while another method runs.
type Meeting struct {
	o       Options
	process string
	// begun is the content of start.json, or nil before it was read.
	begun *begin
	// said holds the foreign objects that were reported already.
	said map[string]bool
	// marked is the name of this process's marker, or "" if it has stored none.
	marked string
	// markers holds the markers that were read, by name. One that is not the run's is nil.
	markers map[string]*marker

	beat  chan struct{} // holds one element if there was progress
	end   context.CancelFunc
	ended chan struct{}
}

// patience is how long to wait for a part that gives no sign of life. With a short timeout,
// the grace is short, too.
func (m *Meeting) patience() time.Duration { return m.o.Timeout + min(m.o.Timeout, maxGrace) }

// Join joins a run. The caller closes the meeting.
func Join(ctx context.Context, o Options) (*Meeting, error) {
	if o.Timeout <= 0 {
		return nil, fmt.Errorf("timeout %s: want a positive duration, otherwise the run would wait forever for a lost shard", o.Timeout)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	m := &Meeting{o: o, process: strings.ToLower(rand.Text()), said: map[string]bool{}, markers: map[string]*marker{}, beat: make(chan struct{}, 1), ended: make(chan struct{})}
	all, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	beating, end := context.WithCancel(context.WithoutCancel(ctx))
	m.end = end
	go m.beating(beating, all.parts[o.Index].progress+1)
	return m, nil
}

// Close stops the signs of life.
func (m *Meeting) Close() {
	m.end()
	<-m.ended
}

func (m *Meeting) key(name string) string { return m.o.Run + "/" + name }

// Standing says how far a run is when a process joins it.
type Standing int

// Standings.
const (
	// Open: the process may prepare to send its part.
	Open Standing = iota
	// Begun: the run began, and another process sends the part, or nobody does.
	Begun
	// Stored: the part has a result.
	Stored
	// Reported: the run is over.
	Reported
)

// Standing returns how far the run has come. It returns an error if the report, or the result of the
// part, belongs to another run: objects are stored once, so nothing can replace it.
func (m *Meeting) Standing(ctx context.Context) (Standing, error) {
	all, err := m.list(ctx)
	if err == nil && all.names[startName] {
		err = m.readStart(ctx)
	}
	switch {
	case err != nil:
		return Open, err
	case all.names[ReportName]:
		_, err := m.stored(ctx, ReportName, -1)
		return Reported, err
	case all.parts[m.o.Index].result:
		return Stored, m.result(ctx)
	case all.parts[m.o.Index].failed:
		return Open, m.failed(ctx, m.o.Index)
	case all.names[startName]:
		return Begun, nil
	}
	return Open, nil
}
