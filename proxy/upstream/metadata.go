package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/tapedeck/tapedeck/proxy/address"
)

// resolver resolves names, as [net.Resolver] does.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// hostsOnly returns a resolver that only reads the hosts file, for every lookup.
func hostsOnly() resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("only the hosts file is read")
	}}
}

// lookupTimeout bounds a lookup before a connection is chained to a proxy.
const lookupTimeout = 2 * time.Second

// isMetadata reports whether a host is a cloud's metadata server: by its own name or
// address, by the hosts file, or by DNS. It asks DNS only for the short names that clouds
// give to their servers. In a network with a proxy, DNS may not have other names.
func (d *Dialer) isMetadata(ctx context.Context, host string) bool {
	if address.IsMetadata(host) {
		return true
	}
	if _, ok := address.Parse(host); ok {
		return false
	}
	from := d.files
	if address.MayBeMetadata(host) {
		from = d.all
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := from.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false // the name does not resolve here
	}
	for _, a := range addrs {
		if address.IsMetadataAddr(a) {
			return true
		}
	}
	return false
}
