package transformer

import "testing"

func TestNoPasswordIsReported(t *testing.T) {
	for value, want := range map[string]string{
		"http://user:secret@proxy.example:3128":  "http://user:xxxxx@proxy.example:3128",
		"socks4://user:secret@proxy.example":     "socks4://xxxxx@proxy.example",
		"http://user:secret@proxy.example/path":  "http://xxxxx@proxy.example/path",
		"user:s@cret@proxy.example/path":         "xxxxx@proxy.example/path",
		"socks4://proxy.example":                 "socks4://proxy.example",
		"http://proxy.example:3128/?user@secret": "http://xxxxx@secret",
	} {
		if got := redacted(value); got != want {
			t.Errorf("%s is reported as %s, want %s", value, got, want)
		}
	}
}
