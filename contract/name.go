package contract

import (
	"errors"
	"fmt"
	"net/netip"
)

// MaxHostName is the maximum length of a host name, in bytes: no DNS name is longer (RFC 1035 section
// 2.3.4).
const MaxHostName = 255

var errHostName = errors.New("a host name with an invalid character: allowed are letters, digits, '-', '.' and '_', or an IP address without a zone")

// CheckHostName rejects text that is neither a host name nor an IP address. Code that keeps or logs
// a name from outside, or uses it as a key, must check it first. Otherwise a few thousand long names
// could fill the memory, and the log could show a URL's password that a client mistakes for part of
// the name. Go's resolver does not look up the rejected names. The error does not quote the name. ""
// is valid and means that there is no name.
func CheckHostName(name string) error {
	if len(name) > MaxHostName {
		return fmt.Errorf("a host name of %d bytes: a DNS name has at most %d", len(name), MaxHostName)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			if a, err := netip.ParseAddr(name); err == nil && a.Zone() == "" {
				return nil
			}
			return errHostName
		}
	}
	return nil
}
