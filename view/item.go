package view

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/view/index"
)

// Index is a searchable recording, as [index.Index] is.
type Index interface {
	List(ctx context.Context, f index.Filter, s index.Sort, cursor string, limit int) (*index.Page, error)
	Row(ctx context.Context, id int64) (*index.Row, error)
	Find(ctx context.Context, id recording.UUID) (*index.Row, error)
	Exchange(ctx context.Context, id int64) (*recording.Exchange, error)
	Calls(ctx context.Context, f index.Filter) ([]index.Call, error)
	Endpoints(ctx context.Context, f index.Filter) ([]index.Endpoint, error)
	Trace(ctx context.Context, id int64) ([]index.Row, error)
	Facets(ctx context.Context, f index.Filter) (index.Facets, error)
	Report() *index.Report
	Close() error
}

// Item is one thing that is shown: exactly one of Open, Report and Receipt is set.
type Item struct {
	// Name is what the user called it, without credentials.
	Name string
	// Open makes a recording searchable. It calls progress, from one goroutine, as it goes on.
	Open func(ctx context.Context, progress func(index.Progress)) (Index, error)
	// Report is that of a replay.
	Report *report.Report
	// Receipt is that of a mock.
	Receipt *mock.Receipt
}

// kind is what an item is, in a word for people.
type kind string

const (
	aRecording kind = "recording"
	aReport    kind = "report"
	aReceipt   kind = "receipt"
)

// item is an Item, and how far it is.
type item struct {
	Item
	Number int
	Kind   kind

	// index is nil until ready is closed, and of what is no recording.
	index Index
	ready chan struct{}

	valuesLock sync.Mutex
	valuesKept map[string][]string // that the form offers

	progress atomic.Pointer[index.Progress]
	failed   atomic.Pointer[error]
	shown    chan struct{} // is closed when a page said why it failed
	showOnce sync.Once
}

func newItem(number int, i Item) (*item, error) {
	it := &item{Item: i, Number: number, ready: make(chan struct{}), shown: make(chan struct{})}
	var kinds []kind
	for _, k := range []struct {
		kind kind
		is   bool
	}{{aRecording, i.Open != nil}, {aReport, i.Report != nil}, {aReceipt, i.Receipt != nil}} {
		if k.is {
			kinds = append(kinds, k.kind)
		}
	}
	if len(kinds) != 1 {
		return nil, fmt.Errorf("found %v, want exactly one of a recording, a report and a receipt", kinds)
	}
	it.Kind = kinds[0]
	if it.Kind != aRecording {
		close(it.ready)
	}
	return it, nil
}

// URL returns the URL of a page of the item, as "calls" or "" for its first one.
func (it *item) URL(page string) string { return "/" + strconv.Itoa(it.Number) + "/" + page }

// IsRecording tells whether the item has exchanges.
func (it *item) IsRecording() bool { return it.Kind == aRecording }

// IsReady tells whether the item can be shown, Failed whether it never will be.
func (it *item) IsReady() bool { return it.isReady() }
func (it *item) Failed() bool  { return it.failure() != nil }

// build opens the recording, if it is one.
func (it *item) build(ctx context.Context) error {
	if it.Open == nil {
		return nil
	}
	ix, err := it.Open(ctx, func(p index.Progress) { it.progress.Store(&p) })
	if err != nil {
		it.failed.Store(&err)
		return err
	}
	it.index = ix
	close(it.ready)
	return nil
}

// isReady tells whether it can be shown; index may be used then.
func (it *item) isReady() bool {
	select {
	case <-it.ready:
		return true
	default:
		return false
	}
}

// failure says why it can't be shown, nil unless that is so.
func (it *item) failure() error {
	if err := it.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// showFailure notes that a page said so.
func (it *item) showFailure() { it.showOnce.Do(func() { close(it.shown) }) }

func (it *item) close() error {
	if !it.isReady() || it.index == nil {
		return nil
	}
	return it.index.Close()
}

// notReady says that an item is still being read, or can't be.
type notReady struct{ it *item }

func (n notReady) Error() string { return n.it.Name + " is not read yet" }

// recordingNumbered returns the item of that number, which must be a recording that is ready.
func (s *Server) recordingNumbered(number string) (*item, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(s.items) || !s.items[n-1].IsRecording() {
		return nil, notFound("there is no recording %q here", number)
	}
	if it := s.items[n-1]; it.isReady() {
		return it, nil
	} else {
		return nil, notReady{it}
	}
}
