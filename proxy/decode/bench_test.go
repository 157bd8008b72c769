package decode

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// typical is an exchange as in meshes: Envoy's headers in lower case, and 200 bytes of JSON.
var (
	typicalRequest = "GET /api/v1/cart/items?user=4711 HTTP/1.1\r\nhost: cart.shop.svc.cluster.local:8080\r\n" +
		"user-agent: Go-http-client/1.1\r\naccept: application/json\r\naccept-encoding: gzip\r\n" +
		"x-forwarded-proto: http\r\nx-request-id: 5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10\r\n" +
		"x-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/cart;Hash=0a1b2c3d;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/frontend\r\n" +
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
	typicalAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 20:15:00 GMT\r\nContent-Length: 200\r\n\r\n" +
		`{"items":[{"id":"6E92ZMYYFZ","name":"Mug","quantity":2,"price":{"currency":"EUR","units":8,"nanos":990000000}},{"id":"L9ECAV7KIM","name":"Terrarium","quantity":1,"price":{"currency":"EUR","units":3}}]}`[:200]
)

// Bodies of 1 KiB, as APIs send them.
var (
	jsonOrder = padded(`{"order_id":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","customer":{"id":4711,"name":"Jane Doe","email":"jane@shop.example","address":{"street":"Main Street 17","city":"Springfield","zip":"12345","country":"US"}},"currency":"EUR","express":false,"coupon":null,"items":[`,
		`{"sku":"6E92ZMYYFZ","title":"Mug with the picture of a lake","quantity":2,"options":{"color":"dark green","engraving":null},"price":{"currency":"EUR","amount":"8.99"}}`, `],"comment":"please leave it at the door"}`)
	jsonOrdered = padded(`{"order":{"id":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","status":"accepted","createdAt":"2026-11-22T20:15:00.123456Z","updatedAt":"2026-11-22T20:15:00.123456Z","total":{"currency":"EUR","units":71,"nanos":920000000},"links":{"self":"https://shop.example/api/v1/orders/5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","invoice":"https://shop.example/api/v1/invoices/17"}},"items":[`,
		`{"sku":"L9ECAV7KIM","title":"Terrarium of glass and copper","available":true,"categories":["garden","glass"],"weight_kg":1.25,"image":"https://img.shop.example/products/L9ECAV7KIM.jpg"}`, `],"page":1,"pages":1}`)
)

// padded repeats an item until the document has 1 KiB, and fills the rest with spaces.
func padded(begin, item, end string) string {
	const size = 1 << 10
	s := begin + item
	for len(s)+1+len(item)+len(end) <= size {
		s += "," + item
	}
	return s + end + strings.Repeat(" ", size-len(s)-len(end))
}

