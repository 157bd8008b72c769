package httphead_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/internal/httphead"
)

func TestEnd(t *testing.T) {
	for _, c := range []struct {
		text string
		from int
		want int
	}{
		{"A: b\r\n\r\nbody", 0, 8},
		{"A: b\n\nbody", 0, 6},
		{"A: b\n\r\nbody", 0, 7},
		{"A: b\r\n\r\nbody", 5, 8},
		{"A: b\r\nB: c\r\n", 0, -1},
		{"A: b\r\n\r", 0, -1},
		{"", 0, -1},
	} {
		if got := httphead.End([]byte(c.text), c.from); got != c.want {
			t.Errorf("%q from %d: found %d, want %d", c.text, c.from, got, c.want)
		}
	}
}
