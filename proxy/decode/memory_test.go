package decode

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// When memory is used up, content is cut and counted, and nothing else happens. When flows end,
// they give back all of it.
func TestMemoryOfAllFlowsIsBounded(t *testing.T) {
	large := strings.Repeat("x", 20<<10)
	f := newFramer()
	frames := func(lines ...string) (p []byte) {
		for _, l := range lines {
			p = append(p, f.frame(t, l)...)
		}
		return p
	}
	field := " x=" + strings.Repeat("z", 15<<10)
	for _, c := range []struct {
		name    string
		flows   int
		first   []byte
		again   []byte // after it, 500 times
		records uint64
	}{
		{"bodies", 100, []byte("PUT / HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n"), make([]byte, 1000), 100},
		{"heads of requests that wait for their answers", 2, nil, asks("X: " + large + "\r\n"), 50},
		{"trailers", 100, []byte("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), []byte("X: y\r\n"), 100},
		{"header blocks of one stream", 2, frames("PREFACE", "HEADERS 1 :method=GET :path=/"+field), frames("HEADERS 1" + field), 2},
		{"small messages", 200, []byte("\x00\x01"), []byte("x"), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{Limits: framework.DefaultLimits()}
			cfg.Limits.Memory = 1 << 20
			d := New(cfg, recording.Discard{})
			var open []tap.Reader
			before := heap()
			for range c.flows {
				r := d.Open(&tap.Flow{Started: epoch})
				r.Data(tap.FromClient, epoch, c.first)
				at := epoch
				for range 500 {
					at = at.Add(time.Second)
					r.Data(tap.FromClient, at, c.again)
				}
				open = append(open, r)
				if held := d.Stats().Held; held > cfg.Limits.Memory {
					t.Fatalf("%d bytes are held, more than %d", held, cfg.Limits.Memory)
				}
			}
			// The bound allows for the other costs of a connection, and for what the allocator
			// rounds up.
			if grown, most := heap()-before, 2*cfg.Limits.Memory+int64(c.flows)*16<<10; grown > most {
				t.Errorf("%d bytes are in use, want at most %d", grown, most)
			}
			for _, r := range open {
				r.Close(epoch.Add(time.Hour))
			}
			if s := d.Stats(); s.Held != 0 || s.Exchanges < c.records {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// When other flows have used up the memory, every decoder still finishes with any input, however
// it is cut.
func TestNoDecoderIsStuckWithoutMemory(t *testing.T) {
	const ask, answer = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	f := newFramer()
	type said struct{ client, server string }
	for name, says := range map[string][]said{
		"first line":    {{ask, answer}, {"GET / HT", ""}, {"TP/1.1\r\nHost: a\r\n\r\n", answer}},
		"head":          {{ask, answer}, {"GET / HTTP/1.1\r\nHo", ""}, {"st: a\r\n\r\n", answer}},
		"answer's head": {{ask, "HTTP/1.1 200 OK\r\nContent-"}, {"", "Length: 0\r\n\r\n"}},
		"chunk's line":  {{"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1", ""}, {"0\r\n0123456789abcdef\r\n0\r\n\r\n", answer}},
		"trailers":      {{"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a", ""}, {"b\r\n\r\n", answer}},
		"pipeline":      {{ask + ask + "GET /", ""}, {" HTTP/1.1\r\n\r\n", answer + answer + answer}},
		"header block": {{string(f.frame(t, "PREFACE")), string(f.frame(t, "SETTINGS"))},
			{string(f.frame(t, "HEADERS 1 :method=GET :path=/ end"))[:12], ""}, {"x", "y"}},
		"PROXY header":  {{"PROXY TCP4 192.0.2.1 ", "220 early\r\n"}, {"192.0.2.2 5 6\r\n" + ask, answer}},
		"nothing known": {{"\x00\x01", ""}, {"", "\x02"}, {"\x03", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Limits: framework.DefaultLimits()}
			cfg.Limits.Memory = 1 << 20
			d := New(cfg, recording.Discard{})
			for other := framework.NewFlowState(&d.shared, &tap.Flow{}); other.Hold(1); {
			}
			done := make(chan struct{})
			defer func() {
				for failure := range d.Stats().Failed {
					if failure.Reason != NoRoom {
						t.Errorf("it gives up for another reason: %+v", failure)
					}
				}
			}()
			go func() {
				defer close(done)
				r := d.Open(&tap.Flow{Started: epoch})
				for _, s := range says {
					r.Data(tap.FromClient, epoch, []byte(s.client))
					r.Data(tap.FromServer, epoch, []byte(s.server))
				}
				r.Close(epoch)
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not come to an end")
			}
		})
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
