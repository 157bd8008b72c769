package read

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// source is an open segment.
type source struct {
	*segment
	r     *Reader
	file  io.Closer
	json  *recording.Reader
	other ForeignReader       // reads another tool's file; json is then nil
	text  *recording.Exchange // the last exchange that other read

	pos  time.Time // the exchanges that remain to be read ended at this time or later
	last time.Time // the upper limit of pos

	glance  func(*recording.Exchange) bool
	losses  []string
	origins []origin // the origins of a large segment, or the segment itself
}

// open opens segment i. If there is nothing to read, it returns nil and reports why.
func (r *Reader) open(i int) *source {
	s := &r.segments[i]
	if s.moved {
		r.ended()
		return nil
	}
	f, err := r.stores[s.store].Get(r.ctx, s.key)
	if whole, part := strings.CutSuffix(s.key, recording.PartSuffix); part && errors.Is(err, fs.ErrNotExist) {
		f, err = r.stores[s.store].Get(r.ctx, whole) // the segment was completed since the listing
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) || !r.replace(i) {
			r.unreadable(s, err)
		}
		r.ended()
		return nil
	}
	src := &source{segment: s, r: r, file: f, pos: s.began, last: s.began.Truncate(time.Hour).Add(2 * time.Hour)}
	if !s.large {
		src.origins = []origin{r.origin(path.Base(s.key))}
		src.origins[0].left = false // a file with any other name may have exchanges from any time
	}
	in := io.Reader(f)
	if r.opts.Foreign != nil {
		in, src.other, err = r.opts.Foreign.Open(f, s.key, r.beside(s))
	}
	switch {
	case errors.Is(err, ErrNotForeign):
		r.report.add(NoExchange, s.key)
		err = io.EOF
	case err != nil:
		err = fmt.Errorf("read: %w", err)
	case src.other == nil:
		if src.json, err = recording.NewReader(in); err == nil {
			src.json.Decoder = &r.light
			src.glance = src.mayFit
			src.json.Counted = src.count
		}
	}
	if err != nil {
		if err != io.EOF {
			r.unreadable(s, err)
		}
		src.close()
		return nil
	}
	return src
}

// beside returns a function that opens files to which a file of another tool refers.
func (r *Reader) beside(s *segment) func(name string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		folder := path.Dir(s.key)
		for folder != "." && path.Base(folder) != "mappings" {
			folder = path.Dir(folder)
		}
		return r.stores[s.store].Get(r.ctx, path.Join(path.Dir(folder), name))
	}
}

func (r *Reader) unreadable(s *segment, err error) {
	r.report.add(Unreadable, s.key+": "+err.Error())
}

// count records the counters of a process.
func (s *source) count(c recording.Counters) {
	o := s.origin()
	switch {
	case o == nil:
		o = &origin{began: s.began, number: c.Segment}
	case o.left:
		return
	}
	o.counted = true
	s.r.report.Tally.Add(c)
	p := s.r.processes[c.ID()]
	if p == nil {
		p = &process{}
		s.r.processes[c.ID()] = p
	}
	p.add(c, *o)
}

// next reads the next exchange that the query selects, and decodes as little of it as possible. At the
// end it closes the source and returns false.
func (s *source) next(e *recording.Exchange) bool {
	for {
		if !s.read(e) {
			s.close()
			return false
		}
		if s.saw(e) && s.r.query.matches(e) && (s.r.joins(e) || s.r.fits(e)) {
			return true
		}
	}
}

// saw records the end of an exchange that was read or, in a large segment, which is sorted by start,
// its start. It returns false if the exchange must be skipped.
func (s *source) saw(e *recording.Exchange) bool {
	pos := e.TS
	if !s.large {
		pos = e.Ended()
	}
	if pos.After(s.pos) && (s.began.IsZero() || pos.Before(s.last)) {
		s.pos = pos
	}
	if o := s.origin(); o != nil {
		if o.left {
			return false
		}
		o.read++
	}
	s.r.report.Read++
	return true
}

// mayFit is the decoder's Glance. If it returns false, the rest of the record is not read.
func (s *source) mayFit(e *recording.Exchange) bool {
	q := &s.r.query
	if q.matches(e) && (q.Glance == nil || q.Glance(e)) {
		return true
	}
	s.saw(e)
	return false
}

// joins reports whether the exchange may be one of several parts.
func (r *Reader) joins(e *recording.Exchange) bool {
	return !r.opts.Parts && e.Conversation() != nil
}

// fits reports whether the query's Match selects a light exchange.
func (r *Reader) fits(e *recording.Exchange) bool {
	return r.query.Match == nil || r.query.Match(e)
}

