package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Dir is a [Store] in a directory, which Put creates if it is missing. A key is a path below it.
// Only the writer's user may read the files that Put writes, because bodies may be private.
//
// Put writes a hidden file, syncs it, and gives it its name with link(2), which fails if
// the name is in use. That works between processes, and on NFS. On a volume without hard links,
// Put returns an error that says so. A process that is killed leaves a hidden file
// .tmp-… behind, which Leftovers finds.
//
// No key and no link leads out of the directory. A link to a file inside it is listed and read. For
// any other link, List returns an error. Unlike a bucket, a directory can't have both the key a and
// the key a/b.
type Dir string

// tmpPrefix begins the names of files that are being written. CheckKey rejects such
// keys.
const tmpPrefix = ".tmp-"

// Put implements [Store].
func (d Dir) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return d.put(ctx, key, body, (*os.Root).Link)
}

func (d Dir) put(ctx context.Context, key string, body io.ReadSeeker, link func(r *os.Root, from, to string) error) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if _, err := Size(body); err != nil {
		return d.failed("put", key, err)
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return d.failed("put", key, err)
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return d.failed("put", key, err)
	}
	defer root.Close()
	// A concurrent Delete of the folder's last object may remove the folder before this writes into
	// it.
	for range 100 {
		err = put(ctx, root, key, body, link)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return d.failed("put", key, err)
}

func put(ctx context.Context, root *os.Root, key string, body io.ReadSeeker, link func(r *os.Root, from, to string) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := root.Lstat(key); err == nil {
		return fs.ErrExist // without writing the body
	}
	folder := path.Dir(key)
	if err := makeFolder(root, folder); err != nil {
		return err
	}
	tmp := path.Join(folder, tmpPrefix+rand.Text())
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if removed := root.Remove(tmp); err == nil {
			err = removed
		}
	}()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(f, contextReader{ctx, body}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := link(root, tmp, key); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrExist
		}
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("the volume has no hard links, without which two writers could overwrite each other: keep recordings on a local disk, an NFS volume or in a bucket (%w)", err)
		}
		return err
	}
	return syncFolder(root, folder)
}

// makeFolder creates the folder and its parents, and makes them durable.
func makeFolder(root *os.Root, folder string) error {
	if folder == "." {
		return nil
	}
	if info, err := root.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	above := path.Dir(folder)
	if err := makeFolder(root, above); err != nil {
		return err
	}
	err := root.Mkdir(folder, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := root.Stat(folder); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is already a file, and a directory can't have keys below a file", folder)
	}
	return syncFolder(root, above)
}

// syncFolder makes new names in the folder durable.
func syncFolder(root *os.Root, folder string) error {
	f, err := root.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get implements [Store].
func (d Dir) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, d.failed("get", key, err)
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, d.failed("get", key, err)
	}
	defer root.Close()
	// Opening a pipe must not block.
	f, err := root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, d.failed("get", key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file but %s: %w", info.Mode().Type(), fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, d.failed("get", key, err)
	}
	return &file{contextReader{ctx, f}, f}, nil
}

// file is the result of Get. Callers may seek in it, and ask for its size.
type file struct {
	contextReader
	f *os.File
}

func (f *file) Seek(offset int64, whence int) (int64, error) { return f.f.Seek(offset, whence) }
func (f *file) Stat() (fs.FileInfo, error)                   { return f.f.Stat() }
func (f *file) Close() error                                 { return f.f.Close() }

// Delete implements [Store]. It removes the folders that become empty.
func (d Dir) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return d.failed("delete", key, err)
	}
	root, err := os.OpenRoot(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.failed("delete", key, err)
	}
	defer root.Close()
	info, err := root.Lstat(key)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir():
		return nil
	case err == nil:
		err = root.Remove(key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("delete", key, err)
	}
	removeEmpty(root, path.Dir(key))
	return nil
}

// removeEmpty removes the folder if it is empty, and then its empty parents.
func removeEmpty(root *os.Root, folder string) {
	for folder != "." && root.Remove(folder) == nil {
		folder = path.Dir(folder)
	}
}

// Leftovers returns the hidden files below a folder: those that Put left behind when its process
// was killed, and those of a running Put. With remove, it removes them, and the folders that become
// empty.
func (d Dir) Leftovers(ctx context.Context, folder string, remove bool) (names []string, err error) {
	return d.leftovers(ctx, folder, time.Time{}, remove)
}

