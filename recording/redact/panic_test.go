package redact

import (
	"errors"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// written keeps the URIs of the exchanges that it gets.
type written struct {
	recording.Discard
	uris []string
}

func (w *written) Write(e *recording.Exchange) error {
	w.uris = append(w.uris, e.HTTP.Req.URI)
	return nil
}

// A panic in the search for secrets drops only that exchange.
func TestAnExchangeAtWhichTheSearchPanicsIsDropped(t *testing.T) {
	var next written
	var told []string
	s := New(&next, Options{Panicked: func(v any, stack []byte) { told = append(told, string(stack)) }})
	s.tokens = nil // makes the sink panic when it needs a token
	for _, e := range []struct {
		uri  string
		want error
	}{{"/a", nil}, {"/b?token=hush", ErrPanic}, {"/c", nil}} {
		err := s.Write(&recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: e.uri}}})
		if !errors.Is(err, e.want) {
			t.Errorf("%s: %v, want %v", e.uri, err, e.want)
		}
	}
	if got := strings.Join(next.uris, " "); got != "/a /c" {
		t.Errorf("%q were passed on", got)
	}
	if len(told) != 1 || !strings.Contains(told[0], "redact.(*Tokens)") {
		t.Errorf("told %q, want one stack", told)
	}
}
