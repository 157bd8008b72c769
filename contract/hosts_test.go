package contract

import (
	"slices"
	"testing"
)

func TestCommasAndBlanksSeparateHosts(t *testing.T) {
	for value, want := range map[string][]string{
		"":                               nil,
		" , ":                            nil,
		"a.example,b.example":            {"a.example", "b.example"},
		".svc .cluster.local":            {".svc", ".cluster.local"},
		" a.example ,\t.svc\n10.0.0.0/8": {"a.example", ".svc", "10.0.0.0/8"},
	} {
		if got := SplitHosts(value); !slices.Equal(got, want) {
			t.Errorf("%q was split into %q, want %q", value, got, want)
		}
	}
}
