package decode

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// chosen returns decoders that capture by the settings, which are pairs of key and value.
func chosen(t testing.TB, sink recording.Sink, settings ...string) *Decoders {
	t.Helper()
	values := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		values[settings[i]] = settings[i+1]
	}
	f, err := filter.Parse(values)
	if err != nil {
		t.Fatal(err)
	}
	limits := framework.DefaultLimits()
	limits.Opaque = true
	d := New(Config{Limits: limits}, sink)
	d.Choose(f)
	return d
}

func TestAFilterLeavesExchangesOut(t *testing.T) {
	var sink memory
	d := chosen(t, &sink, "exclude", "in path=/healthz; host=*.internal method=GET; header.x-probe=*")
	in := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	for _, request := range []string{
		"GET /healthz?full HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /cart HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /stock HTTP/1.1\r\nHost: a.internal:80\r\n\r\n",
		"POST /stock HTTP/1.1\r\nHost: a.internal:80\r\nContent-Length: 2\r\n\r\nhi",
		"GET /slow HTTP/1.1\r\nHost: a\r\nX-Probe: 1\r\n\r\n",
	} {
		in.Data(tap.FromClient, epoch, []byte(request))
		in.Data(tap.FromServer, epoch, answer)
	}
	in.Close(epoch)
	var got []string
	for i, e := range sink.decode(t) {
		got = append(got, e.Command+" "+e.Location)
		if n := e.Tags.Get(recording.TagSequence); n != fmt.Sprint(i+1) {
			t.Errorf("record %d has the number %s: what is left out is not missing", i+1, n)
		}
	}
	if want := "GET /cart, POST /stock"; strings.Join(got, ", ") != want {
		t.Errorf("captured %v, want %s", got, want)
	}
	if s := d.Stats(); s.Filtered != 3 || s.SampledOut != 0 || s.Exchanges != 2 || s.Held != 0 {
		t.Errorf("%+v", s)
	}
}

