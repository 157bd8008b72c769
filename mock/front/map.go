package front

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// Map is a port that stands for one host, for clients that can't use a proxy.
type Map struct {
	// Listen is the address to listen on.
	Listen string
	// Host and Port are the server that the port stands for.
	Host string
	Port int
	// Speaks is the protocol that clients use there.
	Speaks Protocol
}

// Protocol is what is known about the protocol of a connection before its first byte.
type Protocol int

// Protocols.
const (
	Any  Protocol = iota // the first bytes decide
	HTTP                 // HTTP/1 or HTTP/2, perhaps in TLS
	TCP                  // not HTTP, even if it looks like it; perhaps in TLS
)

// schemes are the protocols that a map may name, with their default ports.
var schemes = map[string]struct {
	speaks Protocol
	port   int
}{
	"http": {HTTP, 80}, "https": {HTTP, 443}, "ws": {HTTP, 80}, "wss": {HTTP, 443}, "h2c": {HTTP, 80}, "grpc": {HTTP, 0}, "grpcs": {HTTP, 443},
	"tcp": {TCP, 0}, "tls": {TCP, 0},
	"postgres": {TCP, 5432}, "postgresql": {TCP, 5432}, "mysql": {TCP, 3306}, "redis": {TCP, 6379}, "rediss": {TCP, 6379},
	"mongodb": {TCP, 27017}, "amqp": {TCP, 5672}, "amqps": {TCP, 5671}, "kafka": {TCP, 9092}, "smtp": {TCP, 25},
}

// ParseMap reads LISTEN=[PROTOCOL://]HOST[:PORT]. LISTEN is a port of loopback, or an
// address with a port. The host's port is optional if the protocol has a default one.
func ParseMap(text string) (Map, error) {
	bad := func(why string) (Map, error) {
		return Map{}, fmt.Errorf("map %q: %s; want LISTEN=[PROTOCOL://]HOST[:PORT], such as 5432=postgres://db:5432 or 127.0.0.1:8081=api.example.com:443, with one of the protocols %s",
			text, why, strings.Join(slices.Sorted(maps.Keys(schemes)), ", "))
	}
	listen, to, ok := strings.Cut(text, "=")
	if !ok {
		return bad("no = found")
	}
	var m Map
	var err error
	if m.Listen, err = ParseListen(listen); err != nil {
		return bad(err.Error())
	}
	if scheme, rest, ok := strings.Cut(to, "://"); ok {
		known, ok := schemes[strings.ToLower(scheme)]
		if !ok {
			return bad(fmt.Sprintf("unknown protocol %q", scheme))
		}
		m.Speaks, m.Port, to = known.speaks, known.port, strings.TrimSuffix(rest, "/")
	}
	m.Host = strings.Trim(to, "[]")
	if host, port, err := net.SplitHostPort(to); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return bad(fmt.Sprintf("%q is not a port", port))
		}
		m.Host, m.Port = host, int(n)
	}
	switch err := contract.CheckHostName(m.Host); {
	case m.Host == "":
		return bad("no host given")
	case err != nil:
		return bad(err.Error())
	case m.Port == 0:
		return bad("the host has no port")
	}
	return m, nil
}

// ParseListen reads an address to listen on: HOST:PORT, or PORT for loopback. `:PORT` means all
// addresses. Port 0 means any free port.
func ParseListen(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = loopback, text
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return "", fmt.Errorf("%q is not a port to listen on: want PORT or ADDRESS:PORT", text)
	}
	if err := contract.CheckHostName(host); err != nil {
		return "", fmt.Errorf("%q is not an address to listen on: %w", text, err)
	}
	return net.JoinHostPort(host, port), nil
}

// loopback is the default host.
const loopback = "localhost"
