package plainhttp

import (
	"bytes"
	"math"
)

const (
	maxChunkLine = 4 << 10
	maxTrailer   = 16 << 10
)

// body finds the end of a message's body in bytes that are cut anywhere (RFC 9112 sections 6
// and 7.1). The zero value is a body that has ended. It checks the framing of chunks,
// including extensions and trailers, and rejects bytes that two parsers could read
// differently.
type body struct {
	open   bool // the body has not ended
	close  bool // the body ends with the connection
	chunk  chunkPart
	left   int64 // remaining bytes of the body, or of the chunk
	line   int   // length of the chunk's first line so far
	digits bool  // the chunk's size has a digit
	lines  int   // length of the trailer so far
	field  []byte
}

// chunkPart says what comes next in a chunked body.
type chunkPart uint8

const (
	noChunk   chunkPart = iota // the body isn't chunked
	chunkSize                  // the first line's hexadecimal digits
	chunkGap                   // white space after them
	chunkExtension
	chunkLF // the end of the first line
	chunkData
	dataCR
	dataLF
	trailerLine
)

// newBody returns a body with this framing that has not begun.
func newBody(f framing) body {
	switch {
	case f.chunked:
		return body{open: true, chunk: chunkSize}
	case f.close:
		return body{open: true, close: true, left: math.MaxInt64}
	}
	return body{open: f.length > 0, left: f.length}
}

// take returns how many bytes at the beginning of p belong to the body. With an error, these
// are the bytes before the invalid one; another call with that byte returns the same error.
func (b *body) take(p []byte) (n int, err error) {
	for b.open && n < len(p) {
		m := 1
		switch b.chunk {
		case noChunk, chunkData:
			m = int(min(b.left, int64(len(p)-n)))
			b.data(m)
		case trailerLine:
			m, err = b.trailer(p[n:])
		default:
			err = b.framing(p[n])
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// data takes n bytes of content.
func (b *body) data(n int) {
	if b.close {
		return
	}
	if b.left -= int64(n); b.left == 0 {
		if b.chunk == noChunk {
			b.open = false
		} else {
			b.chunk = dataCR
		}
	}
}

// framing takes one byte around the chunks' data.
func (b *body) framing(c byte) error {
	if c == '\n' && b.chunk != chunkLF && b.chunk != dataLF {
		return bad("in a chunked body: %v", errBareLF)
	}
	if b.line++; b.line > maxChunkLine {
		return bad("a chunk's first line is longer than %d bytes", maxChunkLine)
	}
	digit, hex := unhex(c)
	switch {
	case b.chunk == chunkSize && hex:
		if b.left >= 1<<58 {
			return bad("a chunk size of more than 62 bits")
		}
		b.left, b.digits = b.left<<4|digit, true
	case b.chunk == chunkSize && !b.digits:
		return bad("a chunk without a size: want a hexadecimal number")
	case b.chunk <= chunkGap && (c == ' ' || c == '\t'): // RFC 9112 section 7.1.1: BWS
		b.chunk = chunkGap
	case b.chunk <= chunkGap && c == ';':
		b.chunk = chunkExtension
	case b.chunk <= chunkExtension && c == '\r':
		b.chunk = chunkLF
	case b.chunk <= chunkGap:
		return bad("a malformed chunk size: want a hexadecimal number")
	case b.chunk == chunkExtension && (c < ' ' && c != '\t' || c == 0x7f):
		return bad("a chunk extension with a control character")
	case b.chunk == chunkExtension:
	case b.chunk == chunkLF && c == '\n':
		if b.line, b.chunk = 0, chunkData; b.left == 0 {
			b.chunk = trailerLine
		}
	case b.chunk == dataCR && c == '\r':
		b.chunk = dataLF
	case b.chunk == dataLF && c == '\n':
		b.chunk, b.line, b.digits = chunkSize, 0, false
	case b.chunk == chunkLF:
		return bad("in a chunk's first line: a CR that does not end the line")
	default:
		return bad("a chunk that is longer than its size")
	}
	return nil
}

// trailer takes a line after the last chunk, or the part of it in p. The empty line ends the
// body.
func (b *body) trailer(p []byte) (n int, err error) {
	n = len(p)
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		n = i + 1
	}
	if b.lines+n > maxTrailer {
		return 0, bad("a trailer longer than %d bytes", maxTrailer)
	}
	line := append(b.field, p[:n]...) // b.field is set only if the line is valid: see take
	if line[len(line)-1] == '\n' {
		if err := trailerField(line); err != nil {
			return 0, err
		}
		b.open = len(line) > len("\r\n")
		line = line[:0]
	}
	b.field, b.lines = line, b.lines+n
	return n, nil
}

// trailerField checks a line after the last chunk.
func trailerField(line []byte) error {
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		return bad("in a chunked body: %v", errBareLF)
	}
	fields, err := parseFields(line)
	if err != nil {
		return err
	}
	for _, f := range fields {
		for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host"} {
			if f.is(name) {
				return bad("%s in a trailer", name)
			}
		}
	}
	return nil
}

func unhex(c byte) (digit int64, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
