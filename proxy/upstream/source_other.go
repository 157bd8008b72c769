//go:build !unix

package upstream

import (
	"errors"
	"net/netip"
)

// bindTo is not implemented on this system.
func bindTo(int, netip.Addr) error { return errors.ErrUnsupported }
