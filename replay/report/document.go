package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// document is the content of the forms for people, which differ only in how they write it. Its
// strings are raw; each form escapes them.
type document struct {
	Title   string
	Verdict string
	Bad     bool
	// VerdictFirst puts the verdict before the sections, because they add nothing if the target is
	// down.
	VerdictFirst bool
	Because      []string // the reasons; the first one decided
	Facts        []fact
	Sections     []section
}

type fact struct{ Name, Value string }

// section is a table with a title.
type section struct {
	Title string
	Note  string
	// Text is the number of columns with text. All later columns have numbers.
	Text int
	Head []string
	Rows [][]string
	// More is the number of rows that were left out.
	More int
}

// newDifferences is the title of the section of new differences.
const newDifferences = "New differences"

// verdicts describes each exit code in a few words.
var verdicts = map[int]string{
	Passed:         "Passed",
	GoalsMissed:    "Failed: goals missed",
	CouldNotRun:    "Failed: could not run",
	NewDifferences: "Failed: new differences",
	MockMisses:     "Failed: mock misses",
	GeneratorBound: "Void: generator-bound",
	Incomplete:     "Failed: incomplete",
}

// maxReasons bounds the reasons that are shown to people.
const maxReasons = 20

// unanswered reports whether requests were sent but none was answered.
func (r *Report) unanswered() bool {
	total := r.Results.Total()
	var failed int64
	for _, n := range total.Failures {
		failed += n
	}
	return total.Sent > 0 && failed == total.Sent
}

// document returns the report for people.
func (r *Report) document() document {
	d := document{Title: "Replay against " + r.Target, Verdict: r.Verdict(), Bad: r.ExitCode != Passed, VerdictFirst: r.ExitCode == CouldNotRun && r.unanswered(), Facts: r.facts()}
	for i, x := range r.Exits {
		if i == maxReasons {
			d.Because = append(d.Because, fmt.Sprintf("and %s; the JSON form has all of them", plural(len(r.Exits)-i, "more reason")))
			break
		}
		d.Because = append(d.Because, x.String())
	}
	d.Sections = []section{
		r.goalSection(),
		differenceSection(r.with(New), newDifferences, "Answers that differ from the recorded ones, by endpoint and place, with one example each."),
		r.endpointSection(),
		r.timeSection(),
		r.outcomeSection(),
		differenceSection(r.with(Known), "Known differences", "The baseline has them, too."),
		differenceSection(r.with(Noise), "Noise", "Values that vary by themselves."),
		r.edgeSection(),
		r.ambiguousSection(),
		r.needSection(),
		r.mockSection(),
		r.ruleSection(),
	}
	d.Sections = slices.DeleteFunc(d.Sections, section.empty)
	return d
}

func (s section) empty() bool { return len(s.Rows) == 0 }

