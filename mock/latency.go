package mock

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Latency says which parts of the recorded time the mock reproduces.
type Latency struct {
	// Answers is the factor for the time before an answer. Streams is the factor for the time
	// between its parts: events, messages, and data after a pause.
	Answers, Streams float64
}

// maxFactor bounds a factor: a larger one is probably a mistake.
const maxFactor = 1000

// ParseLatency parses none, streams (answers come immediately, and streams keep their pace),
// recorded, or a factor such as 2x or 0.5x.
func ParseLatency(text string) (Latency, error) {
	switch text {
	case "none":
		return Latency{}, nil
	case "streams":
		return Latency{0, 1}, nil
	case "recorded":
		return Latency{1, 1}, nil
	}
	if n, ok := strings.CutSuffix(text, "x"); ok {
		if f, err := strconv.ParseFloat(n, 64); err == nil && f >= 0 && f <= maxFactor {
			return Latency{f, f}, nil
		}
	}
	return Latency{}, fmt.Errorf("latency %q: want none, streams, recorded, or a factor such as 2x or 0.5x", text)
}

func scaled(d time.Duration, factor float64) time.Duration { return time.Duration(float64(d) * factor) }

// wait waits until the given time. It returns false if ctx ends first.
func wait(ctx context.Context, until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
