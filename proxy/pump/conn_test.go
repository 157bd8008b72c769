package pump

import (
	"bytes"
	"errors"
	"io"
	"net"
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
