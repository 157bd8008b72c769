package match

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
)

// Explanation explains how a request was judged. Its values are redacted and cut.
type Explanation struct {
	// Request is the request in one line.
	Request string `json:"request"`
	// How is the step of the lookup that found the entries, if one did.
	How string `json:"how"`
	// Entries is the number of entries that were found.
	Entries int `json:"entries"`
	// Keys are the keys of the signature, each compared with that of the entry or of the nearest
	// recorded request.
	Keys []KeyVerdict `json:"keys"`
	// Places are the places with values of a class, and whether and why each is masked.
	Places []PlaceVerdict `json:"places,omitempty"`
	// Nearest is the nearest recorded request; nil if the request was found, or none is near.
	Nearest *Nearest `json:"nearest,omitempty"`
	// Known lists the endpoints or hosts of the recording, if it has no request of this endpoint.
	Known *Known `json:"known,omitempty"`
	// Hints are the rules that would make the nearest request match.
	Hints []string `json:"hints,omitempty"`
}

// KeyVerdict compares one key of the signatures.
type KeyVerdict struct {
	Name     string `json:"name"`
	Live     string `json:"live,omitempty"`
	Recorded string `json:"recorded,omitempty"`
	// Verdict is equal, masked, differs, added (the recorded side has no such key) or removed. It
	// is empty if there is nothing to compare with.
	Verdict string `json:"verdict,omitempty"`
}

// PlaceVerdict says whether a place with a value of a class is masked.
type PlaceVerdict struct {
	Place  string `json:"place"`
	Class  string `json:"class,omitempty"`
	Masked bool   `json:"masked"`
	Why    string `json:"why"`
}

// Nearest describes the recorded request of the same endpoint that differs least.
type Nearest struct {
	Ref Ref `json:"ref"`
	// UUID is that of the recorded exchange.
	UUID string `json:"uuid"`
	// Request is the request in one line.
	Request string `json:"request"`
	// Of is the number of the endpoint's requests, and Considered the number of those that were
	// compared.
	Of         int `json:"of"`
	Considered int `json:"considered"`
	Differences
}

// Known lists the recorded endpoints of a host, or the recorded hosts.
type Known struct {
	// Host is false if the recording has nothing for the request's host.
	Host bool `json:"host"`
	// Names are the names of endpoints or hosts. Others is the number of further ones.
	Names  []string `json:"names"`
	Others int      `json:"others,omitempty"`
}

const (
	// maxLoaded bounds the recorded requests that are read again to explain a miss.
	maxLoaded = 5
	// maxKnown bounds the endpoints or hosts that are named.
	maxKnown = 10
)

// Explain explains how a request was judged, given the result of its lookup. It reads at most
// five recorded exchanges with load, and skips those that can't be read.
func (x *Index) Explain(r *Request, res Result, load func(Ref) (*recording.Exchange, error)) *Explanation {
	ex := &Explanation{Request: r.line(), How: res.How.String(), Entries: len(res.Entries)}
	ex.Places = x.placeVerdicts(r)
	e := x.point(r)
	var nearest *Request
	switch {
	case res.How != None:
		if got, err := load(x.Ref(res.Entries[0])); err == nil {
			nearest = x.m.Request(got)
		}
	case e == nil:
		ex.Known = x.alternatives(r)
	default:
		ex.Nearest, nearest = x.nearest(r, e, load)
		ex.Hints = hints(ex.Nearest)
	}
	ex.Keys = keyVerdicts(r, nearest, res, ex.Nearest)
	return ex
}

// line returns the request in one line.
func (r *Request) line() string {
	host := r.address()
	if r.Protocol == recording.TCP {
		return "tcp " + host
	}
	line := r.Method + " " + host + joinPath(r.Path)
	if query := rawQuery(r.e); query != "" {
		line += "?" + query
	}
	if r.Protocol != "http" {
		line = r.Protocol + " " + line
	}
	return cut(line)
}

