package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
)

// progress is a line on a terminal that says how far a command is; elsewhere it is
// nothing.
type progress struct {
	mu    sync.Mutex
	w     io.Writer // nil: no terminal
	shown time.Time
}

// newProgress shows progress on w if that is a terminal.
func newProgress(w io.Writer) *progress {
	if !terminal.Is(w) {
		return &progress{}
	}
	return &progress{w: w}
}

// is tells whether anybody sees it.
func (p *progress) is() bool { return p.w != nil }

// show shows a text, unless the last one was shown just now.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// clear takes the line away, so that others can be written.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.shown = time.Time{}
}