func (r *Report) facts() []fact {
	total := r.Results.Total()
	facts := []fact{
		{"Run", r.Run},
		{"Recording", r.Source.Place},
		{"Target", r.Target},
		{"Build", r.BuildTag},
		{"Baseline", r.Baseline},
		{"Load", r.Load.describe()},
		{"Started", r.Started.UTC().Format(time.DateTime) + " UTC"},
		{"Took", r.Elapsed().Round(time.Millisecond).String()},
		{"Requests", fmt.Sprintf("%s sent, %s failed", grouped(total.Sent), grouped(total.Failed))},
		{"Compared", compared(total)},
		{"Generator", r.Generator.describe()},
	}
	if s := r.Shard; s != nil {
		facts = append(facts, fact{"Shard", fmt.Sprintf("%d of %d", s.Index, s.Of)})
	}
	if m := r.Merged; m != nil {
		of := fmt.Sprintf("%d of %d shards", m.Of-len(m.Lost), m.Of)
		if len(m.Lost) > 0 {
			of += ", lost: " + strings.Trim(fmt.Sprint(m.Lost), "[]")
		}
		facts = append(facts, fact{"Merged", of})
		for _, note := range m.Notes {
			facts = append(facts, fact{"Note", note})
		}
	}
	if n := outOfRange(total); n > 0 {
		facts = append(facts, fact{"Out of range", fmt.Sprintf("%s times below 0 or beyond %s count as those", grouped(n), stats.Longest)})
	}
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

func (l Load) describe() string {
	switch l.Loop {
	case Open:
		return l.Shape + " (open loop: response times count from when a request was due)"
	case Closed:
		return l.Shape + " (closed loop: a slow target gets fewer requests)"
	}
	return l.Shape
}

func compared(e *stats.Endpoint) string {
	if e.Compared() == 0 {
		return ""
	}
	return fmt.Sprintf("%s answers: %s match, %s have known differences, %s have new ones",
		grouped(e.Compared()), grouped(e.Matched), grouped(e.Mismatched), grouped(e.New))
}

func (g Generator) describe() string {
	s := fmt.Sprintf("CPU time %s s, longest send lag %s ms", significant(g.CPUSeconds), millis(time.Duration(g.MaxLagMicros)*time.Microsecond, true))
	if g.InFlightBound > 0 {
		s += fmt.Sprintf(", bound of %s requests in flight reached %s times", grouped(int64(g.InFlightBound)), grouped(g.BoundHits))
	}
	return s
}

func outOfRange(e *stats.Endpoint) (n int64) {
	for _, d := range []*stats.Distribution{e.Response, e.Service, e.Lag, e.Held} {
		n += d.OutOfRange()
	}
	return n
}

func (r *Report) goalSection() section {
	s := section{Title: "Goals", Text: 2, Head: []string{"Verdict", "Fails if", "Value"}}
	for _, g := range r.Goals {
		value := notAvailable
		if g.Value != nil {
			value = strings.TrimSpace(significant(*g.Value) + " " + g.Unit)
		}
		if g.Recorded != nil {
			value += ", recorded " + significant(*g.Recorded) + " " + g.Unit
		}
		s.Rows = append(s.Rows, []string{string(g.Verdict), g.Goal, value})
	}
	return s
}

func differenceSection(of []Difference, title, note string) section {
	s := section{Title: title, Note: note, Text: 5, Head: []string{"Endpoint", "Place", "Kind", "Recorded", "Live", "Answers"}}
	why := slices.ContainsFunc(of, func(d Difference) bool { return d.Reason != "" })
	if why {
		s.Text, s.Head = 6, slices.Insert(s.Head, 5, "Why")
	}
	for _, d := range of {
		row := []string{d.Endpoint, d.Place, kinds[d.Kind], d.Example.recorded(), d.Example.live()}
		if why {
			row = append(row, d.Reason)
		}
		s.Rows = append(s.Rows, append(row, grouped(d.Count)))
	}
	return s
}

// endpointSection has a row for each endpoint, and one for all together.
func (r *Report) endpointSection() section {
	s := section{
		Title: "Endpoints", Text: 1,
		Note: "Response times: from when a request was due to when its answer was complete.",
		Head: []string{"Endpoint", "Requests", "Failed", "Match (%)", "Recorded p50 (ms)", "p50 (ms)", "p90 (ms)", "p95 (ms)", "p99 (ms)", "Max (ms)"},
	}
	row := func(e *stats.Endpoint) {
		match := notAvailable
		if n := e.Compared(); n > 0 {
			match = percent(e.Matched, n)
		}
		recorded := notAvailable
		if e.RecordedKnown() {
			recorded = millis(e.Recorded.Percentile(0.50))
		}
		cells := []string{named(e.Name), grouped(e.Sent), grouped(e.Failed), match, recorded}
		for _, q := range []float64{0.50, 0.90, 0.95, 0.99} {
			cells = append(cells, millis(e.Response.Percentile(q)))
		}
		s.Rows = append(s.Rows, append(cells, millis(e.Response.Max())))
	}
	row(r.Results.Total())
	for _, e := range r.Results.Endpoints {
		row(e)
	}
	return s
}

// timeSection shows the distribution of each kind of time, over all requests.
func (r *Report) timeSection() section {
	s := section{Title: "Times", Text: 2, Head: []string{"Time", "From … to", "Mean (ms)"}}
	for _, p := range stats.Percentiles {
		s.Head = append(s.Head, p.Name+" (ms)")
	}
	s.Head = append(s.Head, "Max (ms)")
	total := r.Results.Total()
	if total.Sent == 0 {
		return s
	}
	type kind struct {
		name, doc string
		of        *stats.Distribution
	}
	kinds := []kind{
		{"Response time", "due … answered", total.Response},
		{"Service time", "sent … answered", total.Service},
		{"Send lag", "due … sent", total.Lag},
		{"Held", "scheduled … due", total.Held},
	}
	if total.RecordedKnown() {
		kinds = append(kinds, kind{"Recorded", "begin … answered, in the recording", total.Recorded})
	}
	for _, one := range kinds {
		cells := []string{one.name, one.doc, millis(one.of.Mean())}
		for _, p := range stats.Percentiles {
			cells = append(cells, millis(one.of.Percentile(p.Quantile)))
		}
		s.Rows = append(s.Rows, append(cells, millis(one.of.Max())))
	}
	return s
}

// outcomeSection counts requests by their outcome.
func (r *Report) outcomeSection() section {
	s := section{Title: "Outcomes", Text: 2, Head: []string{"Outcome", "Which", "Requests"}}
	total := r.Results.Total()
	for _, one := range []struct {
		name string
		of   map[string]int64
	}{{"answered", total.Statuses}, {"failed", total.Failures}, {"not sent", total.Unsent}, {"left out", r.Source.LeftOut}} {
		for _, which := range slices.Sorted(maps.Keys(one.of)) {
			s.Rows = append(s.Rows, []string{one.name, which, grouped(one.of[which])})
		}
	}
	return s
}

func (r *Report) edgeSection() section {
	s := section{
		Title: "Values carried forward", Text: 5,
		Note: "A response issued the value, and a later request carried it.",
		Head: []string{"From", "Place", "To", "Place", "Note", "Carried", "Not carried"},
	}
	for _, e := range r.Edges {
		s.Rows = append(s.Rows, []string{e.From.Endpoint, e.From.Place, e.To.Endpoint, e.To.Place, joined(", ", e.Encoding, e.Reason), grouped(e.Fired), grouped(e.Unfired)})
	}
	return s
}

func (r *Report) ambiguousSection() section {
	s := section{
		Title: "Ambiguous values", Text: 4,
		Note: "Several responses may have issued the value: it was sent as recorded.",
		Head: []string{"To", "Place", "From one of", "Reason", "Requests"},
	}
	for _, a := range r.Ambiguous {
		var from []string
		for _, f := range a.From {
			from = append(from, f.Endpoint+" "+f.Place)
		}
		s.Rows = append(s.Rows, []string{a.To.Endpoint, a.To.Place, strings.Join(from, "; "), a.Reason, grouped(a.Count)})
	}
	return s
}

func (r *Report) needSection() section {
	s := section{
		Title: "Credentials", Text: 4,
		Note: "Nothing in the recording issues these values, and redaction took them.",
		Head: []string{"Endpoint", "Place", "Reason", "Supplied", "Requests"},
	}
	for _, n := range r.Needs {
		supplied := n.Supplied
		if supplied == "" {
			supplied = "missing"
		}
		s.Rows = append(s.Rows, []string{n.Endpoint, n.Place, n.Reason, supplied, grouped(n.Count)})
	}
	return s
}

func (r *Report) mockSection() section {
	s := section{Title: "Mock", Text: 2, Head: []string{"Verdict", "Which", "Requests"}}
	if r.Mock == nil {
		return s
	}
	m := r.Mock
	s.Note = fmt.Sprintf("%s connections were refused that would have left the mock. %s recorded answers were not used.", grouped(m.Escaped), grouped(m.NeverUsed))
	s.Rows = [][]string{
		{"hit", "answered as recorded", grouped(m.Served)},
		{"hit", "of these, with a volatile value masked", grouped(m.Masked)},
		{"passthrough", "to hosts that are listed", grouped(m.Passthrough)},
		{"miss", "not in the recording", grouped(m.Missed)},
	}
	for _, miss := range m.Misses {
		s.Rows = append(s.Rows, []string{"miss", joined(": ", miss.Endpoint, miss.Reason), grouped(miss.Count)})
	}
	return s
}

func (r *Report) ruleSection() section {
	s := section{Title: "Rules that never fired", Text: 1, Head: []string{"Rule"}}
	for _, rule := range r.UnfiredRules {
		s.Rows = append(s.Rows, []string{rule})
	}
	return s
}

// joined joins the strings that are not empty.
func joined(by string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), by)
}

// millis formats a time in milliseconds, with 3 significant digits.
func millis(t time.Duration, ok bool) string {
	if !ok {
		return notAvailable
	}
	return significant(float64(t) / float64(time.Millisecond))
}

// percent formats a part of a whole in percent. It never rounds up to 100.
func percent(part, whole int64) string {
	p := 100 * float64(part) / float64(whole)
	if s := goal.Format(p); part == whole || !strings.HasPrefix(s, "100") {
		return s
	}
	return "99.9"
}

// significant formats a number with 3 significant digits, but at least its whole part.
func significant(v float64) string {
	whole, part, _ := strings.Cut(goal.Format(v), ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && (n >= 1000 || n <= -1000) {
		whole = grouped(n)
	}
	return joined(".", whole, part)
}

// grouped formats a number with thousands separators.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}
