package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/tapedeck/tapedeck/proxy/address"
)

// resolver looks names up; [net.Resolver] does.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// hostsOnly returns a resolver that knows what the hosts file says now, and nothing
// else.
func hostsOnly() resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("only the hosts file is read")
	}}
}

// lookupTimeout bounds a look-up before a proxy is chained to.
const lookupTimeout = 2 * time.Second

// isMetadata reports whether a host is a cloud's metadata server: by itself, by the
// hosts file, or, for the bare names that clouds give to theirs, by DNS. Other names
// are not looked up in DNS: where a proxy is chained to, there may be none that knows
// them.
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
		return false // nothing here leads there
	}
	for _, a := range addrs {
		if address.IsMetadataAddr(a) {
			return true
		}
	}
	return false
}
