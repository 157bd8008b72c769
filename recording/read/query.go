package read

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Query selects exchanges. The zero value selects all of them.
type Query struct {
	// Clusters, Namespaces and Workloads list the wanted names; empty means all. An unknown name
	// is [recording.Undefined].
	Clusters, Namespaces, Workloads []string
	// From and To limit the start of the exchange: at or after From, and before To. Zero means no
	// limit.
	From, To time.Time
	// Longest is the longest duration of an exchange to look for; by default DefaultLongest. A
	// segment is read if it may have an exchange that began before To and took no longer than this.
	// If it is negative, all segments since From are read.
	Longest time.Duration
	// Direction is [recording.In], [recording.Out], or "" for both.
	Direction string
	// Glance, if not nil, reports early whether Match may select the exchange; see
	// [recording.Decoder.Glance]. It makes filters by path, host or status much faster.
	Glance func(*recording.Exchange) bool
	// Match, if not nil, selects among the exchanges that the other fields select. It gets the
	// exchange as [recording.Decoder.Light] decodes it, and a conversation after its parts are
	// joined. It must not keep the exchange.
	Match func(*recording.Exchange) bool
}

// DefaultLongest is the default of Query.Longest.
const DefaultLongest = time.Hour

// slack is the allowed difference between the end of an exchange and the times of its segment: the
// exchange may have waited in the queue, or the clock was set.
const slack = time.Minute

// Check returns an error if the query is invalid.
func (q *Query) Check() error {
	switch {
	case q.Direction != "" && q.Direction != recording.In && q.Direction != recording.Out:
		return fmt.Errorf("direction %q: want %s or %s", q.Direction, recording.In, recording.Out)
	case !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To):
		return fmt.Errorf("from %s to %s: the end must be after the start", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	return nil
}

// ParseTime parses a point in time: RFC 3339, where seconds, time and zone may be missing (without a
// zone, it is UTC), or a duration before now, such as 90m.
func ParseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("time %q: want one such as 2026-11-22T20:15:00Z, 2026-11-22T20:15 or 2026-11-22, which are UTC, or how long ago, such as 90m", text)
}

// matches reports whether a light exchange is selected.
func (q *Query) matches(e *recording.Exchange) bool {
	return (q.Direction == "" || q.Direction == e.Direction) &&
		(q.From.IsZero() || !e.TS.Before(q.From)) &&
		(q.To.IsZero() || e.TS.Before(q.To)) &&
		oneOf(q.Clusters, e.Cluster) && oneOf(q.Namespaces, e.Namespace) && oneOf(q.Workloads, e.Service)
}

func oneOf(names []string, name string) bool {
	return len(names) == 0 || slices.Contains(names, name) || name == "" && slices.Contains(names, recording.Undefined)
}

// folder reports whether a partition folder, such as `namespace=shop`, may have selected
// exchanges.
func (q *Query) folder(partition string) bool {
	key, value, _ := strings.Cut(partition, "=")
	part := func(names []string) bool {
		return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return recording.KeyPart(name) == value })
	}
	switch key {
	case "cluster":
		return part(q.Clusters)
	case "namespace":
		return part(q.Namespaces)
	case "workload":
		return part(q.Workloads)
	case "date":
		day, err := time.Parse("2006-01-02", value)
		return err != nil || q.spans(day, 24*time.Hour)
	}
	return true
}

// spans reports whether a segment that began within this period may have selected exchanges. A
// segment ends with its hour at the latest.
func (q *Query) spans(begin time.Time, length time.Duration) bool {
	end := begin.Truncate(time.Hour).Add(max(length, time.Hour))
	if !q.From.IsZero() && end.Add(slack).Before(q.From) {
		return false
	}
	longest := q.Longest
	if longest == 0 {
		longest = DefaultLongest
	}
	return q.To.IsZero() || longest < 0 || begin.Add(-slack-longest).Before(q.To)
}
