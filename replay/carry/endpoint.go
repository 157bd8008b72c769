package carry

import (
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
)

// Endpoint names what a request is for: its method and its path, with {id} for segments
// that are values, as in `GET /users/{id}`.
func Endpoint(e *recording.Exchange) string {
	path := e.Location
	if e.HTTP != nil && path == "" {
		path = e.HTTP.Req.URL
	}
	var b strings.Builder
	b.Grow(len(e.Command) + 1 + len(path))
	b.WriteString(e.Command)
	b.WriteByte(' ')
	for i, s := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if isStatic(s) || !isID(s) {
			b.WriteString(s)
		} else {
			b.WriteString("{id}")
		}
	}
	return b.String()
}

// isID tells whether a segment of a path says which thing is meant: it has two digits or
// more, or nothing else, or is of a class of ids.
func isID(s string) bool {
	digits := 0
	for i := range len(s) {
		if '0' <= s[i] && s[i] <= '9' {
			digits++
		}
	}
	return digits > 0 && (digits == len(s) || isShortID(s) && digits >= 3) || class.Of([]byte(s), nil, time.Time{}).Class != class.None
}
