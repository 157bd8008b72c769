// Package inspect shows recordings to people: it lists the exchanges, or shows one of them.
//
//	places ─▶ read.Reader ─▶ table, JSON, or one exchange: Options.Full, or else Plain
//
// Its output is cleaned, so it can't control a terminal. It holds one exchange in memory, and otherwise
// no more than the limits of [read.Options]. It imports recording, its subpackages read, coding and
// clean, and the standard library. The sidecar links it, so it doesn't import recording/show. Instead,
// tapedeck passes that as Options.Full.
package inspect

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Filter selects exchanges. The zero value selects all of them.
type Filter struct {
	// Clusters, Namespaces and Workloads are names, separated by commas.
	Clusters, Namespaces, Workloads string
	// From and To are times in a form that [read.ParseTime] reads.
	From, To string
	// Direction is `in` or `out`, in any case.
	Direction string
	// Host is part of the requested host.
	Host string
	// Path is part of the path.
	Path string
	// Status is a code, or a class of codes such as `5xx`.
	Status string
	// Protocol is a value of l7protocol, in any case.
	Protocol string
}

// Directions, Classes and Protocols return the allowed values of a filter's fields. Status may also be
// a single code.
func Directions() []string { return []string{"in", "out"} }
func Classes() []string    { return []string{"1xx", "2xx", "3xx", "4xx", "5xx"} }
func Protocols() []string {
	return []string{recording.HTTP1, recording.HTTPS, recording.GRPC, recording.WebSocket, recording.TCP}
}

// Check returns an error if a field of the filter has a value that isn't allowed.
func (f Filter) Check() error {
	for _, c := range []struct {
		what, value string
		allowed     []string
		code        bool // a single code is allowed, too
	}{
		{"direction", f.Direction, Directions(), false},
		{"status", f.Status, Classes(), true},
		{"protocol", f.Protocol, Protocols(), false},
	} {
		switch code, err := strconv.ParseUint(c.value, 10, 16); {
		case c.value == "", slices.Contains(c.allowed, strings.ToLower(c.value)), c.code && err == nil && code <= 999:
		case c.code:
			return fmt.Errorf("%s %q: want a code, or %s", c.what, c.value, strings.Join(c.allowed, ", "))
		default:
			return fmt.Errorf("%s %q: want %s", c.what, c.value, strings.Join(c.allowed, ", "))
		}
	}
	for _, l := range [][2]string{{"cluster", f.Clusters}, {"namespace", f.Namespaces}, {"workload", f.Workloads}} {
		if l[1] != "" && names(l[1]) == nil { // an empty list would select all exchanges
			return fmt.Errorf("%s %q: want names, separated by commas", l[0], l[1])
		}
	}
	return nil
}

