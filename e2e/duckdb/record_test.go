package duckdb

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// rows is the number of recorded exchanges.
const rows = 100_000

// row is the part of a recorded exchange that the test remembers.
type row struct {
	recording.Exchange        // without HTTP, bodies and messages
	pod                string // and
	process            int    // number of the pod's process
	hour               int    // of its segment
	agents             []string
	currency           string
	request, answer    string // bodies, of one exchange
	grpc               int    // messages
	frames             []recording.Message
}

// left is what a process's counters report.
type left struct{ recorded, dropped, filtered, sampledOut uint64 }

func (l left) plus(o left) left {
	return left{l.recorded + o.recorded, l.dropped + o.dropped, l.filtered + o.filtered, l.sampledOut + o.sampledOut}
}

// written is the content of the recording.
type written struct {
	rows      []row
	processes []*process
	live      int // exchanges in the segment that has no end
	long      int // exchanges with a long line
}

// process is a recording process: a sidecar, from its start to its end.
type process struct {
	*spool.Recorder
	cluster, namespace, workload, pod string
	number                            int // of the pod's processes
	sequence                          int // of the last exchange
	left                              left
	gaps                              map[int]int // exchanges that are missing, by the sequence before
	rand                              *rand.Rand
	all                               *written
}

// record makes the recording in the directory.
func record(t *testing.T, dir string) (all *written) {
	t.Helper()
	all = &written{}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)))
		const blue = "arn:aws:eks:eu-west-1:7:cluster/blue"
		pods := []*process{
			all.start(t, dir, "prod-eu", "shop", "cart", "cart-7d4b9-x2x"),
			all.start(t, dir, "prod-eu", "shop", "cart", "cart-7d4b9-k8s"),
			all.start(t, dir, "prod-eu", "shop", "checkout", "checkout-0"),
			all.start(t, dir, "prod-eu", "pay", "payment", "payment-0"),
			all.start(t, dir, blue, "shop", "cart", "cart-59cc5-abc"),
			all.start(t, dir, "", "", "", ""), // nothing is known about it
		}
		for _, hour := range []int{7, 8, 9} {
			for n := 0; n < rows/3 || hour == 9 && len(all.rows) < rows; n++ {
				p := pods[n%len(pods)]
				p.exchange(n)
				if n%16 == 0 { // 48 minutes in the hour
					time.Sleep(48 * time.Minute * 16 / (rows / 3))
				}
			}
			for _, p := range pods {
				flush(t, p)
			}
			time.Sleep(time.Until(time.Date(2026, 11, 22, hour+1, 0, 0, 0, time.UTC)))
			if hour == 8 { // a container is restarted
				stop(t, pods[1])
				pods[1] = all.start(t, dir, "prod-eu", "shop", "cart", "cart-7d4b9-k8s")
			}
		}
		for _, p := range pods {
			stop(t, p)
		}
		all.interrupt(t, dir)
	})
	return all
}

