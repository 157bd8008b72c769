// Package logbuffer has a buffer that tests read while a process or a logger still writes
// into it.
//
// It imports the standard library alone.
package logbuffer

import (
	"bytes"
	"sync"
)

// Buffer keeps what is written, without a bound. The zero value is empty. It is safe for
// concurrent use.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what was written until now.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
