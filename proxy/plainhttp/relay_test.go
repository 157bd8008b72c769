package plainhttp

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// writes keeps the bytes of each call of Write.
type writes struct {
	net.Conn
	calls []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls = append(w.calls, string(p))
	return len(p), nil
}

// arriving is a connection on which each read returns one piece.
type arriving struct {
	net.Conn
	pieces []string
}

func (a *arriving) Read(p []byte) (int, error) {
	if len(a.pieces) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(p, a.pieces[0])
	if a.pieces[0] = a.pieces[0][n:]; a.pieces[0] == "" {
		a.pieces = a.pieces[1:]
	}
	return n, nil
}

// Bytes that come in one piece leave in one piece, and wait for no further bytes.
func TestWhatCameTogetherLeavesTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		body   framing
		pieces []string
	}{
		{"length", framing{length: 5}, []string{"he", "llo"}},
		{"chunks", framing{chunked: true}, []string{"3\r\none\r\n3\r\ntwo\r\n", "0\r\n\r\n"}},
		{"chunk in pieces", framing{chunked: true}, []string{"5\r\nhe", "llo\r\n0\r\n", "A: b\r\n\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := &writes{}
			from := &reader{conn: pump.NewConn(&arriving{pieces: slices.Clone(c.pieces)}, nil), pool: &tap.Pool{}}
			l := &relay{from: from, to: pump.NewConn(to, nil), meter: &pump.Meter{}}
			from.before = l.flush
			b := newBody(c.body)
			if err := l.body(&b); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(to.calls, c.pieces) {
				t.Errorf("it came as %q and left as %q", c.pieces, to.calls)
			}
		})
	}
}

// during is a connection that calls a function while it is written to.
type during struct {
	net.Conn
	call func()
}

func (d during) Write(p []byte) (int, error) {
	d.call()
	return len(p), nil
}

// A drain closes connections that are quiet. A connection whose client has not read all of its
// answer is not quiet.
func TestAnAnswerThatWaitsForItsReaderIsNotQuiet(t *testing.T) {
	meter, waited := &pump.Meter{}, false
	l := &relay{side: tap.FromServer, meter: meter}
	quiet := func() bool { return meter.Quiet(time.Now().Add(time.Minute), time.Second) }
	l.to = pump.NewConn(during{call: func() {
		if waited = true; quiet() {
			t.Error("quiet while it is written")
		}
	}}, nil)
	if err := l.send([]byte(ok)); err != nil || !waited {
		t.Fatal(waited, err)
	}
	if !quiet() {
		t.Error("not quiet when it was taken")
	}
}
