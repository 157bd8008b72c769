//go:build !linux

package pump

import "github.com/tapedeck/tapedeck/proxy/tap"

// Loops need epoll. On other systems, two goroutines move each pair's bytes.
type Loops struct{}

// NewLoops returns nil.
func NewLoops(*tap.Pool, int) (*Loops, error) { return nil, nil }

// Close does nothing.
func (*Loops) Close() {}

func (*Loops) adopt(*Pump, *Conn, *Conn, func(error)) bool { return false }
