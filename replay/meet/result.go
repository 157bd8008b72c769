package meet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/replay/report"
)

// ErrNoResult is wrapped by errors about parts that have no result of this run.
var ErrNoResult = errors.New("there is no result")

// Finish stores the report of the part. If another process has already stored one, that one
// counts.
func (m *Meeting) Finish(ctx context.Context, r *report.Report) error {
	c := *r
	c.Run, c.Settings, c.Shard = m.o.Run, m.o.Settings, &report.Shard{Index: m.o.Index, Of: m.o.Of}
	c.Judge(nil) // an unjudged report could not be read again
	body, err := encodeReport(&c)
	if err != nil {
		return err
	}
	err = m.put(ctx, resultName(m.o.Index), body)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return m.result(ctx)
}

// Fail stores why nobody sends the part, so that no shard waits for it. The first reason counts.
// A process calls it if it fails by itself; one that gets SIGTERM leaves the part to its
// replacement. The place itself may be failing, so Fail does not retry for long.
func (m *Meeting) Fail(ctx context.Context, reason error) error {
	ctx, cancel := context.WithTimeout(ctx, failTime)
	defer cancel()
	text := reason.Error()
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	body, err := encode(failure{m.o.Run, m.o.Index, m.o.Of, text})
	if err == nil {
		err = m.put(ctx, failureName(m.o.Index), body)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// reason reads why nobody sends a part. A malformed object counts as a reason, too: whoever can
// write it can also write a valid one.
func (m *Meeting) reason(ctx context.Context, index int) (string, error) {
	name, f := failureName(index), new(failure)
	err := m.retried(ctx, "read", name, func(ctx context.Context) error {
		return m.note(ctx, name, f, func() error {
			if f.Run != m.o.Run || f.Index != index || f.Of != m.o.Of || len(f.Reason) > maxReason {
				return fmt.Errorf("it is for part %d of %d of %q", f.Index, f.Of, f.Run)
			}
			return nil
		})
	})
	if errors.Is(err, errForeign) {
		return err.Error(), nil
	}
	return fmt.Sprintf("part %d could not be sent: %s", index, f.Reason), err
}

// failed returns the error about a part that nobody sends.
func (m *Meeting) failed(ctx context.Context, index int) error {
	reason, err := m.reason(ctx, index)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s; fix that, and give the run another ID", m.o.Run, reason)
}

// Succeed takes over from the process that sends the part, or sent it. It waits for that
// process's result, and stores a partial one if the process makes no progress for the timeout.
func (m *Meeting) Succeed(ctx context.Context) error {
	w := m.newWait()
	for {
		all, err := m.list(ctx)
		if err != nil {
			return err
		}
		if all.parts[m.o.Index].result {
			return m.result(ctx)
		}
		if all.parts[m.o.Index].failed {
			return m.failed(ctx, m.o.Index)
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
	for _, one := range m.begun.Shards { // each marker has what the report needs to know of the run
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
			r.Partial = "its process joined after the run had begun"
		}
		if !sends || name != by.Marker {
			r.Source.Steps, r.Needs, r.Ambiguous = 0, nil, nil // these belong to another part
		}
		return m.Finish(ctx, r)
	}
	return fmt.Errorf("%s: part %d has neither a result nor a marker that can be read", m.o.Run, m.o.Index)
}

// Collect waits for the results of all parts that are not lost. It returns them, and notes about
// the shards for the report.
func (m *Meeting) Collect(ctx context.Context) (results []*report.Report, notes []string, err error) {
	if m.begun == nil {
		if err := m.readStart(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	if m.begun != nil {
		notes = append(notes, m.begun.Notes...)
	}
	ends := make([]outcome, m.o.Of)
	for w := m.newWait(); ; {
		all, err := m.list(ctx)
		if err != nil {
			return nil, nil, err
		}
		for i := range all.parts {
			if !ends[i].known() {
				if ends[i], err = m.outcome(ctx, i, &all.parts[i]); err != nil {
					return nil, nil, err
				}
			}
		}
		if missing := w.look(all, m.patience(), func(i int) bool { return !ends[i].known() && m.sends(i) }); len(missing) == 0 {
			break
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, nil, err
		}
	}
	for _, end := range ends {
		if end.report != nil {
			results = append(results, end.report)
		}
		if end.lost != "" {
			notes = append(notes, end.lost)
		}
	}
	if len(results) == 0 {
		return nil, nil, fmt.Errorf("%s: %w of any part: %s", m.o.Run, ErrNoResult, cmp.Or(strings.Join(notes, "; "), "their processes are gone"))
	}
	return results, notes, nil
}

// outcome is the report of a part, or why the part is lost. The zero value means that neither is
// known yet.
type outcome struct {
	report *report.Report
	lost   string
}

func (o *outcome) known() bool { return o.report != nil || o.lost != "" }

func (m *Meeting) outcome(ctx context.Context, index int, p *partState) (end outcome, err error) {
	switch {
	case p.result:
		end.report, err = m.stored(ctx, resultName(index), index)
		if errors.Is(err, errForeign) {
			end.lost, err = err.Error(), nil
		}
	case p.failed:
		end.lost, err = m.reason(ctx, index)
	}
	if end.lost != "" {
		m.o.Say(end.lost)
	}
	return end, err
}

// sends reports whether any process sends or sent the part.
func (m *Meeting) sends(index int) bool {
	if m.begun == nil {
		return true // unknown
	}
	_, ok := m.begun.Shards[index]
	return ok
}

// Publish stores the report of the run in all forms, and returns the report that counts: if an
// earlier process stored one, that one.
func (m *Meeting) Publish(ctx context.Context, r *report.Report) (*report.Report, error) {
	r.Run, r.Settings = m.o.Run, m.o.Settings
	body, err := encodeReport(r)
	if err != nil {
		return nil, err
	}
	switch err := m.put(ctx, ReportName, body); {
	case errors.Is(err, fs.ErrExist):
		return m.Report(ctx)
	case err != nil:
		return nil, err
	}
	return r, m.putForms(ctx, r)
}

// Report returns the report of a run that is over. It stores the forms that are missing because
// the process that stored the report ended too early.
func (m *Meeting) Report(ctx context.Context) (r *report.Report, err error) {
	if r, err = m.stored(ctx, ReportName, -1); err != nil {
		return nil, err
	}
	return r, m.putForms(ctx, r)
}

func (m *Meeting) putForms(ctx context.Context, r *report.Report) error {
	for _, f := range forms {
		var text bytes.Buffer
		if err := write(&text, f.form, r); err != nil {
			return err
		}
		if err := m.put(ctx, f.name, text.Bytes()); errors.Is(err, fs.ErrExist) {
			m.tell(f.name, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
