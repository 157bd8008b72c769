package index

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

var (
	// ErrNotFound is wrapped by the error of a row that the index doesn't have.
	ErrNotFound = errors.New("not in the index")
	// ErrCursor is wrapped by the error of a cursor that no page of the same filter and sort
	// had.
	ErrCursor = errors.New("not a cursor of this table")
	// ErrFilter is wrapped by the error of a filter or a sort that means nothing.
	ErrFilter = errors.New("not a filter")
	// ErrDir is wrapped by the error of a directory of indexes that can't be used: the caller may
	// name another one, or keep nothing.
	ErrDir = errors.New("no directory of indexes")
	// ErrGone is wrapped by the error of an exchange that is no longer where it was when the
	// index was made, nor anywhere else in the recording.
	ErrGone = errors.New("no longer in the recording")
)

// Source is a place whose exchanges are indexed.
type Source struct {
	// Name is the place as the user wrote it, without credentials.
	Name  string
	Store read.Store
}

// Options say how to make an index. The zero value is ready to use.
type Options struct {
	// Dir is where indexes are kept; "" is tapedeck/view in the user's cache directory.
	Dir string
	// Foreign reads files of other tools; nil: those are read that recording reads.
	Foreign read.Foreign
	// Progress, unless it is nil, is called while the index is made, by one goroutine at a
	// time.
	Progress func(Progress)
	// Forget has nothing kept on disk once the index is closed.
	Forget bool
}

// Row is one exchange as the table shows it: what can be filtered, searched and sorted by.
// Its texts come from the recording as they are, up to 4 KiB of each: hostile.
type Row struct {
	// ID is the exchange's number in the index, from 1, in the order of Start.
	ID   int64
	UUID recording.UUID
	// Start is when the request's first byte was seen, in UTC. Duration is the time from there
	// to the answer's last byte, in whole microseconds where the recording has them.
	Start    time.Time
	Duration time.Duration
	// Direction is [recording.In] or [recording.Out], Protocol a value of L7Protocol.
	Direction, Protocol string
	// Cluster, Namespace, Workload and Pod say where it was captured; "" where unknown.
	Cluster, Namespace, Workload, Pod string
	// Peer is who asked, of an inbound exchange; "" where unknown.
	Peer string
	// Method, Host and Path are the request's. Path has the query. Endpoint is the method and
	// the path with its variable segments masked, as `GET /users/{id}`.
	Method, Host, Path, Endpoint string
	// Status is HTTP's, 0 without an answer. GRPCStatus is -1 for an exchange that is no
	// call of gRPC, or has no status. Failed: no answer, 5xx, or a gRPC status other than 0.
	Status, GRPCStatus int
	Failed             bool
	// ContentType is the answer's, without parameters.
	ContentType string
	// RequestSize and ResponseSize are bytes of payload, kept or not. Messages counts those of
	// a conversation; 0 for plain HTTP.
	RequestSize, ResponseSize int64
	Messages                  int
	// Incomplete says why a part is missing, "" if none is. Truncated: a limit cut something.
	Incomplete string
	Truncated  bool
	// Parent is the inbound exchange that caused this one, zero unless it is known. Trace is
	// the trace's or the request's ID by which exchanges of several pods belong together; "" if
	// the request has none.
	Parent recording.UUID
	Trace  string
	// Other is the ID of the call's other side: of an outbound exchange, the inbound one that the
	// callee's pod recorded, and the reverse. It is 0 if the recording has none.
	Other int64
}

// Filter selects rows. The zero value selects all. Texts compare without regard to case,
// except those of Namespace, Workload, Pod and Trace.
type Filter struct {
	// Text is searched: words, all of which must occur in the request line, the host, the
	// headers or the bodies, at the beginning of a word there; a part of the path or the host
	// is enough, too. A quoted phrase is searched as a whole: its words beside each other.
	// There are no operators.
	//
	// Words are letters, digits and underscores, of which the first 64 bytes count; in scripts
	// without spaces each letter is one. A text with other characters in it, such as `user-agent`,
	// is a phrase whose last word may go on. A word of five characters and more with a digit
	// in it may stand anywhere, for there are so many of them. Of each side, 16 KiB of the
	// headers and 16 KiB of the decoded body or the messages are searched; of a binary one,
	// what reads like text.
	Text string
	// Direction, Protocol, Method, Cluster, Namespace, Workload, Pod and Endpoint are exact.
	// Trace selects all that saw the trace, however much of its ID each has.
	Direction, Protocol, Method, Cluster, Namespace, Workload, Pod, Endpoint, Trace string
	// Host and Path are parts of it.
	Host, Path string
	// Caller and Callee are From and To of a [Call]. They select its exchanges as they count: each
	// call once.
	Caller, Callee string
	// Status is a code, a class such as `5xx`, or `none` for no answer.
	Status string
	// From and To are as in read.Query: not before From, and before To.
	From, To time.Time
	// Slower selects exchanges that took at least so long; 0: all.
	Slower time.Duration
	// Problems selects those that failed, or of which a part is missing.
	Problems bool
}

