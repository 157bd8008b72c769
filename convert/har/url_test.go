package har

import "testing"

// Chromium can parse the URLs of all accepted hosts, and of no rejected ones; see
// TestBrowsersParseURLs in e2e/browser.
func TestIsHost(t *testing.T) {
	for host, want := range map[string]bool{
		"shop": true, "shop.example:8080": true, "a_b.c~": true, "shop.example.": true, "10.0.0.1:80": true, "[::1]": true, "[2001:db8::1]:443": true,
		"xn--bcher-kva.example": true, "bücher.example": true, "a:": true, "a..b": true, "a$b&c": true,
		"": false, ":80": false, ".": false, "a b": false, "a|b": false, "a^b": false, "a<b": false, "a%b": false, "a\\b": false, "a\x00b": false,
		"a:x": false, "a:65536": false, "a:-1": false, "a:1:2": false, "[::1": false, "[::1]x": false, "[a]": false, "[fe80::1%25eth0]": false, "[::1]:x": false,
		"10.0.0.256": false, "a.1": false, "1.2.3.4.5": false, "a.0x": false, "xn--a": false, "xn--": false, "a\xffb": false, "${jndi:ldap://x}": false,
	} {
		if isHost(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
