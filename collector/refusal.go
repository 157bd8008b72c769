package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tapedeck/tapedeck/contract"
)

// refused is the error of an upload that is not taken.
type refused struct {
	contract.Refusal
	detail string
	// cause is for the log alone: it may name what is none of the client's business.
	cause error
}

func (r *refused) Error() string { return r.Code + ": " + r.detail }
func (r *refused) Unwrap() error { return r.cause }

// refuse returns the error for a code of [contract.Refusals].
func refuse(code, format string, args ...any) *refused {
	row, ok := contract.RefusalOf(code)
	if !ok {
		panic("collector: no such refusal: " + code) // a slip of this package, which its tests find
	}
	return &refused{Refusal: row, detail: fmt.Sprintf(format, args...)}
}

// because adds what only the log tells.
func (r *refused) because(err error) *refused {
	r.cause = err
	return r
}

// problem is an answer as of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// problemType is the media type of such an answer.
const problemType = "application/problem+json"

func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(problem{http.StatusText(status), status, code, bounded(detail)})
	if err != nil { // of strings and a number
		body = nil
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // or the client has gone
}

// answer tells the client why its upload is not taken.
func (r *refused) answer(w http.ResponseWriter) {
	switch r.Code {
	case contract.RefusedBusy:
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // not all at the same time
	case contract.RefusedToken:
		w.Header().Set("WWW-Authenticate", `Bearer realm="tapedeck"`)
	case contract.RefusedMethod:
		w.Header().Set("Allow", http.MethodPut)
	}
	writeProblem(w, r.Status, r.Code, r.detail)
}

// maxDetail bounds what an answer and a line of the log quote, in bytes.
const maxDetail = 400

// bounded makes one line of limited length of a text, of which parts may be foreign.
func bounded(text string) string {
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// asRefused returns the refusal that an error is.
func asRefused(err error) *refused {
	if r, ok := errors.AsType[*refused](err); ok {
		return r
	}
	return refuse(contract.RefusedStore, "the collector failed").because(err)
}

// limiter lets one line a second pass for each kind of refusal.
type limiter struct {
	mu    sync.Mutex
	kinds map[string]*spoken
}

type spoken struct {
	next time.Time
	kept int // lines that were not said since the last one
}

// maxKinds bounds the limiter's memory.
const maxKinds = 4096

// pass tells whether a line of this kind is said now, and how many were not since the last
// one.
func (l *limiter) pass(kind string, now time.Time) (kept int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.kinds[kind]
	if s == nil {
		if len(l.kinds) >= maxKinds || l.kinds == nil {
			l.kinds = map[string]*spoken{}
		}
		s = &spoken{}
		l.kinds[kind] = s
	}
	if now.Before(s.next) {
		s.kept++
		return 0, false
	}
	kept, s.kept, s.next = s.kept, 0, now.Add(time.Second)
	return kept, true
}

// tell logs a refusal, unless one of its kind was logged within the last second.
func (c *Collector) tell(r *refused, u *upload, from string) {
	kept, ok := c.said.pass(r.Code+"/"+u.namespace(), time.Now())
	if !ok {
		return
	}
	args := []any{slog.String("code", r.Code), slog.String("key", bounded(u.name)), slog.String("from", from), slog.String("detail", bounded(r.detail))}
	if r.cause != nil {
		args = append(args, slog.String("error", bounded(r.cause.Error())))
	}
	if kept > 0 {
		args = append(args, slog.Int("notLogged", kept))
	}
	c.o.Log.Warn("refused", args...)
}
