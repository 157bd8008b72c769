package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
)

// progress draws a status line on a terminal. Elsewhere it does nothing.
type progress struct {
	mu    sync.Mutex
	w     io.Writer // nil: not a terminal
	shown time.Time
}

// newProgress returns a status line on w, which is drawn only if w is a terminal.
func newProgress(w io.Writer) *progress {
	if !terminal.Is(w) {
		return &progress{}
	}
	return &progress{w: w}
}

// enabled reports whether the line is shown.
func (p *progress) enabled() bool { return p.w != nil }

// show replaces the line, at most every 100 ms.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// clear removes the line, so that other output can follow.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.shown = time.Time{}
}
