// Package coding decodes and applies HTTP's content codings (RFC 9110, section 8.4): gzip, deflate, br
// and zstd, or several of them on one body. Redaction and readers of recordings share it.
//
// It promises:
//
//   - Bodies may be hostile: each layer yields at most the limit, windows are bounded, and a body has at
//     most [MaxLayers].
//   - A body that was cut yields everything before the cut.
//
// It imports the standard library, klauspost/compress and andybalholm/brotli.
package coding

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	// MaxLayers is how many codings a body may have.
	MaxLayers = 4
	// maxWindow bounds the window of zstd, in bytes, as RFC 9659 does for content codings. The brotli
	// format limits the window to 16 MiB, and deflate to 32 KiB.
	maxWindow = 8 << 20
)

// ErrTooLarge means that a layer yields more than the limit.
var ErrTooLarge = errors.New("larger than the limit when decoded")

// ErrTrailing means that bytes follow the end of a deflate body. Other layers return their own errors in
// this case.
var ErrTrailing = errors.New("deflate: bytes follow the end")

// UnknownError is the error for a coding that this package doesn't support.
type UnknownError struct{ Coding string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("content coding %q: want gzip, deflate, br, zstd or identity", e.Coding)
}

// Split returns the codings that the values of Content-Encoding list, in lower case and in the order in
// which they were applied. It leaves out identity, but not unsupported codings.
func Split(values ...string) []string {
	var all []string
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "", "identity":
			case "x-gzip":
				all = append(all, "gzip")
			default:
				all = append(all, name)
			}
		}
	}
	return all
}

// layer is a decompressor that can be reset for another body.
type layer interface {
	io.Reader
	Reset(io.Reader) error
}

// newLayer returns nil if the coding is unknown.
func newLayer(name string) (layer, error) {
	switch name {
	case "gzip":
		return new(gzip.Reader), nil
	case "deflate":
		return new(deflate), nil
	case "br":
		return brotli.NewReader(nil), nil
	case "zstd":
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	}
	return nil, &UnknownError{name}
}

// Known reports whether the coding, as [Split] returns it, can be decoded.
func Known(name string) bool {
	switch name {
	case "gzip", "deflate", "br", "zstd":
		return true
	}
	return false
}

// Applied reports whether the body's first bytes show that the coding was applied. Some recorders decode
// bodies but keep the header that names the coding. The formats br and raw deflate have no signature, so
// Applied returns true for them unless the body is text.
func Applied(name string, body []byte) bool {
	switch name {
	case "gzip":
		return bytes.HasPrefix(body, []byte{0x1f, 0x8b}[:min(2, len(body))])
	case "zstd": // a frame or a skippable frame (RFC 8878, sections 3.1.1 and 3.1.2)
		skippable := len(body) >= 4 && body[0]&0xf0 == 0x50 && bytes.Equal(body[1:4], []byte{0x2a, 0x4d, 0x18})
		return skippable || bytes.HasPrefix(body, []byte{0x28, 0xb5, 0x2f, 0xfd}[:min(4, len(body))])
	}
	return name == "deflate" && isZlib(body) || !isText(body)
}

// isText reports whether the beginning of p is UTF-8 without control characters. Compressed bytes hardly
// ever begin like this.
func isText(p []byte) bool {
	p = p[:min(len(p), 512)]
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case r == utf8.RuneError && n == 1 && utf8.FullRune(p), r < ' ' && r != '\t' && r != '\n' && r != '\r':
			return false
		}
		p = p[n:]
	}
	return true
}

// Decoder decodes bodies, one at a time, and reuses its buffers. The zero value is ready to use. Close
// releases the buffers. A Decoder isn't safe for concurrent use.
type Decoder struct {
	free map[string][]layer
	used []layer // the layers of the current body, by
	by   []string
	out  io.Reader
}

