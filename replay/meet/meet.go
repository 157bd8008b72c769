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
	// Run is the folder of the run, as runs/JOB/UID.
	Run string
	report.Shard
	// Settings is a digest of what all shards of the run have alike.
	Settings string
	// Timeout is how long a shard is waited for that makes no progress, and how long a place
	// is asked that fails.
	Timeout time.Duration
	// Say is called with what a person may want to know of a place that fails, or of objects
	// that are none of the run's; nil: it is not.
	Say func(text string)
	// Now is the process's clock; nil: time.Now.
	Now func() time.Time
}

const (
	// poll is how often the place is asked whether there is news.
	poll = time.Second
	// ahead is how long before the start it is decided on: so that all find out in time.
	ahead = 3 * time.Second
	// beats is how many signs of life there are in a timeout, and maxBeat the longest time
	// between two.
	beats   = 20
	maxBeat = 30 * time.Second
	// maxGrace bounds how much longer than the timeout a part is waited for, which ends by
	// itself at the timeout and then reports.
	maxGrace = time.Minute
	// maxAhead is how far ahead a start may be, by clocks that differ.
	maxAhead = time.Hour
	// maxSpread is by how much clocks may differ without a word about it.
	maxSpread = 2 * time.Second
)

// Meeting is one process's part in a run. Its methods are called one after the other, but for
// Alive.
type Meeting struct {
	o       Options
	process string
	// begun is what start.json says; nil: it is not known yet.
	begun *begin
	// said has the objects of others that somebody was told of.
	said map[string]bool
	// marked is the object with this process's marker; "" if there is none.
	marked string
	// markers are those that were read; nil is one that counts for nothing.
	markers map[string]*marker

	beat  chan struct{} // has one if there was progress
	end   context.CancelFunc
	ended chan struct{}
}

// patience is how long a part is waited for that gives no sign of life. A run with a short
// timeout is not to wait for a minute beyond it.
func (m *Meeting) patience() time.Duration { return m.o.Timeout + min(m.o.Timeout, maxGrace) }

// Join joins a run. The caller closes the meeting.
func Join(ctx context.Context, o Options) (*Meeting, error) {
	if o.Timeout <= 0 {
		return nil, fmt.Errorf("timeout %s: want one, or a shard that is gone is waited for for ever", o.Timeout)
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

// Close ends the signs of life.
func (m *Meeting) Close() {
	m.end()
	<-m.ended
}

func (m *Meeting) key(name string) string { return m.o.Run + "/" + name }

// Standing is how far a run is when a process joins it.
type Standing int

// Standings.
const (
	// Open: the process may get ready to send its part.
	Open Standing = iota
	// Begun: the run began, and its part is another process's, or nobody's.
	Begun
	// Stored: its part has a result.
	Stored
	// Reported: the run is over.
	Reported
)

// Standing tells how far the run is. A report, or a result of the part, that is not this run's
// is an error: none can be stored in its place.
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