// read reads the next exchange of the file.
func (s *source) read(e *recording.Exchange) bool {
	if s.json == nil {
		return s.readOther(e)
	}
	s.r.light.Glance = s.glance
	for {
		err := s.json.Next(e)
		var bad *recording.LineError
		switch {
		case err == nil:
			s.losses = slices.Clone(s.r.light.Losses())
			return true
		case err == io.EOF && s.hollow():
			s.r.report.add(Torn, s.key)
			return false
		case err == io.EOF:
			s.finish()
			return false
		case errors.Is(err, recording.ErrNoExchange):
			s.r.report.add(NoExchange, s.key+": "+err.Error())
		case errors.As(err, &bad):
			s.r.report.add(Malformed, s.key+": "+err.Error())
			if o := s.origin(); o != nil {
				o.read++ // so that it doesn't count as missing
			}
		case errors.Is(err, recording.ErrTorn) && s.part():
			s.r.report.add(TornPart, s.key)
			s.finish()
			return false
		case errors.Is(err, recording.ErrTorn):
			s.r.report.add(Torn, s.key)
			s.finish()
			return false
		default:
			s.r.unreadable(s.segment, err)
			s.finish()
			return false
		}
	}
}

// readOther reads the next exchange of another tool's file.
func (s *source) readOther(e *recording.Exchange) bool {
	for {
		s.text = new(recording.Exchange)
		losses, err := s.other.Next(s.text)
		var left *recording.LeftOutError
		var bad *recording.LineError
		switch {
		case err == nil:
			s.losses = losses
			*e = *s.text
			e.Lighten()
			return true
		case err == io.EOF:
			return false
		case errors.As(err, &left):
			s.r.report.add(NoExchange, s.key+": "+err.Error())
		case errors.As(err, &bad):
			s.r.report.add(Malformed, s.key+": "+err.Error())
		case errors.Is(err, recording.ErrTorn):
			s.r.report.add(map[bool]Kind{true: TornPart, false: Torn}[s.part()], s.key)
			return false
		default:
			s.r.unreadable(s.segment, err)
			return false
		}
	}
}

// finish records the segments without counters.
func (s *source) finish() {
	for _, o := range s.origins {
		if o.counted || o.left || o.began.IsZero() || o.pod == recording.MergedPod {
			continue
		}
		s.r.uncounted[o.pod] = append(s.r.uncounted[o.pod], o)
		if !s.part() {
			s.r.report.add(NoCounters, s.key)
		}
	}
}

// podOf returns the name of the pod in a segment's key.
func podOf(key string) string {
	_, name, _ := strings.Cut(path.Base(key), "-")
	return name[:max(0, strings.LastIndexByte(name, '-'))]
}

// whole decodes the last exchange into e, with everything that the options require. light is its
// light form.
func (s *source) whole(e, light *recording.Exchange) error {
	switch {
	case s.r.opts.Light: // the next exchange overwrites light
		*e, *light = *light, *e
		return nil
	case s.json == nil:
		*e = *s.text
		return nil
	}
	return s.json.Whole(e)
}

// exchange returns the JSON of the last exchange. It is valid until the next one.
func (s *source) exchange() []byte {
	if s.json == nil {
		return s.text.AppendJSON(nil)
	}
	return s.json.Text()
}

// size estimates the length of the last exchange's JSON. offset returns its position, or 0 in a file
// of another tool.
func (s *source) size() int64 {
	if s.json == nil {
		return s.text.Weight()
	}
	return int64(len(s.json.Text()))
}

func (s *source) offset() int64 {
	if s.json == nil {
		return 0
	}
	return s.json.Offset()
}

func (s *source) close() {
	if s.json != nil {
		s.json.Close()
	}
	s.file.Close()
	s.r.ended()
}

// ended counts a segment, whether it was read or not.
func (r *Reader) ended() {
	r.done++
	if r.opts.Progress != nil {
		r.opts.Progress(r.done, len(r.segments))
	}
}

// record returns a record of the last exchange, whose light form is in light.
func (s *source) record(light *recording.Exchange) (*Record, error) {
	size, offset := s.size(), s.offset()
	rec := s.r.newRecord()
	e := rec.Exchange
	if err := s.whole(e, light); err != nil { // impossible: it was decoded before
		return nil, err
	}
	if len(s.losses) > 0 {
		s.r.report.add(Lossy, fmt.Sprintf("%s: %s", s.key, strings.Join(s.losses, ", ")))
	}
	*rec = Record{Exchange: e, Store: s.store, Key: s.key, Offset: offset, Size: size, Parts: 1, Losses: s.losses}
	return rec, nil
}

// newRecord returns a record with an exchange. The caller must overwrite the exchange's old content.
func (r *Reader) newRecord() *Record {
	if n := len(r.free); n > 0 {
		rec := r.free[n-1]
		r.free = r.free[:n-1]
		return rec
	}
	both := new(struct {
		Record
		exchange recording.Exchange
	})
	both.Exchange = &both.exchange
	return &both.Record
}

// maxFree is how many records are kept for reuse.
const maxFree = 100

// recycle takes back a record that the caller no longer uses.
func (r *Reader) recycle(rec *Record) {
	if r.opts.Recycle && len(r.free) < maxFree {
		r.free = append(r.free, rec)
	}
}