// placeVerdicts returns for each place with a value of a class whether it is masked.
func (x *Index) placeVerdicts(r *Request) []PlaceVerdict {
	var all []PlaceVerdict
	for i := range r.k.leaves {
		l := &r.k.leaves[i]
		mask, _, _ := x.mask(r, l)
		v := PlaceVerdict{Place: mask.Place, Class: l.Class.String(), Masked: mask.Why != ""}
		p := x.profile(r.placeID(l))
		switch {
		case mask.Why == ByRule:
			v.Why = fmt.Sprintf("The rule %q masks it.", mask.Rule)
		case mask.Why == ByRedaction:
			v.Why = verdictOf(ByRedaction).brief()
		case l.Class == class.None && !l.protocol:
			continue
		case p == nil:
			v.Place, v.Why = r.k.string(l.name), "The recording has no value of a class there."
		default:
			v.Place, v.Why = r.k.string(l.name), p.verdict(l.Value).brief()
		}
		if len(all) == MaxDifferences {
			break
		}
		all = append(all, v)
	}
	return all
}

// brief returns the first sentence of the verdict's condition.
func (v *Verdict) brief() string {
	first, _, _ := strings.Cut(v.Doc, ". ")
	return strings.TrimSuffix(first, ".") + "."
}

func verdictOf(why Reason) *Verdict {
	i := slices.IndexFunc(verdicts, func(v Verdict) bool { return v.Why == why })
	return &verdicts[i]
}

// alternatives lists what the recording has in place of a request's endpoint.
func (x *Index) alternatives(r *Request) *Known {
	h := x.hosts[r.Host]
	if h == nil {
		names := slices.Sorted(maps.Keys(x.hosts))
		return &Known{Names: around(names, r.Host), Others: max(0, len(names)-maxKnown)}
	}
	text := r.endpointText()
	return &Known{Host: true, Names: around(h.names, text.name()), Others: h.more + max(0, len(h.names)-maxKnown)}
}

// around returns the names next to the position that name would have.
func around(names []string, name string) []string {
	i, _ := slices.BinarySearch(names, name)
	from := max(0, min(i-maxKnown/2, len(names)-maxKnown))
	return names[from:min(len(names), from+maxKnown)]
}

// nearest finds the recorded request that differs least, among those that share most bands with the
// live one.
func (x *Index) nearest(r *Request, e *endpoint, load func(Ref) (*recording.Exchange, error)) (*Nearest, *Request) {
	candidates := x.near.to(e, &r.k.bands)
	var best *Nearest
	var request *Request
	for _, c := range candidates[:min(len(candidates), maxLoaded)] {
		got, err := load(x.Ref(c))
		if err != nil {
			continue
		}
		recorded := x.m.Request(got)
		d := x.differences(recorded, r)
		if best == nil || len(d.List)+d.More < len(best.List)+best.More {
			best = &Nearest{
				Ref: x.Ref(c), UUID: got.UUID.String(), Request: recorded.line(),
				Of: int(e.to - e.from), Considered: len(candidates), Differences: d,
			}
			request = recorded
		}
	}
	return best, request
}

// differences compares two requests, without the masked places.
func (x *Index) differences(recorded, live *Request) Differences {
	c := comparison{recordedAt: recorded.TS, liveAt: live.TS}
	masked := x.maskedPlaces(recorded)
	same := x.maskedPlaces(live)
	c.same = func(place string) bool {
		a, ok := masked[place]
		b, also := same[place]
		return ok && also && a == b
	}
	c.text("method", []byte(recorded.Method), []byte(live.Method))
	c.text("host", []byte(recorded.Host), []byte(live.Host))
	if h := x.hosts[live.Host]; h != nil && h.ports {
		c.text("port", []byte(recorded.Port), []byte(live.Port))
	}
	for i := range max(len(recorded.Path), len(live.Path)) {
		segment := func(r *Request) []byte {
			if i >= len(r.Path) {
				return nil
			}
			return []byte(r.Path[i])
		}
		c.text("path:"+live.template(i), segment(recorded), segment(live))
	}
	seed := maphash.MakeSeed()
	if live.Protocol != recording.TCP {
		query := func(r *Request) *node {
			var t treeBuilder
			t.reset(seed, &live.scope, rules.Query)
			canon.WalkQuery(rawQuery(r.e), &t)
			t.root.sum(seed)
			return t.root
		}
		c.trees("query:", query(recorded), query(live))
		c.requiredHeaders(recorded, live)
	}
	body := func(r *Request) *node {
		var t treeBuilder
		t.reset(seed, &live.scope, rules.Body, rules.Form)
		r.format.Walk(r.body, r.params, &t)
		t.root.sum(seed)
		return t.root
	}
	switch {
	case recorded.cut || live.cut:
		c.text("body", []byte(hashOf(recorded.body)), []byte(hashOf(live.body)))
	case len(recorded.body) == 0 || len(live.body) == 0 || recorded.format != live.format:
		side := func(r *Request) []byte {
			if len(r.body) == 0 {
				return nil
			}
			return []byte(r.format.String() + ", " + hashOf(r.body))
		}
		c.text("body", side(recorded), side(live))
	default:
		c.trees(rootPlace(live.format), body(recorded), body(live))
	}
	return c.found
}

