package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// origin is the server behind the proxies. It answers each request by its path,
// from bytes that were made beforehand.
type origin struct {
	listener net.Listener
	wg       sync.WaitGroup
}

const bulkPath = "/bulk"

func listen() (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{listener: l}
	small, bulk := answer(answerBytes), answer(bulkBytes)
	o.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go serve(c, small, bulk)
		}
	})
	return o, nil
}

func (o *origin) addr() string { return o.listener.Addr().String() }

func (o *origin) close() {
	_ = o.listener.Close()
	o.wg.Wait()
}

func answer(body int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", body)
	text := []byte(`{"id":1234567,"name":"a thing of some length","tags":["one","two","three"],"price":19.99,"stock":42}`)
	return append([]byte(head), bytes.Repeat(text, body/len(text)+1)[:body]...)
}

func serve(c net.Conn, small, bulk []byte) {
	defer c.Close()
	buf := make([]byte, 4<<10)
	for have := 0; ; {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		for {
			end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			line, _, _ := bytes.Cut(buf[:end], []byte("\r\n"))
			text := small
			if bytes.Contains(line, []byte(bulkPath)) {
				text = bulk
			}
			if _, err := c.Write(text); err != nil {
				return
			}
			have = copy(buf, buf[end+4:have])
		}
		if have == len(buf) {
			return
		}
	}
}

// client is one keep-alive connection.
type client struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
}

// dial connects to address, for requests of path. With a forward proxy, the
// requests name the server forwardTo.
func dial(ctx context.Context, address, forwardTo, path string) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	host, target := address, path
	if forwardTo != "" {
		host, target = forwardTo, "http://"+forwardTo+path
	}
	return &client{conn: conn, reader: bufio.NewReaderSize(conn, 4<<10), request: fmt.Appendf(nil,
		"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nX-Request-Id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8\r\n\r\n", target, host)}, nil
}

var errAnswer = errors.New("answer isn't the server's")

// do sends the request and reads the answer; it returns the body's size.
func (c *client) do() (int, error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return 0, fmt.Errorf("%w: %.60q", errAnswer, line)
	}
	length := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := field(line, "content-length"); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("%w: no content length", errAnswer)
	}
	_, err = c.reader.Discard(length)
	return length, err
}

func field(line []byte, name string) (string, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return "", false
	}
	return string(bytes.TrimSpace(line[len(name)+1:])), true
}

// load is a set of clients.
type load []*client

func dialAll(ctx context.Context, n int, address, forwardTo, path string) (load, error) {
	l := make(load, 0, n)
	for range n {
		c, err := dial(ctx, address, forwardTo, path)
		if err != nil {
			l.close()
			return nil, err
		}
		l = append(l, c)
	}
	return l, nil
}

func (l load) close() {
	for _, c := range l {
		_ = c.conn.Close()
	}
}

// closedLoop sends requests without a pause, on all connections, for d, and then waits for
// the last answers. It returns how many were answered, and the bytes of the bodies.
func (l load) closedLoop(d time.Duration) (requests, bodies int64, err error) {
	var total, sum atomic.Int64
	end := time.Now().Add(d)
	err = l.each(func(c *client) error {
		for time.Now().Before(end) {
			n, err := c.do()
			if err != nil {
				return err
			}
			total.Add(1)
			sum.Add(int64(n))
		}
		return nil
	})
	return total.Load(), sum.Load(), err
}

func (l load) each(f func(*client) error) error {
	errs := make([]error, len(l))
	var wg sync.WaitGroup
	for i, c := range l {
		wg.Go(func() {
			if err := f(c); err != nil && !errors.Is(err, io.EOF) {
				errs[i] = err
			} else if err != nil {
				errs[i] = fmt.Errorf("connection was closed: %w", err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openLoop sends requests at a fixed rate for d, whether or not answers have come,
// and returns how long each took. A request's time begins when it was due, so it
// includes the wait for a free connection.
func (l load) openLoop(d time.Duration) ([]time.Duration, error) {
	n := int(d.Seconds() * rate)
	due := make(chan time.Time, n) // has room for all, so that pacing never waits for the proxy
	took := make([][]time.Duration, len(l))
	go func() {
		defer close(due)
		start := time.Now()
		for i := range n {
			// Not time.Sleep, whose precision is a millisecond.
			ts := unix.NsecToTimespec(int64(time.Until(start.Add(time.Duration(i) * time.Second / rate))))
			if ts.Nano() > 0 {
				_ = unix.Nanosleep(&ts, nil)
			}
			due <- time.Now()
		}
	}()
	index := make(map[*client]int, len(l))
	for i, c := range l {
		index[c] = i
	}
	err := l.each(func(c *client) error {
		i := index[c]
		for at := range due {
			if _, err := c.do(); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(at))
		}
		return nil
	})
	all := make([]time.Duration, 0, n)
	for _, t := range took {
		all = append(all, t...)
	}
	return all, err
}
