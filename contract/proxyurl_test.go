package contract

import "testing"

func TestProxiesAreReadAsGoAndCurlDo(t *testing.T) {
	for value, want := range map[string]string{
		"http://proxy.example:3128":         "http://proxy.example:3128",
		"http://proxy.example/":             "http://proxy.example/",
		"https://user:pw@proxy.example":     "https://user:pw@proxy.example",
		"socks5://[fd00::1]:1080":           "socks5://[fd00::1]:1080",
		"socks5h://proxy.example":           "socks5h://proxy.example",
		"proxy.example:3128":                "http://proxy.example:3128",
		"proxy.example":                     "http://proxy.example",
		"10.0.0.1:8080":                     "http://10.0.0.1:8080",
		"":                                  "",
		"http://":                           "",
		"http://proxy.example:port":         "",
		"http://proxy.example:0":            "",
		"http://proxy.example:70000":        "",
		"http://proxy.example/path":         "",
		"http://proxy.example?a=b":          "",
		"socks4://proxy.example":            "",
		"ftp://proxy.example":               "",
		"http://proxy.example:3128\nX: y":   "",
		"http://user:secret@ proxy.example": "",
	} {
		u, err := ParseProxy(value)
		if want == "" {
			if err == nil {
				t.Errorf("%q was read as %s", value, u)
			}
			continue
		}
		if err != nil || u.String() != want {
			t.Errorf("%q was read as %v, %v; want %s", value, u, err, want)
		}
	}
}
