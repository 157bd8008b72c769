package decode

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer writes the frames of one side of a connection.
type framer struct {
	out   bytes.Buffer
	fr    *http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

func newFramer() *framer {
	f := &framer{}
	f.fr = http2.NewFramer(&f.out, nil)
	f.fr.AllowIllegalWrites = true
	f.hpack = hpack.NewEncoder(&f.block)
	return f
}

func (f *framer) frame(t *testing.T, text string) []byte { return nil }
