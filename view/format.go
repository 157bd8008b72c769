package view

import (
	"fmt"
	"html/template"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/show"
)

// functions are the functions of templates. They format texts and numbers of a recording.
var functions = template.FuncMap{
	"visible":  clean.Text,
	"short":    short,
	"duration": duration,
	"rate":     rate,
	"size":     size,
	"number":   number[int64],
	"count":    number[int],
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"day":      func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"moment":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") + " UTC" },
	"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"isSet":    func(id recording.UUID) bool { return id != recording.UUID{} },
	"plain":    plain,
	"fieldsOf": func(caption string, all []show.Field) fieldTable { return fieldTable{caption, all} },
	"messageOf": func(caption string, m *show.Message, download string) messageView {
		return messageView{caption, m, download}
	},
}

// fieldTable is a table of fields with a caption.
type fieldTable struct {
	Caption string
	Fields  []show.Field
}

// messageView is a request or an answer, and the URL of its body.
type messageView struct {
	Caption  string
	Message  *show.Message
	Download string
}

// links matches links of Markdown.
var links = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// plain removes Markdown from a sentence of the documentation.
func plain(s string) string { return strings.ReplaceAll(links.ReplaceAllString(s, "$1"), "`", "") }

// short makes all characters of a text visible, and cuts it to n characters.
func short(n int, s string) string {
	cut := len(s) > 4*n
	if cut {
		s = s[:4*n]
	}
	v := []rune(clean.Text(s))
	if len(v) > n {
		v, cut = v[:n-1], true
	}
	if cut {
		return string(v) + "…"
	}
	return string(v)
}

// duration formats a duration with three digits, such as 1.23 ms.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-d)
	case d == 0:
		return "0"
	case d < 999500*time.Nanosecond: // rounds to less than 1000 µs
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < 999500*time.Microsecond:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Minute:
		return digits(d.Seconds()) + " s"
	}
	return d.Round(time.Second).String()
}

// size formats a number of bytes with three digits, such as 1.23 kB.
func size(n int64) string {
	v := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if v < 999.5 {
			return digits(v) + " " + unit
		}
		v /= 1000
	}
	return digits(v) + " PB"
}

// rate formats a number per second with three digits.
func rate(v float64) string {
	if v < 0.01 && v > 0 {
		return "<0.01"
	}
	return digits(max(0, v))
}

// digits formats a non-negative number with three digits, and no trailing zeros after the point.
func digits(v float64) string {
	decimals := 2
	switch {
	case v >= 99.95:
		decimals = 0
	case v >= 9.995:
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// number groups the digits of a number, such as 1,234,567.
func number[T int | int64](n T) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
