package upstream

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// A pod's own names are those that the kubelet writes for it. A name that somebody else pointed at
// loopback is not one of them.
func TestOwnNames(t *testing.T) {
	const file = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
127.0.0.1	stranger.example
10.1.2.3	Shop-0.shop.market.svc.cluster.local	shop-0 # shop-9
127.0.1.1
malformed

# Entries added by HostAliases.
127.0.0.1	foo.local	Bar.Local.
10.0.0.9	db.local

127.0.0.1	late.example
`
	for hostname, want := range map[string][]string{
		"shop-0":    {"bar.local", "db.local", "foo.local", "shop-0", "shop-0.shop.market.svc.cluster.local"},
		"":          {"bar.local", "db.local", "foo.local"},
		"localhost": {"bar.local", "db.local", "foo.local"},
	} {
		own := names{}
		own.read(strings.NewReader(file), hostname)
		if got := slices.Sorted(maps.Keys(own)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", hostname, got, want)
		}
	}
}

func TestMayBeLoopback(t *testing.T) {
	d, _ := New(Proxies{})
	d.AddName("Shop-0")
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "app.localhost": true, "ip6-localhost": true, "shop-0": true, "SHOP-0.": true,
		"127.0.0.1": true, "127.1": true, "0x7f000001": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": true,
		"metadata.google.internal": true,
		"localhost.example":        false, "shop-0.example": false, "127.0.0.1.nip.io": false, "rebind.example": false, "": false,
	} {
		if got := d.mayBeLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// The address is checked when the connection is made, whatever the name resolved to before.
func TestANameIsCheckedWhenItIsConnectedTo(t *testing.T) {
	const own = 4140
	d, _ := New(Proxies{}, own)
	d.Captured = func(a netip.Addr) bool { return a.Unmap() == netip.MustParseAddr("127.0.1.1") }
	for addr, want := range map[string]error{
		"127.0.1.1:5432": ErrCaptured, "[::ffff:127.0.1.1]:80": ErrCaptured, "127.0.1.2:5432": ErrLoopback,
		"127.0.0.1:80": ErrLoopback, "127.8.9.10:80": ErrLoopback, "[::1]:80": ErrLoopback, "0.0.0.0:80": ErrLoopback, "[::]:80": ErrLoopback,
		"[::ffff:127.0.0.1]:80": ErrLoopback, "[64:ff9b::7f00:1]:80": ErrLoopback, "[::6]:80": ErrLoopback,
		"127.0.0.1:4140": ErrSelf, "[::ffff:0.0.0.0]:4140": ErrSelf,
		"192.0.2.1:80": nil, "[2001:db8::1]:4140": nil, "169.254.169.254:80": nil,
	} {
		if err := d.guardName(t.Context(), "tcp", addr, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
	}
	if err := d.guardName(t.Context(), "tcp", "unreadable", nil); err == nil {
		t.Error("an address that can't be read is connected to")
	}
}

// Connections to names below localhost, and to other spellings of its address, are not chained to a
// proxy, which has another loopback. Those to metadata servers aren't either, because the proxy has
// its own.
func TestWhatIsNeverChained(t *testing.T) {
	d, unusable := New(Proxies{All: "http://proxy.example:3128", HTTP: "http://proxy.example:3128", HTTPS: "http://proxy.example:3128"})
	if len(unusable) > 0 {
		t.Fatal(unusable)
	}
	for _, scheme := range []Scheme{HTTP, Tunnel, Socks} {
		for _, host := range []string{
			"localhost", "app.localhost", "LocalHost.", "127.0.0.1", "127.1", "2130706433", "::1", "::ffff:127.0.0.1",
			"169.254.169.254", "2852039166", "metadata.google.internal", "METADATA.GOOG.", "fd00:ec2::254", "100.100.100.200",
		} {
			if via, err := d.Proxy(t.Context(), scheme, host, 80); via != nil || err != nil {
				t.Errorf("%s to %s goes through %v, %v", scheme, host, via, err)
			}
		}
		if via, err := d.Proxy(t.Context(), Straight, "far.example", 80); via != nil || err != nil {
			t.Errorf("what asked for no proxy goes through %v, %v", via, err)
		}
		if via, err := d.Proxy(t.Context(), scheme, "far.example", 80); via == nil || err != nil {
			t.Errorf("%s to another host: %v, %v", scheme, via, err)
		}
	}
}
