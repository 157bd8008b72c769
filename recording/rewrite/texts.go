package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// parsePlace reads a place that a rule names.
func parsePlace(text string) (fieldpath.Path, error) {
	p, err := fieldpath.Parse(text)
	if err != nil {
		return nil, err
	}
	if len(p) < 2 {
		return nil, fmt.Errorf("%q, which names only the beginning of a place", text)
	}
	for _, s := range p[:2] {
		if s.Kind != fieldpath.Member {
			return nil, fmt.Errorf("%q, which does not begin with two names", text)
		}
	}
	switch begin := p[0].Name + "." + p[1].Name; begin {
	case "req.header", "res.header":
		if len(p) != 3 {
			return nil, fmt.Errorf("%q, want one name after %s", text, begin)
		}
		p[2].Name = textproto.CanonicalMIMEHeaderKey(p[2].Name)
	case "req.query":
		if len(p) != 3 {
			return nil, fmt.Errorf("%q, want one name after %s", text, begin)
		}
	case "req.body", "res.body", "client.message", "server.message":
	default:
		return nil, fmt.Errorf("%q, want one that begins with req.header, req.query, req.body, res.header, res.body, client.message or server.message", text)
	}
	return p, nil
}

// Places of texts that are neither in a body nor in a message.
var (
	inPath   = fieldpath.Of("req", "path")
	inHost   = fieldpath.Of("req", "host")
	inStatus = fieldpath.Of("res", "status")
	// inRecord is the place of texts that the recorder added. They are not part of the traffic.
	inRecord fieldpath.Path
	// inList is the place of the list of redacted places. Names in the list may be wanted values.
	inList = fieldpath.Of("tags", recording.TagRedacted)
)