// Open begins to decode a body. The codings are in the order in which they were applied, as [Split]
// returns them. Read returns the decoded body. If a layer yields more than max bytes, Read returns the
// first max bytes and then [ErrTooLarge]. If the body was cut, Read returns everything before the cut,
// and then [io.ErrUnexpectedEOF].
func (d *Decoder) Open(codings []string, body io.Reader, max int64) error {
	d.giveBack()
	if len(codings) > MaxLayers {
		return fmt.Errorf("the body has %d content codings; at most %d are decoded", len(codings), MaxLayers)
	}
	d.out = body
	for _, name := range slices.Backward(codings) {
		l, err := d.take(name)
		if err != nil {
			return err
		}
		if err := l.Reset(d.out); err != nil {
			d.out = failed{unexpected(err)}
			return nil
		}
		d.out = &bounded{l, max}
	}
	return nil
}

// take returns an unused layer.
func (d *Decoder) take(name string) (l layer, err error) {
	if free := d.free[name]; len(free) > 0 {
		l, d.free[name] = free[len(free)-1], free[:len(free)-1]
	} else if l, err = newLayer(name); err != nil {
		return nil, err
	}
	d.used, d.by = append(d.used, l), append(d.by, name)
	return l, nil
}

func (d *Decoder) giveBack() {
	if d.free == nil {
		d.free = map[string][]layer{}
	}
	for i, l := range d.used {
		d.free[d.by[i]] = append(d.free[d.by[i]], l)
	}
	d.used, d.by, d.out = d.used[:0], d.by[:0], nil
}

// Read returns the next bytes of the decoded body.
func (d *Decoder) Read(p []byte) (int, error) {
	n, err := d.out.Read(p)
	return n, unexpected(err)
}

// unexpected replaces the different errors of layers for input that ended early with one error.
func unexpected(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close releases the buffers of the decoder.
func (d *Decoder) Close() {
	d.giveBack()
	for _, l := range d.free["zstd"] {
		l.(*zstd.Decoder).Close()
	}
	d.free = nil
}

// Decode appends the decoded body to dst. Its errors are those of Open and Read. It appends the bytes
// decoded so far even if it returns an error.
func (d *Decoder) Decode(dst []byte, codings []string, body []byte, max int64) ([]byte, error) {
	if err := d.Open(codings, bytes.NewReader(body), max); err != nil {
		return dst, err
	}
	for {
		dst = slices.Grow(dst, 512)
		n, err := d.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// failed is a layer whose header can't be read.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// bounded reads up to left bytes, then fails.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		n, err := b.r.Read(one[:])
		if n > 0 {
			return 0, ErrTooLarge
		}
		return 0, err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// deflate decodes zlib, which is what RFC 9110 calls deflate, and raw deflate, which some programs send.
type deflate struct {
	in  bufio.Reader
	raw io.ReadCloser
	lib io.ReadCloser
	io.Reader
}

func (d *deflate) Reset(r io.Reader) (err error) {
	d.in.Reset(r)
	head, err := d.in.Peek(2)
	switch {
	case len(head) == 1 && err == io.EOF:
		return io.ErrUnexpectedEOF
	case len(head) < 2:
		return err
	case !isZlib(head):
		if d.raw == nil {
			d.raw = flate.NewReader(&d.in)
		} else {
			err = d.raw.(flate.Resetter).Reset(&d.in, nil)
		}
		d.Reader = d.raw
	default:
		if d.lib == nil {
			d.lib, err = zlib.NewReader(&d.in)
		} else {
			err = d.lib.(zlib.Resetter).Reset(&d.in, nil)
		}
		d.Reader = d.lib
	}
	return err
}

func (d *deflate) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err == io.EOF {
		if _, none := d.in.Peek(1); none == nil {
			err = ErrTrailing
		}
	}
	return n, err
}

// isZlib reports whether the bytes begin with a zlib header (RFC 1950, section 2.2), unlike raw deflate.
func isZlib(head []byte) bool {
	return len(head) >= 2 && head[0]&15 == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0
}
