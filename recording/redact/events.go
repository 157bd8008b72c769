package redact

import "strings"

// events redacts server-sent events. Consecutive lines of data are one text.
func (q *search) events(s string) []byte {
	d := draft{src: s, max: q.max}
	for from := 0; from < len(s); {
		to := eventLineEnd(s, from)
		if !strings.HasPrefix(s[from:to], "data:") {
			if line := s[from:to]; len(line) >= minValue {
				if out := q.lineText(line); out != line {
					q.found("")
					d.replace(from, to, out)
				}
			}
			from = to
			continue
		}
		begin := from + len("data:")
		if begin < to && s[begin] == ' ' {
			begin++
		}
		end := to
		for end < len(s) && strings.HasPrefix(s[end:], "data:") {
			end = eventLineEnd(s, end)
		}
		if end == to { // one line
			end = begin + len(strings.TrimRight(s[begin:to], "\r\n"))
			q.data(&d, begin, end, s[begin:end], "")
		} else {
			text, prefix := joinData(s[from:end])
			end = from + len(strings.TrimRight(s[from:end], "\r\n"))
			q.data(&d, begin, end, text, prefix)
		}
		from = max(to, end)
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}

// data redacts the data of one event, from begin to end. Each of its lines but the first begins with
// prefix.
func (q *search) data(d *draft, begin, end int, text, prefix string) {
	inner := *q
	out := inner.document(text, "")
	q.cut = inner.cut
	if out == nil {
		return
	}
	result := string(out)
	if prefix != "" {
		result = strings.ReplaceAll(result, "\n", prefix)
	}
	d.replace(begin, end, result)
}

// joinData joins lines of data, and returns the separator that restores the lines.
func joinData(lines string) (text, between string) {
	between = "\ndata: "
	var all []string
	for line := range strings.Lines(lines) {
		line = strings.TrimRight(strings.TrimPrefix(line, "data:"), "\r\n")
		all = append(all, strings.TrimPrefix(line, " "))
	}
	return strings.Join(all, "\n"), between
}

func eventLineEnd(s string, from int) int {
	if n := strings.IndexByte(s[from:], '\n'); n >= 0 {
		return from + n + 1
	}
	return len(s)
}