// withBody gives a typical message that body.
func withBody(head, body string) string {
	head, _, _ = strings.Cut(head, "\r\n\r\n")
	head = strings.Replace(strings.Replace(head, "GET ", "POST ", 1), "Content-Length: 200", "X-Status: 1", 1)
	return head + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func typicalFlow() *tap.Flow {
	return &tap.Flow{ID: 12, Direction: tap.In, Via: tap.ViaTCP, Started: epoch, Host: "localhost", Port: 8080,
		Client: netip.MustParseAddrPort("127.0.0.1:49280"), Server: netip.MustParseAddrPort("127.0.0.1:8080")}
}

func typicalConfig() Config {
	return Config{Origin: framework.Origin{Cluster: "prod", Namespace: "shop", Service: "cart", Tags: recording.Tags{
		{Name: "captureMode", Value: "proxy"}, {Name: "k8sAppLabel", Value: "cart"}, {Name: "k8sAppPodName", Value: "cart-7d4b9-x2x"},
		{Name: "k8sAppPodNamespace", Value: "shop"}, {Name: "proxyType", Value: "dual"}, {Name: "proxyProtocol", Value: "tcp:http"},
		{Name: "proxyVersion", Value: "v0.1.0"}, {Name: "reverseProxyHost", Value: "localhost"}, {Name: "reverseProxyPort", Value: "8080"},
		{Name: "source", Value: "tapedeck"},
	}}}
}

// An HTTP/1 exchange costs three allocations: two for its heads, and one for the numbers in its
// tags.
func TestAllocationsPerExchange(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	d := New(typicalConfig(), recording.Discard{})
	r := d.Open(typicalFlow())
	request, answer := []byte(typicalRequest), []byte(typicalAnswer)
	n := testing.AllocsPerRun(1000, func() {
		r.Data(tap.FromClient, epoch, request)
		r.Data(tap.FromServer, epoch, answer)
	})
	if n > 3 {
		t.Errorf("%v allocations, want at most 3", n)
	}
	if s := d.Stats(); s.Exchanges < 1000 || s.Incomplete+s.Truncated > 0 || len(s.Failed) > 0 {
		t.Errorf("stats %+v", s)
	}
}

func BenchmarkHTTP1(b *testing.B) {
	for _, to := range []string{"discard", "directory", "json", "jsonvaried"} {
		b.Run(to, func(b *testing.B) {
			var sink recording.Sink = recording.Discard{}
			if to != "discard" {
				r, err := spool.Open(b.TempDir(), spool.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer func() {
					r.Close(b.Context())
					if s := r.Stats(); s.Total() > 0 {
						b.Errorf("%d exchanges were dropped", s.Total())
					}
				}()
				sink = r
			}
			reader := New(typicalConfig(), sink).Open(typicalFlow())
			request, answer := []byte(typicalRequest), []byte(typicalAnswer)
			if to != "discard" && to != "directory" {
				request, answer = []byte(withBody(typicalRequest, jsonOrder)), []byte(withBody(typicalAnswer, jsonOrdered))
			}
			b.SetBytes(int64(len(request) + len(answer)))
			b.ReportAllocs()
			before := cpu(b)
			for n := 0; b.Loop(); n++ {
				if to == "jsonvaried" {
					for _, m := range [][]byte{request, answer} {
						for i, d := len(m)-1024+20, n; d > 0; i, d = i-1, d/10 {
							m[i] = byte('0' + d%10)
						}
					}
				}
				reader.Data(tap.FromClient, epoch, request)
				reader.Data(tap.FromServer, epoch, answer)
				if n%100 == 0 { // so that the benchmark does not outrun the writer
					sink.Flush(b.Context())
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu returns the processor time of the whole process, including the writer's and the garbage
// collector's, and without that of other programs on the machine.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// typicalStream is one exchange on HTTP/2, after the first one: HPACK has seen
// its headers already.
func typicalStream(f [2]*framer, id uint32) (request, answer []byte) {
	write := func(side tap.Side, fields string, data string) []byte {
		fr := f[side]
		fr.out.Reset()
		fr.block.Reset()
		for field := range strings.FieldsSeq(fields) {
			name, value, _ := strings.Cut(field, "=")
			fr.hpack.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
		fr.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fr.block.Bytes(), EndHeaders: true, EndStream: data == ""})
		if data != "" {
			fr.fr.WriteData(id, true, []byte(data))
		}
		return bytes.Clone(fr.out.Bytes())
	}
	return write(tap.FromClient, ":method=GET :scheme=http :path=/api/v1/cart/items :authority=cart:8080 user-agent=Go-http-client/2.0 accept=application/json x-request-id=5b1c0a6e", ""),
		write(tap.FromServer, ":status=200 content-type=application/json server=envoy", typicalAnswer[len(typicalAnswer)-200:])
}

func BenchmarkHTTP2(b *testing.B) {
	d := New(typicalConfig(), recording.Discard{})
	r := d.Open(typicalFlow())
	f := [2]*framer{newFramer(), newFramer()}
	r.Data(tap.FromClient, epoch, []byte(http2.ClientPreface))
	first, answered := typicalStream(f, 1)
	r.Data(tap.FromClient, epoch, first)
	r.Data(tap.FromServer, epoch, answered)
	request, answer := typicalStream(f, 3)
	b.SetBytes(int64(len(request) + len(answer)))
	b.ReportAllocs()
	before, id := cpu(b), uint32(3)
	for b.Loop() {
		for _, p := range [][]byte{request, answer} {
			for at := 0; at < len(p); { // each frame is of the next stream
				binary.BigEndian.PutUint32(p[at+5:], id)
				at += 9 + int(p[at])<<16 + int(p[at+1])<<8 + int(p[at+2])
			}
		}
		id += 2
		r.Data(tap.FromClient, epoch, request)
		r.Data(tap.FromServer, epoch, answer)
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	if s := d.Stats(); s.Exchanges != uint64(b.N)+1 || len(s.Failed) > 0 {
		b.Errorf("stats %+v", s)
	}
}

// The lines of a folded value are joined once, however many there are. Joining at each line would
// copy all lines before it again.
func TestAllocationsOfFoldedLines(t *testing.T) {
	r := New(Config{}, recording.Discard{}).Open(typicalFlow())
	folds := strings.Repeat(" \r\n", 10_000)
	request := []byte("POST / HTTP/1.1\r\nX: y\r\n" + folds + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n" + folds + "\r\n")
	n := testing.AllocsPerRun(10, func() {
		r.Data(tap.FromClient, epoch, request)
		r.Data(tap.FromServer, epoch, answer)
	})
	if n > 100 {
		t.Errorf("%v allocations, want at most 100", n)
	}
}
