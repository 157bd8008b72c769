package coding

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Append applies codings to a body, in the order in which [Split] returns them, and appends the result to
// dst. It returns an [UnknownError] for an unsupported coding. Equal bodies always become equal bytes.
func Append(dst []byte, codings []string, body []byte) ([]byte, error) {
	if len(codings) > MaxLayers {
		return dst, fmt.Errorf("the body has %d content codings; at most %d are applied", len(codings), MaxLayers)
	}
	for _, name := range codings {
		var b bytes.Buffer
		w, err := newWriter(name, &b)
		if err != nil {
			return dst, err
		}
		if _, err := w.Write(body); err != nil {
			return dst, fmt.Errorf("apply %s: %w", name, err)
		}
		if err := w.Close(); err != nil {
			return dst, fmt.Errorf("apply %s: %w", name, err)
		}
		body = b.Bytes()
	}
	return append(dst, body...), nil
}

func newWriter(name string, to io.Writer) (io.WriteCloser, error) {
	switch name {
	case "gzip":
		return gzip.NewWriter(to), nil
	case "deflate":
		return zlib.NewWriter(to), nil
	case "br":
		return brotli.NewWriter(to), nil
	case "zstd":
		return zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	}
	return nil, &UnknownError{name}
}
