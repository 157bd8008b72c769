package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Snapshot is an open snapshot. Its methods may be called by any number of goroutines.
type Snapshot struct {
	Manifest
	// Digest of snapshot.json, in hexadecimal digits.
	Digest string

	text  []byte // of snapshot.json
	store store.Store
	wrong atomic.Pointer[changedError] // the first changed file that was found
}

// Err returns an error if a file was found to have changed since the snapshot was opened. It is for
// callers that continue after an error of the store.
func (o *Snapshot) Err() error {
	if err := o.wrong.Load(); err != nil {
		return err
	}
	return nil
}

// ErrTampered means that a snapshot is not what its manifest or its pin says.
var ErrTampered = errors.New("the snapshot was changed or damaged; use another copy, or make a new snapshot")

// ErrUnfinished means that there are files of a snapshot without the manifest.
var ErrUnfinished = errors.New("the snapshot is unfinished: the command that made it was interrupted; tapedeck snapshot delete removes it")

// Open opens the snapshot with the id in the store of its place. If the digest is not
// "", the manifest must have it. Each file in the manifest must exist with its size, and no other
// file may exist.
func Open(ctx context.Context, s store.Store, id, digest string) (*Snapshot, error) {
	o, err := openManifest(ctx, s, id, digest)
	if err != nil {
		return nil, err
	}
	wrong, err := o.compare(ctx)
	if err == nil {
		err = tampered(wrong)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", id, err)
	}
	return o, nil
}

// openManifest reads the manifest and checks its pin.
func openManifest(ctx context.Context, s store.Store, id, digest string) (*Snapshot, error) {
	key := keyOf(id, ManifestName)
	text, err := get(ctx, s, key, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(ctx, s, id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	o := &Snapshot{Digest: digestOf(text), text: text, store: s}
	if digest != "" && digest != o.Digest {
		return nil, fmt.Errorf("open snapshot: %s has sha256:%s, but the pin is sha256:%s: %w", key, o.Digest, digest, ErrTampered)
	}
	m, err := ParseManifest(text)
	if err == nil && m.ID != id {
		err = fmt.Errorf("it describes snapshot %s: %w", m.ID, ErrTampered)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %s: %w", key, err)
	}
	o.Manifest = *m
	return o, nil
}

// missing returns the error for an absent manifest: there is no snapshot, or an unfinished one.
func missing(ctx context.Context, s store.Store, id string, err error) error {
	for o, listErr := range s.List(ctx, keyOf(id, "")) {
		if listErr != nil {
			return fmt.Errorf("open snapshot: %w", listErr)
		}
		return fmt.Errorf("open snapshot %s: there is %s, but no %s: %w", id, o.Key, ManifestName, ErrUnfinished)
	}
	left, leftErr := leftovers(ctx, s, id, false)
	if leftErr != nil {
		return fmt.Errorf("open snapshot: %w", leftErr)
	}
	if len(left) > 0 {
		return fmt.Errorf("open snapshot %s: there is %s, but no %s: %w", id, left[0], ManifestName, ErrUnfinished)
	}
	return fmt.Errorf("open snapshot: no snapshot has the id %s there: %w", id, err)
}

// leftovers returns the temporary files that killed writers of a snapshot left behind, and removes
// them if that is requested. A bucket has no such files.
func leftovers(ctx context.Context, s store.Store, id string, remove bool) ([]string, error) {
	d, ok := s.(interface {
		Leftovers(ctx context.Context, folder string, remove bool) ([]string, error)
	})
	if !ok {
		return nil, nil
	}
	return d.Leftovers(ctx, contract.SnapshotsDir+"/"+id, remove)
}

// get reads an object of at most so many bytes.
func get(ctx context.Context, s store.Store, key string, most int64) ([]byte, error) {
	r, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("read %s: more than %d bytes", key, most)
	}
	return text, nil
}

// compare lists the files, and describes those that are missing, extra, or of another size.
func (o *Snapshot) compare(ctx context.Context) (wrong []string, err error) {
	prefix := keyOf(o.ID, "")
	sizes := map[string]int64{}
	for f, err := range o.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		key := strings.TrimPrefix(f.Key, prefix)
		if _, ok := o.file(key); !ok && key != ManifestName {
			wrong = append(wrong, f.Key+" does not belong to it")
		}
		sizes[key] = f.Size
	}
	for _, f := range o.Files {
		switch size, ok := sizes[f.Key]; {
		case !ok:
			wrong = append(wrong, prefix+f.Key+" is missing")
		case size != f.Bytes:
			wrong = append(wrong, fmt.Sprintf("%s has %d bytes instead of %d", prefix+f.Key, size, f.Bytes))
		}
	}
	return wrong, nil
}

