package coding

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
)

// Messages undoes permessage-deflate (RFC 7692), which one side of a WebSocket applies to
// its messages: each may refer to those before it. The zero value is ready.
type Messages struct{ window []byte }

const windowSize = 32 << 10

// Inflate returns the next message without its compression. It fails with [ErrTooLarge] if
// that has more than max bytes, or with what is wrong with the message; those that follow
// can't be read then.
func (m *Messages) Inflate(message []byte, max int64) ([]byte, error) {
	// The tail that senders leave out, and an end that tells the reader to stop.
	in := io.MultiReader(bytes.NewReader(message), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	r := flate.NewReaderDict(in, m.window)
	defer r.Close()
	plain, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, unexpected(err)
	}
	if int64(len(plain)) > max {
		return nil, ErrTooLarge
	}
	m.window = append(m.window, plain...)
	m.window = bytes.Clone(m.window[len(m.window)-min(len(m.window), windowSize):])
	return plain, nil
}