// RemoveLeftovers removes the hidden files that have not changed since the given time, which must be
// before every running Put began. It returns how many there were.
func (d Dir) RemoveLeftovers(ctx context.Context, folder string, since time.Time) (int, error) {
	names, err := d.leftovers(ctx, folder, since, true)
	return len(names), err
}

// leftovers returns the hidden files. If the time is not zero, it returns only files that are
// older.
func (d Dir) leftovers(ctx context.Context, folder string, since time.Time, remove bool) (names []string, err error) {
	if err := CheckKey(folder); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("list", folder, err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), folder, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), tmpPrefix) {
			return err
		}
		if info, err := e.Info(); since.IsZero() || err == nil && info.ModTime().Before(since) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return names, d.failed("list", folder, err)
	}
	if !remove {
		return names, nil
	}
	for _, name := range names {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return names, d.failed("delete", name, err)
		}
		removeEmpty(root, path.Dir(name))
	}
	return names, nil
}

// List implements [Store].
func (d Dir) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		d.walk(ctx, prefix, yield, func(w *walk, name string) bool { return w.folder(name, "") })
	}
}

// Folders implements [Store].
func (d Dir) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		folder := func(w *walk, name string) bool { return yield(name+"/", nil) }
		d.walk(ctx, prefix, func(o Object, err error) bool { return err == nil || yield("", err) }, folder)
	}
}

// walk reads the folder of the prefix. It calls yield with each file, and down with each folder.
func (d Dir) walk(ctx context.Context, prefix string, yield func(Object, error) bool, down func(w *walk, name string) bool) {
	if err := CheckPrefix(prefix); err != nil {
		yield(Object{}, err)
		return
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		yield(Object{}, d.failed("list", "", err))
		return
	}
	defer root.Close()
	w := &walk{ctx: ctx, dir: d, root: root, yield: yield, down: down}
	i := strings.LastIndexByte(prefix, '/')
	w.folder(path.Clean(prefix[:max(i, 0)]), prefix[i+1:])
}

type walk struct {
	ctx   context.Context
	dir   Dir
	root  *os.Root
	yield func(Object, error) bool
	down  func(w *walk, name string) bool
}

// folder walks the entries of a folder that begin with the prefix. It returns false if the caller
// stops.
func (w *walk) folder(folder, prefix string) bool {
	if err := w.ctx.Err(); err != nil {
		w.yield(Object{}, w.dir.failed("list", folder, err))
		return false
	}
	if len(folder) > contract.MaxObjectKey {
		return w.yield(Object{}, w.dir.failed("list", folder, errors.New("deeper than any key can be")))
	}
	f, err := w.root.Open(folder)
	var entries []fs.DirEntry
	if err == nil {
		entries, err = f.ReadDir(-1)
		f.Close()
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return true // there are no such keys, or they were just deleted
		}
		return w.yield(Object{Key: folder}, w.dir.failed("list", folder, err))
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), ".") || !strings.HasPrefix(e.Name(), prefix)
	})
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(keyOf(a), keyOf(b)) })
	for _, e := range entries {
		if !w.entry(path.Join(folder, e.Name()), e) {
			return false
		}
	}
	return true
}

// keyOf returns the sort key of an entry, so that keys come in order: a-b before a/b before a0b.
func keyOf(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (w *walk) entry(key string, e fs.DirEntry) bool {
	if e.IsDir() {
		return w.down(w, key)
	}
	if err := w.ctx.Err(); err != nil {
		w.yield(Object{}, w.dir.failed("list", key, err))
		return false
	}
	info, err := w.root.Stat(key) // follows links, but not out of the directory
	link := e.Type()&fs.ModeSymlink != 0
	switch {
	case err != nil && !link && errors.Is(err, fs.ErrNotExist):
		return true // it was just deleted
	case err == nil && link && info.IsDir():
		err = errors.New("a link to a directory, which is not followed")
	case err == nil && !info.Mode().IsRegular():
		return true // such as a socket
	}
	if err != nil {
		return w.yield(Object{Key: key}, w.dir.failed("list", key, err))
	}
	return w.yield(Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil)
}

// failed adds the operation and the file to an error.
func (d Dir) failed(op, key string, err error) error {
	if err == nil {
		return nil
	}
	// Keep only the operating system's message, without the names that os.Root was given.
	if p, ok := errors.AsType[*fs.PathError](err); ok && p == err {
		err = p.Err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%s %s: %w", op, filepath.Join(string(d), filepath.FromSlash(key)), err)
}

// contextReader fails once the context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
