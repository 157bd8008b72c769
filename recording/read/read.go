package read

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Order is the order in which exchanges come.
type Order int

const (
	// Streamed comes in order within bounds: see the package's promises.
	Streamed Order = iota
	// Sorted comes in order. Nothing comes before everything was read.
	Sorted
)

// Options say how to read. The zero value is ready to use.
type Options struct {
	Order Order
	// Light has exchanges come as [recording.Decoder.Light] decodes them, which is fast
	// and takes little memory.
	Light bool
	// Parts has parts of conversations come one by one, as they were written.
	Parts bool
	// Recycle has a record, and what it holds, be overwritten once the next one comes. It
	// saves most of the garbage where each is looked at and forgotten.
	Recycle bool
	// Window is how long an exchange may take to come in order when Streamed;
	// DefaultWindow.
	Window time.Duration
	// MaxHeld bounds the JSON of the exchanges that are held in memory until it is their
	// turn; DefaultHeld. As exchanges they take two to three times as much.
	MaxHeld int64
	// MaxOpen bounds how many segments are open at a time when Streamed; DefaultOpen. Each
	// takes half a megabyte, and up to 9 MB if it was compressed with a large window.
	MaxOpen int
	// TempDir is where Sorted puts what doesn't fit into MaxHeld; "" is the system's
	// directory. It takes about as much as the segments do, and nothing is left behind.
	TempDir string
	// Foreign reads files of other tools; nil: those are read that recording reads.
	Foreign Foreign
	// Progress, unless it is nil, is called after each segment.
	Progress func(done, all int)
	// Taken, unless it is nil, is called now and then while Sorted reads the segments, before
	// the first record comes: with how many exchanges it has taken, and in the end with all.
	Taken func(exchanges int)
}

// takenEvery is after how many exchanges Taken is called.
const takenEvery = 1 << 12

// Defaults of [Options].
const (
	DefaultWindow = 30 * time.Second
	DefaultHeld   = 32 << 20
	DefaultOpen   = 64
)

// maxConversation bounds the JSON of the parts that are put together: twice what the
// recorder keeps of both sides, as base64.
const maxConversation = 48 << 20

// Record is an exchange, and where it was found.
type Record struct {
	*recording.Exchange
	// Store is the place's number among those that were given to Open, and Key the
	// segment's.
	Store int
	Key   string
	// Offset is where its JSON begins in the segment when decompressed, and Size how long
	// it is; of a conversation that was put together, that of its first part.
	Offset, Size int64
	// Parts is of how many parts the exchange was put together; 1 of any other.
	Parts int
	// Losses names what could not be kept of what another tool wrote.
	Losses []string
	// Late means that an exchange which began later came before.
	Late bool
}

// Reader reads a recording once. It isn't safe for concurrent use.
type Reader struct {
	ctx      context.Context
	stores   []Store
	query    Query
	opts     Options
	segments []segment
	report   Report
	started  bool

	light     recording.Decoder
	free      []*Record // to be used again
	order     uint64    // of the last exchange that was read
	processes map[recording.ProcessID]*process
	uncounted map[string][]origin // segments without counters, by pod
	done      int                 // segments
}

// Open lists what is in the stores, and returns a reader of the exchanges that the query
// selects. It fails if a store can't be listed.
func Open(ctx context.Context, q Query, o Options, stores ...Store) (*Reader, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	o.Window = def(o.Window, DefaultWindow)
	o.MaxHeld = def(o.MaxHeld, DefaultHeld)
	o.MaxOpen = def(o.MaxOpen, DefaultOpen)
	r := &Reader{ctx: ctx, stores: stores, query: q, opts: o, light: recording.Decoder{Light: true, Reuse: true}, processes: map[recording.ProcessID]*process{}, uncounted: map[string][]origin{}}
	var err error
	if r.segments, err = find(ctx, stores, &r.query, &r.report, o.Foreign); err != nil {
		return nil, err
	}
	r.report.Segments = len(r.segments)
	return r, nil
}

func def[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Exchanges are those of Records, without what else is known of them.
func (r *Reader) Exchanges() iter.Seq2[*recording.Exchange, error] {
	return func(yield func(*recording.Exchange, error) bool) {
		for rec, err := range r.Records() {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(rec.Exchange, nil) {
				return
			}
		}
	}
}

// All reads everything in the stores. Behind the last exchange comes an error if there is
// damage.
func All(ctx context.Context, o Options, stores ...Store) iter.Seq2[*recording.Exchange, error] {
	return func(yield func(*recording.Exchange, error) bool) {
		r, err := Open(ctx, Query{}, o, stores...)
		if err != nil {
			yield(nil, err)
			return
		}
		for e, err := range r.Exchanges() {
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := r.Report().Damaged(); err != nil {
			yield(nil, err)
		}
	}
}

// Report tells what was read and found until now. It is the reader's: it changes while
// records are read.
func (r *Reader) Report() *Report { return &r.report }

// Records returns the exchanges, once. An error ends it: the context's, or one of the
// temporary file. What is wrong with the recording is in the Report. A record is the
// caller's to keep, unless Options.Recycle is set.
func (r *Reader) Records() iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		if r.started {
			yield(nil, errors.New("the recording was read already: open it again"))
			return
		}
		r.started = true
		out := &joiner{r: r, yield: yield}
		var err error
		if r.opts.Order == Sorted || r.scattered() {
			err = r.sorted(out)
		} else {
			err = r.streamed(out)
		}
		if err == nil {
			err = out.flush()
		}
		r.conclude()
		if err != nil && err != errEnough {
			yield(nil, err)
		}
	}
}

// Listed returns the files that the query needs, each with the number of its store, as they were
// when the reader was opened: by them, one reading can be told from another.
func (r *Reader) Listed() iter.Seq2[int, store.Object] {
	return func(yield func(int, store.Object) bool) {
		for i := range r.segments {
			s := &r.segments[i]
			if !yield(s.store, store.Object{Key: s.key, Size: s.size, Modified: s.modified}) {
				return
			}
		}
	}
}

// errEnough means that the caller wants no more.
var errEnough = errors.New("enough")

// scattered reports whether there are files of which it isn't known when they begin: then
// each must be read before anything comes.
func (r *Reader) scattered() bool {
	return len(r.segments) > 1 && r.segments[0].began.IsZero()
}
