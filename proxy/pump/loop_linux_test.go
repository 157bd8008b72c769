package pump

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// A pair that epoll refuses ends alone: those that the loop serves go on.
func TestAPairThatEpollRefusesEndsAlone(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	send(t, f.client, "ask")
	expect(t, f.server, "ASK")

	client, near := connection(t)
	far, server := connection(t)
	defer client.Close()
	defer server.Close()
	refused := make(chan error, 1)
	q := &pair{Pump: &Pump{Meter: &Meter{}}, loop: f.loops.loops[0], over: func(err error) { refused <- err }}
	if !q.take(NewConn(near, nil), NewConn(far, nil)) {
		t.Fatal("the loop did not take two TCP connections")
	}
	unpollable, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer unpollable.Close()
	if err := unix.Dup3(int(unpollable.Fd()), q.ends[0].fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	q.loop.add(q)
	if err := <-refused; err == nil {
		t.Fatal("epoll took a regular file")
	}
	expectAll(t, client, "")

	send(t, f.client, "ask")
	expect(t, f.server, "ASK")
	send(t, f.server, "answer")
	expect(t, f.client, "answer")
}

// A pair that is ended before its loop serves it ends alone, too.
func TestAPairThatEndsBeforeItBeginsEndsAlone(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Conn)
		want error
	}{
		"hang up": {func(c *Conn) { c.Close() }, io.EOF},
		"cut":     {(*Conn).Abort, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t, nil, new(tap.Pool))
			send(t, f.client, "ask")
			expect(t, f.server, "ASK")

			client, near := connection(t)
			far, server := connection(t)
			defer client.Close()
			defer server.Close()
			ended := make(chan error, 2)
			q := &pair{Pump: &Pump{Meter: &Meter{}}, loop: f.loops.loops[0], over: func(err error) { ended <- err }}
			conn := NewConn(near, nil)
			if !q.take(conn, NewConn(far, nil)) {
				t.Fatal("the loop did not take two TCP connections")
			}
			c.end(conn)
			q.loop.add(q)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			for _, peer := range []net.Conn{client, server} {
				if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("read %v, want %v", err, c.want)
				}
			}

			send(t, f.client, "ask")
			expect(t, f.server, "ASK")
			send(t, f.server, "answer")
			expect(t, f.client, "answer")
		})
	}
}

// A pair that runs into a bug is reset alone.
func TestAPairThatPanicsEndsAlone(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	client, near := connection(t)
	far, server := connection(t)
	defer client.Close()
	defer server.Close()
	ended := make(chan error, 1)
	broken := Pump{Pool: new(tap.Pool), Loops: f.loops} // it has no Meter
	broken.Start(NewConn(near, nil), NewConn(far, nil), func(err error) { ended <- err })
	send(t, client, "ask")
	var crash *Panic
	if err := <-ended; !errors.As(err, &crash) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v", err)
	}
	send(t, f.client, "ask")
	expect(t, f.server, "ASK")
}
