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
	// Streamed returns exchanges in order within limits: see the package documentation.
	Streamed Order = iota
	// Sorted returns exchanges in exact order, after everything has been read.
	Sorted
)

// Options say how to read. The zero value is ready to use.
type Options struct {
	Order Order
	// Light decodes exchanges with [recording.Decoder.Light], which is fast and takes little
	// memory.
	Light bool
	// Parts returns the parts of conversations one by one, as they were written.
	Parts bool
	// Recycle overwrites a record and everything in it when the next one is read. This saves most
	// of the garbage if the caller keeps no records.
	Recycle bool
	// Window is how long an exchange may take and still come in order when Streamed; by default
	// DefaultWindow.
	Window time.Duration
	// MaxHeld limits the JSON of exchanges that wait in memory for their turn; by default
	// DefaultHeld. Decoded, they take two to three times as much.
	MaxHeld int64
	// MaxOpen limits how many segments are open at a time when Streamed; by default DefaultOpen.
	// Each takes half a megabyte, and up to 9 MB if it was compressed with a large window.
	MaxOpen int
	// TempDir is the directory for exchanges that exceed MaxHeld when Sorted; "" is the system's
	// directory. It needs about as much room as the segments. No file is left behind.
	TempDir string
	// Foreign reads files of other tools; if nil, only the formats of package recording are
	// read.
	Foreign Foreign
	// Progress, if not nil, is called after each segment.
	Progress func(done, all int)
	// Taken, if not nil, is called from time to time while Sorted reads the segments, before the
	// first record comes. Its argument is the number of exchanges read. The last call has the total.
	Taken func(exchanges int)
}

// takenEvery is the number of exchanges between calls of Taken.
const takenEvery = 1 << 12

// Defaults of [Options].
const (
	DefaultWindow = 30 * time.Second
	DefaultHeld   = 32 << 20
	DefaultOpen   = 64
)

// maxConversation limits the JSON of the parts that are joined: twice what the recorder keeps of
// both sides, in base64.
const maxConversation = 48 << 20

// Record is an exchange, and where it was found.
type Record struct {
	*recording.Exchange
	// Store is the index of the store in the arguments of Open, and Key the segment's key.
	Store int
	Key   string
	// Offset is the position of the JSON in the decompressed segment, and Size its length. For a
	// joined conversation, both are those of the first part.
	Offset, Size int64
	// Parts is the number of parts that were joined; 1 for other exchanges.
	Parts int
	// Losses lists the data of another tool's record that could not be kept.
	Losses []string
	// Late means that an exchange with a later start was returned earlier.
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
	free      []*Record // for reuse
	order     uint64    // number of the last exchange that was read
	processes map[recording.ProcessID]*process
	uncounted map[string][]origin // segments without counters, by pod
	done      int                 // number of segments that were read
}

// Open lists the segments in the stores, and returns a reader of the exchanges that the query
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

// Exchanges returns the exchanges of Records without their positions.
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

// All reads all exchanges in the stores. It ends with an error if there is damage.
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

// Report returns the report so far. It belongs to the reader, and changes while records are read.
func (r *Reader) Report() *Report { return &r.report }

// Records returns the exchanges. It can be used once. It ends early if the context ends or the
// temporary file fails. Errors in the recording are in the Report. The caller may keep a record,
// unless Options.Recycle is set.
func (r *Reader) Records() iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		if r.started {
			yield(nil, errors.New("the recording was already read: open it again"))
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

// Listed returns the files that the query needs, each with the index of its store, as they were when
// the reader was opened. Callers compare them to detect changes.
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

// errEnough means that the caller wants no more records.
var errEnough = errors.New("enough")

// scattered reports whether there are files whose start is unknown. All of those must be read before
// the first exchange is returned.
func (r *Reader) scattered() bool {
	return len(r.segments) > 1 && r.segments[0].began.IsZero()
}
