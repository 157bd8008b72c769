package index

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Errors of the package, to be tested with [errors.Is].
var (
	// ErrNotFound means that the index doesn't have a row.
	ErrNotFound = errors.New("not in the index")
	// ErrCursor means that no page of the same filter and sort has such a cursor.
	ErrCursor = errors.New("not a cursor of this table")
	// ErrFilter means that a filter or a sort is invalid.
	ErrFilter = errors.New("not a filter")
	// ErrDir means that the directory of indexes can't be used. The caller can choose another one, or
	// set Options.Forget.
	ErrDir = errors.New("no directory of indexes")
	// ErrGone means that an exchange is no longer in the recording.
	ErrGone = errors.New("no longer in the recording")
)

// Source is a place to index.
type Source struct {
	// Name is the place as the user wrote it, without credentials.
	Name  string
	Store read.Store
}

// Options configure an index. The zero value is ready to use.
type Options struct {
	// Dir is the directory of indexes; "" is tapedeck/view in the user's cache directory.
	Dir string
	// Foreign reads files of other tools; with nil, only formats of package recording are read.
	Foreign read.Foreign
	// Progress, unless it is nil, is called while the index is made, by one goroutine at a
	// time.
	Progress func(Progress)
	// Forget deletes the index when it is closed.
	Forget bool
}

// Row is one exchange as the table shows it. Its texts are untrusted: they come from the recording as they
// are, up to 4 KiB of each.
type Row struct {
	// ID is the exchange's number in the index, from 1, in the order of Start.
	ID   int64
	UUID recording.UUID
	// Start is the time of the request's first byte, in UTC. Duration is the time from there to the
	// answer's last byte, in microseconds if the recording has them, or else in milliseconds.
	Start    time.Time
	Duration time.Duration
	// Direction is [recording.In] or [recording.Out], Protocol a value of L7Protocol.
	Direction, Protocol string
	// Cluster, Namespace, Workload and Pod say where it was captured; "" where unknown.
	Cluster, Namespace, Workload, Pod string
	// Peer is the caller of an inbound exchange; "" if unknown.
	Peer string
	// Method, Host and Path are the request's. Path includes the query. Endpoint is the method and
	// the path with its variable segments masked, such as `GET /users/{id}`.
	Method, Host, Path, Endpoint string
	// Status is the HTTP status, 0 without an answer. GRPCStatus is -1 if the exchange is not a gRPC
	// call, or has no status. Failed means no answer, 5xx, or a gRPC status other than 0.
	Status, GRPCStatus int
	Failed             bool
	// ContentType is the answer's, without parameters.
	ContentType string
	// RequestSize and ResponseSize are the bytes of the payload, including those that were not recorded.
	// Messages is the number of messages of a conversation; 0 for plain HTTP.
	RequestSize, ResponseSize int64
	Messages                  int
	// Incomplete says why a part is missing, "" if none is. Truncated: a limit cut something.
	Incomplete string
	Truncated  bool
	// Parent is the inbound exchange that caused this one, zero if unknown. Trace is the trace ID or
	// request ID that links exchanges of several pods; "" if the request has none.
	Parent recording.UUID
	Trace  string
	// Other is the ID of the call's other side: of an outbound exchange, the inbound one that the
	// callee's pod recorded, and the reverse. It is 0 if the recording has none.
	Other int64
}

