package match

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// unheard lists the response headers that say nothing about the content: they describe the
// connection, or follow from the body or the clock. A rule can require them.
var unheard = []string{"age", "connection", "content-length", "date", "keep-alive", "proxy-connection", "sec-websocket-accept", "te", "trailer", "transfer-encoding", "via"}

// Unheard returns the names of the response headers that are not compared unless a rule
// requires them.
func Unheard() []string { return slices.Clone(unheard) }

// clock bounds the difference between the times in two responses, each counted from the start of
// its exchange, in addition to the duration of the exchanges. It allows for clocks that differ, and
// for servers that write whole seconds.
const clock = 2 * time.Second

// Diff compares the responses of two exchanges: the status, the headers, and the bodies by their
// format. It redacts both exchanges in place. foreignTokens means that the recorded one has tokens
// made under a key that Redact doesn't have; such a token equals any value.
func (m *Matcher) Diff(recorded, live *recording.Exchange, foreignTokens bool) Differences {
	if m.redact != nil {
		m.redact(recorded)
		m.redact(live)
	}
	var r Request
	r.k.secret = m.secret
	r.head(live)
	d := responses{m: m, seed: maphash.MakeSeed()}
	d.scope.Reset(m.rules, r.Method, r.Host, "/"+strings.Join(r.Path, "/"), true)
	d.recordedAt, d.liveAt, d.foreign = recorded.TS, live.TS, foreignTokens
	d.clock = clock + recorded.End() + live.End()
	d.status(recorded, live)
	if recorded.HTTP != nil && live.HTTP != nil {
		d.headers(recorded.HTTP.Res.Headers, live.HTTP.Res.Headers)
	}
	switch {
	case recorded.Conversation() != nil || live.Conversation() != nil:
		d.messages(recorded, live)
	default:
		d.body("body", d.read(recorded.Response()), d.read(live.Response()))
	}
	for _, p := range d.fired {
		p.Rule.Fire()
	}
	return d.found
}

type responses struct {
	comparison
	m     *Matcher
	seed  maphash.Seed
	scope rules.Scope
	fired []*rules.Place
}

func (d *responses) status(recorded, live *recording.Exchange) {
	if p := d.scope.First(rules.Status); p != nil && p.Action != rules.Require {
		d.fired = append(d.fired, p)
		return
	}
	text := func(e *recording.Exchange) []byte {
		switch {
		case e.GRPC != nil && e.Status != "":
			return []byte(e.Status)
		case e.HTTP == nil || e.HTTP.Res.StatusCode == 0:
			return nil
		}
		return strconv.AppendInt(nil, int64(e.HTTP.Res.StatusCode), 10)
	}
	d.text("status", text(recorded), text(live))
}

func (d *responses) headers(recorded, live recording.Headers) {
	required := map[string]bool{}
	by := func(h recording.Headers) map[string][]byte {
		all := map[string][]byte{}
		for _, f := range h {
			name := strings.ToLower(f.Name)
			p := d.scope.Header(name)
			if p == nil && slices.Contains(unheard, name) {
				continue
			}
			if p != nil {
				d.fired = append(d.fired, p)
				if p.Action == rules.Ignore {
					continue
				}
				required[name] = p.Action == rules.Require
			}
			value := f.Value
			if p != nil && p.Action == rules.Mask {
				value = "*"
			}
			if have, ok := all[name]; ok {
				all[name] = append(append(have, ", "...), value...)
			} else {
				all[name] = []byte(value)
			}
		}
		return all
	}
	a, b := by(recorded), by(live)
	names := make([]string, 0, len(a)+len(b))
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if a[name] == nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		d.names = []byte(name)
		d.texts("header:"+name, a[name], b[name], required[name])
	}
	d.names = nil
}

// content is a body and its format.
type content struct {
	format canon.Format
	params canon.Params
	body   []byte
	cut    bool
}

func (d *responses) read(h recording.Half) content {
	decoder := d.m.decoders.Get().(*coding.Decoder)
	defer d.m.decoders.Put(decoder)
	body, err := h.Decode(decoder, nil, maxBody)
	if err != nil {
		return content{canon.Raw, canon.Params{}, h.Body, h.Cut()}
	}
	f, p := canon.Detect(h.Headers.Get("Content-Type"), body)
	return content{f, p, body, h.Cut()}
}