func (all *written) start(t *testing.T, dir, cluster, namespace, workload, pod string) *process {
	t.Helper()
	p := &process{cluster: cluster, namespace: namespace, workload: workload, pod: pod, gaps: map[int]int{}, all: all}
	for _, other := range all.processes {
		if other.pod == pod {
			p.number++
		}
	}
	p.rand = rand.New(rand.NewPCG(uint64(len(all.processes)), 14))
	p.left = left{filtered: p.rand.Uint64N(1000), sampledOut: p.rand.Uint64N(1000)}
	r, err := spool.Open(dir, spool.Options{
		SegmentOptions: spool.SegmentOptions{
			Cluster: cluster, Namespace: namespace, Workload: workload, Pod: pod,
			Counters: func() recording.Counters {
				return recording.Counters{Filtered: p.left.filtered, SampledOut: p.left.sampledOut}
			},
		},
		QueueBytes: 40 << 20,
		FlushEvery: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Recorder = r
	all.processes = append(all.processes, p)
	return p
}

func flush(t *testing.T, p *process) {
	t.Helper()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, p *process) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// interrupt leaves a segment that ends within a line, like a killed writer.
func (all *written) interrupt(t *testing.T, dir string) {
	t.Helper()
	aside := t.TempDir()
	r, err := spool.Open(aside, spool.Options{SegmentOptions: spool.SegmentOptions{Cluster: "prod-eu", Namespace: "shop", Workload: "cart", Pod: "killed"}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2000 {
		r.Write(&recording.Exchange{MsgType: recording.MsgType, TS: time.Now().UTC(), UUID: number(n), Direction: recording.In, Location: fmt.Sprint("/", n)})
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	part, err := filepath.Glob(filepath.Join(aside, "*/*/*/*/*/*"+recording.PartSuffix))
	if err != nil || len(part) != 1 {
		t.Fatalf("segments %v, %v", part, err)
	}
	data, err := os.ReadFile(part[0])
	if err != nil {
		t.Fatal(err)
	}
	r.Close(t.Context())
	data = data[:len(data)*2/3]
	key, err := filepath.Rel(aside, part[0])
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, key)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := recording.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for err = nil; err == nil; all.live++ {
		err = in.Next(new(recording.Exchange))
	}
	all.live--
	if err != recording.ErrTorn || all.live == 0 {
		t.Fatalf("the segment was to be torn: %v after %d exchanges", err, all.live)
	}
}

// number returns a UUID that the test can predict.
func number(n int) (u recording.UUID) {
	copy(u[:], "\x5e\xed\x00\x00\x00\x00\x40\x00\x80\x00")
	binary.BigEndian.PutUint32(u[12:], uint32(n))
	return u
}

// exchange records one exchange, or several that belong together.
func (p *process) exchange(n int) {
	switch kind := n % 50; {
	case len(p.all.rows) == 7: // the one that the page asks for
		p.order()
	case n%10_000 == 49:
		p.drop()
	case kind >= 46:
		p.stream()
	case kind >= 43:
		p.webSocket()
	case kind >= 38:
		p.call()
	case kind >= 30:
		p.order()
	default:
		p.get(kind)
	}
}

// begin returns an exchange with the members that all exchanges have.
func (p *process) begin(direction, protocol string) *recording.Exchange {
	p.sequence++
	e := &recording.Exchange{
		MsgType: recording.MsgType, Resource: p.workload, TS: time.Now().UTC().Add(time.Duration(p.rand.IntN(1e9))), Direction: direction, L7Protocol: protocol,
		Duration: int64(1000 / (1 + p.rand.IntN(500))), UUID: number(len(p.all.rows)), Cluster: p.cluster, Namespace: p.namespace, Service: p.workload,
		IsTLS: protocol == recording.HTTPS,
		NetInfo: &recording.NetInfo{
			ID:         fmt.Sprint(p.sequence),
			Downstream: recording.Endpoint{Established: time.Now().UTC(), IPAddress: "10.0.0.1", Port: 40000, BytesSent: 1 << 60},
		},
	}
	if p.sequence%7 > 0 { // otherwise there is no time, and JSON has year 1
		e.NetInfo.StartTime = time.Now().UTC()
	}
	e.Tags.Set(recording.TagSequence, fmt.Sprint(p.sequence))
	e.Tags.Set(recording.TagPodName, p.pod)
	if direction == recording.In {
		e.Tags.Set(recording.TagPeer, []string{"spiffe://cluster.local/ns/shop/sa/web", "10.1.2.3", "unknown"}[p.rand.IntN(3)])
	}
	return e
}

// write records an exchange, and remembers it for the answers.
func (p *process) write(e *recording.Exchange) {
	r := row{Exchange: *e, pod: p.pod, process: p.number, hour: time.Now().UTC().Hour()}
	r.HTTP, r.GRPC, r.WebSocket, r.TCP, r.NetInfo = nil, nil, nil, nil, nil
	r.Tags = append(recording.Tags(nil), e.Tags...)
	if h := e.HTTP; h != nil {
		r.agents = []string{""}
		for _, header := range h.Req.Headers {
			if header.Name == "User-Agent" {
				r.agents = append(r.agents[:0], header.Value)
			}
		}
		if e.UUID == number(7) {
			r.request, r.answer = string(h.Req.Body), string(h.Res.Body)
		}
	}
	if g := e.GRPC; g != nil {
		r.grpc = len(g.Messages)
	}
	if w := e.WebSocket; w != nil {
		r.frames = w.Messages
	}
	if err := p.Write(e); err != nil {
		panic(err)
	}
	p.left.recorded++
	p.all.rows = append(p.all.rows, r)
}

// odd returns headers that mislead an engine that infers types.
func (p *process) odd() (h recording.Headers) {
	add := func(name, value string) { h = append(h, recording.Header{Name: name, Value: value}) }
	add("Accept", "*/*")
	add(fmt.Sprintf("X-Odd-%d", p.rand.IntN(5000)), `"quoted", \ and 東京`)
	switch p.rand.IntN(6) {
	case 0:
		add("Accept", "text/html")
		add("X-Empty", "")
	case 1:
		add(recording.UnknownName, "")
	case 2:
		add("X-Bytes", "\xff\xfe\x00\x01")
	case 3:
		add("Date-Like", "2026-11-22")
		add("Number-Like", "42")
	case 4:
		add("accept", "text/plain") // the name as in HTTP/2, next to the other
	}
	if agent := p.rand.IntN(4); agent > 0 {
		add("User-Agent", []string{"curl/8.5.0", "Go-http-client/2.0", "Mozilla/5.0 (X11; Linux)"}[agent-1])
	}
	return h
}

func (p *process) http(e *recording.Exchange, method, location, query string, status int) {
	e.Command, e.Location = method, location
	e.HTTP = &recording.HTTP{Req: recording.HTTPRequest{
		URL: location, URI: location + query, Version: "1.1", Method: method, Host: "shop.example", Headers: p.odd(),
	}}
	if status > 0 {
		e.Status = fmt.Sprint(status)
		e.HTTP.Res = recording.HTTPResponse{StatusCode: status, StatusMessage: fmt.Sprint(status, " Status"), Headers: recording.Headers{{Name: "Server", Value: "test"}}}
	}
}

// get makes a request in either direction. Some get no answer, some a binary body.
func (p *process) get(kind int) {
	direction, protocol := recording.In, recording.HTTP1
	if kind%3 == 0 {
		direction, protocol = recording.Out, recording.HTTPS
	}
	e := p.begin(direction, protocol)
	p.http(e, "GET", []string{"/cart", "/health", "/products/1", "/odd path/%2F"}[kind%4], "?page=2", []int{200, 200, 200, 404, 503, 0}[p.rand.IntN(6)])
	if direction == recording.Out {
		e.NetworkAddress = "catalog.example:443"
		e.Tags.Set(recording.TagParent, "unknown")
	}
	if e.Status == "" {
		e.Tags.Set(recording.TagIncomplete, "no_answer")
	}
	if kind == 1 {
		e.HTTP.Res.Body = []byte{0xff, 0x00, 0x80}
	}
	if n := len(p.all.rows); n > 10_000*(1+p.all.long) && p.all.long < 1 { // a line of 36 MiB; DuckDB takes 32 MiB by default
		p.all.long++
		e.HTTP.Res.Body = bytes.Repeat([]byte("0123456789abcdef"), 27<<16)
	}
	p.write(e)
}

// order makes an inbound request with JSON, and the calls that it causes.
func (p *process) order() {
	e := p.begin(recording.In, recording.HTTP1)
	p.http(e, "POST", "/orders", "", 201)
	currency := []string{"EUR", "USD", "JPY"}[p.rand.IntN(3)]
	e.HTTP.Req.Body = fmt.Appendf(nil, `{"items":[%d],"note":"naïve \"quotes\""}`, p.rand.IntN(9))
	e.HTTP.Res.ContentType = "application/json"
	e.HTTP.Res.Body = fmt.Appendf(nil, `{"id":%d,"currency":%q}`, p.sequence, currency)
	if p.rand.IntN(4) == 0 && len(p.all.rows) != 7 {
		e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: "Content-Encoding", Value: "gzip"})
		e.HTTP.Res.Body, currency = compressed(e.HTTP.Res.Body), ""
	}
	p.write(e)
	p.all.rows[len(p.all.rows)-1].currency = currency
	for range p.rand.IntN(3) {
		caused := p.begin(recording.Out, recording.HTTP1)
		p.http(caused, "POST", "/charge", "", []int{200, 500}[p.rand.IntN(2)])
		caused.NetworkAddress = "payment.pay:8080"
		caused.Tags.Set(recording.TagParent, e.UUID.String())
		p.write(caused)
	}
}

// call makes a gRPC call, sometimes in parts.
func (p *process) call() {
	first := p.begin(recording.Out, recording.GRPC)
	id := first.UUID
	parts := 1 + p.rand.IntN(3)
	for part := 1; part <= parts; part++ {
		e := first
		if part > 1 {
			e = p.begin(recording.Out, recording.GRPC)
			e.TS = first.TS
		}
		p.http(e, "POST", "/stock.v1.Stock/"+[]string{"Reserve", "Watch"}[min(parts-1, 1)], "", 200)
		e.Status, e.NetworkAddress = "", "stock.shop:9090"
		e.GRPC = &recording.Conversation{Part: part, Last: part == parts, ClientBytes: 1 << 53, Messages: []recording.Message{
			{From: recording.Client, At: 5, Data: []byte{8, 1}}, {From: recording.Server, At: 900, Size: 4096},
		}}
		if parts > 1 {
			e.Tags.Set(recording.TagConversation, id.String())
		}
		if part == parts {
			e.Status = []string{"0", "0", "14"}[p.rand.IntN(3)]
		}
		p.write(e)
	}
}

func (p *process) webSocket() {
	e := p.begin(recording.In, recording.WebSocket)
	p.http(e, "GET", "/live", "", 101)
	e.WebSocket = &recording.Conversation{Part: 1, Last: true, ClientBytes: 40, ServerBytes: 4, Messages: []recording.Message{
		{From: recording.Client, At: 10, Type: "text", Data: []byte(`{"subscribe":"prices"}`)},
		{From: recording.Server, At: 20, Type: "binary", Data: bytes.Repeat([]byte{0xff}, 1+p.rand.IntN(100)), Compressed: true},
		{From: recording.Client, At: 30, Type: "close"},
	}}
	p.write(e)
}

func (p *process) stream() {
	e := p.begin(recording.Out, recording.TCP)
	e.NetworkAddress = "db.example:5432"
	e.TCP = &recording.Conversation{Part: 1, Last: true, ClientBytes: 100, Messages: []recording.Message{{From: recording.Client, At: 1, Size: 100}}}
	p.write(e)
}

// drop records an exchange that is larger than the queue.
func (p *process) drop() {
	before := p.sequence
	e := p.begin(recording.In, recording.HTTP1)
	p.http(e, "POST", "/upload", "", 200)
	e.HTTP.Req.Body = make([]byte, 31<<20)
	if err := p.Write(e); err != spool.TooLarge {
		panic(err)
	}
	p.left.dropped++
	p.gaps[before]++
}

func compressed(text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.Copy(z, strings.NewReader(string(text)))
	z.Close()
	return b.Bytes()
}
