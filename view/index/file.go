package index

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"modernc.org/sqlite" // and the driver
	sqlite3 "modernc.org/sqlite/lib"
)

// kind is the kind of a part of an index.
type kind int64

const (
	kindHead  kind = iota // one: see head
	kindRows              // packs of rows
	kindPaths             // packs of paths in lower case
	kindNames             // the names in a column
	kindFirst             // packs of the first terms of blocks of words
	kindWords             // blocks of words
	kindValue kind = 64   // and above: columns
)

// partBits is the number of bits of a part's number within its kind.
const partBits = 40

const (
	// applicationID and schema distinguish an index from other files, and from indexes of other
	// versions.
	applicationID = 0x54444b56
	schema        = 4
	createTable   = "CREATE TABLE part (id INTEGER PRIMARY KEY, data BLOB NOT NULL)"
	// checkBytes is the length of the checksum at the end of a part's data.
	checkBytes = 4
)

// errDamaged means that the content of an index is not as it was written. Other errors wrap it.
var errDamaged = errors.New("the index is damaged")

// maxCached bounds the parts in memory, in bytes.
const maxCached = 96 << 20

// file is an index on disk: numbered parts in a table of SQLite, each with a checksum.
type file struct {
	db *sql.DB

	mu     sync.Mutex
	cached map[int64][]byte
	size   int
}

// dsn returns the data source name for a file, a mode and pragmas.
func dsn(name, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}}
	if mode == "ro" {
		q.Set("immutable", "1")
	}
	for _, p := range append(pragmas, "trusted_schema(off)") {
		q.Add("_pragma", p)
	}
	name = filepath.ToSlash(name)
	if runtime.GOOS == "windows" {
		name = "/" + name
	}
	return (&url.URL{Scheme: "file", Path: name, RawQuery: q.Encode(), OmitHost: true}).String()
}

// openFile opens a finished index. The error is errDamaged if the file is not an index of this
// version.
func openFile(ctx context.Context, name string) (*file, error) {
	db, err := sql.Open("sqlite", dsn(name, "ro", "query_only(on)", "cell_size_check(on)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	f := &file{db: db, cached: map[int64][]byte{}}
	if err := f.check(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return f, nil
}

// check returns an error if the file is not an index of this version.
func (f *file) check(ctx context.Context) error {
	for _, want := range []struct {
		pragma string
		value  int64
	}{{"application_id", applicationID}, {"user_version", schema}} {
		var have int64
		if err := f.db.QueryRowContext(ctx, "PRAGMA "+want.pragma).Scan(&have); err != nil {
			return err
		}
		if have != want.value {
			return fmt.Errorf("%s is %d, want %d", want.pragma, have, want.value)
		}
	}
	var n int
	var text string
	if err := f.db.QueryRowContext(ctx, "SELECT count(*), max(sql) FROM sqlite_schema").Scan(&n, &text); err != nil {
		return err
	}
	if n != 1 || text != createTable {
		return errors.New("it has other tables")
	}
	return nil
}

func (f *file) close() error { return f.db.Close() }

// part returns a part of the index. Callers share it and must not change it.
func (f *file) part(ctx context.Context, k kind, n int) ([]byte, error) {
	id := int64(k)<<partBits | int64(n)
	f.mu.Lock()
	data, ok := f.cached[id]
	f.mu.Unlock()
	if ok {
		return data, ctx.Err()
	}
	if err := f.db.QueryRowContext(ctx, "SELECT data FROM part WHERE id = ?", id).Scan(&data); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: part %d of %d: %w", errDamaged, n, k, err)
	}
	end := len(data) - checkBytes
	if end < 0 || binary.LittleEndian.Uint32(data[end:]) != checksum(id, data[:end]) {
		return nil, fmt.Errorf("%w: part %d of %d has a wrong checksum", errDamaged, n, k)
	}
	data = data[:end:end]
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size += len(data); f.size > maxCached {
		clear(f.cached)
		f.size = len(data)
	}
	f.cached[id] = data
	return data, nil
}

func checksum(id int64, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint64(nil, uint64(id)), castagnoli), castagnoli, data)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writer makes an index.
type writer struct {
	db     *sql.DB
	tx     *sql.Tx
	insert *sql.Stmt
	buf    []byte
}

// create makes an index in an empty file. SQLite holds a lock on it as long as it is open.
func create(ctx context.Context, name string) (*writer, error) {
	db, err := sql.Open("sqlite", dsn(name, "rw", "page_size(16384)", "locking_mode(exclusive)", "journal_mode(off)", "synchronous(off)", "cache_size(-16384)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	w := &writer{db: db}
	for _, q := range []string{fmt.Sprintf("PRAGMA application_id = %d", applicationID), fmt.Sprintf("PRAGMA user_version = %d", schema), createTable} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			db.Close()
			return nil, err
		}
	}
	if w.tx, err = db.BeginTx(ctx, nil); err == nil {
		w.insert, err = w.tx.PrepareContext(ctx, "INSERT INTO part (id, data) VALUES (?, ?)")
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return w, nil
}

// add writes a part. The caller can reuse data.
func (w *writer) add(ctx context.Context, k kind, n int, data []byte) error {
	id := int64(k)<<partBits | int64(n)
	w.buf = append(w.buf[:0], data...)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, checksum(id, data))
	_, err := w.insert.ExecContext(ctx, id, w.buf)
	return err
}

// get reads a part that was written before.
func (w *writer) get(ctx context.Context, k kind, n int) ([]byte, error) {
	var data []byte
	if err := w.tx.QueryRowContext(ctx, "SELECT data FROM part WHERE id = ?", int64(k)<<partBits|int64(n)).Scan(&data); err != nil {
		return nil, err
	}
	return data[:len(data)-checkBytes], nil
}

// finish renames the file to name and closes it. The file stays locked until then, because
// another process could mistake an unlocked one for a file that a killed process left behind.
func (w *writer) finish(file, name string) error {
	w.insert.Close()
	err := w.tx.Commit()
	if err == nil {
		err = os.Rename(file, name)
	}
	return errors.Join(err, w.db.Close())
}

func (w *writer) close() {
	w.insert.Close()
	_ = w.tx.Rollback()
	w.db.Close()
}

// isFull reports whether the disk is full, or the user's quota or limit is reached.
func isFull(err error) bool {
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		return failed.Code()&0xff == sqlite3.SQLITE_FULL || failed.Code() == sqlite3.SQLITE_IOERR_WRITE
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT)
}

// isBusy reports whether another process has locked the file.
func isBusy(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_BUSY
}
