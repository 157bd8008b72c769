// Package socks implements the server side of the SOCKS handshakes: SOCKS4, SOCKS4a and
// SOCKS5 (RFC 1928), only CONNECT, without authentication. It reads a request and writes
// the reply. The caller connects and forwards the bytes.
//
// Every length is bounded: by one byte in the protocols, or by maxString for SOCKS4's
// strings. The package imports contract and the standard library.
package socks

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// Versions, which are also the first byte that a client sends.
const (
	Version4 = 4
	Version5 = 5
)

// Reply is the result of a request, as a code of SOCKS5 (RFC 1928 section 6). SOCKS4 has only
// granted and rejected.
type Reply byte

// The replies.
const (
	Granted            Reply = 0
	GeneralFailure     Reply = 1
	NotAllowed         Reply = 2
	NetworkUnreachable Reply = 3
	HostUnreachable    Reply = 4
	ConnectionRefused  Reply = 5
	commandUnsupported Reply = 7
	addressUnsupported Reply = 8
)

const (
	connect = 1

	addrIPv4   = 1
	addrDomain = 3
	addrIPv6   = 4

	noAuth        = 0x00
	noneIsGood    = 0xff
	maxString     = 255
	socks4Granted = 0x5a
	socks4Refused = 0x5b
)

// Request is what a client asks for.
type Request struct {
	// Version is Version4 or Version5.
	Version byte
	// Host is a name or an address, and Port its port.
	Host string
	Port int
}

// ErrProtocol is wrapped by the error for a request that is malformed or not supported.
var ErrProtocol = errors.New("malformed SOCKS request")

// Accept reads a request from r, and writes the answers of the handshake to w. If the request
// can't be granted, Accept writes a refusal to w and returns an error. After a success, the
// caller must call Reply.
func Accept(r *bufio.Reader, w io.Writer) (Request, error) {
	version, err := r.ReadByte()
	if err != nil {
		return Request{}, fmt.Errorf("read SOCKS version: %w", err)
	}
	switch version {
	case Version4:
		return accept4(r, w)
	case Version5:
		return accept5(r, w)
	}
	return Request{}, fmt.Errorf("%w: version %d, want 4 or 5", ErrProtocol, version)
}

// Reply answers the request. bound is the local address of the upstream connection, which most
// clients ignore.
func (q Request) Reply(w io.Writer, code Reply, bound netip.AddrPort) error {
	if q.Version == Version4 {
		status := byte(socks4Refused)
		if code == Granted {
			status = socks4Granted
		}
		_, err := w.Write([]byte{0, status, 0, 0, 0, 0, 0, 0})
		return err
	}
	addr := bound.Addr().Unmap()
	msg := []byte{Version5, byte(code), 0, addrIPv4}
	switch {
	case addr.Is6():
		msg[3] = addrIPv6
		msg = append(msg, addr.AsSlice()...)
	case addr.Is4():
		msg = append(msg, addr.AsSlice()...)
	default:
		msg = append(msg, 0, 0, 0, 0)
	}
	_, err := w.Write(binary.BigEndian.AppendUint16(msg, bound.Port()))
	return err
}

// refuse replies with the code, and returns an error that says why.
func (q Request) refuse(w io.Writer, code Reply, format string, args ...any) (Request, error) {
	_ = q.Reply(w, code, netip.AddrPort{})
	return Request{}, fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// accept4 reads a request of SOCKS4 or of its extension 4a, in which an address 0.0.0.x means
// that a name follows.
func accept4(r *bufio.Reader, w io.Writer) (Request, error) {
	q := Request{Version: Version4}
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return q, fmt.Errorf("read SOCKS4 request: %w", err)
	}
	if _, err := readString(r); err != nil {
		return q.refuse(w, GeneralFailure, "user id: %v", err)
	}
	if head[0] != connect {
		return q.refuse(w, commandUnsupported, "command %d, only CONNECT (1) is served", head[0])
	}
	q.Port = int(binary.BigEndian.Uint16(head[1:]))
	ip := head[3:]
	if ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] != 0 {
		name, err := readString(r)
		if err != nil {
			return q.refuse(w, GeneralFailure, "host name: %v", err)
		}
		q.Host = name
	} else {
		q.Host = netip.AddrFrom4([4]byte(ip)).String()
	}
	return q.checked(w)
}

func accept5(r *bufio.Reader, w io.Writer) (Request, error) {
	q := Request{Version: Version5}
	methods, err := readCounted(r)
	if err != nil {
		return q, fmt.Errorf("read SOCKS5 methods: %w", err)
	}
	if strings.IndexByte(methods, noAuth) < 0 {
		_, _ = w.Write([]byte{Version5, noneIsGood})
		return q, fmt.Errorf("%w: the client offers only authentication methods %v, want 0 (no authentication)", ErrProtocol, []byte(methods))
	}
	if _, err := w.Write([]byte{Version5, noAuth}); err != nil {
		return q, fmt.Errorf("write SOCKS5 method: %w", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return q, fmt.Errorf("read SOCKS5 request: %w", err)
	}
	if head[0] != Version5 || head[2] != 0 {
		return q.refuse(w, GeneralFailure, "version %d and reserved byte %d, want 5 and 0", head[0], head[2])
	}
	var addr [16]byte
	switch head[3] {
	case addrIPv4:
		_, err = io.ReadFull(r, addr[:4])
		q.Host = netip.AddrFrom4([4]byte(addr[:4])).String()
	case addrIPv6:
		_, err = io.ReadFull(r, addr[:])
		q.Host = netip.AddrFrom16(addr).String()
	case addrDomain:
		q.Host, err = readCounted(r)
	default:
		return q.refuse(w, addressUnsupported, "address type %d, want 1, 3 or 4", head[3])
	}
	if err != nil {
		return q, fmt.Errorf("read SOCKS5 address: %w", err)
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return q, fmt.Errorf("read SOCKS5 port: %w", err)
	}
	q.Port = int(binary.BigEndian.Uint16(port[:]))
	if head[1] != connect {
		return q.refuse(w, commandUnsupported, "command %d, only CONNECT (1) is served", head[1])
	}
	return q.checked(w)
}

// checked refuses a request whose host or port can't be dialed, or whose host a resolver, a log
// or an upstream proxy would read differently.
func (q Request) checked(w io.Writer) (Request, error) {
	if q.Port == 0 {
		return q.refuse(w, GeneralFailure, "port 0")
	}
	if q.Host == "" {
		return q.refuse(w, GeneralFailure, "no host name")
	}
	if err := contract.CheckHostName(q.Host); err != nil {
		return q.refuse(w, GeneralFailure, "%v", err)
	}
	return q, nil
}

// readCounted reads a byte n and then n bytes.
func readCounted(r *bufio.Reader) (string, error) {
	n, err := r.ReadByte()
	if err != nil {
		return "", err
	}
	p := make([]byte, n)
	_, err = io.ReadFull(r, p)
	return string(p), err
}

// readString reads a string that ends with a zero byte, and returns it without that byte.
func readString(r *bufio.Reader) (string, error) {
	var p []byte
	for len(p) <= maxString {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == 0 {
			return string(p), nil
		}
		p = append(p, c)
	}
	return "", fmt.Errorf("longer than %d bytes", maxString)
}
