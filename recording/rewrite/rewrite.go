// Package rewrite changes recorded exchanges according to rules: it removes exchanges, and it redacts,
// replaces and drops values, at given places or anywhere. It can erase a person's data.
//
//	rules (YAML) ──▶ Parse ──▶ New ──▶ Rewrite(exchange) ──▶ kept or not, and a Report
//
// It promises:
//
//   - A rule finds its values in every text of a record: headers, URLs, bodies in their content
//     codings, messages, names, tags and foreign members. If a value has a form that can't be cut out,
//     the whole text is replaced.
//   - The exchange's tag `redacted` lists the changed places, so that replay and mock know them.
//   - Reports have counts and places, but no values.
//   - Records may be hostile: depth, sizes and decompressed data are bounded.
//
// It has its own parsers for JSON, XML and forms. Package redact can't share them: it searches text of
// any format for secrets, and computes a place only when it has found one. A rule names a place, so this
// package tracks the place of each value, and the text remains well-formed when it drops one.
//
// It imports recording, recording/coding, recording/fieldpath, contract's filter, sigs.k8s.io/yaml and
// the standard library.
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

// Tokens turns secrets into tokens, as redact.Tokens does.
type Tokens interface {
	// Of returns the token of a text.
	Of(text string) string
	// OfNumber returns the number that replaces a JSON number.
	OfNumber(literal string) string
	// Sized returns a token of the same size as the text.
	Sized(text string) string
}

// Rewriter applies rules to exchanges. It isn't safe for concurrent use.
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

// Close releases the memory of the rewriter.
func (w *Rewriter) Close() { w.decoder.Close() }

// Report says what the rules did.
type Report struct {
	// Read counts all exchanges. Removed and Changed count those that were removed or changed.
	Read, Removed, Changed int64
	// Tokens counts the values that became tokens.
	Tokens int64
	// Unreadable counts the bodies and messages that could not be decoded. Their encoded bytes were
	// searched for values.
	Unreadable int64
	// Rules has a report for each rule, in order.
	Rules []RuleReport
}

// RuleReport says what one rule did.
type RuleReport struct {
	// Name and Do are the rule's.
	Name, Do string
	// Exchanges counts the exchanges that the rule applies to.
	Exchanges int64
	// Places counts the changed values by the place that the rule names, or else by the kind of place.
	Places map[string]int64
}

// Changed returns how many values the rule changed.
func (r *RuleReport) Changed() (n int64) {
	for _, m := range r.Places {
		n += m
	}
	return n
}

// Idle reports whether the rule did nothing, perhaps because it is misspelled.
func (r *RuleReport) Idle() bool {
	return r.Exchanges == 0 || r.Do != "remove" && r.Changed() == 0
}

// Report returns the report on the exchanges so far.
func (w *Rewriter) Report() Report {
	r := w.report
	r.Rules = slices.Clone(r.Rules)
	for i := range r.Rules {
		r.Rules[i].Places = maps.Clone(r.Rules[i].Places)
	}
	return r
}

// Rewrite changes the exchange, which must be fully decoded, and reports whether to keep it. Everything
// that no rule changes remains the same, byte for byte.
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
	bodies   [2]*body // of the request and of the response; nil if not read yet
	sides    [2]*side // the messages of the client and of the server; nil if not read yet
	redacted []string // the places of changed values
	changed  bool
}

// matches reports whether the rule applies to the exchange.
func (d *draft) matches() bool {
	if d.rule.filter != nil && !d.rule.filter.Keeps(asked(d.e)) {
		return false
	}
	return d.rule.find == nil || d.contains(d.rule.find)
}

// asked returns the exchange in the form that a filter reads.
func asked(e *recording.Exchange) *filter.Exchange {
	x := &filter.Exchange{In: e.Direction == recording.In, Host: e.Host(), Path: e.Location, Method: e.Command}
	if e.HTTP != nil {
		x.Header = e.HTTP.Req.Headers.Values
	}
	return x
}

// contains reports whether the record has one of the values anywhere.
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
			d.changedAt(inRecord, kindOf(inRecord))
		default:
			*s = f.mask(*s, d.replacement)
			d.changedAt(p, kindOf(p))
		}
	})
	for i := range d.bodies {
		d.body(i).mask(d, f)
	}
	for i := range d.sides {
		d.side(i).mask(d, f)
	}
}

// replacement returns the replacement of a value according to the rule's action.
func (d *draft) replacement(value string) string {
	if d.rule.Do == "replace" {
		return d.rule.With
	}
	d.w.report.Tokens++
	return d.w.tokens.Of(value)
}

// replacementNumber is replacement for a JSON number.
func (d *draft) replacementNumber(literal string) string {
	if d.rule.Do == "replace" {
		if isNumber(d.rule.With) {
			return d.rule.With
		}
		return quoted(d.rule.With)
	}
	d.w.report.Tokens++
	return d.w.tokens.OfNumber(literal)
}

// sizedReplacement is replacement for texts whose size must not change.
func (d *draft) sizedReplacement(value string) string {
	if d.rule.Do == "replace" {
		with := d.rule.With[:min(len(d.rule.With), len(value))]
		return with + strings.Repeat(" ", len(value)-len(with))
	}
	d.w.report.Tokens++
	return d.w.tokens.Sized(value)
}

// changedAt counts a changed value in the report, under a pattern, and lists its place in the tag.
func (d *draft) changedAt(p fieldpath.Path, pattern string) {
	d.changed = true
	d.report.Places[pattern]++
	if d.rule.Do == "drop" || len(p) == 0 {
		return
	}
	d.redacted = append(d.redacted, p.String())
}

// kindOf returns the beginning of a place, which has no data from the exchange.
func kindOf(p fieldpath.Path) string {
	if len(p) == 0 {
		return "record"
	}
	return p[:min(2, len(p))].String()
}

// maxRedacted is how many places the tag lists: as many as redaction at capture lists.
const maxRedacted = 32

// finish stores the changed bodies, messages and places, and reports whether anything was changed.
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

// safeList returns a list of places without the names that contain a wanted value.
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
		return []string{"**"} // the list can't be read, so any place may be redacted
	}
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return texts
}
