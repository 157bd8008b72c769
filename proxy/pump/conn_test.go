package pump

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/iotest"
)

// trickle is a connection that brings one byte at a time.
type trickle struct {
	net.Conn
	io.Reader
}

func (t trickle) Read(p []byte) (int, error) { return t.Reader.Read(p) }

// What was read already stays readable, however often more is looked at, and a
// sender of single bytes does not make each of them cost a copy of the rest.
func TestFill(t *testing.T) {
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	owner := []byte("firstNEXT")
	c := NewConn(trickle{Reader: iotest.OneByteReader(bytes.NewReader(sent))}, owner[:5])
	const limit = 40_000
	arrays := map[*byte]bool{}
	for i := 1; ; i++ {
		head, err := c.Fill(limit)
		if errors.Is(err, io.ErrShortBuffer) {
			break
		}
		if err != nil || len(head) != 5+i {
			t.Fatalf("fill %d: %d bytes, %v", i, len(head), err)
		}
		arrays[&head[0]] = true
	}
	if len(arrays) > 8 {
		t.Errorf("copied %d times", len(arrays))
	}
	if string(owner) != "firstNEXT" {
		t.Errorf("wrote behind the bytes that it was given: %q", owner)
	}
	if head := c.Head(); len(head) != limit || !bytes.Equal(head, append([]byte("first"), sent[:limit-5]...)) {
		t.Errorf("the head is %d bytes, or differs", len(head))
	}
	if all, err := io.ReadAll(c); err != nil || !bytes.Equal(all, append([]byte("first"), sent...)) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}

// A system says once that the peer has reset a connection: to whoever asks
// first. Who reads after that is told too.
func TestAResetIsReadWhoeverWasToldOfItFirst(t *testing.T) {
	write := func(c *Conn) error { _, err := c.Write([]byte("more")); return err }
	for name, c := range map[string]struct {
		end   func(peer *net.TCPConn)
		first func(*Conn) error // is repeated until it is told something, unless it waits for that
		read  func(*Conn) error
		want  error
	}{
		"a write":                       {reset, write, readOne, syscall.ECONNRESET},
		"a look":                        {reset, (*Conn).Await, readOne, syscall.ECONNRESET},
		"a read":                        {reset, readOne, readOne, syscall.ECONNRESET},
		"a write, before a fill":        {reset, write, func(c *Conn) error { _, err := c.Fill(1); return err }, syscall.ECONNRESET},
		"a write, before a lazy read":   {reset, write, awaitOne, syscall.ECONNRESET},
		"a lazy read":                   {reset, awaitOne, awaitOne, syscall.ECONNRESET},
		"a write, after an orderly end": {func(peer *net.TCPConn) { peer.CloseWrite(); reset(peer) }, write, readOne, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			ours, peer := connection(t)
			conn := NewConn(ours, nil)
			defer conn.Close()
			c.end(peer)
			for c.first(conn) == nil && name != "a look" {
			}
			if err := c.read(conn); !errors.Is(err, c.want) {
				t.Errorf("read %v, want %v", err, c.want)
			}
		})
	}
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func readOne(c *Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

func awaitOne(c *Conn) error {
	_, err := c.AwaitRead(func() []byte { return make([]byte, 1) }, func() {})
	return err
}