// Column is what rows are sorted by. Rows that are equal there come in the order of ID. Texts
// are compared without regard to case, paths by their first 128 bytes.
type Column string

// Columns to sort by.
const (
	ByStart    Column = "start"
	ByDuration Column = "duration"
	ByStatus   Column = "status"
	ByMethod   Column = "method"
	ByHost     Column = "host"
	ByPath     Column = "path"
	ByWorkload Column = "workload"
	BySize     Column = "size" // of the answer
)

// Sort is an order of rows. The zero value is ByStart, the oldest first. Descending has all of
// it reversed.
type Sort struct {
	By         Column
	Descending bool
}

// Page is a part of the table.
type Page struct {
	Rows []Row
	// Total counts all rows that the filter selects.
	Total int64
	// Next and Previous are the cursors of the pages beside this one, "" where there is none.
	// A cursor is good for the same filter and sort only. It is text for a URL.
	Next, Previous string
}

// Progress says how far the making of an index is.
type Progress struct {
	// Phase says what is done now, for people, such as `reading`.
	Phase string
	// Done and All count the Unit, such as `segments`; it is "" if that tells people nothing.
	// All is 0 if nobody knows.
	Done, All int
	Unit      string
	// Exchanges counts what was read.
	Exchanges int64
}

// String says it in a line, as `reading, 3 of 12 segments, 12345 exchanges`.
func (p Progress) String() string {
	text := p.Phase
	switch {
	case p.Unit != "" && p.All > 0:
		text += fmt.Sprintf(", %d of %d %s", p.Done, p.All, p.Unit)
	case p.All > 0:
		text += fmt.Sprintf(", %d%%", 100*min(p.Done, p.All)/p.All)
	}
	if p.Unit != exchanges {
		text += fmt.Sprintf(", %d exchanges", p.Exchanges)
	}
	return text
}

// Units of [Progress].
const (
	segments  = "segments"
	exchanges = "exchanges"
)

// Figures sum up exchanges.
type Figures struct {
	Count, Failed int64
	// PerSecond is Count over the time from the first start to the last end of all that the
	// filter selects; 0 if that is no time.
	PerSecond float64
	// P50, P95, P99 and Max are durations of those that were answered.
	P50, P95, P99, Max time.Duration
}

// Call sums up who calls whom. A call of which both sides are selected counts once, by the caller's
// record.
type Call struct {
	// From and To are workloads as `namespace/workload`, else an identity, an address or a
	// host. Protocol is as in Row.
	From, To, Protocol string
	Figures
	// Filter selects the exchanges behind it.
	Filter Filter
}

// Endpoint sums up what was asked of one endpoint of a workload or of a host.
type Endpoint struct {
	Direction, Workload, Host, Endpoint string
	Figures
}

// Facets are the values that rows have, for a form that filters.
type Facets struct {
	Namespaces, Workloads, Methods, Statuses, Protocols []Facet
}

// Facet is one value, and how many rows have it. Values that most rows have come first.
type Facet struct {
	Value string
	Count int64
}

// Report tells what was read, and what was found beside it. It is not to be changed.
type Report struct {
	// Segments, Read and Records are as in [read.Report].
	Segments      int
	Read, Records uint64
	All           []read.Finding
}

// Findings returns what was found, the worst first.
func (r *Report) Findings() []read.Finding { return r.All }

// whole tells whether every file could be read: one that could not, as for want of a network, may
// be readable the next time.
func (r *Report) whole() bool {
	return !slices.ContainsFunc(r.All, func(f read.Finding) bool { return f.Kind == read.Unreadable })
}

func reportOf(r *read.Report) Report {
	return Report{r.Segments, r.Read, r.Records, r.Findings()}
}
