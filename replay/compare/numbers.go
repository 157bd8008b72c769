package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// numbers collects the values of a number that varies by itself, to find its range. The zero value
// is empty.
type numbers struct {
	n        int
	min, max float64
	other    bool // a value was not a number

	// These give the correlation of the number with the time at which it was seen. x0 and y0 are the
	// first values.
	x0, y0               float64
	sx, sy, sxx, syy, xy float64
}

const (
	// minNumbers is how many numbers a range needs.
	minNumbers = 8
	// drift is the correlation with time above which a number counts as a counter or a clock,
	// which have no range.
	drift = 0.7
	// replayWidths and recordedWidths are how far a number may be from a range, in widths of the
	// range. The first is for ranges of an earlier replay or a baseline. The second is for ranges
	// of the recording, which was made on another machine and under another load, so that
	// times and queue lengths may differ by an order of magnitude.
	replayWidths, recordedWidths = 1, 10
)

// add adds a value that was seen at x, which grows with time.
func (v *numbers) add(x float64, text string) {
	y, ok := number(text)
	if !ok {
		v.other = true
		return
	}
	if v.n == 0 {
		v.min, v.max, v.x0, v.y0 = y, y, x, y
	}
	v.n++
	v.min, v.max = min(v.min, y), max(v.max, y)
	x, y = x-v.x0, y-v.y0
	v.sx, v.sy, v.sxx, v.syy, v.xy = v.sx+x, v.sy+y, v.sxx+x*x, v.syy+y*y, v.xy+x*y
}

// tolerance returns the interval of numbers that count as noise: the range that was seen, extended
// by widths times its width on both sides. ok is false if there is no range.
func (v *numbers) tolerance(widths float64) (from, to float64, ok bool) {
	width := (v.max - v.min) * widths
	if v.n < minNumbers || v.other || v.drifts() || math.IsInf(width, 0) {
		return 0, 0, false
	}
	return v.min - width, v.max + width, true
}

func (v *numbers) drifts() bool {
	n := float64(v.n)
	of := (n*v.sxx - v.sx*v.sx) * (n*v.syy - v.sy*v.sy)
	return of > 0 && math.Abs(n*v.xy-v.sx*v.sy)/math.Sqrt(of) > drift
}

// excludes reports whether a value of another replay is outside the tolerance. why describes the
// range. The recorded value is always inside.
func (v *numbers) excludes(recorded, live string) (why string, excluded bool) {
	from, to, ok := v.tolerance(replayWidths)
	if !ok {
		return "", false
	}
	if was, ok := number(recorded); ok {
		from, to = min(from, was), max(to, was)
	}
	if y, ok := number(live); ok && from <= y && y <= to {
		return "", false
	}
	return fmt.Sprintf("it varies from %s to %s, and this value is farther away than the width of that range", plain(v.min), plain(v.max)), true
}

// excludesReplayed is like excludes, for numbers of repeats in the recording. Only some requests
// have repeats: applies is false if the repeats have no range, or if the request's recorded value is
// not near it, because then they say nothing about the request.
func (v *numbers) excludesReplayed(recorded, live string) (why string, excluded, applies bool) {
	from, to, ok := v.tolerance(recordedWidths)
	was, isNumber := number(recorded)
	if !ok || !isNumber || was < from || was > to {
		return "", false, false
	}
	if y, ok := number(live); ok && from <= y && y <= to {
		return "", false, true
	}
	return fmt.Sprintf("in repeats of a request in the recording it varies from %s to %s, and this value is farther away than %d times the width of that range", plain(v.min), plain(v.max), recordedWidths), true, true
}

// ends returns the ends of the range as text, and "" if a value was not a number.
func (v *numbers) ends() (all []string) {
	if v.n > 0 {
		all = []string{plain(v.min), plain(v.max)}
	}
	if v.other {
		all = append(all, "")
	}
	return all
}

func plain(y float64) string { return strconv.FormatFloat(y, 'g', -1, 64) }

// number parses a decimal number. It rejects leading zeros, because they indicate a code.
func number(text string) (float64, bool) {
	digits := strings.TrimPrefix(text, "-")
	if len(text) > 32 || digits == "" || strings.Trim(text, "0123456789.eE+-") != "" || digits[0] < '0' || digits[0] > '9' ||
		len(digits) > 1 && digits[0] == '0' && digits[1] != '.' && digits[1] != 'e' && digits[1] != 'E' {
		return 0, false
	}
	y, err := strconv.ParseFloat(text, 64)
	return y, err == nil && !math.IsInf(y, 0)
}
