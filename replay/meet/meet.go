package meet

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
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

	mu     sync.Mutex
	beaten time.Time // when the last sign of life was given
	number int       // of the next one
	beat   chan struct{}
	end    context.CancelFunc
	ended  chan struct{}
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
	m.number = all.parts[o.Index].progress + 1
	beating, end := context.WithCancel(context.WithoutCancel(ctx))
	m.end = end
	go m.beating(beating)
	return m, nil
}

// Close ends the signs of life.
func (m *Meeting) Close() {
	m.end()
	<-m.ended
}

func (m *Meeting) key(name string) string { return m.o.Run + "/" + name }

// Alive says that there is progress. It does not wait for the place.
func (m *Meeting) Alive() {
	select {
	case m.beat <- struct{}{}:
	default:
	}
}

// beating gives signs of life while there is progress.
func (m *Meeting) beating(ctx context.Context) {
	defer close(m.ended)
	every := min(maxBeat, m.o.Timeout/beats)
	before := ""
	for {
		select {
		case <-m.beat:
		case <-ctx.Done():
			return
		}
		name := m.nextBeat()
		once, cancel := context.WithTimeout(ctx, maxBeat)
		err := m.o.Store.Put(once, m.key(name), bytes.NewReader([]byte(m.process+"\n")))
		if err == nil && before != "" {
			_ = m.o.Store.Delete(once, m.key(before)) // who may not delete leaves it
		}
		cancel()
		if err == nil {
			before = name
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (m *Meeting) nextBeat() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := progressName(m.o.Index, m.number)
	m.number++
	return name
}

// listed is what a run's folder has.
type listed struct {
	names map[string]bool
	parts []partState
}

// partState is what there is of a part.
type partState struct {
	markers  map[int]time.Time // when attempts were stored
	progress int               // the highest number of a sign of life; -1 if there is none
	result   bool
}

// news tells whether a part has something that it had not.
func (p *partState) news(before *partState) bool {
	return p.progress > before.progress || len(p.markers) > len(before.markers) || p.result && !before.result
}

func (m *Meeting) list(ctx context.Context) (*listed, error) {
	var all *listed
	err := m.retried(ctx, "list", "", func(ctx context.Context) error {
		all = &listed{map[string]bool{}, make([]partState, m.o.Of)}
		for i := range all.parts {
			all.parts[i] = partState{map[int]time.Time{}, -1, false}
		}
		n := 0
		for o, err := range m.o.Store.List(ctx, m.key("")) {
			if errors.Is(err, fs.ErrNotExist) { // a directory that is made with its first file
				break
			}
			if err != nil {
				return err
			}
			if n++; n > maxObjects {
				return fmt.Errorf("%s: %w: there are more than %d objects", m.o.Run, errForeign, maxObjects)
			}
			all.add(strings.TrimPrefix(o.Key, m.key("")), o.Modified)
		}
		return nil
	})
	return all, err
}

func (l *listed) add(name string, modified time.Time) {
	l.names[name] = true
	kind, index, n, ok := parseName(name)
	if !ok || index >= len(l.parts) {
		return
	}
	p := &l.parts[index]
	switch kind {
	case "shard":
		p.markers[n] = modified
	case "progress":
		p.progress = max(p.progress, n)
	case "result":
		p.result = true
	}
}

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

// Standing tells how far the run is.
func (m *Meeting) Standing(ctx context.Context) (Standing, error) {
	all, err := m.list(ctx)
	switch {
	case err != nil:
		return Open, err
	case all.names[ReportName]:
		return Reported, nil
	case all.parts[m.o.Index].result:
		return Stored, nil
	case all.names[startName]:
		return Begun, m.readStart(ctx)
	}
	return Open, nil
}

// readStart reads what start.json says. A damaged one is an error: no shard can know when
// the others begin.
func (m *Meeting) readStart(ctx context.Context) error {
	return m.retried(ctx, "read", startName, func(ctx context.Context) error {
		b := new(begin)
		err := m.note(ctx, startName, b, func() error {
			if b.Run != m.o.Run || b.Of != m.o.Of || b.At.IsZero() {
				return fmt.Errorf("it is of %d shards of %q", b.Of, b.Run)
			}
			if m.o.Now().Add(maxAhead).Before(b.At) {
				return fmt.Errorf("the run begins %s from now", b.At.Sub(m.o.Now()).Round(time.Second))
			}
			return nil
		})
		if err == nil {
			m.begun = b
		}
		return err
	})
}

// Start says that the process is ready, and waits for the start of the run. r has what is
// known of the part's report already: what it was made of, and how many steps it has. mine
// tells whether the process is the one that sends the part.
//
// prepare is called by the process that starts the run, before it does.
func (m *Meeting) Start(ctx context.Context, r *report.Report, prepare func(context.Context) error) (at time.Time, mine bool, err error) {
	if err := m.mark(ctx, r); err != nil {
		return at, false, err
	}
	if m.o.Index == 0 {
		err = m.start(ctx, prepare)
	} else {
		err = m.awaitStart(ctx)
	}
	if err != nil && ctx.Err() != nil {
		m.unmark(ctx)
	}
	switch {
	case err != nil:
		return at, false, err
	case m.begun.Failed != "" && m.o.Index == 0:
		return at, false, errors.New(m.begun.Failed)
	}
	if m.begun.Failed != "" {
		return at, false, fmt.Errorf("part 0 did not start the run: %s", m.begun.Failed)
	}
	return m.begun.At, m.begun.Shards[m.o.Index].Process == m.process, nil
}

// mark stores the marker, under the next name that is free. It has the time of the attempt
// that succeeds, which is compared with the store's.
func (m *Meeting) mark(ctx context.Context, r *report.Report) error {
	attempt := 0
	return m.retried(ctx, "store", markerName(m.o.Index, 0), func(ctx context.Context) error {
		for ; attempt < maxAttempts; attempt++ {
			body, err := encode(marker{m.o.Run, m.o.Index, m.o.Of, m.process, m.o.Now().UTC(), r})
			if err != nil {
				return err
			}
			name := markerName(m.o.Index, attempt)
			m.marked = name
			if err := m.o.Store.Put(ctx, m.key(name), bytes.NewReader(body)); !errors.Is(err, fs.ErrExist) {
				return err
			}
			switch k, err := m.marker(ctx, name); {
			case err == nil && k.Process == m.process: // stored by an attempt before
				return nil
			case err != nil && !final(err):
				return err
			}
		}
		return fmt.Errorf("%s: %w: there are %d processes for part %d", m.o.Run, errForeign, attempt, m.o.Index)
	})
}

// unmark takes the marker of a process away that was told to end, so that the run waits for
// the one that takes its place. Who may not delete leaves it.
func (m *Meeting) unmark(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if m.marked != "" {
		_ = m.o.Store.Delete(ctx, m.key(m.marked))
	}
}

// maxAttempts bounds how many processes there may be for a part.
const maxAttempts = 1000

// start waits for all shards and starts the run, unless another process did.
func (m *Meeting) start(ctx context.Context, prepare func(context.Context) error) error {
	ready, err := m.gather(ctx)
	if err != nil || m.begun != nil {
		return err
	}
	b := begin{Run: m.o.Run, Of: m.o.Of, Shards: map[int]named{}}
	err = same(ready)
	if err == nil {
		err = prepare(ctx)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return err // whoever takes this one's place starts the run
	case err != nil:
		b.Failed = err.Error()
	}
	var early, late time.Duration // of clocks
	for index, r := range ready {
		b.Shards[index] = named{r.Process, r.name}
		if !r.modified.IsZero() {
			early, late = min(early, r.ahead), max(late, r.ahead)
		}
	}
	if spread := late - early; spread > maxSpread {
		b.Notes = append(b.Notes, fmt.Sprintf("the clocks of the shards' nodes differ by %s, so that they do not send at the same time", spread.Round(100*time.Millisecond)))
	}
	if b.At = m.o.Now().UTC(); m.o.Of > 1 {
		b.At = b.At.Add(ahead)
	}
	body, failed := encode(b)
	if failed == nil {
		failed = m.put(ctx, startName, body)
	}
	if failed != nil && !errors.Is(failed, fs.ErrExist) {
		return errors.Join(err, failed)
	}
	return m.readStart(ctx) // perhaps another's
}

// same tells whether all shards have the same recording: they divide it by what is in it.
func same(ready map[int]*readyShard) error {
	var first *readyShard
	for _, index := range slices.Sorted(maps.Keys(ready)) {
		r := ready[index]
		if first == nil {
			first = r
		}
		if got, want := r.Report.Source.SHA256, first.Report.Source.SHA256; got != want {
			return fmt.Errorf("part %d has another recording (sha256:%s) than part %d (sha256:%s): replay a snapshot, which nobody writes to", r.Index, got, first.Index, want)
		}
	}
	return nil
}

// readyShard is a process that is ready.
type readyShard struct {
	*marker
	name     string
	modified time.Time
	ahead    time.Duration // of the process's clock before the first shard's, by the store's clock
}

// gather waits until a process for each part is ready. A part whose processes make no progress
// for the timeout is left out. If another process has started the run, that is in m.begun.
func (m *Meeting) gather(ctx context.Context) (map[int]*readyShard, error) {
	w := m.newWait()
	for {
		all, err := m.list(ctx)
		if err != nil {
			return nil, err
		}
		if all.names[startName] {
			return nil, m.readStart(ctx)
		}
		ready := map[int]*readyShard{}
		for index := range all.parts {
			k, err := m.latest(ctx, index, &all.parts[index])
			if err != nil {
				return nil, err
			}
			if k != nil {
				ready[index] = k
			}
		}
		missing := w.look(all, m.o.Timeout, func(index int) bool { return ready[index] == nil })
		if len(missing) == 0 {
			first := ready[m.o.Index]
			if first == nil {
				return nil, fmt.Errorf("%s: the marker of part %d is gone", m.o.Run, m.o.Index)
			}
			for _, k := range ready {
				k.ahead = k.Written.Sub(k.modified) - first.Written.Sub(first.modified)
			}
			return ready, nil
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

// latest is the last process that is ready to send a part; nil if none is. Of the part that is
// this process's, it is this one.
func (m *Meeting) latest(ctx context.Context, index int, p *partState) (*readyShard, error) {
	for _, attempt := range slices.Backward(slices.Sorted(maps.Keys(p.markers))) {
		name := markerName(index, attempt)
		k, known := m.markers[name]
		if !known {
			err := m.retried(ctx, "read", name, func(ctx context.Context) (err error) {
				k, err = m.marker(ctx, name)
				return err
			})
			switch {
			case errors.Is(err, errForeign):
				m.tell(name, err)
				k = nil
			case errors.Is(err, fs.ErrNotExist): // taken away
				continue
			case err != nil:
				return nil, err
			}
			m.markers[name] = k
		}
		if k != nil && (index != m.o.Index || k.Process == m.process) {
			return &readyShard{marker: k, name: name, modified: p.markers[attempt]}, nil
		}
	}
	return nil, nil
}

// tell tells once of an object that is none of the run's.
func (m *Meeting) tell(name string, err error) {
	if !m.said[name] {
		m.said[name] = true
		m.o.Say(err.Error())
	}
}

// awaitStart waits for the start of the run, as long as anybody makes progress.
func (m *Meeting) awaitStart(ctx context.Context) error {
	w := m.newWait()
	for {
		all, err := m.list(ctx)
		if err != nil {
			return err
		}
		if all.names[startName] {
			return m.readStart(ctx)
		}
		if all.names[ReportName] {
			return fmt.Errorf("%s: the run is over, and has no %s", m.o.Run, startName)
		}
		if missing := w.look(all, m.patience(), func(int) bool { return true }); len(missing) == 0 {
			return fmt.Errorf("%s: part 0 did not start the run: nothing has come from any part for %s", m.o.Run, m.patience())
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// wait tells for how long nothing has come from a part.
type wait struct {
	last  *listed
	since []time.Time
}

func (m *Meeting) newWait() *wait {
	w := &wait{since: make([]time.Time, m.o.Of)}
	for i := range w.since {
		w.since[i] = time.Now()
	}
	return w
}

// look returns the parts that are wanted and still worth waiting for: something came from
// them within the patience.
func (w *wait) look(all *listed, patience time.Duration, wanted func(index int) bool) (missing []int) {
	for i := range all.parts {
		if w.last != nil && all.parts[i].news(&w.last.parts[i]) {
			w.since[i] = time.Now()
		}
		if wanted(i) && time.Since(w.since[i]) < patience {
			missing = append(missing, i)
		}
	}
	w.last = all
	return missing
}

// Finish stores the report of the part. If another process has stored one, that is the
// part's.
func (m *Meeting) Finish(ctx context.Context, r *report.Report) error {
	c := *r
	c.Shard = &report.Shard{Index: m.o.Index, Of: m.o.Of}
	c.Judge(nil) // what a report needs to be read again
	body, err := encodeReport(&c)
	if err != nil {
		return err
	}
	err = m.put(ctx, resultName(m.o.Index), body)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return m.retried(ctx, "read", resultName(m.o.Index), func(ctx context.Context) error {
		_, err := m.report(ctx, resultName(m.o.Index), m.o.Index)
		return err
	})
}

// Succeed takes the place of the process that sends the part, or sent it: it waits for that
// one's result, and stores a partial one if the process makes no progress for the timeout.
func (m *Meeting) Succeed(ctx context.Context) error {
	w := m.newWait()
	for {
		all, err := m.list(ctx)
		if err != nil {
			return err
		}
		if all.parts[m.o.Index].result {
			return nil
		}
		if m.begun.Failed != "" {
			return errors.New(m.begun.Failed)
		}
		by, sends := m.begun.Shards[m.o.Index]
		if missing := w.look(all, m.patience(), func(index int) bool { return index == m.o.Index && sends }); len(missing) == 0 {
			return m.finishFor(ctx, by, sends)
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// finishFor stores a result for a process that has none.
func (m *Meeting) finishFor(ctx context.Context, by named, sends bool) error {
	var names []string
	for _, one := range m.begun.Shards { // any shard's marker says of which run it is
		names = append(names, one.Marker)
	}
	slices.Sort(names)
	if sends {
		names = append([]string{by.Marker}, names...)
	}
	for _, name := range names {
		k, err := m.marker(ctx, name)
		if errors.Is(err, errForeign) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		r := k.Report
		r.Started, r.Ended = m.begun.At, m.begun.At
		r.Partial = "its process ended without a result, and another one took its place"
		if !sends {
			r.Partial = "it came after the run had begun"
		}
		if !sends || name != by.Marker {
			r.Source.Steps, r.Needs, r.Ambiguous = 0, nil, nil // another part's
		}
		return m.Finish(ctx, r)
	}
	return fmt.Errorf("%s: part %d has neither a result nor a marker that can be read", m.o.Run, m.o.Index)
}

// Collect waits for the results of all parts, those of lost ones excepted, and returns them
// with what there is to know about the shards.
func (m *Meeting) Collect(ctx context.Context) (results []*report.Report, notes []string, err error) {
	if m.begun == nil {
		if err := m.readStart(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	if m.begun != nil {
		notes = append(notes, m.begun.Notes...)
	}
	have := make([]*report.Report, m.o.Of)
	damaged := make([]bool, m.o.Of)
	w := m.newWait()
	for {
		all, err := m.list(ctx)
		if err != nil {
			return nil, nil, err
		}
		for i := range all.parts {
			if have[i] != nil || damaged[i] || !all.parts[i].result {
				continue
			}
			err := m.retried(ctx, "read", resultName(i), func(ctx context.Context) (err error) {
				have[i], err = m.report(ctx, resultName(i), i)
				return err
			})
			switch {
			case errors.Is(err, errForeign):
				damaged[i] = true
				notes = append(notes, err.Error())
				m.tell(resultName(i), err)
			case err != nil:
				return nil, nil, err
			}
		}
		if missing := w.look(all, m.patience(), func(i int) bool { return have[i] == nil && !damaged[i] && m.sends(i) }); len(missing) == 0 {
			break
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range have {
		if r != nil {
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return nil, nil, fmt.Errorf("%s: no part has a result", m.o.Run)
	}
	return results, notes, nil
}

// sends tells whether a process sends, or sent, a part.
func (m *Meeting) sends(index int) bool {
	if m.begun == nil {
		return true // it is not known
	}
	_, ok := m.begun.Shards[index]
	return ok
}

// Publish stores the report of the run in all forms, and returns the one that counts: if a
// process before had come so far, that is its report.
func (m *Meeting) Publish(ctx context.Context, r *report.Report) (*report.Report, error) {
	body, err := encodeReport(r)
	if err != nil {
		return nil, err
	}
	kept, err := m.Keep(ctx, mergedName, body)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(kept, body) {
		if r, err = m.whole(ctx, mergedName); err != nil {
			return nil, err
		}
	}
	for _, f := range forms {
		var text bytes.Buffer
		if err := write(&text, f.form, r); err != nil {
			return nil, err
		}
		if err := m.put(ctx, f.name, text.Bytes()); errors.Is(err, fs.ErrExist) {
			m.tell(f.name, err)
		} else if err != nil {
			return nil, err
		}
	}
	if err := m.put(ctx, ReportName, kept); err != nil {
		return nil, err
	}
	return r, nil
}

// Report returns the report of a run that is over.
func (m *Meeting) Report(ctx context.Context) (*report.Report, error) {
	return m.whole(ctx, ReportName)
}

// whole reads a report of all parts.
func (m *Meeting) whole(ctx context.Context, name string) (r *report.Report, err error) {
	err = m.retried(ctx, "read", name, func(ctx context.Context) (err error) {
		r, err = m.report(ctx, name, -1)
		return err
	})
	return r, err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
