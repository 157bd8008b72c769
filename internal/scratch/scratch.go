// Package scratch keeps records in a temporary file that disappears when the process ends, for commands
// whose recording doesn't fit into memory.
//
//	record ─▶ Writer.Add ─▶ offset        Writer.Finish ─▶ File.ReadAt(offset)
//	                                                       Ahead.ReadAt(offset), in order
//
// It promises:
//
//   - On systems where a file in use can be removed, the file has no name, so it is never left behind.
//   - Only its owner can read it.
//   - Its size is bounded, because a full disk does more harm than a command that fails.
//
// It imports only the standard library.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// ErrFull is wrapped by the error for a file that has reached its limit.
var ErrFull = errors.New("the file is full")

// chunk is the number of bytes that are written at a time.
const chunk = 1 << 20

// Writer writes a file. It is safe for concurrent use. All records are in the file after Finish.
type Writer struct {
	what  string
	limit int64

	mu   sync.Mutex
	file *os.File
	buf  []byte
	at   int64 // where buf begins
	err  error
}

// File is a finished file. It is safe for concurrent use.
type File struct {
	*os.File
	// Size is the size of the file, in bytes.
	Size int64
}

// Create creates a file in dir, or in the system's directory for temporary files if dir is "". The file may
// have limit bytes, or any number if limit is 0. what names its content in errors, such as `recorded
// answers`.
func Create(dir, what string, limit int64) (*Writer, error) {
	file, err := Nameless(dir, what)
	if err != nil {
		return nil, err
	}
	return &Writer{what: what, limit: limit, file: file}, nil
}

// Nameless creates a temporary file without a limit, for content that is written in one piece. The file
// disappears when it is closed.
func Nameless(dir, what string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "tapedeck-*")
	if err != nil {
		return nil, fmt.Errorf("make a file for %s: %w", what, err)
	}
	_ = os.Remove(file.Name()) // fails where a file in use can't be removed
	return file, nil
}

// Add adds a record and returns the offset at which it begins. After an error, nothing more
// can be added.
func (w *Writer) Add(record []byte) (offset int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	offset = w.at + int64(len(w.buf))
	if w.limit > 0 && offset+int64(len(record)) > w.limit {
		w.err = fmt.Errorf("keep %s on disk: %w; at most %d bytes are allowed", w.what, ErrFull, w.limit)
		return 0, w.err
	}
	if w.buf = append(w.buf, record...); len(w.buf) >= chunk {
		w.flush()
	}
	return offset, w.err
}

func (w *Writer) flush() {
	n, err := w.file.WriteAt(w.buf, w.at)
	if w.at += int64(n); err != nil {
		w.err = fmt.Errorf("keep %s on disk: %w", w.what, err)
	}
	w.buf = w.buf[:0]
}

// Finish returns the file. The writer can't be used after that.
func (w *Writer) Finish() (*File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.flush()
	}
	if w.err != nil {
		_ = w.file.Close()
		return nil, w.err
	}
	w.buf = nil
	return &File{w.file, w.at}, nil
}

// Abandon discards the file.
func (w *Writer) Abandon() { _ = w.file.Close() }
