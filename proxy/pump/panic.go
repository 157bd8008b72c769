package pump

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Panic is the error for a recovered panic. It ends only the connection that panicked.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Guard calls f and returns its error, or a [Panic] if f panicked. A connection's goroutines
// begin with it.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return f()
}

// guardedMove calls move. A panic resets both connections.
func (p *Pump) guardedMove(dst, src *Conn, side tap.Side) error {
	err := Guard(func() error { return p.move(dst, src, side) })
	var crash *Panic
	if errors.As(err, &crash) {
		dst.Abort()
		src.Abort()
	}
	return err
}
