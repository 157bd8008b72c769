package har

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// parser reads one entry.
type parser struct {
	e      *recording.Exchange
	source string
	losses recording.LossList
	own    *recording.Exchange // from the member _rrpair

	req struct {
		method, url, version string
		authority            string // :authority, which HTTP/2 has for Host
		nameless             bool   // a field has no name
		cookies, query       recording.Headers
		mime, encoding       string
		text                 *string            // nil: there is none
		post, kept           []recording.Member // other members of postData, and of the request
	}
	res struct {
		status              float64
		statusText, version string
		nameless            bool
		cookies             recording.Headers
		redirect            string
		mime, encoding      string
		text                *string
		size                float64
		kept                []recording.Member
	}
	serverIP  string
	time      float64 // in milliseconds, -1 if unknown
	timings   map[string]float64
	kept      []recording.Member
	webSocket json.RawMessage
}

func (p *parser) entry(raw []byte, n int) error {
	*p.e = recording.Exchange{MsgType: recording.MsgType, HTTP: new(recording.HTTP)}
	e := p.e
	started := ""
	hasRequest := false
	kept, err := p.object("", raw, map[string]func([]byte) error{
		"startedDateTime": p.text("startedDateTime", &started),
		"request":         func(raw []byte) error { hasRequest = true; return p.request(raw) },
		"response":        p.response,
		"serverIPAddress": p.text("serverIPAddress", &p.serverIP),
		"_webSocketMessages": func(raw []byte) error {
			p.webSocket = raw
			return nil
		},
		ownMember: p.rrpair,
	})
	if err != nil {
		return err
	}
	if !hasRequest {
		return errors.New("there is no member request: want an entry of a HAR")
	}
	p.kept = kept
	p.timesOf(kept)
	scheme, userinfo, host, target, err := p.splitURL(n)
	if err != nil {
		return err
	}
	if e.TS, err = p.start(started); err != nil {
		return err
	}
	if userinfo != "" {
		p.losses.Add("request.url", "user and password are not kept")
	}
	version := httpVersion(p.req.version)
	if version == "" && p.req.version != "" && p.req.version != "unknown" {
		p.losses.Add("request.httpVersion", fmt.Sprintf("%.20q is unknown, not kept", p.req.version))
	}
	e.HTTP.Req.Version = cmp.Or(version, httpVersion(p.res.version))
	if e.HTTP.Req.Version != httpVersion(p.res.version) && p.res.version != "" && p.res.version != "unknown" {
		p.res.kept = append(p.res.kept, recording.Member{Name: "httpVersion", Value: recording.AppendString(nil, p.res.version)})
	}
	if p.req.method == "" {
		return errors.New("request.method is missing")
	}
	web.SetRequest(e, p.req.method, scheme, host, target)
	e.HTTP.Req.Host = cmp.Or(e.HTTP.Req.Headers.Get("Host"), p.req.authority, e.HTTP.Req.Host)
	e.UUID = web.UUID([]byte("har"), []byte(strconv.Itoa(n)), raw)
	e.Direction = recording.In
	e.Tags.Set(recording.TagSource, cmp.Or(p.source, "har"))
	p.answer()
	p.bodies()
	p.times()
	if p.webSocket != nil {
		if err := p.messages(); err != nil {
			return fmt.Errorf("_webSocketMessages: %w", err)
		}
	}
	p.server()
	p.derived()
	p.keepMembers()
	if p.own != nil {
		p.merge()
	}
	return nil
}

// server sets the server's address.
func (p *parser) server() {
	e := p.e
	if p.serverIP = strings.Trim(p.serverIP, "[]"); p.serverIP == "" {
		return
	}
	if net.ParseIP(p.serverIP) == nil {
		p.losses.Add("serverIPAddress", fmt.Sprintf("%.60q is not an address, not kept", p.serverIP))
		return
	}
	e.NetInfo = &recording.NetInfo{StartTime: e.TS, Upstream: recording.Endpoint{IPAddress: p.serverIP}}
	if _, port, err := net.SplitHostPort(e.NetworkAddress); err == nil {
		e.NetInfo.Upstream.Port, _ = strconv.Atoi(port)
	}
}

// appendEntry appends an exchange as an entry.
func appendEntry(dst []byte, e *recording.Exchange, url string) []byte {
	k := keptOf(e)
	o := begin(dst)
	o.text("startedDateTime", e.TS.UTC().Format(time.RFC3339Nano))
	appendTimes(&o, e, &k.entry)
	o.key("request")
	var inRequest, inResponse bool
	o.dst, inRequest = appendRequest(o.dst, e, url, k.request)
	o.key("response")
	o.dst, inResponse = appendResponse(o.dst, e, k.response)
	o.raw("cache", take(&k.entry, "cache", []byte("{}")))
	if n := e.NetInfo; n != nil && n.Upstream.IPAddress != "" {
		o.text("serverIPAddress", n.Upstream.IPAddress)
	}
	if e.WebSocket != nil {
		take(&k.entry, "_resourceType", nil)
		o.text("_resourceType", "websocket")
		o.key("_webSocketMessages")
		o.dst = appendFrames(o.dst, e)
	}
	o.rest(k.entry)
	o.key(ownMember)
	o.dst = appendOwn(o.dst, e, inRequest, inResponse)
	return o.end()
}
