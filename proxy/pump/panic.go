package pump

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Panic is a panic that was made an error: it ends the connection that it came
// from, and no other.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Guard calls f, and returns its error, or the [Panic] that it ended in. It is
// where a connection's goroutines begin.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return f()
}

// guardedMove is move; a panic resets both connections.
func (p *Pump) guardedMove(dst, src *Conn, side tap.Side) error {
	err := Guard(func() error { return p.move(dst, src, side) })
	var crash *Panic
	if errors.As(err, &crash) {
		dst.Abort()
		src.Abort()
	}
	return err
}