// Query returns the filter as a query. Times such as `90m` are relative to now.
func (f Filter) Query(now time.Time) (read.Query, error) {
	if err := f.Check(); err != nil {
		return read.Query{}, err
	}
	q := read.Query{Clusters: names(f.Clusters), Namespaces: names(f.Namespaces), Workloads: names(f.Workloads), Direction: strings.ToUpper(f.Direction)}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"from", f.From, &q.From}, {"to", f.To, &q.To}} {
		if t.text == "" {
			continue
		}
		var err error
		if *t.to, err = read.ParseTime(t.text, now); err != nil {
			return read.Query{}, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if f.Host != "" || f.Path != "" || f.Protocol != "" || f.Status != "" {
		q.Glance, q.Match = f.match, f.match
	}
	return q, nil
}

// names returns the names in a list.
func names(list string) (all []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// match reports whether the exchange has the host, path, protocol and status.
func (f Filter) match(e *recording.Exchange) bool {
	return strings.Contains(e.Host(), f.Host) &&
		strings.Contains(e.Location, f.Path) &&
		(f.Protocol == "" || strings.EqualFold(f.Protocol, e.L7Protocol)) &&
		matchStatus(f.Status, e.Status)
}

func matchStatus(want, status string) bool {
	if class, ok := strings.CutSuffix(strings.ToLower(want), "xx"); ok {
		return len(status) == 3 && strings.HasPrefix(status, class)
	}
	return want == "" || want == status
}

// lookAhead is how many lines determine the widths of the columns. Only these lines are held in memory,
// because the command may run in the sidecar's container, whose memory may be smaller than a recording.
const lookAhead = 1000

// Table writes one line for each exchange.
type Table struct {
	w      io.Writer
	rows   []*row // lines that wait for the widths of the columns
	widths *[columns]int
	line   row
	text   []byte // text that waits to be written
}

const columns = 13

// writeBytes is how many bytes of the table are written at a time.
const writeBytes = 32 << 10

// row is a line: the text of its cells without separators.
type row struct {
	text   []byte
	ends   [columns]int
	widths [columns]int
	cells  int
}

// cell ends a cell. Its text is what was appended since the last cell.
func (r *row) cell() {
	start := 0
	if r.cells > 0 {
		start = r.ends[r.cells-1]
	}
	r.ends[r.cells] = len(r.text)
	r.widths[r.cells] = utf8.RuneCount(r.text[start:])
	r.cells++
}

// add adds a cell with text from the recording or, if that is empty, with other text.
func (r *row) add(text, otherwise string) {
	if text == "" {
		text = otherwise
	}
	r.text = append(r.text, clean.Text(text)...)
	r.cell()
}

func (r *row) number(n int64) {
	r.text = strconv.AppendInt(r.text, n, 10)
	r.cell()
}

// time adds a time in UTC, to the millisecond.
func (r *row) time(t time.Time) {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		r.add(t.Format("2006-01-02T15:04:05.000Z"), "")
		return
	}
	hour, minute, second := t.Clock()
	two := func(n int, before byte) { r.text = append(r.text, before, byte('0'+n/10), byte('0'+n%10)) }
	r.text = append(r.text, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10))
	two(int(month), '-')
	two(day, '-')
	two(hour, 'T')
	two(minute, ':')
	two(second, ':')
	ms := t.Nanosecond() / 1e6
	r.text = append(r.text, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
	r.cell()
}

// NewTable returns a table that begins with a header line. Close writes the last lines.
func NewTable(w io.Writer) *Table {
	t := &Table{w: w, rows: []*row{{}}}
	for _, name := range [columns]string{"TIME", "DIR", "PROTOCOL", "METHOD", "HOST", "PATH", "STATUS", "MS", "REQUEST", "ANSWER", "UUID", "CAUSE", "NOTE"} {
		t.rows[0].add(name, "")
	}
	return t
}

// Add adds the line for an exchange. A light exchange is enough.
func (t *Table) Add(e *recording.Exchange) error {
	r := &t.line
	if t.widths == nil { // the line waits for the widths
		r = new(row)
	}
	asked, answered := e.Sizes()
	r.text, r.cells = r.text[:0], 0
	r.time(e.TS)
	r.add(e.Direction, "")
	r.add(e.L7Protocol, "")
	r.add(e.Command, "-")
	r.add(e.Host(), "-")
	r.add(e.Location, "-")
	r.add(e.Status, "-")
	r.number(e.Duration)
	r.number(asked)
	r.number(answered)
	r.text = hex.AppendEncode(r.text, e.UUID[:4])
	r.cell()
	r.add(cause(e), "-")
	r.add(note(e), "")
	if t.widths != nil {
		return t.write(r)
	}
	if t.rows = append(t.rows, r); len(t.rows) < lookAhead {
		return nil
	}
	return t.align()
}

// Close writes the lines that are left.
func (t *Table) Close() error { return errors.Join(t.align(), t.flush()) }

// align determines the widths of the columns, and writes the lines that waited.
func (t *Table) align() error {
	if t.widths == nil {
		t.widths = new([columns]int)
	}
	for _, r := range t.rows {
		for i, width := range r.widths {
			t.widths[i] = max(t.widths[i], width)
		}
	}
	for _, r := range t.rows {
		if err := t.write(r); err != nil {
			return err
		}
	}
	t.rows = nil
	return nil
}

// write writes a line, with two spaces between columns and none after the last.
func (t *Table) write(r *row) error {
	start := 0
	for i, end := range r.ends {
		t.text = append(t.text, r.text[start:end]...)
		start = end
		if i == columns-1 {
			break
		}
		for n := max(t.widths[i]-r.widths[i], 0) + 2; n > 0; n -= len(spaces) {
			t.text = append(t.text, spaces[:min(n, len(spaces))]...)
		}
	}
	if t.text = append(t.text, '\n'); len(t.text) < writeBytes {
		return nil
	}
	return t.flush()
}

const spaces = "                                "

func (t *Table) flush() error {
	_, err := t.w.Write(t.text)
	t.text = t.text[:0]
	return err
}

// cause returns the inbound exchange that caused an outbound one, or the reason why it is not known.
func cause(e *recording.Exchange) string {
	switch p := e.Parent(); p.Kind {
	case recording.ParentNone:
		return ""
	case recording.ParentKnown:
		return p.UUID.String()[:8]
	default:
		return string(p.Kind)
	}
}

// note returns what is unusual about the exchange.
func note(e *recording.Exchange) string {
	text := e.Incomplete()
	add := func(more string) {
		if text != "" {
			text += ", "
		}
		text += more
	}
	if e.Truncated() {
		add("truncated")
	}
	if id, ok := e.ConversationID(); ok {
		add("of " + id.String()[:8])
	}
	return text
}