// Filter selects rows. The zero value selects all. Texts are compared without regard to case, except
// Namespace, Workload, Pod and Trace.
type Filter struct {
	// Text selects exchanges that contain all of its words in the request line, the host, the headers or
	// the bodies. A word matches the beginning of a recorded word, and any part of the path or the host.
	// Quotes search a phrase: words next to each other. There are no operators.
	//
	// A word consists of letters, digits and underscores; only its first 64 bytes count. In scripts
	// without spaces, each letter is a word. A text with other characters, such as `user-agent`, is a
	// phrase, whose last word matches the beginning of a word. In a phrase, a word of five or more
	// characters with a digit matches anywhere in the exchange, because the index has no pairs of such
	// words. Of each side, 16 KiB of the headers and 16 KiB of the decoded body or the messages are
	// searched, and of a binary body the parts that look like text.
	Text string
	// Direction, Protocol, Method, Cluster, Namespace, Workload, Pod and Endpoint match exactly. Trace also
	// matches exchanges that have only a part of the trace's ID.
	Direction, Protocol, Method, Cluster, Namespace, Workload, Pod, Endpoint, Trace string
	// Host and Path match any part.
	Host, Path string
	// Caller and Callee are From and To of a [Call]. They select its exchanges as they count: each
	// call once.
	Caller, Callee string
	// Status is a code, a class such as `5xx`, or `none` for exchanges without an answer.
	Status string
	// From and To limit the start: not before From, and before To.
	From, To time.Time
	// Slower selects exchanges that took at least this long; 0 selects all.
	Slower time.Duration
	// Problems selects exchanges that failed or are incomplete.
	Problems bool
}

// Column is a column to sort rows by. Equal rows are in the order of ID. Texts are compared without regard to
// case, and paths by their first 128 bytes.
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

// Sort is an order of rows. The zero value is ByStart, the oldest first. Descending reverses the whole order.
type Sort struct {
	By         Column
	Descending bool
}

// Page is one page of the table.
type Page struct {
	Rows []Row
	// Total is the number of rows that the filter selects.
	Total int64
	// Next and Previous are the cursors of the next and the previous page; "" if there is none. A
	// cursor is valid only with the same filter and sort. It can be used in a URL without escaping.
	Next, Previous string
}

// Progress is the progress of making an index.
type Progress struct {
	// Phase is the current step, for people, such as `reading`.
	Phase string
	// Done and All are numbers of Unit, such as `segments`; Unit is "" if they mean nothing to people.
	// All is 0 if it is unknown.
	Done, All int
	Unit      string
	// Exchanges is the number of exchanges that were read.
	Exchanges int64
}

// String returns a line such as `reading, 3 of 12 segments, 12345 exchanges`.
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

// Figures are the totals of a group of exchanges.
type Figures struct {
	Count, Failed int64
	// PerSecond is Count divided by the time from the first start to the last end of all exchanges that
	// the filter selects; 0 if that time is 0.
	PerSecond float64
	// P50, P95, P99 and Max are percentiles of the durations of answered exchanges.
	P50, P95, P99, Max time.Duration
}

// Call has the totals of one workload's calls to another. If both sides of a call are selected, it counts
// once, by the caller's record.
type Call struct {
	// From and To are workloads, as `namespace/workload`, or if unknown an identity, an address or a
	// host. Protocol is that of Row.
	From, To, Protocol string
	Figures
	// Filter selects the exchanges of the call.
	Filter Filter
}

// Endpoint has the totals of one endpoint of a workload or a host.
type Endpoint struct {
	Direction, Workload, Host, Endpoint string
	Figures
}

// Facets are the values of rows, which a form offers as filters.
type Facets struct {
	Namespaces, Workloads, Methods, Statuses, Protocols []Facet
}

// Facet is a value, and the number of rows that have it. The most frequent values come first.
type Facet struct {
	Value string
	Count int64
}

// Report says what was read, and what was found. Callers must not change it.
type Report struct {
	// Segments, Read and Records are as in [read.Report].
	Segments      int
	Read, Records uint64
	All           []read.Finding
}

// Findings returns what was found, the worst first.
func (r *Report) Findings() []read.Finding { return r.All }

// whole reports whether every file was read. A file that could not be read, for example without a network, may
// be readable the next time.
func (r *Report) whole() bool {
	return !slices.ContainsFunc(r.All, func(f read.Finding) bool { return f.Kind == read.Unreadable })
}

func reportOf(r *read.Report) Report {
	return Report{r.Segments, r.Read, r.Records, r.Findings()}
}
