package show

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// New returns the model of an exchange. If the exchange is a conversation, the model keeps a reference
// to it.
func New(e *recording.Exchange, o Options) *Exchange {
	o = o.withDefaults()
	x := &Exchange{
		Title: clean.Text(title(e)), UUID: e.UUID, Facts: facts(e), Notes: notes(e), Timings: timings(e), Tags: tags(e),
		Direction: clean.Text(short(e.Direction)), Protocol: clean.Text(short(e.L7Protocol)), Address: clean.Text(long(e.NetworkAddress)), Parent: e.Parent(), Trace: trace(e), Network: network(e),
	}
	x.Parent.By = clean.Text(long(x.Parent.By))
	x.FirstPart, _ = e.ConversationID()
	x.Tunnel, _ = e.Tunnel()
	who, by := e.Peer()
	x.Peer, x.PeerBy = clean.Text(long(who)), clean.Text(long(by))
	if h := e.HTTP; h != nil {
		secret := redactedPlaces(e)
		target, more := h.Req.URI, ""
		if over := len(target) - o.MaxValue; over > 0 {
			target, more = cutText(target, o.MaxValue), fmt.Sprintf("… (%d more bytes)", over)
		}
		b := newBuilder(o, o.MaxBody)
		if q := &h.Req; q.Method != "" || q.URI != "" || len(q.Headers) > 0 || len(q.Body) > 0 {
			x.Request = b.message(e.Request(), fmt.Sprintf("%s %s%s%s", h.Req.Method, target, more, version(" ", h.Req.Version)), secret.of("req"))
			_, query, _ := strings.Cut(h.Req.URI, "?")
			x.Request.Query, x.Request.QueryLeft = b.pairs(query, secret.of("req").in("query"))
		}
		if h.Res.StatusCode != 0 || h.Res.StatusMessage != "" || len(h.Res.Headers) > 0 || len(h.Res.Body) > 0 {
			status := cmp.Or(h.Res.StatusMessage, strconv.Itoa(h.Res.StatusCode))
			b := newBuilder(o, o.MaxBody)
			x.Response = b.message(e.Response(), version("", h.Req.Version)+" "+status, secret.of("res"))
		}
	}
	if c := e.Conversation(); c != nil {
		x.Conversation = converse(e, c, o)
	} else if x.Response != nil {
		x.Conversation = stream(e, x.Response.Body, o)
	}
	b := newBuilder(o, o.MaxBody)
	for _, m := range e.Extra {
		x.Extra = append(x.Extra, Part{Title: clean.Text(short(m.Name)), Body: b.body(content{bytes: m.Value, mediaType: "application/json"})})
	}
	return x
}

func (o Options) withDefaults() Options {
	o.MaxBody = cmp.Or(o.MaxBody, 1<<20)
	o.MaxMessage = cmp.Or(o.MaxMessage, 64<<10)
	o.MaxFields = cmp.Or(o.MaxFields, 1000)
	o.MaxValue = cmp.Or(o.MaxValue, 8<<10)
	o.MaxJoined = cmp.Or(o.MaxJoined, 32<<20)
	return o
}

func version(before, version string) string {
	if version == "" {
		return ""
	}
	return before + "HTTP/" + version
}

func title(e *recording.Exchange) string {
	if h := e.HTTP; h != nil && (h.Req.Method != "" || h.Req.URI != "" || h.Req.URL != "") {
		return short(strings.TrimSpace(h.Req.Method + " " + cmp.Or(h.Req.URL, h.Req.URI)))
	}
	return short(strings.TrimSpace(e.L7Protocol + " " + e.NetworkAddress))
}

// short cuts a text that is shown in one line.
func short(s string) string { return atMost(s, 300) }

// long cuts a text that is shown as a paragraph.
func long(s string) string { return atMost(s, 1<<10) }

func atMost(s string, bytes int) string {
	if len(s) <= bytes {
		return s
	}
	return cutText(s, bytes) + "…"
}

// known returns a name from the recording, or "" if the name means unknown.
func known(name string) string {
	if name == recording.Undefined {
		return ""
	}
	return name
}

func facts(e *recording.Exchange) (all []Fact) {
	add := func(name, value string) {
		if value = known(value); value != "" {
			all = append(all, Fact{name, clean.Text(long(value))})
		}
	}
	add("start", e.TS.UTC().Format("2006-01-02T15:04:05.000000000Z"))
	add("duration", strconv.FormatInt(e.Duration, 10)+" ms")
	add("status", e.Status)
	add("cluster", e.Cluster)
	add("namespace", e.Namespace)
	add("workload", cmp.Or(known(e.Service), e.Resource))
	add("pod", e.Pod())
	if e.IsTLS {
		add("TLS", cmp.Or(e.ALPN, "yes"))
	}
	add("replay", e.Replay())
	return all
}

