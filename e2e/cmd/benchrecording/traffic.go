package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

const (
	// distinct is how many different exchanges there are. They repeat at a distance far
	// beyond the compressor's window.
	distinct = 5000
	// bodyBytes is the approximate length of a JSON body.
	bodyBytes = 1 << 10
	// flowsPerPod is how many connections a pod has.
	flowsPerPod = 8
)

// talk is the text of one exchange.
type talk struct {
	request, answer []byte
	took            time.Duration
}

// mix describes the exchanges. All have a JSON body in the answer.
type mix struct {
	posts   int // one in so many has a JSON body in the request, too
	secrets int // one in so many has a secret in its bodies; 0: none has
}

// recorded is the mix of recordings. The others are for counting instructions.
var (
	recorded = mix{posts: 5, secrets: 10}
	clean    = mix{posts: 1}
	secret   = mix{posts: 1, secrets: 1}
)

// talks makes the distinct exchanges, which are the same in each process.
func talks(m mix) []talk {
	r := &random{rand.New(rand.NewPCG(1, 2))}
	all := make([]talk, distinct)
	for i := range all {
		name := "nickname"
		if m.secrets > 0 && i%m.secrets == 0 {
			name = "token"
		}
		method, body := "GET", []byte(nil)
		if i%m.posts == 0 {
			method, body = "POST", r.order(name)
		}
		status := "200 OK"
		if r.IntN(100) == 0 {
			status = "503 Service Unavailable"
		}
		t := &all[i]
		t.took = time.Duration(1+r.IntN(60)) * time.Millisecond
		t.request = fmt.Appendf(nil, "%s /api/v1/%s/%d/orders?page=%d&session=%s HTTP/1.1\r\nhost: orders.shop.svc.cluster.local:8080\r\n"+
			"user-agent: Go-http-client/1.1\r\naccept: application/json\r\naccept-encoding: gzip\r\n"+
			"authorization: Bearer %s%s\r\ncookie: theme=dark; sid=%s\r\n"+
			"x-forwarded-proto: http\r\nx-request-id: %s\r\ntraceparent: 00-%s-%s-01\r\n",
			method, r.of("customers", "accounts", "partners"), r.IntN(50_000), r.IntN(9), r.hex(16), r.hex(24), r.hex(24), r.hex(32), r.uuid(), r.hex(32), r.hex(16))
		if body != nil {
			t.request = fmt.Appendf(t.request, "content-type: application/json\r\ncontent-length: %d\r\n", len(body))
		}
		t.request = append(append(t.request, "\r\n"...), body...)
		body = r.order(name)
		t.answer = fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 20:15:%02d GMT\r\nServer: envoy\r\nX-Envoy-Upstream-Service-Time: %d\r\nContent-Length: %d\r\n\r\n",
			status, i%60, t.took.Milliseconds(), len(body))
		t.answer = append(t.answer, body...)
	}
	return all
}

// random makes texts.
type random struct{ *rand.Rand }

func (r *random) of(words ...string) string { return words[r.IntN(len(words))] }

func (r *random) hex(n int) string {
	const digits = "0123456789abcdef"
	text := make([]byte, n)
	for i := range text {
		text[i] = digits[r.IntN(len(digits))]
	}
	return string(text)
}

func (r *random) uuid() string {
	return r.hex(8) + "-" + r.hex(4) + "-4" + r.hex(3) + "-a" + r.hex(3) + "-" + r.hex(12)
}

