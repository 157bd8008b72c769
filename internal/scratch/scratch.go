// Package scratch keeps records in a temporary file that goes with the process, for commands
// whose recording does not fit into memory.
//
//	record ─▶ Writer.Add ─▶ offset        Writer.Finish ─▶ File.ReadAt(offset)
//
// It promises:
//
//   - The file has no name where a file in use can be removed, so nothing is left behind.
//   - It is readable by its owner alone.
//   - It is bounded, because a disk that fills up hurts more than a command that does not
//     start.
//
// It imports the standard library alone.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// ErrFull is wrapped by the error of a file that has reached its bound.
var ErrFull = errors.New("the file is full")

// chunk is how much is written at once.
const chunk = 1 << 20

// Writer makes a file. It is safe for concurrent use; what is added is in the file after
// Finish.
type Writer struct {
	what  string
	limit int64

	mu   sync.Mutex
	file *os.File
	buf  []byte
	at   int64 // where buf begins
	err  error
}

// File is the file, once everything is in it. It is safe for concurrent use.
type File struct {
	*os.File
	// Size is how many bytes it has.
	Size int64
}

// Create makes a file in dir, or in the system's directory for such files if that is "". It
// takes up to limit bytes; 0: any number. Errors say what it is for, as `recorded answers`.
func Create(dir, what string, limit int64) (*Writer, error) {
	file, err := Nameless(dir, what)
	if err != nil {
		return nil, err
	}
	return &Writer{what: what, limit: limit, file: file}, nil
}

// Nameless makes a file as Create does, without a bound, for what comes in one piece. It goes
// when it is closed.
func Nameless(dir, what string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "tapedeck-*")
	if err != nil {
		return nil, fmt.Errorf("make a file for %s: %w", what, err)
	}
	_ = os.Remove(file.Name()) // where a file in use can't be removed it stays
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
		w.err = fmt.Errorf("keep %s on disk: %w: it may have %d bytes", w.what, ErrFull, w.limit)
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

// Finish returns the file. The writer is used up.
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

// Abandon gives the file up.
func (w *Writer) Abandon() { _ = w.file.Close() }
