package carry

import (
	"strconv"
	"strings"
	"time"
)

// layouts are the formats of times.
var layouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05-07:00", "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", "20060102T150405Z", time.DateOnly, time.RFC1123, time.RFC1123Z,
}

// units maps the number of digits of a time since 1970 to its unit.
var units = map[int]time.Duration{10: time.Second, 13: time.Millisecond, 16: time.Microsecond, 19: time.Nanosecond}

// shifted returns the time in text plus a duration, in the same format. ok is false if text is not a
// time.
func shifted(text string, by time.Duration) (string, bool) {
	if unit, ok := units[len(text)]; ok {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
			return strconv.FormatInt(n+int64(by/unit), 10), true
		}
	}
	if len(text) < len(time.DateOnly) || len(text) > 40 {
		return text, false
	}
	for _, layout := range layouts {
		if dot := strings.IndexByte(text, '.'); dot > 0 && strings.Contains(layout, ":05") {
			digits := 0
			for rest := text[dot+1:]; digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9'; {
				digits++
			}
			layout = strings.Replace(layout, ":05", ":05."+strings.Repeat("0", digits), 1)
		}
		if t, err := time.Parse(layout, text); err == nil && t.Format(layout) == text {
			return t.Add(by).Format(layout), true
		}
	}
	return text, false
}