// tampered returns an error that lists the problems, or nil if there are none.
func tampered(wrong []string) error {
	const most = 10
	switch n := len(wrong); {
	case n == 0:
		return nil
	case n > most:
		wrong = append(wrong[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%w: %s", ErrTampered, strings.Join(wrong, "; "))
}

func (o *Snapshot) file(key string) (File, bool) {
	i, ok := slices.BinarySearchFunc(o.Files, key, func(f File, key string) int { return strings.Compare(f.Key, key) })
	if !ok {
		return File{}, false
	}
	return o.Files[i], true
}

// read returns the content of a file, whose hash it has checked.
func (o *Snapshot) read(ctx context.Context, f File) ([]byte, error) {
	r, err := o.store.Get(ctx, keyOf(o.ID, f.Key))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	b.Grow(int(min(f.Bytes, 64<<20)) + bytes.MinRead)
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(&b, sum), io.LimitReader(r, f.Bytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyOf(o.ID, f.Key), err)
	}
	if n != f.Bytes || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		err := &changedError{keyOf(o.ID, f.Key)}
		o.wrong.CompareAndSwap(nil, err)
		return nil, err
	}
	return b.Bytes(), nil
}

// changedError reports a file whose content has changed.
type changedError struct{ key string }

func (e *changedError) what() string  { return e.key + " does not match its sha256" }
func (e *changedError) Error() string { return e.what() + ": " + ErrTampered.Error() }
func (e *changedError) Unwrap() error { return ErrTampered }

// Verify reads all files of the snapshot and compares their hashes. It continues after a wrong file,
// so that the error names all of them. Progress, if not nil, is called
// after each file with the bytes that were read.
func Verify(ctx context.Context, s store.Store, id, digest string, progress func(bytes int64)) (*Snapshot, error) {
	o, err := openManifest(ctx, s, id, digest)
	if err != nil {
		return nil, err
	}
	wrong, err := o.compare(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify snapshot %s: %w", id, err)
	}
	if len(wrong) == 0 {
		for _, f := range o.Files {
			_, err := o.read(ctx, f)
			var changed *changedError
			switch {
			case errors.As(err, &changed):
				wrong = append(wrong, changed.what())
			case err != nil:
				return nil, fmt.Errorf("verify snapshot %s: %w", id, err)
			}
			if progress != nil {
				progress(f.Bytes)
			}
		}
	}
	if err := tampered(wrong); err != nil {
		return nil, fmt.Errorf("verify snapshot %s: %w", id, err)
	}
	return o, nil
}

// Copy copies the snapshot into the store of another place, and checks each file. It may
// be called again after it failed. The manifest is copied last. Progress, if not nil, is
// called after each file with its size.
func (o *Snapshot) Copy(ctx context.Context, dest store.Store, progress func(bytes int64)) error {
	for _, f := range o.Files {
		text, err := o.read(ctx, f)
		if err == nil {
			err = store.PutOnce(ctx, dest, keyOf(o.ID, f.Key), bytes.NewReader(text))
		}
		if err != nil {
			return fmt.Errorf("copy snapshot %s: %w", o.ID, err)
		}
		if progress != nil {
			progress(f.Bytes)
		}
	}
	if err := store.PutOnce(ctx, dest, keyOf(o.ID, ManifestName), bytes.NewReader(o.text)); err != nil {
		return fmt.Errorf("copy snapshot %s: %w", o.ID, err)
	}
	return nil
}

// Store returns the snapshot's files as a separate, read-only place. Get checks a file's hash before it returns, and holds the file in memory.
func (o *Snapshot) Store() store.Store { return contents{o} }

type contents struct{ *Snapshot }

// errImmutable is the error of writes to a snapshot.
var errImmutable = errors.New("a snapshot is never changed")

// Put implements [store.Store].
func (c contents) Put(_ context.Context, key string, _ io.ReadSeeker) error {
	return fmt.Errorf("put %s into snapshot %s: %w", key, c.ID, errImmutable)
}

// Delete implements [store.Store].
func (c contents) Delete(_ context.Context, key string) error {
	return fmt.Errorf("delete %s in snapshot %s: %w", key, c.ID, errImmutable)
}

// Get implements [store.Store].
func (c contents) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	f, ok := c.file(key)
	if !ok {
		return nil, fmt.Errorf("get %s from snapshot %s: %w", key, c.ID, fs.ErrNotExist)
	}
	text, err := c.read(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

// List implements [store.Store].
func (c contents) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := errors.Join(store.CheckPrefix(prefix), ctx.Err()); err != nil {
			yield(store.Object{}, err)
			return
		}
		for _, f := range c.Files {
			if strings.HasPrefix(f.Key, prefix) && !yield(store.Object{Key: f.Key, Size: f.Bytes, Modified: c.Created}, nil) {
				return
			}
		}
	}
}