// Requests to a cloud's metadata server are not recorded, whatever a filter says, even in a tunnel
// where only the request names the server. Inbound, that name is like any other.
func TestMetadataServersAreLeftOut(t *testing.T) {
	for _, direction := range []tap.Direction{tap.In, tap.Out} {
		var sink memory
		d := chosen(t, &sink, "include", "host=*")
		r := d.Open(&tap.Flow{Direction: direction, Host: "192.0.2.1", Started: epoch})
		for _, ask := range []string{
			"GET / HTTP/1.1\r\nHost: a",
			"GET /metadata.goog HTTP/1.1\r\nHost: a",
			"GET /http://metadata.goog/ HTTP/1.1\r\nHost: a",
			"GET http://a/?x=http://metadata.goog/ HTTP/1.1\r\nHost: a",
			"GET * HTTP/1.1\r\nHost: a",
			"GET / HTTP/1.1\r\nHost: metadata.google.internal",
			"GET / HTTP/1.1\r\nHost: METADATA.google.internal.:80",
			"GET / HTTP/1.1\r\nHost: 169.254.169.254",
			"GET / HTTP/1.1\r\nHost: [fd00:ec2::254]:80",
			"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nHost: metadata.goog",
			"GET http://metadata.google.internal/x HTTP/1.1\r\nHost: a",
			"GET HTTP://u@Metadata.Google.Internal.:80?x HTTP/1.1\r\nHost: a",
			"GET http://[fd00:ec2::254] HTTP/1.0\r\nX: y",
			"GET http://2852039166/ HTTP/1.1\r\nHost: a",
			"GET / HTTP/1.1\r\nHost: b",
		} {
			r.Data(tap.FromClient, epoch, []byte(ask+"\r\n\r\n"))
			r.Data(tap.FromServer, epoch, []byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthe secret"))
		}
		r.Close(epoch)
		want := 6
		if direction == tap.In {
			want = 15
		}
		if s := d.Stats(); len(sink.lines) != want || s.Private != uint64(15-want) || s.Held != 0 {
			t.Errorf("%s: %d records, want %d; %+v", direction, len(sink.lines), want, s)
		}
	}
}

// Once an exchange is known to be excluded, nothing of its body is held, in any protocol. The next
// exchange on the connection is captured.
func TestNothingOfWhatIsLeftOutIsHeld(t *testing.T) {
	for _, c := range []struct{ name, exclude string }{
		{"http1", "path=/upload"}, {"opaque", "out host=db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := chosen(t, recording.Discard{}, "exclude", c.exclude)
			r := d.Open(&tap.Flow{Direction: tap.Out, Host: "db", Started: epoch})
			if c.name == "http1" {
				r.Data(tap.FromClient, epoch, []byte("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"))
			}
			for i := range 100 {
				r.Data(tap.FromClient, epoch.Add(time.Duration(i)*time.Second), []byte(strings.Repeat("\x00", 8000)))
				r.Data(tap.FromServer, epoch, []byte("\x00"))
			}
			if held := d.Stats().Held; held > 1000 {
				t.Errorf("%d bytes are held", held)
			}
			r.Close(epoch)
			if s := d.Stats(); s.Filtered != 1 || s.Exchanges != 0 || s.Held != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Streams of HTTP/2 are chosen one by one, and gRPC calls by their paths. A stream that is left out
// does not affect the headers and the room of others.
func TestStreamsAreChosenOneByOne(t *testing.T) {
	var sink memory
	d := chosen(t, &sink, "exclude", "path=/grpc.health.v1.Health/*; header.x-probe=1")
	r := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	client, server := newFramer(), newFramer()
	ask := func(frames ...string) {
		for _, f := range frames {
			r.Data(tap.FromClient, epoch, client.frame(t, f))
		}
	}
	ask("PREFACE", "SETTINGS",
		"HEADERS 1 :method=POST :path=/grpc.health.v1.Health/Watch :authority=a content-type=application/grpc x-shared=yes",
		"HEADERS 3 :method=POST :path=/shop.Cart/Get :authority=a content-type=application/grpc x-shared=yes",
		"HEADERS 5 :method=POST :path=/upload :authority=a x-probe=1 x-shared=yes",
		"GRPC 3 end small")
	big := strings.Repeat("x", 10_000)
	before := d.Stats().Held
	for range 50 {
		ask("GRPC 1 "+big, "DATA 5 "+big)
	}
	if held := d.Stats().Held; held > before+1000 {
		t.Errorf("%d bytes are held, %d before", held, before)
	}
	ask("DATA 5 end")
	for _, f := range []string{"SETTINGS", "HEADERS 3 :status=200 content-type=application/grpc", "GRPC 3 small", "HEADERS 3 end grpc-status=0", "HEADERS 5 end :status=204"} {
		r.Data(tap.FromServer, epoch, server.frame(t, f))
	}
	r.Close(epoch)
	records := sink.decode(t)
	if len(records) != 1 || records[0].Location != "/shop.Cart/Get" || records[0].HTTP.Req.Headers.Get("X-Shared") != "yes" || len(records[0].GRPC.Messages) != 2 {
		t.Errorf("captured %s", sink.text(false))
	}
	if s := d.Stats(); s.Filtered != 2 || s.Held != 0 || len(s.Failed) > 0 {
		t.Errorf("%+v", s)
	}
}

// A WebSocket is chosen by its handshake.
func TestAWebSocketIsChosenByItsHandshake(t *testing.T) {
	for path, want := range map[string]int{"/chat": 1, "/feed": 0} {
		var sink memory
		d := chosen(t, &sink, "exclude", "path=/feed")
		r := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
		r.Data(tap.FromClient, epoch, []byte("GET "+path+" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		r.Data(tap.FromServer, epoch, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		for range 100 {
			r.Data(tap.FromServer, epoch, append([]byte{0x82, 126, 0x10, 0}, make([]byte, 0x1000)...))
		}
		if want == 0 && d.Stats().Held > 1000 {
			t.Errorf("%s: %d bytes are held", path, d.Stats().Held)
		}
		r.Close(epoch)
		if s := d.Stats(); len(sink.lines) < want || want == 0 && len(sink.lines) > 0 || s.Filtered != uint64(1-want) || s.Held != 0 {
			t.Errorf("%s: %d records, %+v", path, len(sink.lines), s)
		}
	}
}

// An exchange that has begun is kept or left out as a whole, even if it is written
// in parts.
func TestADecisionStands(t *testing.T) {
	var sink memory
	d := chosen(t, &sink)
	r := d.Open(&tap.Flow{Direction: tap.Out, Host: "db", Started: epoch})
	r.Data(tap.FromClient, epoch, []byte(strings.Repeat("\x00", 70_000)))
	f, err := filter.Parse(map[string]string{"exclude": "out"})
	if err != nil {
		t.Fatal(err)
	}
	d.Choose(f)
	r.Data(tap.FromClient, epoch, []byte(strings.Repeat("\x00", 70_000)))
	r.Close(epoch)
	parts := len(sink.lines)
	if s := d.Stats(); parts < 2 || s.Filtered != 0 {
		t.Errorf("%d parts, %+v", parts, s)
	}
	again := d.Open(&tap.Flow{Direction: tap.Out, Host: "db", Started: epoch})
	again.Data(tap.FromClient, epoch, []byte("\x00"))
	again.Close(epoch)
	if s := d.Stats(); len(sink.lines) != parts || s.Filtered != 1 {
		t.Errorf("%d records, %+v", len(sink.lines), s)
	}
}

// A filter judges an exchange that can't be parsed, or that has no request, by what is known about
// its connection.
func TestWhatHasNoHeadIsChosenByItsConnection(t *testing.T) {
	for _, c := range []struct {
		settings string
		want     uint64 // exchanges left out
	}{{"host=a", 1}, {"in", 1}, {"path=/*", 0}, {"out", 0}} {
		d := chosen(t, recording.Discard{}, "exclude", c.settings)
		r := d.Open(&tap.Flow{Direction: tap.In, Host: "a", Started: epoch})
		r.Data(tap.FromServer, epoch, []byte("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"))
		r.Close(epoch)
		if s := d.Stats(); s.Filtered != c.want || s.Filtered+s.Exchanges != 1 {
			t.Errorf("%s: %+v", c.settings, s)
		}
	}
}

// hop is what one sidecar sees of a request, in and out.
type hop struct{ in, out string }

// A caller's sidecar and its dependency's keep the same traces, whichever header carries them,
// although they don't communicate.
func TestSidecarsAgreeOnTraces(t *testing.T) {
	const traces = 400
	id := func(i int) string { return fmt.Sprintf("%016x%016x", i*7919, i*104729+1) }
	uuid := func(i int, version byte) string {
		return fmt.Sprintf("%08x-9d7e-%c0be-8a53-%012x", i*7919+1, version, i*104729)
	}
	for _, c := range []struct {
		name string
		hops func(i int) [2]hop
	}{
		{"traceparent", func(i int) [2]hop {
			h := func(span int) string { return fmt.Sprintf("traceparent: 00-%s-%016x-01\r\n", id(i), span) }
			return [2]hop{{h(1), h(2)}, {h(2), h(3)}}
		}},
		{"traceparent, and request IDs that nobody hands on", func(i int) [2]hop {
			h := func(span int) string {
				return fmt.Sprintf("x-request-id: %s\r\ntraceparent: 00-%s-%016x-01\r\n", uuid(span, '4'), id(i), span)
			}
			return [2]hop{{h(1), h(2)}, {h(3), h(4)}}
		}},
		{"b3, of 64 bits, then of 128", func(i int) [2]hop {
			short := fmt.Sprintf("b3: %s-e457b5a2e4d86bd1-1\r\n", id(i)[16:])
			long := fmt.Sprintf("traceparent: 00-%016x%s-e457b5a2e4d86bd1-01\r\n", 0, strings.ToUpper(id(i)[16:]))
			return [2]hop{{short, short}, {long, long}}
		}},
		{"x-b3-traceid", func(i int) [2]hop {
			h := fmt.Sprintf("X-B3-TraceId: %s\r\n", id(i))
			return [2]hop{{h, h}, {h, h}}
		}},
		{"x-request-id, in which Envoy marks that it traces", func(i int) [2]hop {
			plain, traced := "x-request-id: "+uuid(i, '4')+"\r\n", "x-request-id: "+uuid(i, '9')+"\r\n"
			return [2]hop{{plain, plain}, {traced, traced}}
		}},
		{"a request ID, and a trace that the application begins", func(i int) [2]hop {
			request := "x-request-id: " + uuid(i, '4') + "\r\n"
			both := fmt.Sprintf("%straceparent: 00-%s-%016x-01\r\n", request, id(i), 1)
			return [2]hop{{request, both}, {request, request}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept := 0
			for i := range traces {
				var captured []int
				for _, h := range c.hops(i) {
					var sink memory
					d := chosen(t, &sink, "sample", "0.3")
					in := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
					out := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
					in.Data(tap.FromClient, epoch, asks(h.in))
					out.Data(tap.FromClient, epoch, asks(h.out))
					out.Data(tap.FromServer, epoch, answer)
					in.Data(tap.FromServer, epoch, answer)
					captured = append(captured, len(sink.lines))
					if s := d.Stats(); s.SampledOut+s.Exchanges != 2 || s.Held != 0 {
						t.Fatalf("%+v", s)
					}
				}
				if captured[0] != captured[1] || captured[0] == 1 {
					t.Fatalf("trace %d: of two exchanges each, the sidecars captured %v", i, captured)
				}
				kept += captured[0] / 2
			}
			if kept < traces*2/10 || kept > traces*4/10 { // five standard deviations
				t.Errorf("%d of %d traces are kept at a rate of 0.3", kept, traces)
			}
		})
	}
}

// An exchange without a trace is sampled alone, even if others share its connection.
func TestWithoutATraceARateIsOfExchanges(t *testing.T) {
	for _, headers := range []string{"", "traceparent: 00-00000000000000000000000000000000-0000000000000001-01\r\n", "b3: 0\r\n", "traceparent: rubbish\r\n"} {
		d := chosen(t, recording.Discard{}, "sample", "10%")
		r := d.Open(&tap.Flow{Direction: tap.Out, Started: epoch})
		for range 5000 {
			r.Data(tap.FromClient, epoch, asks(headers))
			r.Data(tap.FromServer, epoch, answer)
		}
		if s := d.Stats(); s.Exchanges < 390 || s.Exchanges > 610 || s.Exchanges+s.SampledOut != 5000 { // five standard deviations
			t.Errorf("%q: %+v", headers, s)
		}
	}
}

// A changed rate applies to the next request.
func TestARateChangesAtOnce(t *testing.T) {
	d := chosen(t, recording.Discard{}, "sample", "0")
	r := d.Open(&tap.Flow{Direction: tap.In, Started: epoch})
	ask := func() {
		r.Data(tap.FromClient, epoch, asks(request))
		r.Data(tap.FromServer, epoch, answer)
	}
	ask()
	d.Choose(nil)
	ask()
	if s := d.Stats(); s.SampledOut != 1 || s.Exchanges != 1 {
		t.Errorf("%+v", s)
	}
}

// An excluded exchange is parsed, and costs no more than one that is kept: no redaction, no
// encoding, no room for bodies.
func BenchmarkFilteredHTTP1(b *testing.B) {
	d := chosen(b, recording.Discard{}, "exclude", "path=/api/*")
	d.shared.Origin, d.shared.Limits = typicalConfig().Origin, framework.DefaultLimits()
	r := d.Open(typicalFlow())
	request, answer := []byte(typicalRequest), []byte(typicalAnswer)
	b.ReportAllocs()
	for b.Loop() {
		r.Data(tap.FromClient, epoch, request)
		r.Data(tap.FromServer, epoch, answer)
	}
}
