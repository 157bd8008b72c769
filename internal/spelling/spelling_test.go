package spelling

import (
	"slices"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"in-port", "port", "verbose", "workload"}
	for wrong, want := range map[string]string{"in-prot": "in-port", "Workload": "workload", "prt": "port", "zzzzzz": "", "": ""} {
		if got := Meant(wrong, names); got != want {
			t.Errorf("%q probably meant %q, want %q", wrong, got, want)
		}
	}
	if got, want := Nearest("ports", names, 2), []string{"port", "in-port"}; !slices.Equal(got, want) {
		t.Errorf("the nearest are %v, want %v", got, want)
	}
	if got := Nearest("x", names, 9); len(got) != len(names) {
		t.Errorf("of %d names there are %d", len(names), len(got))
	}
}