// Folders implements [store.Store].
func (c contents) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for f, err := range c.List(ctx, prefix) {
			if err != nil {
				yield("", err)
				return
			}
			rest := f.Key[len(prefix):]
			i := strings.IndexByte(rest, '/')
			if i < 0 {
				continue
			}
			folder := prefix + rest[:i+1]
			if folder != last && !yield(folder, nil) {
				return
			}
			last = folder
		}
	}
}

// Listed is a snapshot in a list.
type Listed struct {
	// Ref is its pinned reference, without a place.
	Ref contract.SnapshotRef
	// Manifest describes it; nil if it can't be read, and Err says why.
	Manifest *Manifest
	Err      error
}

// List returns the snapshots in the store of a place, the oldest first. It leaves out unfinished
// ones. A snapshot whose manifest can't be read is listed with its error.
func List(ctx context.Context, s store.Store) ([]Listed, error) {
	var all []Listed
	for folder, err := range s.Folders(ctx, contract.SnapshotsDir+"/") {
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		id := strings.TrimSuffix(strings.TrimPrefix(folder, contract.SnapshotsDir+"/"), "/")
		if ref, err := contract.ParseSnapshotRef(id); err != nil || ref.ID != id {
			continue // some other folder
		}
		o, err := openManifest(ctx, s, id, "")
		switch {
		case errors.Is(err, ErrUnfinished), errors.Is(err, fs.ErrNotExist):
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			all = append(all, Listed{Ref: contract.SnapshotRef{ID: id}, Err: err})
		default:
			all = append(all, Listed{Ref: contract.SnapshotRef{ID: id, Digest: o.Digest}, Manifest: &o.Manifest})
		}
	}
	slices.SortStableFunc(all, func(a, b Listed) int { return a.created().Compare(b.created()) })
	return all, nil
}

func (l *Listed) created() time.Time {
	if l.Manifest == nil {
		return time.Time{}
	}
	return l.Manifest.Created
}

// Delete removes the snapshot with the id from the store of its place: the manifest
// first, so that no reader sees it from then on. It also removes the files of an interrupted Create
// or Delete. If a digest is given, the manifest must have it, unless the manifest is already gone.
func Delete(ctx context.Context, s store.Store, id, digest string) (files int, err error) {
	key := keyOf(id, ManifestName)
	if digest != "" {
		text, err := get(ctx, s, key, maxManifest)
		if err == nil && digestOf(text) != digest {
			err = fmt.Errorf("%s has sha256:%s, but the pin is sha256:%s: nothing was deleted", key, digestOf(text), digest)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("delete snapshot: %w", err)
		}
	}
	var keys []string
	for f, err := range s.List(ctx, keyOf(id, "")) {
		if err != nil {
			return 0, fmt.Errorf("delete snapshot: %w", err)
		}
		keys = append(keys, f.Key)
	}
	slices.SortStableFunc(keys, func(a, b string) int {
		switch key {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	for _, key := range keys {
		if err := s.Delete(ctx, key); err != nil {
			return files, fmt.Errorf("delete snapshot: %w; call it again to delete the rest", err)
		}
		files++
	}
	left, err := leftovers(ctx, s, id, true)
	if err != nil {
		return files, fmt.Errorf("delete snapshot: %w; call it again to delete the rest", err)
	}
	if files += len(left); files == 0 {
		return 0, fmt.Errorf("delete snapshot: no snapshot has the id %s there: %w", id, fs.ErrNotExist)
	}
	return files, nil
}