// texts calls see with each text of the record that is neither in a body nor in a message, and with its
// place. see may change the text. Names of headers and tags also count as texts.
func (d *draft) texts(see func(fieldpath.Path, *string)) {
	e := d.e
	see(inPath, &e.Location)
	see(inHost, &e.NetworkAddress)
	see(inStatus, &e.Status)
	for _, s := range []*string{&e.Resource, &e.L7Protocol, &e.ALPN, &e.Direction, &e.Cluster, &e.Namespace, &e.Service, &e.Tech, &e.Command} {
		see(inRecord, s)
	}
	for i := range e.Tags {
		t := &e.Tags[i]
		see(inRecord, &t.Name)
		if t.Name == recording.TagRedacted {
			see(inList, &t.Value)
		} else {
			see(inRecord, &t.Value)
		}
	}
	if n := e.NetInfo; n != nil {
		for _, s := range []*string{&n.ID, &n.Downstream.IPAddress, &n.Downstream.Hostname, &n.Upstream.IPAddress, &n.Upstream.Hostname} {
			see(inRecord, s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Signature)) {
		n, s := name, string(e.Signature[name])
		see(inRecord, &n)
		if see(inRecord, &s); n != name || s != string(e.Signature[name]) {
			delete(e.Signature, name)
			e.Signature[n] = []byte(s)
		}
	}
	members(e.Extra, see)
	d.unusual(see)
	if e.HTTP == nil {
		return
	}
	q, a := &e.HTTP.Req, &e.HTTP.Res
	see(inPath, &q.URL)
	see(inPath, &q.URI)
	see(inRecord, &q.Version)
	see(inRecord, &q.Method)
	see(inHost, &q.Host)
	see(inStatus, &a.StatusMessage)
	see(fieldpath.Of("res", "header", "Content-Type"), &a.ContentType)
	members(q.Extra, see)
	members(a.Extra, see)
	for side, headers := range map[string]recording.Headers{"req": q.Headers, "res": a.Headers} {
		for i := range headers {
			name := headers[i].Name
			see(fieldpath.Path{{Name: side}, {Name: "header"}, {Kind: fieldpath.AnyMember}}, &headers[i].Name)
			if name != headers[i].Name {
				name = "*"
			}
			place := fieldpath.Of(side, "header", name)
			if name == "*" {
				place[2] = fieldpath.Step{Kind: fieldpath.AnyMember}
			}
			see(place, &headers[i].Value)
		}
	}
}

// unusual calls see with texts of messages that no recorder writes: unknown senders and types, and data that
// belongs to neither side of the conversation.
func (d *draft) unusual(see func(fieldpath.Path, *string)) {
	talk := d.e.Conversation()
	for _, c := range [...]*recording.Conversation{d.e.GRPC, d.e.WebSocket, d.e.TCP} {
		if c == nil {
			continue
		}
		for i := range c.Messages {
			m := &c.Messages[i]
			sided := m.From == recording.Client || m.From == recording.Server
			if !sided {
				see(inRecord, &m.From)
			}
			see(inRecord, &m.Type)
			if data := string(m.Data); !sided || c != talk {
				if see(inRecord, &data); data != string(m.Data) {
					m.Data = []byte(data)
				}
			}
		}
	}
}

// members calls see with the members that other tools added, each as JSON text. If a changed text isn't
// JSON, it becomes a string.
func members(all []recording.Member, see func(fieldpath.Path, *string)) {
	for i := range all {
		m := &all[i]
		see(inRecord, &m.Name)
		s := string(m.Value)
		if see(inRecord, &s); s != string(m.Value) {
			if m.Value = json.RawMessage(s); !json.Valid(m.Value) {
				m.Value = json.RawMessage(quoted(s))
			}
		}
	}
}

// places changes the values at the places of the rule.
func (d *draft) places() {
	for _, p := range d.rule.At {
		switch p[0].Name + "." + p[1].Name {
		case "req.header":
			if d.e.HTTP != nil {
				d.headers(p, &d.e.HTTP.Req.Headers)
			}
		case "res.header":
			if d.e.HTTP != nil {
				d.headers(p, &d.e.HTTP.Res.Headers)
			}
		case "req.query":
			if d.e.HTTP != nil {
				d.e.HTTP.Req.URI = d.query(p, d.e.HTTP.Req.URI)
			}
		case "req.body":
			d.body(0).at(d, p)
		case "res.body":
			d.body(1).at(d, p)
		case "client.message":
			d.side(0).at(d, p)
		case "server.message":
			d.side(1).at(d, p)
		}
	}
}

func (d *draft) headers(p fieldpath.Path, headers *recording.Headers) {
	kept := (*headers)[:0:0]
	for _, h := range *headers {
		place := fieldpath.Of(p[0].Name, p[1].Name, textproto.CanonicalMIMEHeaderKey(h.Name))
		if p.Covers(place) {
			if d.rule.Do == "drop" {
				d.changedAt(place, p.String())
				continue
			}
			if with := d.replacement(h.Value); with != h.Value {
				h.Value = with
				d.changedAt(place, p.String())
			}
		}
		kept = append(kept, h)
	}
	*headers = kept
}

// query changes parameters of a URI.
func (d *draft) query(p fieldpath.Path, uri string) string {
	before, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	changed := d.form(p, fieldpath.Of("req", "query"), query)
	if changed == query {
		return uri
	}
	if changed != "" {
		before += "?" + changed
	}
	if hasFragment {
		before += "#" + fragment
	}
	return before
}

// form changes parameters of a query or of a form. prefix is its place.
func (d *draft) form(p, prefix fieldpath.Path, text string) string {
	var pairs []string
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		place := append(prefix[:len(prefix):len(prefix)], fieldpath.Step{Name: formText(name)})
		if p.Covers(place) {
			if d.rule.Do == "drop" {
				d.changedAt(place, p.String())
				continue
			}
			plain := formText(value)
			if with := d.replacement(plain); with != plain {
				pair = name + "=" + url.QueryEscape(with)
				d.changedAt(place, p.String())
			}
		}
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "&")
}

// formText decodes a name or a value of a form.
func formText(s string) string { return unescapedURL(strings.ReplaceAll(s, "+", " ")) }
