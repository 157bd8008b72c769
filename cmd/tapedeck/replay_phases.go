package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// phases logs the progress of a process on standard error: a line for each phase, and one every
// sayEvery. A command that a person runs logs nothing.
type phases struct {
	mu     sync.Mutex
	w      io.Writer // nil: nobody reads it
	phase  string
	since  time.Time
	detail string // of the phase, as of now
}

// sayEvery is the time between two lines about the same phase.
const sayEvery = 30 * time.Second

// say begins a phase.
func (p *phases) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.since, p.detail = fmt.Sprintf(format, args...), time.Now(), ""
	p.write(p.phase)
}

// tell logs an event within a phase.
func (p *phases) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(fmt.Sprintf(format, args...))
}

// now sets the line that repeat logs.
func (p *phases) now(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = fmt.Sprintf(format, args...)
}

func (p *phases) write(text string) {
	if p.w != nil {
		fmt.Fprintf(p.w, "tapedeck: %s\n", text)
	}
}

// repeat logs the current phase every sayEvery, until stop is called.
func (p *phases) repeat() (stop func()) {
	ticker, end, ended := time.NewTicker(sayEvery), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
			}
			p.mu.Lock()
			switch {
			case p.detail != "":
				p.write(p.detail)
			case p.phase != "":
				p.write(fmt.Sprintf("%s (for %s)", p.phase, time.Since(p.since).Round(time.Second)))
			}
			p.mu.Unlock()
		}
	}()
	return func() {
		ticker.Stop()
		close(end)
		<-ended
	}
}
