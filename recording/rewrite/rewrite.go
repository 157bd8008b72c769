// Package rewrite changes recorded exchanges by rules: it removes exchanges, and redacts,
// replaces and drops values at places or wherever they are. That is also how a person's
// data is erased.
//
//	rules (YAML) ──▶ Parse ──▶ New ──▶ Rewrite(exchange) ──▶ kept or not, and a Report
//
// It promises:
//
//   - A value that a rule looks for is found in every text of a record: headers, URLs,
//     bodies under their content codings, messages, names, tags, foreign members. If it
//     can't be cut out in the form in which it is there, all of the text goes.
//   - What has been redacted is listed in the exchange's tag `redacted`, so that replay
//     and mock know of it.
//   - Reports have counts and places, and no values.
//   - Records are foreign: depth, sizes and what is unpacked are bounded.
//
// It reads JSON, XML and forms by itself. Package redact, which runs beside every application,
// looks for what may be a secret: it finds its way through text that is none of these, and
// writes down where it is only when it has found something. A rule names a place, so this
// package knows each, and leaves what is around it well-formed when it drops one.
//
// It imports recording with its folders coding and fieldpath, contract's filter,
// sigs.k8s.io/yaml and the standard library.
package rewrite

import (
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// Tokens makes tokens of secrets, as redact.Tokens does.
type Tokens interface {
	// Of returns the token of a text.
	Of(text string) string
	// OfNumber returns the number that stands for a JSON number.
	OfNumber(literal string) string
	// Sized returns a token of the text's own size.
	Sized(text string) string
}

// Rewriter applies rules to one exchange after the other. It isn't safe for concurrent
// use.
type Rewriter struct {
	rules   []Rule
	tokens  Tokens
	report  Report
	decoder coding.Decoder
}

// New returns a rewriter. Close releases it.
func New(rules []Rule, tokens Tokens) *Rewriter {
	w := &Rewriter{rules: rules, tokens: tokens}
	for _, r := range rules {
		w.report.Rules = append(w.report.Rules, RuleReport{Name: r.Name, Do: r.Do, Places: map[string]int64{}})
	}
	return w
}

// Close releases what the rewriter holds.
func (w *Rewriter) Close() { w.decoder.Close() }

// Report says what rules did.
type Report struct {
	// Read exchanges, of which Removed were removed and Changed were changed.
	Read, Removed, Changed int64
	// Tokens is how many values became tokens.
	Tokens int64
	// Unreadable bodies and messages could not be decoded; values in them were looked for
	// in the bytes as they are.
	Unreadable int64
	// Rules in their order.
	Rules []RuleReport
}

// RuleReport says what one rule did.
type RuleReport struct {
	// Name and Do are the rule's.
	Name, Do string
	// Exchanges that the rule is for.
	Exchanges int64
	// Places that the rule names, or kinds of places, by how many values were changed there.
	Places map[string]int64
}

// Changed is how many values the rule changed.
func (r *RuleReport) Changed() (n int64) {
	for _, m := range r.Places {
		n += m
	}
	return n
}

// Idle means that the rule did nothing: perhaps it is misspelled.
func (r *RuleReport) Idle() bool {
	return r.Exchanges == 0 || r.Do != "remove" && r.Changed() == 0
}

// Report returns what was done up to now.
func (w *Rewriter) Report() Report {
	r := w.report
	r.Rules = slices.Clone(r.Rules)
	for i := range r.Rules {
		r.Rules[i].Places = maps.Clone(r.Rules[i].Places)
	}
	return r
}

// Rewrite changes the exchange, a whole one, and reports whether it is to be kept. What it
// is not told to change stays the same byte for byte.
func (w *Rewriter) Rewrite(e *recording.Exchange) (keep bool) {
	w.report.Read++
	d := &draft{w: w, e: e}
	for i := range w.rules {
		d.rule, d.report = &w.rules[i], &w.report.Rules[i]
		if !d.matches() {
			continue
		}
		d.report.Exchanges++
		switch {
		case d.rule.Do == "remove":
			w.report.Removed++
			return false
		case len(d.rule.At) > 0:
			d.places()
		default:
			d.everywhere()
		}
	}
	if d.finish() {
		w.report.Changed++
	}
	return true
}

// draft is an exchange while it is rewritten.
type draft struct {
	w        *Rewriter
	e        *recording.Exchange
	rule     *Rule
	report   *RuleReport
	bodies   [2]*body // of the request, of the response; nil: not looked at
	sides    [2]*side // the client's messages, the server's; nil: not looked at
	redacted []string // places
	changed  bool
}

// matches reports whether the rule is for the exchange.
func (d *draft) matches() bool {
	if d.rule.filter != nil && !d.rule.filter.Keeps(asked(d.e)) {
		return false
	}
	return d.rule.find == nil || d.contains(d.rule.find)
}

// asked is the exchange as a filter sees it.
func asked(e *recording.Exchange) *filter.Exchange {
	x := &filter.Exchange{In: e.Direction == recording.In, Host: e.Host(), Path: e.Location, Method: e.Command}
	if e.HTTP != nil {
		x.Header = e.HTTP.Req.Headers.Values
	}
	return x
}

// contains looks for values in all of the record.
func (d *draft) contains(f *finder) bool {
	var all strings.Builder // short texts are searched together
	d.texts(func(_ fieldpath.Path, s *string) {
		all.WriteString(*s)
		all.WriteByte(0)
	})
	found := f.in(all.String())
	for i := range d.bodies {
		found = found || f.in(d.body(i).text)
	}
	for i := range d.sides {
		for _, text := range d.side(i).texts() {
			found = found || f.in(text)
		}
	}
	return found
}

// everywhere changes the values that the rule looks for, wherever they are.
func (d *draft) everywhere() {
	f := d.rule.find
	d.texts(func(p fieldpath.Path, s *string) {
		switch {
		case !f.in(*s):
		case p.String() == inPath.String():
			*s = d.maskURI(*s, f)
		case p.String() == inList.String():
			*s = safeList(*s, f)
			d.did(inRecord, kindOf(inRecord))
		default:
			*s = f.mask(*s, d.stead)
			d.did(p, kindOf(p))
		}
	})
	for i := range d.bodies {
		d.body(i).mask(d, f)
	}
	for i := range d.sides {
		d.side(i).mask(d, f)
	}
}

// stead is what stands for a value, by the rule's action.
func (d *draft) stead(value string) string {
	if d.rule.Do == "replace" {
		return d.rule.With
	}
	d.w.report.Tokens++
	return d.w.tokens.Of(value)
}

// steadNumber is stead for a number of JSON.
func (d *draft) steadNumber(literal string) string {
	if d.rule.Do == "replace" {
		if isNumber(d.rule.With) {
			return d.rule.With
		}
		return quoted(d.rule.With)
	}
	d.w.report.Tokens++
	return d.w.tokens.OfNumber(literal)
}

// steadSized is stead where the size must not change.
func (d *draft) steadSized(value string) string {
	if d.rule.Do == "replace" {
		with := d.rule.With[:min(len(d.rule.With), len(value))]
		return with + strings.Repeat(" ", len(value)-len(with))
	}
	d.w.report.Tokens++
	return d.w.tokens.Sized(value)
}

// did notes that a value was changed at a place, which the report calls by a pattern.
func (d *draft) did(p fieldpath.Path, pattern string) {
	d.changed = true
	d.report.Places[pattern]++
	if d.rule.Do == "drop" || len(p) == 0 {
		return
	}
	d.redacted = append(d.redacted, p.String())
}

// kindOf is the beginning of a place: it says nothing of the exchange.
func kindOf(p fieldpath.Path) string {
	if len(p) == 0 {
		return "record"
	}
	return p[:min(2, len(p))].String()
}

// maxRedacted is how many places the tag lists, as many as redaction at capture does.
const maxRedacted = 32

// finish writes back what was changed, and reports whether anything was.
func (d *draft) finish() bool {
	for i := range d.bodies {
		if b := d.bodies[i]; b != nil {
			b.finish(d)
		}
	}
	for i := range d.sides {
		if s := d.sides[i]; s != nil {
			s.finish()
		}
	}
	if len(d.redacted) > 0 {
		list := append(d.redacted, splitPlaces(d.e.Tags.Get(recording.TagRedacted))...)
		slices.Sort(list)
		if list = slices.Compact(list); len(list) > maxRedacted {
			list = append(list[:maxRedacted], "**")
		}
		d.e.Tags.Set(recording.TagRedacted, strings.Join(list, ","))
	}
	return d.changed
}

// safeList is a list of places without names that are values.
func safeList(list string, f *finder) string {
	texts := splitPlaces(list)
	for i, text := range texts {
		if p, err := fieldpath.Parse(text); err == nil {
			texts[i] = safe(p, f).String()
		}
	}
	if list = strings.Join(texts, ","); f.in(list) {
		return "**"
	}
	return list
}

func splitPlaces(list string) (texts []string) {
	all, err := fieldpath.ParseList(list)
	if err != nil {
		return []string{"**"} // it can't be read, so it may be anywhere
	}
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return texts
}
