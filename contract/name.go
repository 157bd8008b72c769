package contract

import "fmt"

// MaxHostName is how long the name of a host may be, in bytes: no DNS name is
// longer (RFC 1035 section 2.3.4).
const MaxHostName = 255

// CheckHostName refuses a name that is too long to be a host's. Whoever keeps a
// name that came from outside, or uses it as a key, checks it first: otherwise a
// few thousand long names fill the memory. The error does not quote the name.
func CheckHostName(name string) error {
	if len(name) > MaxHostName {
		return fmt.Errorf("a host name of %d bytes: a DNS name has at most %d", len(name), MaxHostName)
	}
	return nil
}
