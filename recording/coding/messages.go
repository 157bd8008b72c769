package coding

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
)

// Messages undoes permessage-deflate (RFC 7692), which one side of a WebSocket applies to
// its messages: each may refer to those before it. The zero value is ready. It holds 64 KiB
// at most between two messages.
type Messages struct {
	window []byte
	err    error // of a message before
}

const windowSize = 32 << 10

// Inflate returns the next message without its compression. It fails with [ErrTooLarge] if
// that has more than max bytes, or with what is wrong with the message; those that follow
// can't be read then.
func (m *Messages) Inflate(message []byte, max int64) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	// The tail that senders leave out, and an end that tells the reader to stop.
	in := io.MultiReader(bytes.NewReader(message), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	r := flate.NewReaderDict(in, m.window)
	defer r.Close()
	plain, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		err = unexpected(err)
	} else if int64(len(plain)) > max {
		err = ErrTooLarge
	}
	if err != nil {
		*m = Messages{err: err}
		return nil, err
	}
	m.keep(plain)
	return plain, nil
}

// keep has the window end with a message.
func (m *Messages) keep(plain []byte) {
	plain = plain[len(plain)-min(len(plain), windowSize):]
	if n := len(m.window) + len(plain) - windowSize; n > 0 {
		m.window = append(m.window[:0], m.window[n:]...)
	}
	m.window = append(m.window, plain...)
}
