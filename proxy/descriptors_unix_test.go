//go:build unix

package proxy

import (
	"net"
	"os"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Connections of one direction leave the reserved descriptors to the other.
func TestDescriptorsAreScarceWhoeverTookThem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const taken, limit = 200, 300
	for next := 0; next < taken; {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		onDescriptor(l, func(fd int) { next = nextDescriptor(fd) })
	}
	for _, c := range []struct {
		name      string
		limit     int
		direction tap.Direction
		open, all int
		want      bool
	}{
		{"outbound ones have taken what inbound ones may have", limit, tap.In, 1, taken / perConnection, true},
		{"an outbound one still has room", limit, tap.Out, taken/perConnection - 1, taken / perConnection, false},
		{"each may need its second descriptor", limit, tap.Out, limit / perConnection, limit / perConnection, true},
		{"there are few connections", limit, tap.In, 1, 1, false},
		{"the limit is not known", 0, tap.In, limit, limit, false},
	} {
		if got := newFileLimit(c.limit).scarce(l, c.direction, c.open, c.all); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
