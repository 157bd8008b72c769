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
	own    *recording.Exchange // of the member _rrpair

	reqMime, resMime     string
	reqText, resText     *string
	reqCoded, resCoded   string // encoding
	resSize              float64
	cookies, setCookies  []pair
	query                []pair
	reqVersion, resValue string
	redirect             string
	time                 float64
	timings              map[string]float64
	kept                 []recording.Member // of the entry
	keptReq, keptRes     []recording.Member
	webSocket            json.RawMessage
	method, url          string
	statusText           string
	status               float64
	params               []recording.Member
}

func (p *parser) entry(raw []byte, n int) error {
	*p.e = recording.Exchange{MsgType: recording.MsgType, HTTP: new(recording.HTTP)}
	e := p.e
	started, address := "", ""
	p.time, p.timings = -1, map[string]float64{}
	hasRequest := false
	kept, err := p.object("", raw, map[string]func([]byte) error{
		"startedDateTime": p.text("startedDateTime", &started),
		"request":         func(raw []byte) error { hasRequest = true; return p.request(raw) },
		"response":        p.response,
		"serverIPAddress": p.text("serverIPAddress", &address),
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
		return errors.New("no member request: want an entry of a HAR")
	}
	p.kept = kept
	for _, m := range kept {
		switch m.Name {
		case "time":
			_ = p.number("time", &p.time)(m.Value)
		case "timings":
			_ = recording.EachMember(m.Value, recording.MaxMembers, func(name string, raw []byte) error {
				if name[:min(len(name), 1)] == "_" || name == "comment" {
					return nil
				}
				v := -1.0
				err := p.number("timings."+name, &v)(raw)
				p.timings[name] = v
				return err
			})
		}
	}
	ts, err := time.Parse(time.RFC3339Nano, started)
	if year := ts.UTC().Year(); err != nil || year < 1 || year > 9999 {
		return fmt.Errorf("startedDateTime is %.60q, want a time such as 2026-11-22T20:15:00.123Z", started)
	}
	e.TS = ts.UTC()
	scheme, userinfo, host, target, ok := web.SplitURL(p.url)
	if !ok {
		return fmt.Errorf("request.url is %.60q, want a whole URL", p.url)
	}
	if userinfo != "" {
		p.losses.Add("request.url", "user and password are not kept")
	}
	version := httpVersion(p.reqVersion)
	if version == "" && p.reqVersion != "" && p.reqVersion != "unknown" {
		p.losses.Add("request.httpVersion", fmt.Sprintf("%.20q is not known, not kept", p.reqVersion))
	}
	e.HTTP.Req.Version = cmp.Or(version, httpVersion(p.resValue))
	if e.HTTP.Req.Version != httpVersion(p.resValue) && p.resValue != "" && p.resValue != "unknown" {
		p.keptRes = append(p.keptRes, recording.Member{Name: "httpVersion", Value: recording.AppendString(nil, p.resValue)})
	}
	if p.method == "" {
		return errors.New("request.method is missing")
	}
	web.SetRequest(e, p.method, scheme, host, target)
	if own := e.HTTP.Req.Headers.Get("Host"); own != "" {
		e.HTTP.Req.Host = own
	}
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
	if address = strings.Trim(address, "[]"); address != "" {
		e.NetInfo = &recording.NetInfo{StartTime: e.TS, Upstream: recording.Endpoint{IPAddress: address}}
		if _, port, err := net.SplitHostPort(e.NetworkAddress); err == nil {
			e.NetInfo.Upstream.Port, _ = strconv.Atoi(port)
		}
		if net.ParseIP(address) == nil {
			p.losses.Add("serverIPAddress", fmt.Sprintf("%.60q is no address, not kept", address))
			e.NetInfo = nil
		}
	}
	p.derived()
	p.extra()
	if p.own != nil {
		p.merge()
	}
	return nil
}

// entry is an exchange as an entry.
func entry(e *recording.Exchange, address string) object {
	var o object
	o.text("startedDateTime", e.TS.UTC().Format(time.RFC3339Nano))
	timings, all := phases(e)
	o.millis("time", all)
	req, inReq := request(e, address)
	res, inRes := response(e)
	o = append(o, recording.Member{Name: "request"}, recording.Member{Name: "response"})
	o.set("cache", []byte("{}"))
	o.set("timings", timings.append(nil))
	if n := e.NetInfo; n != nil && n.Upstream.IPAddress != "" {
		o.text("serverIPAddress", n.Upstream.IPAddress)
	}
	if e.WebSocket != nil {
		o.text("_resourceType", "websocket")
		o.set("_webSocketMessages", frames(e))
	}
	extra(e, &o, &req, &res)
	o.set("request", req.append(nil))
	o.set("response", res.append(nil))
	o.set(ownMember, rest(e, inReq, inRes))
	return o
}
