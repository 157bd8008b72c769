package pump

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

type nobody struct{}

func (nobody) Data(tap.Side, time.Time, []byte) {}
func (nobody) Gap(tap.Side, time.Time, int64)   {}
func (nobody) Close(time.Time)                  {}

// between returns a client whose bytes reach serve through a pump, or directly.
func between(b testing.TB, through way, t *tap.Tap, serve func(net.Conn)) net.Conn {
	b.Helper()
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := app.Accept()
		if err == nil {
			serve(c)
			c.Close()
		}
	})
	b.Cleanup(func() { app.Close(); wg.Wait() })
	addr := app.Addr()
	if through != direct {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", app.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			p := Pump{Pool: new(tap.Pool), Meter: &Meter{}}
			if t != nil {
				p.Pool, p.Stream = t.Pool(), t.Open(&tap.Flow{})
				defer func() { p.Stream.Close(time.Now()) }()
			}
			if through == loops {
				if p.Loops, err = NewLoops(p.Pool, 1); err != nil {
					b.Error(err)
					return
				}
			}
			ended := make(chan error)
			p.Start(NewConn(in, nil), NewConn(out, nil), func(err error) { ended <- err })
			<-ended
			if p.Loops != nil {
				p.Loops.Close()
			}
		})
		b.Cleanup(func() { ln.Close() })
		addr = ln.Addr()
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// way says how the bytes reach the server.
type way string

const (
	direct     way = "direct"
	goroutines way = "goroutines"
	loops      way = "loops"
)

// ways runs the benchmark without a proxy, with both kinds of pump, and with each of these and a
// tap.
func ways(b *testing.B, run func(b *testing.B, through way, t *tap.Tap)) {
	b.Run(string(direct), func(b *testing.B) { run(b, direct, nil) })
	for _, through := range []way{goroutines, loops} {
		b.Run(string(through), func(b *testing.B) { run(b, through, nil) })
		b.Run(string(through)+"+tap", func(b *testing.B) {
			t := tap.New(tap.Config{Limit: 64 << 20, Open: func(*tap.Flow) tap.Reader { return nobody{} }})
			b.Cleanup(func() { _ = t.Shutdown(context.Background()) }) // after those of run
			run(b, through, t)
			s := t.Stats()
			b.ReportMetric(100*float64(s.Dropped[tap.ReasonFull].Bytes)/float64(s.Written+1), "%dropped")
		})
	}
}

// BenchmarkRoundTrip sends a short message and waits for a short answer.
func BenchmarkRoundTrip(b *testing.B) {
	const ask, answer = 100, 300
	ways(b, func(b *testing.B, through way, t *tap.Tap) {
		c := between(b, through, t, func(c net.Conn) {
			p := make([]byte, answer)
			for {
				if _, err := io.ReadFull(c, p[:ask]); err != nil {
					return
				}
				c.Write(p)
			}
		})
		p := make([]byte, answer)
		b.ReportAllocs()
		for b.Loop() {
			c.Write(p[:ask])
			if _, err := io.ReadFull(c, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBulk sends without pause.
func BenchmarkBulk(b *testing.B) {
	const size = 256 << 10
	ways(b, func(b *testing.B, through way, t *tap.Tap) {
		c := between(b, through, t, func(c net.Conn) {
			p := make([]byte, size)
			for {
				if _, err := c.Read(p); err != nil {
					return
				}
			}
		})
		p := make([]byte, size)
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
