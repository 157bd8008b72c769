package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
)

// refused is the error of a refused upload.
type refused struct {
	contract.Refusal
	detail string
	// cause is only logged: it may name parts of the store that clients must not see.
	cause error
}

func (r *refused) Error() string { return r.Code + ": " + r.detail }
func (r *refused) Unwrap() error { return r.cause }

// refuse returns the error for a code of [contract.Refusals].
func refuse(code, format string, args ...any) *refused {
	row, ok := contract.RefusalOf(code)
	if !ok {
		panic("collector: no such refusal: " + code) // a mistake in this package, which its tests find
	}
	return &refused{Refusal: row, detail: fmt.Sprintf(format, args...)}
}

// because adds a cause for the log.
func (r *refused) because(err error) *refused {
	r.cause = err
	return r
}

// writeProblem writes an error answer.
func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(contract.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: bounded(detail)})
	if err != nil { // impossible for strings and a number
		body = nil
	}
	h := w.Header()
	h.Set("Content-Type", contract.ProblemType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has gone
}

// answer writes the refusal to the client.
func (r *refused) answer(w http.ResponseWriter) {
	switch r.Code {
	case contract.RefusedBusy:
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // spread, so that clients don't return at the same time
	case contract.RefusedToken:
		w.Header().Set("WWW-Authenticate", `Bearer realm="tapedeck"`)
	case contract.RefusedMethod:
		w.Header().Set("Allow", http.MethodPut)
	}
	writeProblem(w, r.Status, r.Code, r.detail)
}

// maxDetail bounds what an answer and a line of the log quote, in bytes.
const maxDetail = 400

// bounded turns a text with foreign parts into one line of limited length.
func bounded(text string) string { return oneline.Text(text, maxDetail) }

// asRefused returns an error as a refusal.
func asRefused(err error) *refused {
	if r, ok := errors.AsType[*refused](err); ok {
		return r
	}
	return refuse(contract.RefusedStore, "the collector failed").because(err)
}
