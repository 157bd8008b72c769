package address

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.255.255.254": true, "0.0.0.0": true, "0.0.0.1": true,
		"::1": true, "::": true, "::6": true, "::1%lo": true,
		"::ffff:127.0.0.1": true, "::ffff:0.0.0.0": true, "::127.0.0.1": true, "::ffff:0:7f00:1": true,
		"64:ff9b::7f00:1": true, "64:ff9b:1::7f00:1": true, "2002:7f00:1::": true,
		"128.0.0.1": false, "126.255.255.255": false, "10.0.0.1": false, "169.254.169.254": false,
		"fe80::1": false, "fd00::1": false, "2001:db8::7f00:1": false, "64:ff9b::a00:1": false, "::ffff:10.0.0.1": false,
	} {
		if got := IsLoopback(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if IsLoopback(netip.Addr{}) {
		t.Error("no address is loopback's")
	}
}

func TestParse(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "127.0.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f000001": "127.0.0.1",
		"0X7F.1": "127.0.0.1", "0177.0.0.01": "127.0.0.1", "017700000001": "127.0.0.1", "0": "0.0.0.0", "00": "0.0.0.0", "127.0.0.1.": "127.0.0.1",
		"2852039166": "169.254.169.254", "::1": "::1", "fe80::1%eth0": "fe80::1%eth0", "1.2.65535": "1.2.255.255",
		"": "", ".": "", "h": "", "4294967296": "", "256.1.1.1": "", "1.2.3.256": "", "1.2.65536": "", "1.2.3.4.5": "", "1..2": "", "0x": "", "08": "",
		"0b1": "", "0o7": "", "1_0": "", "+1": "", "-1": "", "1.2.3.4..": "", "[::1]": "", "a.b": "", "1e3": "",
	} {
		a, ok := Parse(host)
		if got := a.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v, want %q", host, got, ok, want)
		}
	}
}

func TestIsMetadata(t *testing.T) {
	for host, want := range map[string]bool{
		"169.254.169.254": true, "169.254.170.2": true, "169.254.170.23": true, "169.254.42.42": true, "169.254.169.254.": true,
		"::ffff:169.254.169.254": true, "::ffff:a9fe:a9fe": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::1": true,
		"::169.254.169.254": true, "64:ff9b:1::a9fe:a9fe": true, "64:ff9b::6464:64c8": true,
		"100.100.100.200": true, "168.63.129.16": true, "192.0.0.192": true, "192.80.8.124": true,
		"fd00:ec2::254": true, "fd00:ec2::23": true, "FD00:EC2:0:0:0:0:0:254": true, "fd20:ce::254": true, "fd00:42::42": true,
		"fe80::a9fe:a9fe": true, "fe80::a9fe:a9fe%eth0": true, "fd00:a9fe:a9fe::1": true, "fd00:c1::a9fe:a9fe": true,
		"metadata.google.internal": true, "Metadata.Google.Internal": true, "metadata.google.internal.": true, "METADATA.GOOG": true,
		"2852039166": true, "0xa9fea9fe": true, "0251.0376.0251.0376": true, "169.254.43518": true,
		"instance-data.ec2.internal": true, "metadata.azure.internal": true, "metadata.tencentyun.com": true,
		"metadata": false, "metadata.google.internal.example": false, "x.metadata.google.internal": false, "": false, ".": false,
		"100.100.100.201": false, "169.255.0.1": false, "10.0.0.1": false, "fd00:ec2::253": false, "fe80::1": false,
		"127.0.0.1": false, "::1": false, "2001:db8::a9fe:a9fe": false,
	} {
		if got := IsMetadata(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if IsMetadataAddr(netip.Addr{}) {
		t.Error("no address is a metadata server's")
	}
}

func TestMayBeMetadata(t *testing.T) {
	for host, want := range map[string]bool{
		"metadata": true, "Metadata.": true, "instance-data": true, "INSTANCE-DATA": true,
		"metadata.example": false, "instance-data.ec2.internal": false, "data": false, "": false, "169.254.169.254": false,
	} {
		if got := MayBeMetadata(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestIsLocalhost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "localhost.": true, "app.localhost": true, "a.b.LOCALHOST.": true,
		"localhost.example": false, "notlocalhost": false, "local": false, "": false, "127.0.0.1": false, "localhost..": false,
	} {
		if got := IsLocalhost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestHostOf(t *testing.T) {
	for authority, want := range map[string]string{
		"h": "h", "h:80": "h", "h:": "h", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "127.0.0.1:4100": "127.0.0.1",
		"": "", ":80": "", "[": "", "[::1": "", "a:b:c": "a:b:c",
	} {
		if got := HostOf(authority); got != want {
			t.Errorf("%q: %q, want %q", authority, got, want)
		}
	}
}

// A metadata server's address is found in any spelling. No address is both a loopback address and a
// metadata server's: one is refused by name, and the other is relayed.
func FuzzIsMetadata(f *testing.F) {
	f.Add("::ffff:169.254.169.254")
	f.Add("Metadata.GOOG.")
	f.Add("fe80::a9fe:a9fe%x")
	f.Fuzz(func(t *testing.T, host string) {
		got := IsMetadata(host)
		if a, ok := Parse(host); ok {
			if got != IsMetadataAddr(a) || got != IsMetadata(a.String()) || got != IsMetadata(a.StringExpanded()) ||
				a.Is4() && got != IsMetadata("::ffff:"+a.String()) {
				t.Errorf("%s is read in two ways", host)
			}
			if got && IsLoopback(a) {
				t.Errorf("%s is loopback's, too", host)
			}
		} else if strings.ToUpper(strings.ToLower(host)) == strings.ToUpper(host) && got != IsMetadata(strings.ToLower(host)) {
			t.Errorf("%q is another host in lower case", host)
		}
	})
}
