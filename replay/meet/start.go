package meet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/report"
)

// readStart reads start.json. It returns an error if the object is damaged, because the shards could
// not begin together.
func (m *Meeting) readStart(ctx context.Context) error {
	return m.retried(ctx, "read", startName, func(ctx context.Context) error {
		b := new(begin)
		err := m.note(ctx, startName, b, func() error {
			if b.Run != m.o.Run || b.Of != m.o.Of || b.At.IsZero() {
				return fmt.Errorf("it belongs to %d shards of %q", b.Of, b.Run)
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

// Start stores that the process is ready, and waits for the start of the run. r has the fields of
// the part's report that are already known: its source and its number of steps. mine reports
// whether this process sends the part.
//
// The process that starts the run first calls prepare. Prepared returns its result.
func (m *Meeting) Start(ctx context.Context, r *report.Report, prepare func(context.Context) (string, error)) (at time.Time, mine bool, err error) {
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
	if err != nil {
		return at, false, err
	}
	return m.begun.At, m.begun.Shards[m.o.Index].Process == m.process, nil
}

// Prepared returns the result of prepare, whichever process called it, or "" before the run begins.
func (m *Meeting) Prepared() string {
	if m.begun == nil {
		return ""
	}
	return m.begun.Prepared
}

// mark stores the marker under the next free name. Each attempt writes a new time, because it is
// compared with the time at which the store received the marker.
func (m *Meeting) mark(ctx context.Context, r *report.Report) error {
	header := *r
	header.Run, header.Settings = m.o.Run, m.o.Settings
	attempt := 0
	return m.retried(ctx, "store", markerName(m.o.Index, 0), func(ctx context.Context) error {
		for ; attempt < maxAttempts; attempt++ {
			body, err := encode(marker{m.o.Run, m.o.Index, m.o.Of, m.process, m.o.Now().UTC(), &header})
			if err != nil {
				return err
			}
			name := markerName(m.o.Index, attempt)
			m.marked = name
			if err := m.o.Store.Put(ctx, m.key(name), bytes.NewReader(body)); !errors.Is(err, fs.ErrExist) {
				return err
			}
			switch k, err := m.marker(ctx, name); {
			case err == nil && k.Process == m.process: // stored by an earlier attempt
				return nil
			case err != nil && !final(err):
				return err
			}
		}
		return fmt.Errorf("%s: %w: there are %d processes for part %d", m.o.Run, errForeign, attempt, m.o.Index)
	})
}

// unmark deletes the marker, so that the run waits for the replacement of this process. Without
// the right to delete, the marker remains.
func (m *Meeting) unmark(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if m.marked != "" {
		_ = m.o.Store.Delete(ctx, m.key(m.marked))
	}
}

// maxAttempts bounds the number of processes for a part.
const maxAttempts = 1000

// start waits for all shards and starts the run, unless another process did.
func (m *Meeting) start(ctx context.Context, prepare func(context.Context) (string, error)) error {
	ready, err := m.gather(ctx)
	if err != nil || m.begun != nil {
		return err
	}
	if err := same(ready); err != nil {
		return err
	}
	prepared, err := prepare(ctx)
	if err != nil {
		return err
	}
	b := begin{Run: m.o.Run, Of: m.o.Of, SHA256: ready[m.o.Index].Report.Source.SHA256, Shards: map[int]named{}, Prepared: prepared}
	var early, late time.Duration // extremes of the clocks
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
	body, err := encode(b)
	if err == nil {
		err = m.put(ctx, startName, body)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return m.readStart(ctx) // another process may have stored it first
}

// same returns an error unless all shards read the same recording and send it in the same way.
// Otherwise their results could not be merged.
func same(ready map[int]*readyShard) error {
	var first *readyShard
	for _, index := range slices.Sorted(maps.Keys(ready)) {
		r := ready[index]
		if first == nil {
			first = r
		}
		if err := report.SameRun(r.Report, first.Report); err != nil {
			return fmt.Errorf("part %d is from another run than part %d: %w; replay a snapshot, which never changes, with the same version and flags", r.Index, first.Index, err)
		}
	}
	return nil
}

// readyShard is a process that is ready to send its part.
type readyShard struct {
	*marker
	name     string
	modified time.Time
	ahead    time.Duration // of the process's clock before the first shard's, by the store's clock
}

// gather waits until a process for each part is ready. It leaves out parts that have failed, or
// that make no progress for the timeout. If another process has started the run, it sets m.begun
// and returns nothing.
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
		if all.parts[m.o.Index].failed {
			return nil, m.failed(ctx, m.o.Index)
		}
		ready := map[int]*readyShard{}
		for index := range all.parts {
			if all.parts[index].failed {
				continue
			}
			k, err := m.latest(ctx, index, &all.parts[index])
			if err != nil {
				return nil, err
			}
			if k != nil {
				ready[index] = k
			}
		}
		missing := w.look(all, m.o.Timeout, func(index int) bool { return ready[index] == nil && !all.parts[index].failed })
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

// latest returns the last process that is ready to send a part, or nil. For the part of this
// process it returns this process.
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
			case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
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

// tell reports, once, an object that does not belong to the run.
func (m *Meeting) tell(name string, err error) {
	if !m.said[name] {
		m.said[name] = true
		m.o.Say(err.Error())
	}
}

// awaitStart waits for the start of the run while any part makes progress.
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
		for _, index := range []int{m.o.Index, 0} {
			if all.parts[index].failed {
				return m.failed(ctx, index)
			}
		}
		if all.names[ReportName] {
			return fmt.Errorf("%s: the run is over, and has no %s", m.o.Run, startName)
		}
		if missing := w.look(all, m.patience(), func(int) bool { return true }); len(missing) == 0 {
			return fmt.Errorf("%s: part 0 did not start the run, and no part has given a sign of life for %s", m.o.Run, m.patience())
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}
