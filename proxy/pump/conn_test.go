package pump

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// trickle is a connection that brings one byte at a time.
type trickle struct {
	net.Conn
	io.Reader
}

func (t trickle) Read(p []byte) (int, error) { return t.Reader.Read(p) }

// Bytes that Fill has read remain readable, however often it reads more. If a sender sends single
// bytes, the rest is not copied for each of them.
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
		t.Errorf("wrote after the bytes that it was given: %q", owner)
	}
	if head := c.Head(); len(head) != limit || !bytes.Equal(head, append([]byte("first"), sent[:limit-5]...)) {
		t.Errorf("the head is %d bytes, or differs", len(head))
	}
	if all, err := io.ReadAll(c); err != nil || !bytes.Equal(all, append([]byte("first"), sent...)) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}

// The system reports once that the peer has reset a connection, to the first call. A later read
// still gets the reset.
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

// If TLS ends without close_notify, it ends so for the other side, too: a part must not pass for
// the whole. That is not a failure, because many programs end TLS this way in normal operation.
func TestTheEndOfTLSIsPassedOnAsItIs(t *testing.T) {
	cert := certificate(t)
	for name, c := range map[string]struct {
		end  func(server *tls.Conn)
		want error // that the client reads
	}{
		"with close_notify": {func(server *tls.Conn) { server.Close() }, io.EOF},
		"truncated":         {func(server *tls.Conn) { server.NetConn().Close() }, io.ErrUnexpectedEOF},
		"reset":             {func(server *tls.Conn) { reset(server.NetConn().(*net.TCPConn)) }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			client, near := connection(t)
			far, server := connection(t)
			defer client.Close()
			defer server.Close()
			down := tls.Server(NewConn(near, nil), &tls.Config{Certificates: []tls.Certificate{cert}})
			up := tls.Client(NewConn(far, nil), &tls.Config{InsecureSkipVerify: true})
			ended := make(chan error, 1)
			p := Pump{Pool: new(tap.Pool), Meter: &Meter{}}
			p.Start(NewConn(down, nil), NewConn(up, nil), func(err error) { ended <- err })

			app := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
			wire := &eofs{TCPConn: client}
			user := tls.Client(wire, &tls.Config{InsecureSkipVerify: true})
			send(t, user, "question")
			expect(t, app, "question")
			send(t, app, "answer")
			expect(t, user, "answer")
			c.end(app)
			_, err := user.Read(make([]byte, 1))
			if err == io.EOF && wire.ended {
				err = io.ErrUnexpectedEOF // crypto/tls does not report it
			}
			if !errors.Is(err, c.want) {
				t.Errorf("the client reads %v, want %v", err, c.want)
			}
			user.Close()
			if err := <-ended; (err != nil) != (c.want == syscall.ECONNRESET) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// eofs records the end of a connection.
type eofs struct {
	*net.TCPConn
	ended bool
}

func (e *eofs) Read(p []byte) (int, error) {
	n, err := e.TCPConn.Read(p)
	e.ended = e.ended || err == io.EOF
	return n, err
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
