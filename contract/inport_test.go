package contract

import (
	"slices"
	"strings"
	"testing"
)

func TestInRoutes(t *testing.T) {
	for text, want := range map[string][]InRoute{
		"4143=8080":           {{4143, 8080}},
		"4143=8080,4144=9090": {{4143, 8080}, {4144, 9090}},
	} {
		if got, err := ParseInRoutes(text); err != nil || !slices.Equal(got, want) || FormatInRoutes(got) != text {
			t.Errorf("%s: read as %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "not a pair of ports",
		"4143":                "not a pair of ports",
		"4143=0":              "not a pair of ports",
		"4143=65536":          "not a pair of ports",
		"4143=8080,":          "not a pair of ports",
		"4143=+80":            "not a pair of ports",
		"4143=080":            "not a pair of ports",
		"4143=8080,4143=9090": "the sidecar's port 4143 is listed twice",
		"4143=8080,4144=8080": "the application's port 8080 is listed twice",
	} {
		if _, err := ParseInRoutes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzInRoutes: undo records are checked against a manifest's routes, so routes that were read are
// written as the same again.
func FuzzInRoutes(f *testing.F) {
	f.Add("4143=8080,4144=9090")
	f.Add("4143=8080,,")
	f.Fuzz(func(t *testing.T, text string) {
		if routes, err := ParseInRoutes(text); err == nil && FormatInRoutes(routes) != text {
			t.Errorf("%q is read as %v", text, routes)
		}
	})
}
