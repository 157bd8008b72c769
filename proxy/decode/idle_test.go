package decode

import (
	"testing"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// frames makes the frames of HTTP/2 that write writes.
func frames(write func(*http2.Framer)) string {
	var p []byte
	write(http2.NewFramer(appender{&p}, nil))
	return string(p)
}

type appender struct{ p *[]byte }

func (a appender) Write(p []byte) (int, error) { *a.p = append(*a.p, p...); return len(p), nil }

// A decoder is idle only if it knows that no exchange is under way. A drain waits for the others.
func TestIdleIsWhatIsKnownToBeAnswered(t *testing.T) {
	const client, server = tap.FromClient, tap.FromServer
	type said struct {
		side tap.Side
		text string
	}
	ask, all := said{client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, said{server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
	h2ask := said{client, http2.ClientPreface + frames(func(f *http2.Framer) {
		f.WriteSettings()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x84, 0x86}, EndHeaders: true, EndStream: true})
	})}
	h2leave := said{server, frames(func(f *http2.Framer) { f.WriteSettings(); f.WriteWindowUpdate(0, 1<<16) })}
	h2answer := said{server, frames(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
	})}
	h2part := said{server, frames(func(f *http2.Framer) { f.WritePing(false, [8]byte{}) })[:5]}
	h2more := said{client, frames(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x82, 0x84, 0x86}, EndHeaders: true, EndStream: true})
	})}
	for name, c := range map[string]struct {
		talk []said
		want bool
	}{
		"HTTP/1: answered":                     {[]said{ask, all}, true},
		"HTTP/1: asked":                        {[]said{ask}, false},
		"HTTP/1: asked again":                  {[]said{ask, all, ask}, false},
		"HTTP/1: a head begun":                 {[]said{ask, all, {client, "GET /"}}, false},
		"HTTP/1: an interim answer":            {[]said{ask, {server, "HTTP/1.1 103 Early Hints\r\n\r\n"}}, false},
		"HTTP/1: a chunk":                      {[]said{ask, {server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"}}, false},
		"HTTP/1: an answer that ends with it":  {[]said{ask, {server, "HTTP/1.0 200 OK\r\n\r\nok"}}, false},
		"HTTP/1: answered, the request is not": {[]said{{client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"}, all}, false},
		"HTTP/2: nothing asked":                {[]said{{client, http2.ClientPreface + frames(func(f *http2.Framer) { f.WriteSettings() })}, h2leave}, true},
		"HTTP/2: asked":                        {[]said{h2ask, h2leave}, false},
		"HTTP/2: answered":                     {[]said{h2ask, h2leave, h2answer}, true},
		"HTTP/2: a stream too many":            {[]said{h2ask, h2more, h2answer}, false},
		"HTTP/2: a frame begun":                {[]said{h2ask, h2leave, h2answer, h2part}, false},
		"unknown":                              {[]said{{client, "\x00hello"}, {server, "\x00hello"}}, false},
		"not known yet":                        {[]said{{server, "220 ready\r\n"}}, false},
		"malformed":                            {[]said{ask, {server, "what?\r\n\r\n"}, all}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var sink memory
			limits := framework.DefaultLimits()
			limits.Streams = 1
			r := New(Config{Limits: limits}, &sink).Open(&tap.Flow{Started: epoch})
			for _, s := range c.talk {
				r.Data(s.side, epoch, []byte(s.text))
			}
			if got := r.(tap.Idler).Idle(); got != c.want {
				t.Errorf("idle %v", got)
			}
			r.Close(epoch)
		})
	}
}