// maskedPlaces returns the masked places with their keys.
func (x *Index) maskedPlaces(r *Request) map[string]key {
	all := map[string]key{}
	for i := range r.k.leaves {
		if mask, k, _ := x.mask(r, &r.k.leaves[i]); mask.Why != "" {
			all[mask.Place] = k
		}
	}
	return all
}

// requiredHeaders compares the headers that are always compared, and those that rules require.
func (c *comparison) requiredHeaders(recorded, live *Request) {
	names := make([]string, 0, len(selecting))
	for _, s := range selecting {
		names = append(names, s.lower)
	}
	for _, p := range live.scope.Of(rules.Header) {
		if p.Action == rules.Require {
			names = append(names, p.HeaderName())
		}
	}
	value := func(r *Request, name string) []byte {
		var all []string
		for v := range r.e.HTTP.Req.Headers.Values(name) {
			all = append(all, v)
		}
		if all == nil {
			return nil
		}
		return []byte(strings.Join(all, ", "))
	}
	for _, name := range names {
		c.text("header:"+name, value(recorded, name), value(live, name))
	}
	if s := recorded.e.HTTP.Res.StatusCode; s == 304 || s == 412 {
		c.text("header:if-none-match", value(recorded, "If-None-Match"), value(live, "If-None-Match"))
	}
}

// keyVerdicts compares the signatures.
func keyVerdicts(live, recorded *Request, res Result, nearest *Nearest) []KeyVerdict {
	var all []KeyVerdict
	differ := func(name string) bool { // in more than masked values
		if nearest == nil {
			return false
		}
		place := "body"
		if parameter, ok := strings.CutPrefix(name, "http:queryparams"); ok {
			place = "query" + cmp.Or(parameter, ":")
		} else if !strings.HasPrefix(name, "http:requestBody") && name != "grpc:message" {
			return true
		}
		return nearest.More > 0 || slices.ContainsFunc(nearest.List, func(d Difference) bool {
			return strings.HasPrefix(d.Place, place) || place == "body" && strings.HasPrefix(d.Place, "form:")
		})
	}
	find := func(pairs []Pair, name string, n int) (int, bool) {
		for i, p := range pairs {
			if p.Name == name {
				if n == 0 {
					return i, true
				}
				n--
			}
		}
		return 0, false
	}
	var other []Pair
	if recorded != nil {
		other = recorded.Signature()
	}
	seen := map[string]int{}
	for _, p := range live.Signature() {
		v := KeyVerdict{Name: p.Name, Live: cut(p.Value)}
		if i, ok := find(other, p.Name, seen[p.Name]); ok {
			v.Recorded = cut(other[i].Value)
			switch {
			case other[i].Value == p.Value:
				v.Verdict = "equal"
			case differ(p.Name):
				v.Verdict = "differs"
			default:
				v.Verdict = "masked"
			}
		} else if recorded != nil {
			v.Verdict = "added"
		}
		seen[p.Name]++
		all = append(all, v)
	}
	for _, p := range other {
		if seen[p.Name]--; seen[p.Name] < 0 {
			all = append(all, KeyVerdict{Name: p.Name, Recorded: cut(p.Value), Verdict: "removed"})
		}
	}
	if len(res.Entries) > 1 {
		all = append(all, KeyVerdict{Name: "instance", Recorded: "1 to " + strconv.Itoa(len(res.Entries))})
	}
	return all
}

