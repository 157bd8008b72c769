package view

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

// filterField is a part of a filter: a parameter of the URL, and a field of the form.
type filterField struct {
	Name, Label string
	get         func(*index.Filter) string // "" if the field is not set
	set         func(*index.Filter, string) error
}

// filterFields lists all fields, in the order of the form.
var filterFields = []filterField{
	text("q", "Search", func(f *index.Filter) *string { return &f.Text }),
	choice("direction", "Direction", func(f *index.Filter) *string { return &f.Direction }, recording.In, recording.Out),
	text("method", "Method", func(f *index.Filter) *string { return &f.Method }),
	{"status", "Status", func(f *index.Filter) string { return f.Status }, setStatus},
	text("workload", "Workload", func(f *index.Filter) *string { return &f.Workload }),
	{"problems", "Only problems", func(f *index.Filter) string { return map[bool]string{true: "1"}[f.Problems] }, setProblems},
	text("host", "Host", func(f *index.Filter) *string { return &f.Host }),
	text("path", "Path", func(f *index.Filter) *string { return &f.Path }),
	text("endpoint", "Endpoint", func(f *index.Filter) *string { return &f.Endpoint }),
	text("protocol", "Protocol", func(f *index.Filter) *string { return &f.Protocol }),
	text("namespace", "Namespace", func(f *index.Filter) *string { return &f.Namespace }),
	text("pod", "Pod", func(f *index.Filter) *string { return &f.Pod }),
	text("cluster", "Cluster", func(f *index.Filter) *string { return &f.Cluster }),
	instant("from", "From", func(f *index.Filter) *time.Time { return &f.From }),
	instant("to", "To", func(f *index.Filter) *time.Time { return &f.To }),
	{"slower", "Took at least", func(f *index.Filter) string { return durationText(f.Slower) }, setSlower},
	text("caller", "Caller", func(f *index.Filter) *string { return &f.Caller }),
	text("callee", "Callee", func(f *index.Filter) *string { return &f.Callee }),
	text("trace", "Trace", func(f *index.Filter) *string { return &f.Trace }),
}

// maxValue bounds a value of a filter, in bytes. A workload with its namespace fits, even if each is
// as long as a text of a row can be.
const maxValue = 9 << 10

func text(name, label string, of func(*index.Filter) *string) filterField {
	return filterField{name, label, func(f *index.Filter) string { return *of(f) }, func(f *index.Filter, v string) error {
		*of(f) = v
		return nil
	}}
}

func choice(name, label string, of func(*index.Filter) *string, allowed ...string) filterField {
	return filterField{name, label, func(f *index.Filter) string { return *of(f) }, func(f *index.Filter, v string) error {
		for _, a := range allowed {
			if strings.EqualFold(a, v) {
				*of(f) = a
				return nil
			}
		}
		return fmt.Errorf("want %s", strings.Join(allowed, ", "))
	}}
}

func instant(name, label string, of func(*index.Filter) *time.Time) filterField {
	get := func(f *index.Filter) string {
		if of(f).IsZero() {
			return ""
		}
		return of(f).UTC().Format(time.RFC3339Nano)
	}
	return filterField{name, label, get, func(f *index.Filter, v string) (err error) {
		*of(f), err = read.ParseTime(v, time.Now())
		return err
	}}
}

func setStatus(f *index.Filter, v string) error {
	v = strings.ToLower(v)
	code, err := strconv.ParseUint(v, 10, 16)
	class := len(v) == 3 && v[0] >= '1' && v[0] <= '5' && v[1:] == "xx"
	if v != "none" && !class && (err != nil || code < 100 || code > 999) {
		return fmt.Errorf("want a code such as 404, a class such as 5xx, or none for no answer")
	}
	f.Status = v
	return nil
}

func setProblems(f *index.Filter, v string) error {
	if v != "1" {
		return fmt.Errorf("want 1, or nothing")
	}
	f.Problems = true
	return nil
}

func setSlower(f *index.Filter, v string) error {
	d, err := time.ParseDuration(v)
	if ms, notMillis := strconv.ParseFloat(v, 64); notMillis == nil && ms >= 0 && ms < 1e12 {
		d, err = time.Duration(ms*float64(time.Millisecond)), nil
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("want a duration such as 250ms or 1.5s, or a number of milliseconds")
	}
	f.Slower = d
	return nil
}

// durationText formats a duration for ParseDuration; "" for 0.
func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// filterErrors has the errors in values, by the field's name.
type filterErrors map[string]string

// parseFilter reads a filter from a query. It ignores invalid values, and returns an error for
// each.
func parseFilter(q url.Values) (f index.Filter, wrong filterErrors) {
	wrong = filterErrors{}
	for _, field := range filterFields {
		v := strings.TrimSpace(q.Get(field.Name))
		if v == "" {
			continue
		}
		if len(v) > maxValue {
			wrong[field.Name] = "longer than 9 KiB"
		} else if err := field.set(&f, v); err != nil {
			wrong[field.Name] = err.Error()
		}
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		wrong["to"] = "want a time after From"
	}
	return f, wrong
}

// filterQuery writes a filter as a query.
func filterQuery(f index.Filter) url.Values {
	q := url.Values{}
	for _, field := range filterFields {
		if v := field.get(&f); v != "" {
			q.Set(field.Name, v)
		}
	}
	return q
}

// withQuery appends a query to a URL that has none.
func withQuery(to string, q url.Values) string {
	if len(q) == 0 {
		return to
	}
	return to + "?" + q.Encode()
}

// Exchanges returns the URL of the table of the exchanges that a filter selects.
func (it *item) Exchanges(f index.Filter) string { return withQuery(it.URL(""), filterQuery(f)) }

// Exchange returns the URL of one exchange.
func (it *item) Exchange(id int64) string {
	return it.URL("exchanges/" + strconv.FormatInt(id, 10))
}

// chip is an active part of a filter, and the URL of the table without it.
type chip struct{ Label, Value, Without string }

// chips lists the active parts of a filter. page is the URL of the table, and kept the other
// parameters of its query.
func chips(page string, f index.Filter, kept url.Values) (all []chip) {
	for _, field := range filterFields {
		v := field.get(&f)
		if v == "" {
			continue
		}
		q := filterQuery(f)
		q.Del(field.Name)
		for name, values := range kept {
			q[name] = values
		}
		if field.Name == "problems" {
			v = "" // the label says it
		}
		all = append(all, chip{field.Label, v, withQuery(page, q)})
	}
	return all
}
