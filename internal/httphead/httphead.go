// Package httphead finds the end of an HTTP/1 head, for readers that get it in pieces.
//
// It imports only the standard library.
package httphead

import "bytes"

// End returns the offset after the empty line that ends the fields, or -1 if there is none yet. The
// search begins at from, so that a caller needn't search earlier bytes again. A line may end without CR
// (RFC 9112, section 2.2).
func End(p []byte, from int) int {
	for {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch rest := p[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}
