// Package address recognizes the addresses and names that the proxy treats specially: the
// pod's loopback, and the metadata servers that give credentials to workloads in a cloud.
//
// It recognizes them in every notation: as one number, in octal, in IPv6, translated, in
// capitals, with a final dot. It resolves no names. The package imports only the standard
// library.
package address

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Parse parses an address. Besides the usual forms, it accepts those of inet_aton, which
// resolvers and browsers take for IPv4: 127.1, 0x7f.0.0.1, 2130706433.
func Parse(host string) (a netip.Addr, ok bool) {
	if host == "" || !('0' <= host[0] && host[0] <= '9') && strings.IndexByte(host, ':') < 0 {
		return a, false // a name, which is the most common case
	}
	host = strings.TrimSuffix(host, ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return a, false
	}
	var sum uint64
	for i, part := range parts {
		digits, base := part, 10
		switch {
		case strings.HasPrefix(part, "0x"), strings.HasPrefix(part, "0X"):
			digits, base = part[2:], 16
		case len(part) > 1 && part[0] == '0':
			digits, base = part[1:], 8
		}
		bits := 8
		if i == len(parts)-1 { // the last part fills all remaining bytes
			bits = 8 * (4 - i)
		}
		n, err := strconv.ParseUint(digits, base, bits)
		if err != nil {
			return a, false
		}
		sum = sum<<bits | n
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(sum))
	return netip.AddrFrom4(b), true
}

// Plain returns the IPv4 address that an IPv6 address stands for. It returns other addresses
// without their zone.
func Plain(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	for _, p := range embeddings {
		if p.prefix.Contains(a) {
			return netip.AddrFrom4([4]byte(b[p.at:]))
		}
	}
	return a
}

// embeddings are the prefixes that IPv4 addresses are translated to, and the index of the
// IPv4 address's first byte.
var embeddings = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291 section 2.5.5.1; ::1 and :: too
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated, RFC 7915
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // local-use NAT64, RFC 8215
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// loopback lists the addresses that never leave the host. Linux takes 0.0.0.0 and :: for
// loopback, and Istio uses ::6 for it. Plain turns :: and ::6 into addresses of 0.0.0.0/8.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/8")}

// IsLoopback reports whether an address is a loopback address.
func IsLoopback(a netip.Addr) bool { return within(loopback, Plain(a)) }

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Name returns a name in the form in which names are compared: in lower case, without a final
// dot.
func Name(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// IsLocalhost reports whether a name means loopback wherever it is looked up (RFC
// 6761 section 6.3).
func IsLocalhost(host string) bool {
	name := Name(host)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// HostOf returns the host of a Host field or an authority, without a port and without the
// brackets of an IPv6 address. It returns "" if the brackets don't match.
func HostOf(authority string) string {
	if strings.HasPrefix(authority, "[") {
		if host, _, ok := strings.Cut(authority[1:], "]"); ok {
			return host
		}
		return ""
	}
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && i == strings.IndexByte(authority, ':') {
		return authority[:i]
	}
	return authority
}
