package splice

import (
	"bytes"
	"unicode/utf8"
)

// breakLen returns the length of the line break at text[i:]; 0 if there is none. Besides CR and LF,
// the parser also accepts NEL, LS and PS as line breaks.
func breakLen(text []byte, i int) int {
	if i >= len(text) {
		return 0
	}
	switch text[i] {
	case '\n':
		return 1
	case '\r':
		if i+1 < len(text) && text[i+1] == '\n' {
			return 2
		}
		return 1
	case 0xc2:
		if i+1 < len(text) && text[i+1] == 0x85 {
			return 2
		}
	case 0xe2:
		if i+2 < len(text) && text[i+1] == 0x80 && (text[i+2] == 0xa8 || text[i+2] == 0xa9) {
			return 3
		}
	}
	return 0
}

// endsBreak reports whether a line break ends right before text[i:].
func endsBreak(text []byte, i int) bool {
	switch {
	case i > 0 && (text[i-1] == '\n' || text[i-1] == '\r'):
		return true
	case i > 1 && text[i-1] == 0x85 && text[i-2] == 0xc2:
		return true
	}
	return i > 2 && text[i-3] == 0xe2 && text[i-2] == 0x80 && (text[i-1] == 0xa8 || text[i-1] == 0xa9)
}

// lineStart returns the offset of the beginning of the line of text[i:].
func lineStart(text []byte, i int) int {
	for i > 0 && !endsBreak(text, i) {
		i--
	}
	if i == 0 && bytes.HasPrefix(text, []byte(byteOrderMark)) {
		return len(byteOrderMark)
	}
	return i
}

// lineAbove returns the offset of the beginning of the line above the one that begins at text[start:].
func lineAbove(text []byte, start int) int {
	i := max(start-1, 0)
	for i > 0 && i-1+breakLen(text, i-1) == start {
		i-- // to the beginning of its line break
	}
	return lineStart(text, i)
}

// lineEnd returns the offset of the line break that ends the line of text[i:].
func lineEnd(text []byte, i int) int {
	for i < len(text) && breakLen(text, i) == 0 {
		i++
	}
	return i
}

// nextLine returns the offset of the beginning of the line after that of text[i:].
func nextLine(text []byte, i int) int {
	i = lineEnd(text, i)
	return i + breakLen(text, i)
}

// column counts the characters between the beginning of the line and text[i:].
func column(text []byte, i int) int {
	if start := lineStart(text, i); start < i {
		return utf8.RuneCount(text[start:i])
	}
	return 0
}

// isBlank reports whether text[i] is a space or a tab.
func isBlank(text []byte, i int) bool {
	return i < len(text) && (text[i] == ' ' || text[i] == '\t')
}

// isBlankOrEnd reports whether a blank, a line break or the end is at i.
func isBlankOrEnd(text []byte, i int) bool {
	return i >= len(text) || isBlank(text, i) || breakLen(text, i) > 0
}

// skipBlanks skips spaces and tabs.
func skipBlanks(text []byte, i int) int {
	for isBlank(text, i) {
		i++
	}
	return i
}

// skipSpace skips white space, line breaks and comments.
func skipSpace(text []byte, i int) int {
	for i < len(text) {
		switch n := breakLen(text, i); {
		case isBlank(text, i):
			i++
		case n > 0:
			i += n
		case text[i] == '#':
			i = lineEnd(text, i)
		default:
			return i
		}
	}
	return i
}

// backBlanks skips spaces and tabs backwards.
func backBlanks(text []byte, i int) int {
	for i > 0 && (text[i-1] == ' ' || text[i-1] == '\t') {
		i--
	}
	return i
}

// beginsLine reports whether only blanks are before text[i:] on its line.
func beginsLine(text []byte, i int) bool {
	i = backBlanks(text, i)
	return i == 0 || endsBreak(text, i) || i == len(byteOrderMark) && string(text[:i]) == byteOrderMark
}

// hasBreak reports whether text[from:to] contains a line break.
func hasBreak(text []byte, from, to int) bool {
	return from < to && lineEnd(text[:to], from) < to
}

// ended returns the text with a line break at its end, so that every line is complete and the last entry
// is not a special case. The caller removes an added break from the result of the cuts.
func ended(text []byte) []byte {
	if len(text) > 0 && lineStart(text, len(text)) == len(text) {
		return text
	}
	return append(text[:len(text):len(text)], lineEnding(text)...)
}

// lineEnding returns the line break that the text uses in its first line.
func lineEnding(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// skipSpaceOnly skips white space and line breaks, but not comments.
func skipSpaceOnly(text []byte, i int) int {
	for i < len(text) {
		n := breakLen(text, i)
		if n == 0 && !isBlank(text, i) {
			break
		}
		i += max(n, 1)
	}
	return i
}
