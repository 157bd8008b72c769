// Package tape keeps recorded answers on disk, in one file, ready to be served.
//
//	exchange ─▶ Of ─▶ Answer ─▶ Record ─▶ Writer.Add ─▶ file: sizes, head, body, request
//	                                                        │ one read for a small answer
//	                    Tape.Read(offset) ─▶ Answer ◀───────┘
//
// In memory, an answer takes only the offset that the caller keeps. The file comes from package
// scratch: it disappears with the process, is bounded, and only its owner can read it.
//
// [Of] removes the headers of a recorded answer that describe the recorded connection
// (framing, keep-alive, other protocols on offer), and a Content-Encoding that the stored
// body does not have.
//
// It imports recording and its folder redact, internal/scratch and the standard
// library.
package tape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
)

// sizes is the number of bytes before each answer, which hold the sizes of its head, body and request.
const sizes = 4 + 8 + 4

// Tape is the complete file. It is safe for concurrent use.
type Tape struct{ file *scratch.File }

// Writer writes a tape. It is safe for concurrent use. Records can be read after Finish.
type Writer struct{ file *scratch.Writer }

// Create creates a file of up to limit bytes in dir. If dir is "", Create uses the system's
// directory for temporary files. If limit is 0, the file is not bounded.
func Create(dir string, limit int64) (*Writer, error) {
	file, err := scratch.Create(dir, "recorded answers", limit)
	if err != nil {
		return nil, err
	}
	return &Writer{file}, nil
}

// Record is an answer and its request, encoded for the file. It is filled in two steps, because
// redaction changes the exchange in between. It can be reused. The zero value is empty.
type Record struct {
	buf        []byte
	head, body int
}

// SetAnswer begins the record.
func (r *Record) SetAnswer(a *Answer) {
	r.buf = a.appendHead(append(r.buf[:0], make([]byte, sizes)...))
	r.head = len(r.buf) - sizes
	r.buf = a.appendBody(r.buf)
	r.body = len(r.buf) - sizes - r.head
}

// SetRequest ends the record. append appends the request.
func (r *Record) SetRequest(append func(dst []byte) []byte) {
	r.buf = append(r.buf)
	binary.LittleEndian.PutUint32(r.buf, uint32(r.head))
	binary.LittleEndian.PutUint64(r.buf[4:], uint64(r.body))
	binary.LittleEndian.PutUint32(r.buf[12:], uint32(len(r.buf)-sizes-r.head-r.body))
}

// Add adds a record and returns the offset of its answer.
func (w *Writer) Add(r *Record) (offset int64, err error) { return w.file.Add(r.buf) }

// Finish returns the tape.
func (w *Writer) Finish() (*Tape, error) {
	file, err := w.file.Finish()
	if err != nil {
		return nil, err
	}
	return &Tape{file}, nil
}

// Abandon removes the unfinished tape.
func (w *Writer) Abandon() { w.file.Abandon() }

// Size returns the size of the tape on disk, in bytes.
func (t *Tape) Size() int64 { return t.file.Size }

// Close removes the tape.
func (t *Tape) Close() error { return t.file.Close() }

// small is the number of bytes of the first read. Most answers are smaller.
const small = 4 << 10

// Buffer is memory that reads can reuse. It is not safe for concurrent use.
type Buffer struct {
	p []byte
	a Answer
}

// maxKept bounds the memory that a Buffer keeps.
const maxKept = 256 << 10

// inMemory is the size of the largest body that Read reads completely.
const inMemory = 64 << 10

// Read reads the answer at offset. The answer is valid until b is used again. Read does not read a
// body larger than 64 KiB; see [Answer.Reader].
func (t *Tape) Read(offset int64, b *Buffer) (*Answer, error) {
	if cap(b.p) > maxKept {
		b.p = nil
	}
	p, err := t.read(b.p[:0], offset, small)
	if b.p = p; err != nil {
		return nil, fmt.Errorf("read a recorded answer: %w", err)
	}
	head, body, _, err := t.layout(p, offset)
	if err != nil {
		return nil, fmt.Errorf("read a recorded answer: %w", err)
	}
	want := sizes + head
	if body <= inMemory {
		want += int(body)
	}
	if p, err = t.read(p, offset, want); err != nil {
		return nil, fmt.Errorf("read a recorded answer: %w", err)
	}
	b.p = p
	if err := b.a.decodeHead(p[sizes : sizes+head]); err != nil {
		return nil, fmt.Errorf("read a recorded answer: %w", err)
	}
	a := &b.a
	a.Size, a.Body, a.onDisk = body, nil, nil
	switch {
	case body <= inMemory:
		a.Body = p[sizes+head : want]
	default:
		a.onDisk = io.NewSectionReader(t.file, offset+int64(sizes+head), body)
	}
	return a, nil
}

// Request reads the request of the answer at offset, in the form in which it was added.
func (t *Tape) Request(offset int64) ([]byte, error) {
	p, err := t.read(nil, offset, sizes)
	if err != nil {
		return nil, fmt.Errorf("read a recorded request: %w", err)
	}
	head, body, request, err := t.layout(p, offset)
	if err != nil {
		return nil, fmt.Errorf("read a recorded request: %w", err)
	}
	text, err := t.read(nil, offset+int64(sizes+head)+body, request)
	if err != nil || len(text) < request {
		return nil, fmt.Errorf("read a recorded request: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return text[:request], nil
}

// read appends bytes to p until it has n bytes, or fewer at the end of the file.
func (t *Tape) read(p []byte, offset int64, n int) ([]byte, error) {
	have := len(p)
	if have >= n {
		return p, nil
	}
	if cap(p) < n {
		grown := make([]byte, have, n)
		copy(grown, p)
		p = grown
	}
	read, err := t.file.ReadAt(p[have:n], offset+int64(have))
	if err == io.EOF {
		err = nil
	}
	return p[:have+read], err
}

var errOffset = errors.New("no answer begins at this offset")

// layout returns the sizes of the record at an offset.
func (t *Tape) layout(p []byte, offset int64) (head int, body int64, request int, err error) {
	if len(p) < sizes {
		return 0, 0, 0, errOffset
	}
	head, request = int(binary.LittleEndian.Uint32(p)), int(binary.LittleEndian.Uint32(p[12:]))
	body = int64(binary.LittleEndian.Uint64(p[4:]))
	if rest := t.file.Size - offset - sizes; body < 0 || int64(head) > rest || body > rest-int64(head) || int64(request) > rest-int64(head)-body {
		return 0, 0, 0, errOffset
	}
	return head, body, request, nil
}

// appendHeaders and the functions below use an encoding that only this file knows.
func appendHeaders(dst []byte, h recording.Headers) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h)))
	for i := range h {
		dst = appendText(appendText(dst, h[i].Name), h[i].Value)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decoder decodes what those functions appended. After damage, it returns zero values.
type decoder struct {
	text string
	bad  bool
}

func (d *decoder) uint() uint64 {
	var v uint64
	for i := 0; i < len(d.text) && i < binary.MaxVarintLen64; i++ {
		c := d.text[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.text = d.text[i+1:]
			return v
		}
	}
	d.text, d.bad = "", true
	return 0
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.text)) {
		d.text, d.bad = "", true
		return ""
	}
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}

// count returns the number of items that follow. Each takes at least one byte.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.text)) {
		d.text, d.bad = "", true
		return 0
	}
	return int(n)
}

func (d *decoder) headers(h recording.Headers) recording.Headers {
	for range d.count() {
		name := d.string()
		h = append(h, recording.Header{Name: name, Value: d.string()})
	}
	return h
}
