package oneline_test

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/oneline"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"as it is":                     "as it is",
		"two\n\r\n\tlines ":            "two lines",
		"an escape \x1b[31m":           "an escape \uFFFD[31m",
		"no UTF-8 \xff":                "no UTF-8 \uFFFD",
		"\u202ea bidi override":        "\uFFFDa bidi override",
		strings.Repeat("x", 40):        strings.Repeat("x", 40),
		strings.Repeat("x", 41):        strings.Repeat("x", 40) + "…",
		strings.Repeat("é", 100):       strings.Repeat("é", 20) + "…",
		"a" + strings.Repeat("é", 100): "a" + strings.Repeat("é", 19) + "…",
	} {
		if got := oneline.Text(in, 40); got != want {
			t.Errorf("%q: found %q, want %q", in, got, want)
		}
	}
}
