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

// Index is a searchable recording. [index.Index] implements it.
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

// Item is a recording, a report or a receipt to show. Exactly one of Open, Report and Receipt is
// set.
type Item struct {
	// Name is the name that the user gave, without credentials.
	Name string
	// Open makes a recording searchable. It calls progress repeatedly, from one goroutine.
	Open func(ctx context.Context, progress func(index.Progress)) (Index, error)
	// Report is the report of a replay.
	Report *report.Report
	// Receipt is the receipt of a mock.
	Receipt *mock.Receipt
}

// kind is the kind of an item, as a word for people.
type kind string

const (
	aRecording kind = "recording"
	aReport    kind = "report"
	aReceipt   kind = "receipt"
)

// item is an Item with its state.
type item struct {
	Item
	Number int
	Kind   kind

	// index is nil until ready is closed. It stays nil for reports and receipts.
	index Index
	ready chan struct{}

	valuesLock sync.Mutex
	valuesKept map[string][]string // values that the form offers

	progress atomic.Pointer[index.Progress]
	failed   atomic.Pointer[error]
	shown    chan struct{} // closed after a page has shown the failure
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

// URL returns the URL of a page of the item, such as "calls", or "" for its first page.
func (it *item) URL(page string) string { return "/" + strconv.Itoa(it.Number) + "/" + page }

// IsRecording reports whether the item is a recording.
func (it *item) IsRecording() bool { return it.Kind == aRecording }

// IsReady reports whether the item can be shown. Failed reports whether it could not be read.
func (it *item) IsReady() bool { return it.isReady() }
func (it *item) Failed() bool  { return it.failure() != nil }

// build opens the item if it is a recording.
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

// isReady reports whether the item can be shown. Then index is set.
func (it *item) isReady() bool {
	select {
	case <-it.ready:
		return true
	default:
		return false
	}
}

// failure returns the error of reading the item, or nil.
func (it *item) failure() error {
	if err := it.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// showFailure notes that a page has shown the failure.
func (it *item) showFailure() { it.showOnce.Do(func() { close(it.shown) }) }

func (it *item) close() error {
	if !it.isReady() || it.index == nil {
		return nil
	}
	return it.index.Close()
}

// notReady is the error for an item that is still being read, or could not be read.
type notReady struct{ it *item }

func (n notReady) Error() string { return n.it.Name + " is not ready yet" }

// recordingNumbered returns the recording with a number. It returns an error if that is not ready.
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
