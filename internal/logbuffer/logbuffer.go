// Package logbuffer has a buffer that tests read while a process or a logger still writes to it.
//
// It imports only the standard library.
package logbuffer

import (
	"bytes"
	"sync"
)

// Buffer keeps all written bytes, without a bound. The zero value is empty. It is safe for concurrent
// use.
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

// String returns the bytes that were written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
