package coding

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
)

// Messages decompresses the messages of one side of a WebSocket with permessage-deflate (RFC 7692). Each
// message may refer to earlier ones. The zero value is ready to use. It holds at most 64 KiB between two
// messages.
type Messages struct {
	window []byte
	err    error // the error of an earlier message
}

const windowSize = 32 << 10

// Inflate decompresses the next message. It returns [ErrTooLarge] if the result has more than max bytes,
// or another error if the message is damaged. After an error, no later message can be read.
func (m *Messages) Inflate(message []byte, max int64) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	// Senders omit the tail. The empty last block stops the reader.
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

// keep appends a message to the window.
func (m *Messages) keep(plain []byte) {
	plain = plain[len(plain)-min(len(plain), windowSize):]
	if n := len(m.window) + len(plain) - windowSize; n > 0 {
		m.window = append(m.window[:0], m.window[n:]...)
	}
	m.window = append(m.window, plain...)
}