// messages compares the server's messages of two conversations.
func (d *responses) messages(recorded, live *recording.Exchange) {
	of := func(e *recording.Exchange) (all []content) {
		c := e.Conversation()
		if c == nil {
			return nil
		}
		said := c.Messages
		if e.WebSocket != nil { // the type of a message does not matter
			if whole, err := recording.JoinFrames(said, maxBody); err == nil {
				said = whole
			}
		}
		for i := range said {
			msg := &said[i]
			if msg.From != recording.Server {
				continue
			}
			one := content{format: canon.Raw, body: msg.Data, cut: msg.Size > int64(len(msg.Data))}
			switch {
			case e.GRPC != nil:
				one.body, one.format, one.params = d.m.answer(e, msg)
			case e.WebSocket != nil && !msg.Compressed:
				one.format, one.params = canon.Detect("", msg.Data)
			}
			all = append(all, one)
		}
		return all
	}
	a, b := of(recorded), of(live)
	for i := range max(len(a), len(b)) {
		place := message + strconv.Itoa(i) + "]"
		switch {
		case i >= len(b):
			d.text(place, a[i].body, nil)
		case i >= len(a):
			d.text(place, nil, b[i].body)
		default:
			d.body(place, a[i], b[i])
		}
	}
}

// body compares two bodies: by tree if both have the same format, otherwise by line if both
// are text, otherwise by hash.
func (d *responses) body(place string, recorded, live content) {
	if p := d.whole(); p != nil {
		d.fired = append(d.fired, p)
		return
	}
	if bytes.Equal(recorded.body, live.body) {
		return
	}
	if recorded.cut || live.cut { // compare only the part that both have
		n := min(len(recorded.body), len(live.body))
		if bytes.Equal(recorded.body[:n], live.body[:n]) {
			return
		}
	}
	a, b := d.tree(&recorded), d.tree(&live)
	switch {
	case a != nil && b != nil && recorded.format == live.format:
		d.trees(inside(place, recorded.format), a, b)
	case len(recorded.body) == 0:
		d.text(place, nil, live.body)
	case len(live.body) == 0:
		d.text(place, recorded.body, nil)
	case a != nil || b != nil:
		d.place = append(d.place[:0], place...)
		d.add(TypeChanged, &node{kind: canon.Text, value: []byte(recorded.format.String())}, &node{kind: canon.Text, value: []byte(live.format.String())})
	case utf8.Valid(recorded.body) && utf8.Valid(live.body):
		d.lines(place, recorded.body, live.body)
	default:
		d.text(place, []byte(hashOf(recorded.body)), []byte(hashOf(live.body)))
	}
}

// whole returns the rule that exempts the whole body, or nil.
func (d *responses) whole() (p *rules.Place) {
	for _, one := range d.scope.Of(rules.Body) {
		switch {
		case one.Text != "response:body":
		case one.Action == rules.Require:
			return nil
		default:
			p = one
		}
	}
	return p
}

// inside returns the place of the root of a body that is at place.
func inside(place string, f canon.Format) string {
	if root, ok := strings.CutPrefix(rootPlace(f), "body"); ok {
		return place + root
	}
	return rootPlace(f)
}

// tree reads a body. It returns nil if the body isn't of its declared type.
func (d *responses) tree(c *content) *node {
	if c.format == canon.Raw || len(c.body) == 0 || c.cut {
		c.format = canon.Raw
		return nil
	}
	var t treeBuilder
	t.reset(d.seed, &d.scope, rules.Body)
	if c.format.Walk(c.body, c.params, &t) != nil {
		c.format = canon.Raw
		return nil
	}
	d.fired = append(d.fired, t.fired...)
	t.root.sum(d.seed)
	return t.root
}

// lines compares text line by line.
func (d *responses) lines(place string, recorded, live []byte) {
	a, b := bytes.Split(recorded, []byte("\n")), bytes.Split(live, []byte("\n"))
	hash := func(lines [][]byte) func(int) uint64 {
		return func(i int) uint64 { return maphash.Bytes(d.seed, lines[i]) }
	}
	align(len(a), len(b), hash(a), hash(b), func(i, j int) {
		switch {
		case i >= 0 && j >= 0:
			d.text(place+line+strconv.Itoa(i+1), a[i], b[j])
		case i >= 0:
			d.text(place+line+strconv.Itoa(i+1), a[i], nil)
		default:
			d.text(place+line+strconv.Itoa(j+1), nil, b[j])
		}
	})
}

// hashOf describes bytes that can't be shown.
func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]) + " (" + strconv.Itoa(len(b)) + " bytes)"
}
