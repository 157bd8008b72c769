package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// loopbacks are the addresses of the pod's own loopback. Istio maps 127.0.0.1 to ::1 in pods
// that have only IPv6, so the proxy listens on both.
var loopbacks = [...]string{"127.0.0.1", "::1"}

// listen listens on a port of both loopbacks, or of every address. If one loopback does not
// exist, the other is enough. Port 0 takes any free port.
func listen(ctx context.Context, port int, all bool) ([]net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: upstream.KeepAlive()}
	if all {
		l, err := lc.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	var got []net.Listener
	var errs []error
	for _, host := range loopbacks {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, l)
		port = l.Addr().(*net.TCPAddr).Port
	}
	if len(got) == 0 || !allAbsent(errs) {
		closeAll(got)
		return nil, fmt.Errorf("listen on loopback: %w", errors.Join(errs...))
	}
	return got, nil
}

// allAbsent reports whether all errors mean that a loopback does not exist, and not that the
// port is taken.
func allAbsent(errs []error) bool {
	for _, err := range errs {
		if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT) {
			return false
		}
	}
	return true
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		_ = l.Close()
	}
}

// accept calls serve for every connection until the listener is closed. It calls before,
// which may wait, before it accepts each of them.
func accept(l net.Listener, before func(), serve func(net.Conn)) {
	for wait := time.Duration(0); ; {
		before()
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of descriptors, for example. It passes as connections end.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			time.Sleep(wait)
		default:
			wait = 0
			serve(c)
		}
	}
}

// addrPort returns a's address and port if it is a TCP address, and the zero value otherwise.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

func hostPort(host string, port int) string {
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
