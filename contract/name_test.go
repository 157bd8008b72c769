package contract

import (
	"strings"
	"testing"
)

func TestCheckHostName(t *testing.T) {
	for name, ok := range map[string]bool{
		"": true, "db": true, "DB.Shop.svc.cluster.local.": true, "my_db": true, "xn--bcher-kva.example": true, "-": true, "10.0.0.1": true, "2130706433": true,
		"::1": true, "fd00:ec2::254": true, "::ffff:10.0.0.1": true, strings.Repeat("a", 255): true,

		"u:SECRET@h": false, "u@h": false, "h:80": false, "h?token=SECRET": false, "h;SECRET": false, "h=SECRET": false, "h,SECRET": false, "h/SECRET": false,
		"h%20": false, "h SECRET": false, "h\x00": false, "h\r\n": false, "h\x7f": false, "[::1]": false, "fe80::1%SECRET": false, "bücher.example": false, "h\xff": false,
		"*.example": false, "h`SECRET`": false, "h{": false, "@h": false, "SECRET+h": false, ":SECRET": false, strings.Repeat("a", 256): false,
	} {
		err := CheckHostName(name)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q is quoted: %v", name, err)
		}
	}
}

func FuzzCheckHostName(f *testing.F) {
	f.Add("u:SECRET@h")
	f.Add("fd00::1")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckHostName(name) == nil && (len(name) > MaxHostName || strings.ContainsAny(name, "@%/\\?#=&;,\"'<>[]{} \t\r\n\x00")) {
			t.Errorf("%q passes", name)
		}
	})
}
