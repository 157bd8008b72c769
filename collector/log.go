package collector

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is the shortest interval between two logged refusals with the same code and namespace,
// because a thousand clients may retry.
const logEvery = time.Second

// maxLogged bounds how many pairs of code and namespace a logLimiter remembers.
const maxLogged = 4096

// logLimiter allows one line per key in each logEvery. The zero value is ready to
// use. It is safe for concurrent use.
type logLimiter struct {
	mu   sync.Mutex
	keys map[string]*logged
}

type logged struct {
	next       time.Time // when a line may be logged again
	suppressed int       // lines that were not logged since the last one
}

// allow reports whether a line with this key is logged now, and how many were suppressed since
// the last one that was.
func (l *logLimiter) allow(key string, now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.keys[key]
	if s == nil {
		if l.keys == nil || len(l.keys) >= maxLogged {
			l.keys = map[string]*logged{}
		}
		s = &logged{}
		l.keys[key] = s
	}
	if now.Before(s.next) {
		s.suppressed++
		return 0, false
	}
	suppressed, s.suppressed, s.next = s.suppressed, 0, now.Add(logEvery)
	return suppressed, true
}

// logRefusal logs a refusal, unless one with the same code and namespace was logged within
// logEvery.
func (c *Collector) logRefusal(r *refused, u *upload, from string) {
	suppressed, ok := c.logLimit.allow(r.Code+"/"+u.namespace(), time.Now())
	if !ok {
		return
	}
	args := []any{slog.String("code", r.Code), slog.String("key", bounded(u.name)), slog.String("from", from), slog.String("detail", bounded(r.detail))}
	if r.cause != nil {
		args = append(args, slog.String("error", bounded(r.cause.Error())))
	}
	if suppressed > 0 {
		args = append(args, slog.Int("notLogged", suppressed))
	}
	c.o.Log.Warn("refused", args...)
}
