package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

const (
	workloads = 40
	hosts     = 8 // of each resource
	resources = 60
	// segmentBytes is the length of the JSON of a segment.
	segmentBytes = 64 << 20
)

// begin is the start of the first exchange.
var begin = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// words are the words of the texts. A few are common, and most are rare.
var words = strings.Fields(`order item price name quantity description shipping address street city country customer
	email phone status pending delivered cancelled total tax discount currency created updated payment method card
	alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
	sierra tango uniform victor whiskey xray yankee zulu red orange yellow green blue indigo violet small large
	invoice refund basket coupon voucher stock warehouse carrier parcel label tracking signature receipt ledger`)

// record writes a recording of n exchanges by the pods of some workloads, and returns the
// length of its JSON.
func record(dir string, n int) (size int64, err error) {
	pods := make([]pod, workloads)
	for i := range pods {
		pods[i] = pod{dir: dir, workload: fmt.Sprintf("%s-%d", words[i%len(words)], i), name: fmt.Sprintf("%s-%d-7d4b9-x%dz", words[i%len(words)], i, i)}
	}
	r := rand.New(rand.NewSource(1))
	g := generator{r: r, zipf: rand.NewZipf(r, 1.2, 3, uint64(len(words)-1))}
	for i := range n {
		p := &pods[r.Intn(workloads)]
		if err := p.write(g.exchange(i, p), &size); err != nil {
			return 0, err
		}
	}
	for i := range pods {
		if err := pods[i].close(); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// pod writes segments.
type pod struct {
	dir, workload, name string
	segment             int
	file                *os.File
	out                 *bufio.Writer
	zstd                *zstd.Encoder
	written             int
	encoder             recording.Encoder
	line                []byte
	last                recording.UUID // of an inbound exchange
	trace               string
	until               time.Time // it takes so long
}

func (p *pod) write(e *recording.Exchange, size *int64) error {
	if p.file == nil {
		key := recording.SegmentKey{Partition: recording.Partition{Cluster: "prod", Namespace: e.Namespace, Workload: p.workload}, Began: e.TS, Pod: p.name, Number: p.segment}
		name := filepath.Join(p.dir, filepath.FromSlash(key.String()))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		var err error
		if p.file, err = os.Create(name); err != nil {
			return err
		}
		p.out = bufio.NewWriterSize(p.file, 1<<20)
		if p.zstd, err = zstd.NewWriter(p.out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true)); err != nil {
			return err
		}
		p.segment, p.written = p.segment+1, 0
	}
	p.line = append(p.encoder.Append(p.line[:0], e), '\n')
	*size += int64(len(p.line))
	p.written += len(p.line)
	if _, err := p.zstd.Write(p.line); err != nil {
		return err
	}
	if p.written >= segmentBytes {
		return p.close()
	}
	return nil
}

func (p *pod) close() error {
	if p.file == nil {
		return nil
	}
	defer func() { p.file = nil }()
	if err := p.zstd.Close(); err != nil {
		return err
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	return p.file.Close()
}

type generator struct {
	r    *rand.Rand
	zipf *rand.Zipf
}

func (g *generator) word() string { return words[g.zipf.Uint64()] }

func (g *generator) uuid() (u recording.UUID) {
	g.r.Read(u[:])
	return u
}

// exchange makes the i-th exchange.
func (g *generator) exchange(i int, p *pod) *recording.Exchange {
	r := g.r
	e := &recording.Exchange{MsgType: recording.MsgType, Resource: p.workload, Service: p.workload, L7Protocol: recording.HTTP1, UUID: g.uuid(),
		TS: begin.Add(time.Duration(i) * 20 * time.Millisecond), Direction: recording.In, Cluster: "prod", Namespace: "shop", Tech: "JSON", Duration: int64(r.ExpFloat64() * 40)}
	if r.Intn(2) == 0 && e.TS.Before(p.until) {
		e.Direction = recording.Out
	}
	resource := words[r.Intn(resources)]
	host := fmt.Sprintf("%s-%d.shop.svc.cluster.local:8080", resource, r.Intn(hosts))
	method, path := "GET", fmt.Sprintf("/api/v%d/%ss/%d", 1+r.Intn(3), resource, r.Intn(1_000_000))
	switch r.Intn(5) {
	case 0:
		method = "POST"
		path = fmt.Sprintf("/api/v1/%ss", resource)
	case 1:
		path += "/" + words[r.Intn(resources)] + "?page=" + strconv.Itoa(r.Intn(50)) + "&q=" + g.word()
	case 2:
		path = fmt.Sprintf("/api/v1/%ss/%s", resource, g.uuid())
	}
	status := [...]int{200, 200, 200, 200, 200, 200, 201, 204, 301, 304, 400, 401, 404, 409, 500, 503}[min(15, int(r.ExpFloat64()*5))]
	trace := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
	tags := recording.Tags{{Name: recording.TagPodName, Value: p.name}, {Name: recording.TagSequence, Value: strconv.Itoa(i)}}
	if e.Direction == recording.Out {
		trace = p.trace
		tags = append(tags, recording.Tag{Name: recording.TagParent, Value: p.last.String()}, recording.Tag{Name: recording.TagParentBy, Value: "traceparent"})
	} else {
		p.last, p.trace, p.until = e.UUID, trace, e.Ended()
		host = p.workload + ".shop.svc.cluster.local"
		tags = append(tags, recording.Tag{Name: recording.TagPeer, Value: fmt.Sprintf("spiffe://cluster.local/ns/shop/sa/%s", words[r.Intn(workloads)])}, recording.Tag{Name: recording.TagPeerBy, Value: "x-forwarded-client-cert"})
	}
	e.Tags = append(tags, recording.Tag{Name: recording.TagResponseStart, Value: strconv.FormatInt(e.Duration*900, 10)})
	e.Command = method
	e.Location, _, _ = strings.Cut(path, "?")
	e.Status = strconv.Itoa(status)
	e.NetworkAddress = host
	h := &recording.HTTP{}
	h.Req = recording.HTTPRequest{URL: e.Location, URI: path, Version: "1.1", Method: method, Host: host, Headers: recording.Headers{
		{Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "gzip, deflate, br"},
		{Name: "User-Agent", Value: [...]string{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)", "okhttp/4.12.0", "Go-http-client/1.1", "python-requests/2.32"}[r.Intn(4)]},
		{Name: "Traceparent", Value: "00-" + trace + "-" + fmt.Sprintf("%016x", r.Uint64()) + "-01"},
		{Name: "X-Request-Id", Value: g.uuid().String()}, {Name: "X-User", Value: "user-" + strconv.Itoa(r.Intn(20_000))},
	}}
	if method == "POST" {
		h.Req.Headers = append(h.Req.Headers, recording.Header{Name: "Content-Type", Value: "application/json"})
		h.Req.Body = g.body(300 + r.Intn(300))
	}
	h.Res = recording.HTTPResponse{ContentType: "application/json; charset=utf-8", StatusCode: status, StatusMessage: e.Status, Headers: recording.Headers{
		{Name: "Content-Type", Value: "application/json; charset=utf-8"}, {Name: "Server", Value: "envoy"}, {Name: "Cache-Control", Value: "no-cache, no-store"},
		{Name: "Date", Value: e.TS.Format(time.RFC1123)}, {Name: "Etag", Value: fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(path)))[:24])},
	}}
	if status != 204 && status != 304 {
		h.Res.Body = g.body(300 + r.Intn(700))
	}
	e.HTTP = h
	return e
}

// body makes JSON of approximately a size.
func (g *generator) body(size int) []byte {
	b := fmt.Appendf(nil, `{"id":%q,"createdAt":%q`, g.uuid(), begin.Add(time.Duration(g.r.Intn(1e9))*time.Microsecond).Format(time.RFC3339Nano))
	for len(b) < size {
		switch g.r.Intn(4) {
		case 0:
			b = fmt.Appendf(b, `,%q:%d`, g.word(), g.r.Intn(100_000))
		case 1:
			b = fmt.Appendf(b, `,%q:%q`, g.word(), g.uuid())
		default:
			text, _ := json.Marshal(strings.Join(slices.Collect(func(yield func(string) bool) {
				for range 2 + g.r.Intn(6) {
					if !yield(g.word()) {
						return
					}
				}
			}), " "))
			b = fmt.Appendf(b, `,%q:%s`, g.word(), text)
		}
	}
	return append(b, '}')
}
