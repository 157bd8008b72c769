package contract

import (
	"net/http"
	"strings"
	"testing"
)

func TestReplayIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"0":                                    true,
		"6f1c2b1e-8d1a-4c6f-9a51-0f4a1e7d2c33": true,
		"cart-replay-5d41402abc":               true,
		strings.Repeat("a", MaxReplayID):       true,
		strings.Repeat("a", MaxReplayID+1):     false,
		"":                                     false,
		"-a":                                   false,
		"a-":                                   false,
		"Cart":                                 false,
		"a.b":                                  false,
		"a b":                                  false,
		"a,b":                                  false,
		"a\x00":                                false,
		"é":                                    false,
	} {
		if got := IsReplayID(id); got != want {
			t.Errorf("%q: %t, want %t", id, got, want)
		}
	}
}

// Decoders compare names of headers only in this form.
func TestReplayHeaderIsCanonical(t *testing.T) {
	if got := http.CanonicalHeaderKey(HeaderReplay); got != HeaderReplay {
		t.Errorf("%s, want %s", HeaderReplay, got)
	}
}
