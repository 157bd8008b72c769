package carry

import (
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
)

// Endpoint returns a name for the purpose of a request: its method and its path, with {id} for
// segments that are values, such as `GET /users/{id}`.
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

// isID reports whether a segment of a path identifies one thing: it has at least two digits, has
// only digits, or belongs to a class of ids.
func isID(s string) bool {
	digits := 0
	for i := range len(s) {
		if '0' <= s[i] && s[i] <= '9' {
			digits++
		}
	}
	return digits > 0 && (digits == len(s) || isShortID(s) && digits >= 3) || class.Of([]byte(s), nil, time.Time{}).Class != class.None
}
