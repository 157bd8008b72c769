package upstream

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// table is a resolver that knows some names.
type table map[string]string

func (t table) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addr, ok := t[host]; ok {
		return []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr(addr)}, nil
	}
	return nil, errors.New("no such host")
}

// A name that the hosts file maps to a metadata server is not chained to a proxy. A bare name that
// DNS resolves to one isn't either. The proxy looks up all other names.
func TestNamesThatLeadToAMetadataServerAreNotChained(t *testing.T) {
	const proxy = "http://proxy.example:3128"
	d, _ := New(Proxies{All: proxy, HTTP: proxy, HTTPS: proxy})
	d.files = table{"imds": "169.254.169.254", "imds6": "fd00:ec2::254", "db": "10.0.0.1"}
	for _, c := range []struct {
		host string
		dns  table
		want string
	}{
		{"imds", nil, ""},
		{"imds6", nil, ""},
		{"db", nil, proxy},
		{"metadata", table{"metadata": "169.254.169.254"}, ""},
		{"metadata", table{"metadata": "::ffff:169.254.169.254"}, ""},
		{"metadata", table{"metadata": "10.0.0.7"}, proxy}, // a Service
		{"metadata", nil, proxy},
		{"instance-data", table{"instance-data": "169.254.169.254"}, ""},
		{"far.example", table{"far.example": "169.254.169.254"}, proxy},
	} {
		d.all = c.dns
		for _, scheme := range []Scheme{HTTP, Tunnel, Socks} {
			for _, port := range []int{80, 443} {
				u, err := d.Proxy(t.Context(), scheme, c.host, port)
				got := ""
				if u != nil {
					got = u.String()
				}
				if got != c.want || err != nil {
					t.Errorf("%s to %s:%d with %v goes through %q, %v, want %q", scheme, c.host, port, c.dns, got, err, c.want)
				}
			}
		}
	}
}

func TestHostsOnlyReadsTheHostsFileAlone(t *testing.T) {
	if addrs, err := hostsOnly().LookupNetIP(t.Context(), "ip", "localhost"); err != nil || !addrs[0].IsLoopback() {
		t.Errorf("localhost: %v, %v", addrs, err)
	}
	if addrs, err := hostsOnly().LookupNetIP(t.Context(), "ip", "no-such-host.example"); err == nil {
		t.Errorf("another name: %v", addrs)
	}
}