// incompleteWords explains the reasons of [recording.Exchange.Incomplete].
var incompleteWords = map[string]string{
	recording.NoAnswer:     "no answer: the connection ended without one",
	recording.CutOff:       "cut: the connection ended within the request or the answer, or capture was turned off",
	recording.Reset:        "reset: one side cancelled the stream",
	recording.BytesLost:    "bytes lost: the sidecar's buffer was full, and a part was not recorded",
	recording.HeadersLost:  "headers lost: names of fields were in a header block that was lost; such fields are called " + recording.UnknownName,
	recording.Malformed:    "malformed: the bytes that followed could not be parsed",
	recording.NoMemory:     "no memory: the bytes that followed could not be assembled",
	recording.PartsMissing: "parts missing: parts of the conversation are not in the recording",
}

func notes(e *recording.Exchange) (all []string) {
	add := func(text string) { all = append(all, clean.Text(long(text))) }
	if why := e.Incomplete(); why != "" {
		add("incomplete: " + cmp.Or(incompleteWords[why], why))
	}
	if who := e.Tags.Get(recording.TagReset); who != "" {
		add("reset by " + who)
	}
	if e.Truncated() {
		add("truncated: a limit of the recording cut a body or a message, or left content out")
	}
	if why := e.Tags.Get(recording.TagUndecoded); why != "" {
		add("not decoded: " + why)
	}
	if words := redactedPlaces(e).words(); words != "" {
		add("redacted: secrets were replaced in " + words)
	}
	for _, side := range []struct{ of, tag string }{{"request", recording.TagRequestSentSize}, {"answer", recording.TagResponseSentSize}} {
		if n := e.Tags.Get(side.tag); n != "" {
			add("redaction changed the size of the " + side.of + "'s body, which had " + n + " bytes")
		}
	}
	if by := e.Tags.Get(recording.TagFraming); by == "both" {
		add("the request had both Content-Length and Transfer-Encoding; the recording follows the latter")
	}
	return all
}

func tags(e *recording.Exchange) []Tag {
	docs := map[string]string{}
	for _, d := range slices.Concat(recording.TagDocs(), recording.MockTagDocs()) {
		docs[d.Name] = d.Doc
	}
	all := make([]Tag, 0, len(e.Tags))
	for _, t := range e.Tags {
		all = append(all, Tag{clean.Text(short(t.Name)), clean.Text(long(t.Value)), docs[t.Name]})
	}
	return all
}

// traceFields are the fields that identify a trace or a request.
var traceFields = [...]string{"Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-Request-Id", "X-Correlation-Id", "X-Amzn-Trace-Id", "Uber-Trace-Id"}

func trace(e *recording.Exchange) (all []Fact) {
	headers := e.Request().Headers
	for _, name := range traceFields {
		for value := range headers.Values(name) {
			all = append(all, Fact{strings.ToLower(name), clean.Text(short(value))})
			break
		}
	}
	return all
}

func network(e *recording.Exchange) (all []Fact) {
	n := e.NetInfo
	if n == nil {
		return nil
	}
	add := func(name, value string) {
		if value != "" {
			all = append(all, Fact{name, clean.Text(long(value))})
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	add("connection", n.ID)
	add("accepted", at(n.StartTime))
	for _, side := range []struct {
		name string
		end  recording.Endpoint
	}{{"client", n.Downstream}, {"server", n.Upstream}} {
		address := side.end.IPAddress
		if side.end.Port != 0 {
			address += ":" + strconv.Itoa(side.end.Port)
			if strings.Contains(side.end.IPAddress, ":") {
				address = "[" + side.end.IPAddress + "]:" + strconv.Itoa(side.end.Port)
			}
		}
		add(side.name+" address", address)
		add(side.name+" name", side.end.Hostname)
		add(side.name+" connected", at(side.end.Established))
		if side.end.BytesSent != 0 {
			add(side.name+" sent", strconv.FormatInt(side.end.BytesSent, 10)+" bytes on the connection so far")
		}
	}
	return all
}

func timings(e *recording.Exchange) Timings {
	t := Timings{Start: e.TS, Total: e.End()}
	asked, ok := e.RequestEnd()
	answered, ok2 := e.ResponseStart()
	total := max(t.Total, asked, answered) // the recording has the total only in milliseconds
	if total <= 0 {
		return t
	}
	add := func(name string, from, to time.Duration) {
		p := Phase{Name: name, Start: from, Length: to - from}
		if p.Length < 0 {
			return
		}
		share := func(d time.Duration) int { return int(float64(d) / float64(total) * 1000) }
		p.From, p.Width = share(from), share(to)-share(from)
		t.Phases = append(t.Phases, p)
	}
	if ok {
		add("request sent", 0, asked)
	}
	if ok && ok2 {
		add("waiting", asked, answered)
	}
	if ok2 {
		add("answer received", answered, total)
	}
	return t
}