// order returns a JSON document as in a shop's API. name is the name of one member.
func (r *random) order(name string) []byte {
	b := fmt.Appendf(nil, `{"id":"%s","status":"%s","createdAt":"2026-11-%02dT%02d:%02d:%02d.%03dZ","customer":{"id":%d,"name":"%s %s","email":"%s@shop.example","%s":"%s",`+
		`"address":{"street":"%s Street %d","city":"%s","zip":"%05d","country":"%s"}},"currency":"EUR","express":%t,"coupon":null,"items":[`,
		r.uuid(), r.of("accepted", "paid", "packed", "shipped"), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), r.IntN(50_000),
		r.of("Jane", "John", "Ada", "Alan", "Grace", "Linus"), r.of("Doe", "Miller", "Smith", "Jones", "Brown"), r.hex(8), name, r.hex(32),
		r.of("Main", "High", "Church", "Park"), r.IntN(300), r.of("Springfield", "Riverside", "Greenville", "Fairview"), r.IntN(100_000), r.of("US", "DE", "FR", "GB"), r.IntN(2) == 0)
	for n := 0; len(b) < bodyBytes-60; n++ {
		if n > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"sku":"%s","name":"%s","quantity":%d,"price":{"units":%d,"nanos":%d0000000}}`,
			r.hex(10), r.of("Mug", "Terrarium", "Watch", "Loafers", "Candle Holder", "Salt & Pepper Shakers"), 1+r.IntN(5), r.IntN(200), r.IntN(100))
	}
	return fmt.Appendf(b, `],"comment":"%s"}`, r.of("", "please leave it at the door", "gift wrap"))
}

// pod plays talks to the decoder of one pod, which gets their bytes as from the tap.
type pod struct {
	flows []tap.Reader
}

// newPod returns a pod of a workload that writes its exchanges to the sink.
func newPod(workload, name string, started time.Time, sink recording.Sink) *pod {
	d := decode.New(decode.Config{Origin: framework.Origin{Cluster: "prod", Namespace: "shop", Service: workload, Tags: recording.Tags{
		{Name: "captureMode", Value: "proxy"}, {Name: "k8sAppLabel", Value: workload}, {Name: "k8sAppPodName", Value: name},
		{Name: "k8sAppPodNamespace", Value: "shop"}, {Name: "proxyType", Value: "dual"}, {Name: "proxyProtocol", Value: "tcp:http"},
		{Name: "reverseProxyHost", Value: "localhost"}, {Name: "reverseProxyPort", Value: "8080"}, {Name: "source", Value: "tapedeck"},
	}}}, sink)
	p := &pod{}
	for i := range flowsPerPod {
		p.flows = append(p.flows, d.Open(&tap.Flow{ID: uint64(i + 1), Direction: tap.In, Via: tap.ViaTCP, Started: started, Connected: started, Host: "localhost", Port: 8080,
			Client: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(49280+i)), Server: netip.MustParseAddrPort("127.0.0.1:8080")}))
	}
	return p
}

// play plays an exchange that ends at a time, on the n-th connection.
func (p *pod) play(n int, t *talk, end time.Time) {
	flow := p.flows[n%len(p.flows)]
	flow.Data(tap.FromClient, end.Add(-t.took), t.request)
	flow.Data(tap.FromServer, end, t.answer)
}

// captured returns n exchanges as they were captured, and their JSON lines.
func captured(n int) ([]recording.Exchange, []byte, error) {
	var lines lineSink
	all, start := talks(recorded), time.Now()
	p := newPod("orders", "orders-7d4b9-x2x", start, &lines)
	for i := range n {
		p.play(i, &all[i%len(all)], start.Add(time.Duration(i)*time.Millisecond))
	}
	exchanges := make([]recording.Exchange, 0, n)
	var d recording.Decoder
	for line := range bytes.Lines(lines.text) {
		var e recording.Exchange
		if err := d.Decode(bytes.TrimSuffix(line, []byte("\n")), &e); err != nil {
			return nil, nil, err
		}
		e.NetInfo.Prepare() // like capture, once for each connection
		exchanges = append(exchanges, e)
	}
	if len(exchanges) != n {
		return nil, nil, fmt.Errorf("%d exchanges were captured, want %d", len(exchanges), n)
	}
	return exchanges, lines.text, nil
}

// lineSink keeps the JSON of exchanges.
type lineSink struct{ text []byte }

func (s *lineSink) Write(e *recording.Exchange) error {
	s.text = append(e.AppendJSON(s.text), '\n')
	return nil
}
func (s *lineSink) Flush(context.Context) error { return nil }
func (s *lineSink) Close(context.Context) error { return nil }
