package meet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/tapedeck/tapedeck/replay/report"
)

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