// hints returns the rules that would make the nearest recorded request match, if only a few
// values differ.
func hints(n *Nearest) []string {
	if n == nil || n.More > 0 || len(n.List) == 0 || len(n.List) > 3 {
		return nil
	}
	var mask, ignore []string
	for _, d := range n.List {
		switch {
		case strings.HasPrefix(d.Place, "header:"), d.Place == "method", strings.HasPrefix(d.Place, "path:") && d.Kind != ValueChanged:
			return nil
		case d.Kind == ValueChanged && d.Place != "host" && d.Place != "port":
			mask = append(mask, strconv.Quote(d.Pattern()))
		default:
			ignore = append(ignore, strconv.Quote(d.Pattern()))
		}
	}
	var rule []string
	if mask != nil {
		rule = append(rule, "mask: ["+strings.Join(mask, ", ")+"]")
	}
	if ignore != nil {
		rule = append(rule, "ignore: ["+strings.Join(ignore, ", ")+"]")
	}
	return []string{"If the response does not depend on it, a rule makes them the same: {" + strings.Join(rule, ", ") + "}"}
}

// Text writes the explanation for people.
func (ex *Explanation) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", ex.Request)
	switch {
	case ex.How != None.String():
		fmt.Fprintf(&b, "found: %s, %s\n", ex.How, count(ex.Entries, "recorded request"))
	case ex.Known != nil && ex.Known.Host:
		b.WriteString("not found: the recording has no such endpoint. For this host it has:\n")
	case ex.Known != nil:
		b.WriteString("not found: the recording has nothing for this host. It has:\n")
	case ex.Nearest == nil:
		b.WriteString("not found\n")
	default:
		n := ex.Nearest
		fmt.Fprintf(&b, "not found: the nearest of %s to this endpoint is\n%s\n%s; it differs in\n", count(n.Of, "recorded request"), n.Request, n.UUID)
		for _, d := range n.List {
			fmt.Fprintf(&b, "  %s\n", d)
		}
		if n.More > 0 {
			fmt.Fprintf(&b, "  and %d more\n", n.More)
		}
	}
	if ex.Known != nil {
		for _, name := range ex.Known.Names {
			fmt.Fprintf(&b, "  %s\n", name)
		}
		if ex.Known.Others > 0 {
			fmt.Fprintf(&b, "  and %d more\n", ex.Known.Others)
		}
	}
	b.WriteString("keys:\n")
	for _, k := range ex.Keys {
		fmt.Fprintf(&b, "  %-8s %s %s", k.Verdict, k.Name, quoteShort(k.Live))
		if k.Recorded != "" && k.Verdict != "equal" {
			fmt.Fprintf(&b, ", recorded %s", quoteShort(k.Recorded))
		}
		b.WriteByte('\n')
	}
	if len(ex.Places) > 0 {
		b.WriteString("values of a class:\n")
	}
	for _, p := range ex.Places {
		verdict := "compared"
		if p.Masked {
			verdict = "masked"
		}
		fmt.Fprintf(&b, "  %-8s %s", verdict, p.Place)
		if p.Class != "" {
			fmt.Fprintf(&b, " (%s)", p.Class)
		}
		fmt.Fprintf(&b, ": %s\n", p.Why)
	}
	for _, h := range ex.Hints {
		fmt.Fprintf(&b, "%s\n", h)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func quoteShort(s string) string {
	if s == "" {
		return "-"
	}
	return strconv.Quote(s)
}

// String returns the difference in one line.
func (d Difference) String() string {
	s := d.Place + ": "
	switch d.Kind {
	case FieldAdded:
		s += "live has " + strconv.Quote(d.Live) + ", recorded has nothing"
	case FieldRemoved:
		s += "recorded has " + strconv.Quote(d.Recorded) + ", live has nothing"
	case OrderChanged:
		s += "the same items in another order"
	default:
		s += "recorded " + strconv.Quote(d.Recorded) + ", live " + strconv.Quote(d.Live)
	}
	if d.Class != "" {
		s += " (" + d.Class + ")"
	}
	if d.Kind == TypeChanged && d.RecordedType != d.LiveType {
		s += " (" + d.RecordedType + " and " + d.LiveType + ")"
	}
	return s
}
